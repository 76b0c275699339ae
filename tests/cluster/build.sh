#!/usr/bin/env bash
# Builds the real parts of Kubernetes that the tests run against, once, with the ordinary Go client.
#   tests/cluster/build.sh                     # what `make test` needs
#   tests/cluster/build.sh kube kwok           # these groups alone
#   tests/cluster/build.sh --where             # builds nothing; prints "GROUP DIRECTORY" for each group that is there
# Groups of `make test`:  kube etcd kwok kueue training-operator jobset trainer helm prometheus
#   prometheus-operator (its CRDs alone)
# Groups for real nodes:  node containerd coredns distribution
# A group comes whole from the first directory that has all of it: $KUBEBUILDER_ASSETS, one on PATH, or the cache,
# ${XDG_CACHE_HOME:-~/.cache}/asrtune/kube/KUBERNETES-VERSION/, where it is built if need be (seconds are in times.txt).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
hack=$here/../../hack
# shellcheck source=../../hack/versions.env
source "$hack/versions.env"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/asrtune/kube
home=$cache/$KUBERNETES_VERSION
needed=(kube etcd kwok kueue prometheus training-operator jobset trainer helm prometheus-operator) # the longest first
for_nodes=(node containerd coredns distribution)

files_of() {
  case $1 in
    etcd) echo etcd ;;
    kube) echo kube-apiserver kube-controller-manager kube-scheduler kubectl ;;
    kwok) echo kwok ;;
    training-operator) echo training-operator.v1 manifests/training-operator.yaml ;;
    jobset) echo jobset manifests/jobset.yaml ;;
    trainer) echo trainer-controller-manager manifests/trainer.yaml manifests/trainer-torch-runtime.yaml ;;
    kueue) echo kueue manifests/kueue.yaml ;;
    helm) echo helm ;;
    prometheus) echo prometheus promtool ;;
    prometheus-operator) echo manifests/prometheus-operator.yaml ;;
    node) echo kubelet kube-proxy fakegpu ;;
    containerd) echo containerd containerd-shim-runc-v2 ctr ;;
    coredns) echo coredns ;;
    distribution) echo runc busybox cni/bridge cni/host-local cni/loopback cni/portmap ;;
    *) echo "no group $1: there are ${needed[*]} ${for_nodes[*]}" >&2 && return 64 ;;
  esac
}

has() { # DIRECTORY FILE...
  local directory=$1 file
  shift
  for file; do [ -e "$directory/$file" ] || return 1; done
}

# Prints the directory that has all of a group.
where() {
  local files directories directory
  files=$(files_of "$1") || return
  IFS=: read -ra directories <<<"${KUBEBUILDER_ASSETS:-}:$PATH:$home"
  for directory in "${directories[@]}"; do
    # shellcheck disable=SC2086  # a list of names without blanks
    if [ -n "$directory" ] && has "$directory" $files; then
      echo "$directory"
      return
    fi
  done
  return 1
}

