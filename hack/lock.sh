#!/usr/bin/env bash
# Compiles the locks from pyproject.toml; a lock holds names, versions and markers, never a host.
#   hack/lock.sh               # keeps every pin that still fits
#   hack/lock.sh --upgrade     # takes the newest versions
#   hack/lock.sh --check       # changes nothing; fails when a lock is not what this would write
# dev.txt is the whole; trainer.txt and operator.txt are parts of it, for the images.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mode=${1:-}
uv=$(hack/uv.sh)
target=requirements
if [ "$mode" = --check ]; then
  target=$(mktemp -d)
  trap 'rm -rf "$target"' EXIT
  cp requirements/dev.txt "$target"
fi

# compile NAME OPTION...: writes $target/NAME.txt, keeping the pins that it finds there
compile() {
  local name=$1
  shift
  "$uv" pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
    "$@" pyproject.toml --output-file "$target/$name.txt"
}

if [ "$mode" = --upgrade ]; then compile dev --all-extras --upgrade; else compile dev --all-extras; fi
for part in trainer operator; do
  cp "$target/dev.txt" "$target/$part.txt" # the same pins; a constraint would fail where dev.txt has a marker
  compile "$part" --extra "$part"
done

if [ "$mode" = --check ] && ! diff --unified requirements "$target"; then
  echo "The locks are not what pyproject.toml asks for: run \`make lock\` and commit requirements/." >&2
  exit 1
fi
