#!/usr/bin/env bash
# Builds the operator's images with `make docker-build` and `make bundle-build`, as a release does, on a machine without a
# container engine and without a registry. It uses buildah from Debian's packages and, in place of the golang image, an image
# that is made from the local Go installation. It verifies the content of the images and copies the operator to
# DIRECTORY/manager.
#
# usage: build.sh DIRECTORY VERSION
set -euo pipefail
directory=$1 version=$2

fail() {
  echo "image: $*" >&2
  exit 1
}

[ "$(id -u)" = 0 ] || fail "building without a container engine requires root; use \`make docker-build\` instead"
[ -e /etc/debian_version ] || fail "installing buildah requires Debian; use \`make docker-build\` instead"
if ! command -v buildah >/dev/null; then
  apt-get update --quiet=2
  DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends buildah
fi

# All images and containers are stored in a temporary directory, which is removed at the end.
work=$(mktemp --directory)
engine="buildah --root $work/storage --runroot $work/run --storage-driver vfs"
trap '$engine rm --all >/dev/null 2>&1; rm -rf "$work"' EXIT

# build_go_image builds the image that replaces golang. It contains a shell with its libraries, CA certificates, and the
# settings of the local Go installation. The builds mount Go, its module cache and its build cache at the same paths as on
# this machine. The images of both architectures have the same content: Debian's buildah requires one for the target
# architecture, although the Dockerfile specifies that of the builder.
build_go_image() {
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

# inspect prints a field of an image's configuration.
inspect() {
  $engine inspect --type image --format "{{$2}}" "$1"
}

# expect fails unless the field of the image has the expected value.
expect() {
  local actual
  actual=$(inspect "$1" "$2")
  [ "$actual" = "$3" ] || fail "$1: $2 is '$actual', want '$3'"
}

# extract copies the files of an image to a directory.
extract() {
  local container
  container=$($engine from --pull-never "$1")
  mkdir -p "$2"
  cp -a "$($engine mount "$container")/." "$2"
  $engine rm "$container" >/dev/null
}

go mod download
for arch in amd64 arm64; do
  image=localhost/replika:$arch
  build_go_image $arch
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
  extract "$image" "$work/$arch"
  files=$(cd "$work/$arch" && find . -type f)
  [ "$files" = ./manager ] || fail "$image contains other files than the operator: $files"
  build_info=$(go version -m "$work/$arch/manager")
  for setting in CGO_ENABLED=0 "GOARCH=$arch" -trimpath=true; do
    grep --quiet --fixed-strings -- "$setting" <<<"$build_info" || fail "$image: the operator was built without $setting"
  done
  echo "image: $image has $(du -k "$work/$arch/manager" | cut -f 1) KiB"
done

make --no-print-directory bundle-build CONTAINER_TOOL="$engine" BUNDLE_IMG=localhost/replika-bundle BUILD_FLAGS=--quiet
expect localhost/replika-bundle 'index .OCIv1.Config.Labels "operators.operatorframework.io.bundle.package.v1"' replika
extract localhost/replika-bundle "$work/bundle"
diff --recursive bundle/manifests "$work/bundle/manifests" || fail "the bundle image contains other manifests than bundle/manifests"

# The operator must run without any other files, and print its version.
native=$work/$(go env GOARCH)
reported=$(chroot "$native" /manager --version)
[ "$reported" = "v$version" ] || fail "the operator reports version $reported, want v$version"
mkdir -p "$directory"
cp "$native/manager" "$directory/manager"
echo "image: verified; the operator is in $directory"