# The read-only directory of MODULE@VERSION's source.
source_of() { "$go" mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'; }

quiet() { "$@" 2>"$stage/log" || { tail -20 "$stage/log" >&2 && return 1; }; }

# build_in_module MODULE@VERSION PACKAGE...: in the module's own directory, so that its replace directives hold; linked
# with $link besides
build_in_module() {
  local directory
  directory=$(source_of "$1")
  shift
  (cd "$directory" && quiet "$go" build -ldflags "-s -w ${link:-}" -o "$stage/out/" "$@")
}

kustomize() { "$(where kube)/kubectl" kustomize "$1"; }

build_etcd() { # its go.mod replaces modules by directories beside it: a fresh one does not
  mkdir "$stage/etcd" && cd "$stage/etcd"
  echo "module etcdbuild" >go.mod
  quiet "$go" get "go.etcd.io/etcd/server/v3@v$ETCD_VERSION"
  quiet "$go" build -ldflags "-s -w" -o "$stage/out/etcd" go.etcd.io/etcd/server/v3
}

# build_commands NAME...: of k8s.io/kubernetes/cmd, and the packages in the current directory
build_commands() {
  local own=k8s.io/component-base/version name staging directory packages=()
  # k8s.io/kubernetes asks for its staging modules at v0.0.0: take each as published with the same release
  directory=$(source_of "k8s.io/kubernetes@v$KUBERNETES_VERSION")
  staging=$(sed -nE "s#^\t(k8s.io/[a-z0-9-]+) v0\.0\.0( .*)?\$#-replace=\1=\1@v0.${KUBERNETES_VERSION#*.}#p" "$directory/go.mod")
  printf 'module kubebuild\n\ngo %s\n' "${GO_VERSION%.*}" >go.mod
  # shellcheck disable=SC2086  # a list of words
  "$go" mod edit -require "k8s.io/kubernetes@v$KUBERNETES_VERSION" $staging
  printf '//go:build tools\n\npackage tools\n' >tools.go
  for name; do
    printf 'import _ "k8s.io/kubernetes/cmd/%s"\n' "$name" >>tools.go
    packages+=("k8s.io/kubernetes/cmd/$name")
  done
  export GOFLAGS="$GOFLAGS -mod=mod" # `go mod tidy` would download what only tests of others need
  local minor=${KUBERNETES_VERSION#*.}
  quiet "$go" build -o "$stage/out/" -ldflags "-s -w -X $own.gitVersion=v$KUBERNETES_VERSION -X $own.gitTreeState=clean \
    -X $own.gitMajor=${KUBERNETES_VERSION%%.*} -X $own.gitMinor=${minor%%.*}" "${packages[@]}"
}

build_kube() {
  mkdir "$stage/kube" && cd "$stage/kube"
  build_commands kube-apiserver kube-controller-manager kube-scheduler kubectl
}

build_node() {
  mkdir "$stage/node" && cd "$stage/node"
  cp -r "$here/fakegpu" fakegpu
  build_commands kubelet kube-proxy
  quiet "$go" build -ldflags "-s -w" -o "$stage/out/fakegpu" ./fakegpu
}

build_kwok() { build_in_module "sigs.k8s.io/kwok@v$KWOK_VERSION" ./cmd/kwok; }

build_training_operator() {
  local module=github.com/kubeflow/training-operator@v$TRAINING_OPERATOR_VERSION
  build_in_module "$module" ./cmd/training-operator.v1
  kustomize "$(source_of "$module")/manifests/overlays/standalone" >"$stage/out/manifests/training-operator.yaml"
}

build_jobset() {
  local module=sigs.k8s.io/jobset@v$JOBSET_VERSION
  build_in_module "$module" .
  kustomize "$(source_of "$module")/config/default" >"$stage/out/manifests/jobset.yaml"
}

build_trainer() {
  local module=github.com/kubeflow/trainer/v2@v$TRAINER_VERSION
  build_in_module "$module" ./cmd/trainer-controller-manager
  cp -r "$(source_of "$module")/manifests" "$stage/trainer"
  chmod -R u+w "$stage/trainer"
  sed -i '/third-party/d' "$stage/trainer/overlays/manager/kustomization.yaml" # a JobSet from the network
  kustomize "$stage/trainer/overlays/manager" >"$stage/out/manifests/trainer.yaml"
  cp "$stage/trainer/base/runtimes/torch_distributed.yaml" "$stage/out/manifests/trainer-torch-runtime.yaml"
}

build_kueue() {
  local module=sigs.k8s.io/kueue@v$KUEUE_VERSION
  build_in_module "$module" ./cmd/kueue
  kustomize "$(source_of "$module")/config/default" >"$stage/out/manifests/kueue.yaml"
}

build_helm() { # without these it renders for Kubernetes 1.20 where it asks no cluster
  local module=helm.sh/helm/v3 minor=${KUBERNETES_VERSION#*.} package link=""
  for package in chartutil lint/rules; do
    link+=" -X $module/pkg/$package.k8sVersionMajor=${KUBERNETES_VERSION%%.*}"
    link+=" -X $module/pkg/$package.k8sVersionMinor=${minor%%.*}"
  done
  link+=" -X $module/internal/version.version=v$HELM_VERSION"
  build_in_module "$module@v$HELM_VERSION" ./cmd/helm
}

build_prometheus() { # of its service discoveries Kubernetes' alone: the clouds' clients are most of its dependencies
  local GOFLAGS="$GOFLAGS -tags=remove_all_sd,enable_kubernetes_sd"
  build_in_module "github.com/prometheus/prometheus@v$PROMETHEUS_VERSION" ./cmd/prometheus ./cmd/promtool
}

build_prometheus_operator() { # the CRDs of what our chart makes: the API server checks our monitors and alerts by them
  local directory
  directory=$(source_of "github.com/prometheus-operator/prometheus-operator@v$PROMETHEUS_OPERATOR_VERSION")
  cat "$directory"/example/prometheus-operator-crd/*_{podmonitors,servicemonitors,prometheusrules}.yaml \
    >"$stage/out/manifests/prometheus-operator.yaml"
}

build_containerd() {
  build_in_module "github.com/containerd/containerd/v2@v$CONTAINERD_VERSION" \
    ./cmd/containerd ./cmd/containerd-shim-runc-v2 ./cmd/ctr
}

build_coredns() { build_in_module "github.com/coredns/coredns@v$COREDNS_VERSION" .; }

build_distribution() { # unpacked beside the others, not installed
  mkdir "$stage/debs" && cd "$stage/debs"
  quiet apt-get download -q runc containernetworking-plugins busybox-static >/dev/null
  local package
  for package in *.deb; do dpkg -x "$package" .; done
  mv usr/sbin/runc usr/lib/cni bin/busybox "$stage/out/"
}

# Builds one group, on its own; all of it appears in the cache at once, but for the blink of a few renames.
build() {
  local group=$1 start=$SECONDS file
  echo "building $group into $home (once)" >&2
  stage=$(mktemp -d "$cache/build.XXXXXX")
  trap 'chmod -R u+w "$stage" && rm -rf "$stage"' EXIT
  mkdir -p "$stage/out/manifests"
  "build_${group//-/_}"
  for file in $(cd "$stage/out" && find . -type f); do
    mkdir -p "$home/$(dirname "$file")"
    mv "$stage/out/$file" "$home/$file"
  done
  echo "$group $((SECONDS - start))s" | tee -a "$home/times.txt" >&2
}

# Builds groups two at a time: while one downloads or links, the other has work for the second core.
build_all() { [ $# = 0 ] || printf '%s\n' "$@" | xargs -P 2 -I {} "$here/build.sh" --one {}; }

case ${1:-} in
  --where)
    for group in "${needed[@]}" "${for_nodes[@]}"; do
      if directory=$(where "$group"); then echo "$group $directory"; fi
    done
    exit
    ;;
  --one)
    go=$("$hack/go.sh")
    # No debugging data is made that the linker would leave out, and the compiler collects its garbage less: a sixth faster
    export CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false -gcflags=all=-dwarf=false" GOGC=400 GOWORK=off GOTOOLCHAIN=local
    build "$2"
    exit
    ;;
esac

groups=("$@")
[ $# -gt 0 ] || groups=("${needed[@]}")
mkdir -p "$cache"
exec 9>"$cache/build.lock"
flock --nonblock 9 || { echo "waiting for another build of the cluster's programs" >&2 && flock 9; }

first=() second=() # kubectl renders the controllers' manifests
for group in "${groups[@]}"; do
  files_of "$group" >/dev/null
  if where "$group" >/dev/null; then continue; fi
  case $group in
    kueue | training-operator | jobset | trainer) second+=("$group") ;;
    *) first+=("$group") ;;
  esac
done
if [ ${#second[@]} -gt 0 ] && ! where kube >/dev/null && [[ " ${first[*]} " != *" kube "* ]]; then first+=(kube); fi
build_all "${first[@]}"
build_all "${second[@]}"
