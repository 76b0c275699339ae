#!/usr/bin/env bash
# Builds images/*/Containerfile with buildah, as root, without an engine, and saves each as an archive that every engine loads.
#   hack/images.sh                 # operator and trainer (about 30 GB of disk while it works; see docs/images.md)
#   hack/images.sh operator        # one of them
#   hack/images.sh --where NAME    # builds nothing; prints the path of NAME's archive
#   hack/images.sh --clean         # removes what speeds up the next build; archives and SBOMs stay
# BASE=IMAGE                base to build on; without it a Debian one is made here, from the mirrors that this machine uses
# REGISTRY=localhost        what the images' names begin with: REGISTRY/asrtune-operator:VERSION
# SOURCE_DATE_EPOCH=N       timestamp of all files; default: the last change of images/ and requirements/
# INDEX=URL                 index of Python packages to take them from
# SOURCE_URL=URL            label: where the sources are
# IMAGES_DIR=DIR            where all of it lies; default ${XDG_CACHE_HOME:-~/.cache}/asrtune/images
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dir=${IMAGES_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/asrtune/images}
registry=${REGISTRY:-localhost}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
own_base=localhost/asrtune-base:bookworm

in_git() { git -c safe.directory='*' "$@"; }
buildah() { command buildah --root "$dir/store" --runroot "$dir/run" "$@"; }
image_of() { echo "$registry/asrtune-$1:$version"; }
archive_of() { echo "$dir/asrtune-$1-$version.tar"; }

# need PROGRAM: fails with what to do
need() {
  command -v "$1" >/dev/null && return
  echo "There is no $1 here. Debian, Ubuntu: apt-get install $1" >&2
  exit 69
}

# A small Debian with Python, in 20 seconds: where no registry can be reached, and as small as python:slim.
make_base() {
  need mmdebstrap
  mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    bookworm "$dir/base.tar"
  printf 'FROM scratch\nADD base.tar /\nCMD ["bash"]\n' |
    buildah build --quiet --timestamp "$SOURCE_DATE_EPOCH" --identity-label=false --tag "$own_base" --file - "$dir" >/dev/null
  rm "$dir/base.tar"
}

build() { # NAME
  local name=$1 image container
  image=$(image_of "$name")
  buildah build --file "images/$name/Containerfile" --tag "$image" --iidfile "$dir/$name.id" --layers --force-rm --pull=false \
    --build-arg BASE="$base" ${INDEX:+--build-arg PIP_INDEX_URL="$INDEX" --build-arg UV_DEFAULT_INDEX="$INDEX"} \
    --timestamp "$SOURCE_DATE_EPOCH" --identity-label=false \
    --volume /etc/ssl/certs:/etc/ssl/certs:ro \
    --label org.opencontainers.image.version="$version" --label org.opencontainers.image.revision="$revision" \
    --label org.opencontainers.image.base.name="$base" ${SOURCE_URL:+--label org.opencontainers.image.source="$SOURCE_URL"} \
    .
  container=$(buildah from --pull-never "$image")
  cp "$(buildah mount "$container")/opt/asrtune/share/sbom.cdx.json" "$dir/asrtune-$name-$version.cdx.json"
  buildah rm "$container" >/dev/null
}

save() { # NAME
  local image archive saved
  image=$(image_of "$1") archive=$(archive_of "$1") saved=$dir/$1.saved
  if [ ! -e "$archive" ] || ! cmp --quiet "$dir/$1.id" "$saved"; then
    rm -f "$archive" "$saved"
    buildah push --quiet "$image" "docker-archive:$archive.part:$image"
    mv "$archive.part" "$archive"
    cp "$dir/$1.id" "$saved"
  fi
  echo "$image $(du --human-readable --apparent-size "$archive")"
}

case ${1:-} in
  --where)
    archive_of "$2"
    exit
    ;;
  --clean)
    [ ! -d "$dir/store" ] || buildah rm --all >/dev/null
    umount "$dir/store/overlay" 2>/dev/null || true # buildah's bind mount
    rm -rf --one-file-system "$dir"/{store,run,tmp}
    exit
    ;;
esac

need buildah
mkdir -p "$dir/tmp"
export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}
export TMPDIR=$dir/tmp # of the builds' caches, too
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(in_git log -1 --format=%ct -- images requirements)}
export SOURCE_DATE_EPOCH
revision=$(in_git rev-parse HEAD)$(in_git diff --quiet HEAD -- crds images operator requirements trainer pyproject.toml || echo -dirty)
base=${BASE:-$own_base}
if [ "$base" = "$own_base" ] && ! buildah inspect --type image "$base" >/dev/null 2>&1; then make_base; fi

names=("$@")
[ $# -gt 0 ] || names=(operator trainer)
for name in "${names[@]}"; do build "$name"; done
for name in "${names[@]}"; do save "$name"; done
