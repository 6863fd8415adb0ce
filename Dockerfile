# The image that compiles, as an argument: a mirror or a newer patch release can take its place.
ARG GO_IMAGE=golang:1.26.10

FROM --platform=${BUILDPLATFORM} ${GO_IMAGE} AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=devel
WORKDIR /src

# Modules first: this layer stays while only the sources change.
COPY go.mod go.sum ./
RUN go mod download

COPY *.go ./
COPY api/ api/
COPY controllers/ controllers/
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /manager .

# A static binary that talks to nothing but the API server, whose certificate authority is mounted by the kubelet,
# needs nothing beneath it.
FROM scratch
ARG VERSION=devel
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Replika" \
      org.opencontainers.image.description="Keeps copies of one object in many Kubernetes namespaces" \
      org.opencontainers.image.url="https://github.com/prosimcorp/replika" \
      org.opencontainers.image.source="https://github.com/prosimcorp/replika" \
      org.opencontainers.image.documentation="https://github.com/prosimcorp/replika#readme" \
      org.opencontainers.image.vendor="Prosimcorp" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /manager /manager
# By number, so that the kubelet knows that it is not root. 65532 is what most images call "nonroot".
USER 65532:65532
ENTRYPOINT ["/manager"]
