#!/usr/bin/env bash
# The root's part of real nodes (nodes.py does the rest): each has a mount namespace, a network namespace and cgroups of its
# own on one bridge, as kind's have. Only one set of them a machine: the names of bridge, subnet and cgroups are fixed.
#   nodes.sh network           makes the bridge, whose host address is 10.250.0.1
#   nodes.sh add DIRECTORY NUMBER   makes node NUMBER's namespaces, held by files in DIRECTORY/ns, and its cgroups
#   nodes.sh route COUNT DIRECTORY...   lets the host and the nodes, by number, reach each other's pods
#   nodes.sh remove            ends all containers and takes everything back, also of a test that was killed
# cgroup v1 and v2 alike have the node's cgroup at /kube-cluster/nodeNUMBER.
set -euo pipefail

bridge=kbr0 nodes=10.250.0 pods=10.244 group=kube-cluster
forward=/proc/sys/net/ipv4/ip_forward
held=/run/asrtune-nodes # what `remove` takes back: the former value of ip_forward, and the nodes' directories

network() {
  mkdir "$held"
  cat "$forward" >"$held/ip_forward"
  echo 1 >"$forward"
  ip link add "$bridge" mtu 1400 type bridge
  ip addr add "$nodes.1/24" dev "$bridge"
  ip link set "$bridge" up
}

add() { # DIRECTORY NUMBER
  local home=$1 number=$2
  mkdir -p "$home"/{ns,upper/lib,work/lib,upper/log,work/log,var/{kubelet,cni,pods,containers}}
  echo "$home" >"$held/node$number"
  touch "$home/ns/net" "$home/ns/mnt"
  unshare --net="$home/ns/net" true
  ip link add "vk$number" mtu 1400 type veth peer name eth0 netns "$home/ns/net" mtu 1400
  ip link set "vk$number" master "$bridge" up
  nsenter --net="$home/ns/net" sh -ec "ip link set lo up; ip addr add $nodes.$((10 + number))/24 dev eth0
    ip link set eth0 up; ip route add default via $nodes.1"
  unshare --mount="$home/ns/mnt" --propagation private "$0" --mounts "$home"
  local hierarchy
  for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
    if [ -f "$hierarchy/tasks" ] || [ -f "$hierarchy/cgroup.controllers" ]; then cgroups "$hierarchy" "node$number"; fi
  done
}

cgroups() { # HIERARCHY NODE
  local directory name
  for directory in "$group" "$group/$2"; do
    mkdir -p "$1/$directory"
    for name in cpuset.cpus cpuset.mems; do # v1 starts them empty, and then takes no process
      if [ -f "$1/tasks" ] && [ -f "$1/$name" ]; then cat "$1/$name" >"$1/$directory/$name"; fi
    done
  done
  # Whole nodes, that are not to count as one process of this machine's many.
  [ ! -f "$1/$group/cpu.shares" ] || echo 8192 >"$1/$group/cpu.shares"
  [ ! -f "$1/$group/cpu.weight" ] || echo 800 >"$1/$group/cpu.weight"
}

# Inside the new mount namespace: what the kubelet and containerd write below /var and /run is the node's own.
mounts() { # DIRECTORY
  local home=$1 name
  for name in lib log; do # overlays only for the mount points
    mount -t overlay -o "lowerdir=/var/$name,upperdir=$home/upper/$name,workdir=$home/work/$name" overlay "/var/$name"
  done
  mkdir -p /var/lib/{kubelet,cni} /var/log/{pods,containers}
  mount --bind "$home/var/kubelet" /var/lib/kubelet
  mount --bind "$home/var/cni" /var/lib/cni
  mount --bind "$home/var/pods" /var/log/pods
  mount --bind "$home/var/containers" /var/log/containers
  mount -t tmpfs tmpfs /run
  mkdir -p /run/netns /run/containerd /run/lock /run/systemd/resolve
  umount /sys/fs/cgroup/unified 2>/dev/null || true # else runc leaves pods' directories there that nobody removes
  freeze_setting /proc/sys/vm/overcommit_memory 1
  freeze_setting /proc/sys/kernel/panic 10
  freeze_setting /proc/sys/kernel/panic_on_oops 1
}

# The kubelet wants these values, and would set them for the whole machine.
freeze_setting() { # FILE VALUE
  echo "$2" >"$home/ns/${1##*/}"
  mount --bind "$home/ns/${1##*/}" "$1"
}

route() { # COUNT DIRECTORY...
  local count=$1 from to
  shift
  for to in $(seq "$count"); do
    ip route replace "$pods.$to.0/24" via "$nodes.$((10 + to))"
    for from in $(seq "$count"); do
      [ "$from" = "$to" ] || nsenter --net="${!from}/ns/net" ip route replace "$pods.$to.0/24" via "$nodes.$((10 + to))"
    done
  done
}

remove() {
  [ -d "$held" ] || return 0
  local file home number pid path
  for file in "$held"/node*; do
    [ -e "$file" ] || continue
    home=$(<"$file") number=${file##*node}
    for path in "/sys/fs/cgroup/pids/$group/node$number" "/sys/fs/cgroup/$group/node$number"; do # v1, v2
      [ -d "$path" ] || continue
      while read -r pid; do kill -9 "$pid" 2>/dev/null || true; done < <(find "$path" -name cgroup.procs -exec cat {} +)
    done
    for pid in $(pgrep -f "containerd-shim-runc-v2 .*-address $home/c.sock"); do kill -9 "$pid" || true; done
    for path in mnt net; do umount "$home/ns/$path" 2>/dev/null || true; done
    ip link del "vk$number" 2>/dev/null || true
  done
  ip link del "$bridge" 2>/dev/null || true
  cat "$held/ip_forward" >"$forward"
  local try
  for try in 1 2 3 4 5 6 7 8 9 10; do # the kernel needs a moment to see the killed processes off
    find /sys/fs/cgroup -depth -type d -path "*/$group*" -exec rmdir {} \; 2>/dev/null || true
    [ -n "$(find /sys/fs/cgroup -type d -name "$group" -print -quit)" ] || break
    sleep "0.$try"
  done
  rm -rf "$held"
}

case ${1:-} in
  network | add | route | remove) "$@" ;;
  --mounts) shift && mounts "$@" ;;
  *) grep '^#' "$0" >&2 && exit 64 ;;
esac
