#!/usr/bin/env bash
# Prints the path of uv, which makes the environments; fetches it once where there is none.
#   hack/uv.sh                 # from PATH when new enough, else the cache, else `pip install` into the cache (seconds)
# Cache: ${XDG_CACHE_HOME:-~/.cache}/asrtune/bin/uv-VERSION/. Fetching needs python3 with its venv module.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=versions.env
source "$here/versions.env"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/asrtune
home=$cache/bin/uv-$UV_VERSION

uv_on_path() {
  local have
  have=$(uv --version 2>/dev/null) || return 1
  have=${have#uv }
  [ "$(printf '%s\n' "$UV_OLDEST" "${have%% *}" | sort -V | head -1)" = "$UV_OLDEST" ] && command -v uv
}

fetch() {
  local stage
  mkdir -p "$cache/bin"
  stage=$(mktemp -d "$cache/uv.XXXXXX")
  # shellcheck disable=SC2064  # the path as it is now
  trap "rm -rf '$stage'" EXIT
  if ! python3 -m venv "$stage" >"$stage/log" 2>&1; then
    sed 's/^/  /' "$stage/log" >&2
    cat >&2 <<MESSAGE
There is no uv on PATH, and python3 cannot make the virtual environment to fetch it with (see above). Do one of these:
  - Debian, Ubuntu:  apt-get install python3-venv
  - elsewhere:       put uv $UV_OLDEST or newer on PATH (https://docs.astral.sh/uv/getting-started/installation)
MESSAGE
    exit 69
  fi
  echo "fetching uv $UV_VERSION into $home (once)" >&2
  "$stage/bin/pip" install --quiet --disable-pip-version-check "uv==$UV_VERSION" >&2
  mkdir -p "$home"
  mv "$stage/bin/uv" "$home/uv" # within one file system: another process sees all of it or nothing
}

if ! uv_on_path; then
  [ -x "$home/uv" ] || fetch
  echo "$home/uv"
fi
