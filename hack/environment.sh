#!/usr/bin/env bash
# Makes .venv exactly what requirements/dev.txt says, plus this checkout, editable.
#   hack/environment.sh        # `make` calls it whenever the lock or pyproject.toml is newer than .venv
# Python: the first of python3, python3.11, ... that is new enough, else one that uv finds or brings.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

oldest=3.11
supported="import sys; sys.version_info >= (3, ${oldest#3.}) or sys.exit(1)"

# Prints the interpreter to build on. Each candidate is run: a pyenv shim may exist without its interpreter.
find_python() {
  local name
  for name in python3 python3.11 python3.12 python3.13 python3.14; do
    if "$name" -c "$supported" 2>/dev/null; then "$name" -c 'import sys; print(sys.executable)'; return; fi
  done
  echo ">=$oldest"
}

uv=$(hack/uv.sh)
if .venv/bin/python -c "$supported" 2>/dev/null; then
  echo "bringing .venv up to requirements/dev.txt" >&2
else
  echo "making .venv from requirements/dev.txt (about 6 GB, most of it PyTorch with CUDA)" >&2
  "$uv" venv --quiet --clear --python "$(find_python)" .venv
fi
progress=--quiet
[ ! -t 2 ] || progress=--color=auto # a person sees the progress bars
"$uv" pip sync "$progress" --python .venv requirements/dev.txt
# hatchling is in the lock, so that this step asks no network.
"$uv" pip install --quiet --python .venv --no-deps --no-build-isolation --editable .
