#!/usr/bin/env bash
# Lints the CI templates in examples/ci with the services' own linters; builds those once where there are none.
#   hack/ci-linters.sh         # actionlint (20 s to build), argo (some minutes), from PATH or the cache
# Cache: ${XDG_CACHE_HOME:-~/.cache}/asrtune/bin/NAME-VERSION/. GitLab's linter is its server: a test has its schema instead.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=versions.env
source "$here/versions.env"
root=$(dirname "$here")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/asrtune
mkdir -p "$cache"
exec 9>"$cache/ci-linters.lock"
flock 9
stage=$(mktemp -d "$cache/build.XXXXXX")
trap 'chmod -R u+w "$stage"; rm -rf "$stage"' EXIT
# As in tests/cluster/build.sh: no debugging data that the linker drops, garbage collected less
export CGO_ENABLED=0 GOWORK=off GOGC=400 GOFLAGS="-trimpath -buildvcs=false -modcacherw -gcflags=all=-dwarf=false"

# built NAME VERSION BUILD: the path of a program, built by the function BUILD into $stage/NAME where there is none.
built() {
  local home=$cache/bin/$1-$2
  if command -v "$1"; then return; fi
  if [ ! -x "$home/$1" ]; then
    echo "building $1 $2 into $home (once)" >&2
    "$3" >&2
    mkdir -p "$home"
    mv "$stage/$1" "$home/$1"
  fi
  echo "$home/$1"
}

build_actionlint() {
  (cd "$stage" && GOBIN=$stage "$("$here/go.sh")" install -ldflags "-s -w" \
    "github.com/rhysd/actionlint/cmd/actionlint@v$ACTIONLINT_VERSION")
}

# Argo's own module, as it pins what it needs; its web page is not in the module, and linting wants none.
build_argo() {
  local go module
  go=$("$here/go.sh")
  module=$(cd "$stage" && "$go" mod download -json "github.com/argoproj/argo-workflows/v3@v$ARGO_VERSION" |
    sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  cp -r "$module" "$stage/source"
  chmod -R u+w "$stage/source"
  mkdir -p "$stage/source/ui/dist/app"
  touch "$stage/source/ui/dist/app/index.html"
  (cd "$stage/source" && "$go" build -ldflags "-s -w" -o "$stage/argo" ./cmd/argo)
}

actionlint=$(built actionlint "$ACTIONLINT_VERSION" build_actionlint)
argo=$(built argo "$ARGO_VERSION" build_argo)
"$actionlint" -shellcheck "$root/.venv/bin/shellcheck" "$root"/examples/ci/github-actions.yaml "$root"/.github/workflows/*.y*ml
"$argo" lint --offline --kinds workflowtemplates "$root/examples/ci/argo-workflow.yaml"
