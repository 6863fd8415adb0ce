#!/usr/bin/env bash
# Builds the operator's images by `make docker-build` and `make bundle-build`, as a release does, on a machine with no
# container engine and no registry: Debian's buildah builds, and an image put together from this machine's Go stands in for
# golang. What is in the images is checked, and the operator is left in the folder as "manager".
#
# usage: build.sh FOLDER VERSION
set -euo pipefail
folder=$1 version=$2

fail() {
  echo "image: $*" >&2
  exit 1
}

[ "$(id -u)" = 0 ] || fail "building without a container engine needs root; try \`make docker-build\`"
[ -e /etc/debian_version ] || fail "buildah is installed from Debian's packages, and this is not Debian; try \`make docker-build\`"
if ! command -v buildah >/dev/null; then
  apt-get update --quiet=2
  DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends buildah
fi

# Everything is kept in a place of its own, and goes with it.
work=$(mktemp --directory)
engine="buildah --root $work/storage --runroot $work/run --storage-driver vfs"
trap '$engine rm --all >/dev/null 2>&1; rm -rf "$work"' EXIT

# The stand-in for golang: a shell with its libraries, and the certificates to fetch modules with. Go itself is mounted, and
# so are the modules and compiled packages of this machine, at their own paths; where modules come from, its go knows. There is one for each
# architecture in name alone: Debian's buildah asks for the target's, though the Dockerfile names the builder's.
standin() {
  local container rootfs
  container=$($engine from scratch)
  rootfs=$($engine mount "$container")
  mkdir -p "$rootfs"/{bin,etc/ssl/certs,tmp,root}
  for program in /bin/sh $(ldd /bin/sh | grep -o '/[^ ]*'); do
    mkdir -p "$rootfs$(dirname "$program")"
    cp -L "$program" "$rootfs$program"
  done
  cp -L /etc/ssl/certs/ca-certificates.crt "$rootfs/etc/ssl/certs/"
  local settings=(--env "PATH=$(go env GOROOT)/bin:/bin" --env HOME=/root)
  for setting in GOMODCACHE GOCACHE GOFLAGS GOPROXY GONOSUMDB GOSUMDB; do
    settings+=(--env "$setting=$(go env "$setting")")
  done
  $engine config --arch "$1" "${settings[@]}" "$container"
  $engine umount "$container" >/dev/null
  $engine commit --quiet --rm "$container" "localhost/go:$1" >/dev/null
}

# inspect prints a field of an image.
inspect() {
  $engine inspect --type image --format "{{$2}}" "$1"
}

# expect fails unless the field of the image is as it should be.
expect() {
  local found
  found=$(inspect "$1" "$2")
  [ "$found" = "$3" ] || fail "$1: $2 is '$found', not '$3'"
}

# contents leaves what is in an image in a folder.
contents() {
  local container
  container=$($engine from --pull-never "$1")
  mkdir -p "$2"
  cp -a "$($engine mount "$container")/." "$2"
  $engine rm "$container" >/dev/null
}

go mod download
for arch in amd64 arm64; do
  image=localhost/replika:$arch
  standin $arch
  make --no-print-directory docker-build CONTAINER_TOOL="$engine" VERSION="$version" IMG="$image" BUILD_FLAGS="--isolation chroot \
    --quiet --pull-never --platform linux/$arch --build-arg GO_IMAGE=localhost/go:$arch \
    --volume $(go env GOROOT):$(go env GOROOT):ro --volume $(go env GOMODCACHE):$(go env GOMODCACHE) \
    --volume $(go env GOCACHE):$(go env GOCACHE)"
  expect "$image" .OCIv1.Architecture "$arch"
  expect "$image" .OCIv1.OS linux
  expect "$image" .OCIv1.Config.User 65532:65532
  expect "$image" .OCIv1.Config.Entrypoint '[/manager]'
  expect "$image" 'index .OCIv1.Config.Labels "org.opencontainers.image.version"' "v$version"
  expect "$image" 'index .OCIv1.Config.Labels "org.opencontainers.image.revision"' "$(git rev-parse HEAD)"
  expect "$image" 'index .OCIv1.Config.Labels "org.opencontainers.image.licenses"' Apache-2.0
  contents "$image" "$work/$arch"
  files=$(cd "$work/$arch" && find . -type f)
  [ "$files" = ./manager ] || fail "$image holds more than the operator: $files"
  built=$(go version -m "$work/$arch/manager")
  for setting in CGO_ENABLED=0 "GOARCH=$arch" -trimpath=true; do
    grep --quiet --fixed-strings -- "$setting" <<<"$built" || fail "$image: the operator was not built with $setting"
  done
  echo "image: $image is $(du -k "$work/$arch/manager" | cut -f 1) KiB"
done

make --no-print-directory bundle-build CONTAINER_TOOL="$engine" BUNDLE_IMG=localhost/replika-bundle BUILD_FLAGS=--quiet
expect localhost/replika-bundle 'index .OCIv1.Config.Labels "operators.operatorframework.io.bundle.package.v1"' replika
contents localhost/replika-bundle "$work/bundle"
diff --recursive bundle/manifests "$work/bundle/manifests" || fail "the bundle's image holds other manifests"

# The operator runs with nothing beneath it, and knows its version.
native=$work/$(go env GOARCH)
said=$(chroot "$native" /manager --version)
[ "$said" = "v$version" ] || fail "the operator says it is $said, not v$version"
mkdir -p "$folder"
cp "$native/manager" "$folder/manager"
echo "image: all is as it should be; the operator is in $folder"
