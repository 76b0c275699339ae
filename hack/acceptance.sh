#!/usr/bin/env bash
# From a bare machine to a measured model: makes what is missing (environment, images, a cluster's programs), then has
# tests/acceptance install the charts on two real nodes and run the telephone demo there; prints what each step took.
#   hack/acceptance.sh [PYTEST-ARGUMENT...]   # Linux, as root; 50 GB of disk, mmdebstrap and buildah
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[ "$(id -u)" = 0 ] || { echo "it needs root: its nodes have namespaces, mounts and cgroups of their own" >&2; exit 77; }

steps=$(mktemp)
# However it ends: what it has come to is told.
finish() {
  printf '\n%-50s %8s\n' step seconds
  while IFS=$'\t' read -r name seconds; do printf '%-50s %8s\n' "$name" "$seconds"; done <"$steps"
  printf '%-50s %8s\n' "all, with the tests" $SECONDS
  rm "$steps"
}
trap finish EXIT

step() { # NAME COMMAND...
  local name=$1 since=$SECONDS
  shift
  "$@"
  printf '%s\t%s\n' "$name" $((SECONDS - since)) >>"$steps"
}

programs() {
  tests/cluster/build.sh etcd kube helm prometheus prometheus-operator node containerd coredns distribution
  hack/versitygw.sh >/dev/null
}

step "environment" make --no-print-directory environment
step "both images built" hack/images.sh
step "the cluster's programs built" programs
.venv/bin/python -m pytest -s -m e2e --steps "$steps" "$@" tests/acceptance
