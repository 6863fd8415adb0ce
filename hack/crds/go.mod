// Where test/deploy gets other projects' CRDs from. The modules are downloaded and verified, and the manifests in them
// applied; none of their code is compiled.
//
// To move on: go mod edit -require MODULE@VERSION and go mod download.
module github.com/prosimcorp/replika/hack/crds

go 1.26.3

require (
	github.com/argoproj/argo-cd/v3 v3.3.0
	github.com/external-secrets/external-secrets v1.3.2
	github.com/fluxcd/kustomize-controller v1.7.3
	github.com/fluxcd/source-controller v1.8.0
	github.com/operator-framework/api v0.44.0
	github.com/operator-framework/operator-controller v1.10.0
	github.com/prometheus-operator/prometheus-operator v0.85.0
)
