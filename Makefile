# The tasks of this repository. `make help` lists them.
#
# Requirements: Go, git and make. kubectl for the targets that use your cluster, and a container engine for the images.
# Every other tool is a Go module, pinned under hack/tools and compiled on first use.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The version of the binary, and the names of the operator's image and of the bundle image.
VERSION ?= 0.5.0
IMG ?= prosimcorp/replika:v$(VERSION)
BUNDLE_IMG ?= prosimcorp/replika-bundle:v$(VERSION)
CONTAINER_TOOL ?= docker

# The tags that the public repository has. A release cannot have one of these again.
PUBLIC_VERSIONS := 0.2.0 0.2.2 0.2.3 0.2.4 0.2.5 0.3.0 0.4.0

LDFLAGS := -s -w -X main.version=v$(VERSION)

GO_TOOL := go tool -modfile=$(CURDIR)/hack/tools/go.mod
CONTROLLER_GEN := $(GO_TOOL) controller-gen
CRD_REF_DOCS := $(GO_TOOL) crd-ref-docs
KUSTOMIZE := $(GO_TOOL) kustomize
HELM := go tool -modfile=$(CURDIR)/hack/tools/helm/go.mod helm
CRANE := go tool -modfile=$(CURDIR)/hack/tools/registry/go.mod crane
GOVULNCHECK := go tool -modfile=$(CURDIR)/hack/tools/govulncheck/go.mod govulncheck
PROMTOOL := go tool -modfile=$(CURDIR)/hack/monitoring/go.mod promtool
GOLANGCI_LINT := go tool -modfile=$(CURDIR)/hack/tools/golangci-lint/go.mod golangci-lint-kube-api-linter
GINKGO := $(GO_TOOL) ginkgo
# How often a spec that fails is run. CI runs it a second time: a machine that is shared can stall for longer than any test waits.
FLAKE_ATTEMPTS ?= 1
GINKGO_RUN = $(GINKGO) --no-color --succinct --timeout=20m --flake-attempts=$(FLAKE_ATTEMPTS)

# The Kubernetes version of tests, demo and benchmark: newest, or an older one from hack/controlplane/versions, such as 1.30.
KUBERNETES ?= newest
# Prints the directory of etcd, kube-apiserver and kube-controller-manager in its last line. Downloads or builds them if
# necessary, with progress on stderr.
CONTROLPLANE := go -C hack/controlplane run . --kubernetes $(KUBERNETES)
# Prefix of commands that need the control plane binaries.
WITH_CONTROLPLANE := assets="$$($(CONTROLPLANE) | tail -n 1)"; KUBEBUILDER_ASSETS="$$assets"

# The Go modules other than the operator's. They are separate so that the operator does not depend on their requirements.
MODULES := hack/controlplane hack/bench hack/health hack/monitoring hack/schemas

# Generated files, as git pathspecs.
GENERATED := ':(glob)api/**/zz_generated.*.go' config/crd/bases config/crd/schemas docs/api.md manifests charts bundle bundle.Dockerfile

# The packages whose tests start a control plane (test/cluster and its importers), except controllers, whose specs run in
# parallel processes; and all other packages.
CONTROLLERS = $(shell go list ./controllers)
SUITES = $(filter-out $(CONTROLLERS),$(shell go list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./... | grep -F /test/cluster | cut -d ' ' -f 1))
OTHERS = $(filter-out $(CONTROLLERS) $(SUITES),$(shell go list ./...))
# These suites mostly wait, for a Lease to expire for example. They start first, so that the others run meanwhile.
SLOW_SUITES = $(filter %/test/crash %/test/faults %/test/deploy %/test/upgrade %/test/security,$(SUITES))

# The number of processes that run the specs of controllers. A spec mostly waits, so there can be more than cores.
PROCS ?= 4

# On Linux the race detector requires a C compiler. Without one, tests run without the race detector.
RACE := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

##@ General

.PHONY: help
help: ## List the targets.
	@awk 'BEGIN { FS = ":.*## "; print "Usage: make <target>" } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

##@ Development

.PHONY: manifests
manifests: ## Generate the CRD from the Go types.
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:artifacts:config=config/crd/bases

.PHONY: schemas
schemas: manifests ## Generate the JSON Schemas of the API from the CRD.
	go -C hack/schemas run . $(CURDIR)/config/crd/bases/replika.prosimcorp.com_replikas.yaml $(CURDIR)/config/crd/schemas

.PHONY: generate
generate: ## Generate the DeepCopy methods from the Go types.
	$(CONTROLLER_GEN) object:headerFile=hack/boilerplate.go.txt paths=./api/...

.PHONY: docs
docs: ## Generate docs/api.md from the Go types.
	$(CRD_REF_DOCS) --source-path api --config hack/tools/crd-ref-docs.yaml --renderer markdown \
		--log-level ERROR --output-path docs/api.md

.PHONY: fmt
fmt: ## Format the code.
	$(GOLANGCI_LINT) fmt

.PHONY: vet
vet: ## Run go vet.
	go vet ./...
	@for module in $(MODULES); do (set -x; go -C $$module vet ./...); done

.PHONY: lint
lint: ## Run golangci-lint.
	$(GOLANGCI_LINT) run
	@for module in $(MODULES); do (set -x; cd $$module && $(GOLANGCI_LINT) run); done

# The vulnerability database of vulncheck. A file:// URL uses a local copy.
VULNDB ?= https://vuln.go.dev

.PHONY: vulncheck
vulncheck: ## Run govulncheck.
	$(GOVULNCHECK) -db $(VULNDB) ./...

.PHONY: verify
verify: generate docs schemas bundle chart ## Verify that generated files are up to date and all overlays build.
	git --no-pager diff --exit-code -- $(GENERATED)
	@untracked="$$(git ls-files --others --exclude-standard -- $(GENERATED))"; \
	if [ -n "$$untracked" ]; then printf 'generated files that are not in git:\n%s\n' "$$untracked" >&2; exit 1; fi
	go mod tidy -diff
	@for module in $(MODULES) $(wildcard hack/controlplane/versions/*); do (set -x; go -C $$module mod tidy -diff); done
	$(KUSTOMIZE) build config/default >/dev/null
	$(KUSTOMIZE) build config/samples >/dev/null
	$(KUSTOMIZE) build config/samples/kinds >/dev/null
	$(KUSTOMIZE) build config/samples/secrets >/dev/null
	$(KUSTOMIZE) build config/samples/olm >/dev/null
	$(KUSTOMIZE) build config/prometheus >/dev/null

##@ Tests

# Tests spend much of their time in the garbage collectors of the control planes and of the race detector's binaries.
test test-controllers test-suites: export GOGC ?= 400

.PHONY: test
test: vet ## Run all tests except the slow fault-injection suites.
	@# These read files outside of their module, which Go's test cache does not track.
	@for module in $(MODULES); do (set -x; go -C $$module test $(RACE) -count=1 -timeout 10m ./...); done
	go test $(RACE) -timeout 10m $(OTHERS)
	$(CONTROLPLANE)
	$(MAKE) -j 2 --output-sync=target test-controllers test-suites

# Suites depend on files that Go's test cache does not track, so they always run.
.PHONY: test-suites
test-suites: ## Run the other suites that need a control plane.
	$(WITH_CONTROLPLANE) REPLIKA_FLAKE_ATTEMPTS=$(FLAKE_ATTEMPTS) \
		go test $(RACE) -count=1 -p 3 -timeout 20m $(SLOW_SUITES) $(filter-out $(SLOW_SUITES),$(SUITES))

# Serial specs need exclusive use of the operator or the cluster. They run at the same time as the others, on a control plane
# of their own. At the end is what failed in both runs; their whole output is in bin/.
.PHONY: test-controllers
test-controllers: ## Run the specs of controllers in PROCS parallel processes.
	mkdir -p bin
	go test $(RACE) -c -ldflags=-s -o controllers/controllers.test ./controllers
	assets="$$($(CONTROLPLANE) | tail -n 1)"; export KUBEBUILDER_ASSETS="$$assets"; failed=0; \
	$(GINKGO_RUN) --label-filter=serial controllers/controllers.test >bin/controllers-serial.log 2>&1 & serial=$$!; \
	trap 'kill $$serial 2>/dev/null || true' EXIT; \
	$(GINKGO_RUN) --procs=$(PROCS) --label-filter='!serial' controllers/controllers.test >bin/controllers-parallel.log 2>&1 || failed=1; \
	wait $$serial || failed=1; \
	for log in bin/controllers-parallel.log bin/controllers-serial.log; do \
		if [ $$failed = 0 ]; then tail -n 8 $$log; else grep -v '^[•S]*$$' $$log | tail -n 300; fi; \
	done; exit $$failed

.PHONY: test-e2e
test-e2e: ## Run the end-to-end and fault-injection suites.
	$(WITH_CONTROLPLANE) REPLIKA_TEST_EVERYTHING=1 REPLIKA_SOAK=10m go test $(RACE) -v -count=1 -p 1 -timeout 60m ./test/...

.PHONY: test-alerts
test-alerts: ## Unit-test the Prometheus alerts.
	mkdir -p bin/alerts
	go -C hack/monitoring run . rules $(CURDIR)/config/prometheus/prometheus_rule.yaml >bin/alerts/rules.yaml
	cp config/prometheus/tests/alerts.yaml bin/alerts/alerts.yaml
	$(PROMTOOL) check rules --lint=all --lint-fatal bin/alerts/rules.yaml
	$(PROMTOOL) test rules bin/alerts/alerts.yaml

# How long each fuzz test runs. A number of executions, such as 10000x, is safer than a duration: before Go 1.27, a fuzz test can fail
# when the duration ends (https://go.dev/issue/75804).
FUZZTIME ?= 10000x

.PHONY: fuzz
fuzz: ## Run every fuzz test for FUZZTIME.
	@targets="$$(go test -list '^Fuzz' ./controllers/planner | grep '^Fuzz')"; \
	for target in $$targets; do \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./controllers/planner; \
	done

.PHONY: demo
demo: build ## Run the demo on a local control plane. In a terminal, it keeps running afterwards.
	$(WITH_CONTROLPLANE) go run ./hack/demo --operator bin/manager

# The flags of `make bench`. bin/bench --help lists them.
BENCH_FLAGS ?=

.PHONY: bench
bench: build ## Run the benchmark against the performance goals (docs/performance.md), for example with BENCH_FLAGS='--only latency'.
	go -C hack/bench build -o $(CURDIR)/bin/bench .
	$(WITH_CONTROLPLANE) bin/bench --operator bin/manager $(BENCH_FLAGS)

.PHONY: controlplane
controlplane: ## Download or build the control plane binaries and print their directory.
	@$(CONTROLPLANE)

##@ Deployment

# Kustomize overlays with the image IMG, outside of git so that another image causes no change there.
.PHONY: overlays
overlays:
	@for base in default manifests; do \
		mkdir -p bin/overlays/$$base; \
		printf 'resources: [../../../config/%s]\n' $$base >bin/overlays/$$base/kustomization.yaml; \
		(cd bin/overlays/$$base && $(KUSTOMIZE) edit set image prosimcorp/replika=$(IMG)); \
	done

.PHONY: kustomization-build
kustomization-build: manifests overlays ## Generate manifests/, the Kustomize base for users, with the image IMG.
	rm -rf manifests
	mkdir manifests
	$(KUSTOMIZE) build bin/overlays/default --output manifests
	@# Kustomize takes the admission policy for a namespaced object, and then begins each name with the namespace.
	for file in manifests/default_* manifests/replika_*; do mv "$$file" "manifests/$${file#manifests/*_}"; done
	cd manifests && $(KUSTOMIZE) create --autodetect

# operator-sdk and opm are compiled with `go build`: `go tool` supports neither build tags, without which they require C
# libraries, nor setting the version, which is part of the bundle.
OPERATOR_FRAMEWORK := hack/tools/operator-sdk
OPERATOR_FRAMEWORK_TAGS := containers_image_openpgp,exclude_graphdriver_btrfs,exclude_graphdriver_devicemapper

bin/operator-sdk: $(OPERATOR_FRAMEWORK)/go.mod
	version="$$(go -C $(OPERATOR_FRAMEWORK) list -m -f '{{.Version}}' github.com/operator-framework/operator-sdk)"; \
	go -C $(OPERATOR_FRAMEWORK) build -tags $(OPERATOR_FRAMEWORK_TAGS) -o $(CURDIR)/$@ \
		-ldflags "-X github.com/operator-framework/operator-sdk/internal/version.Version=$$version" \
		github.com/operator-framework/operator-sdk/cmd/operator-sdk

bin/opm: $(OPERATOR_FRAMEWORK)/go.mod
	go -C $(OPERATOR_FRAMEWORK) build -tags $(OPERATOR_FRAMEWORK_TAGS) -o $(CURDIR)/$@ \
		github.com/operator-framework/operator-registry/cmd/opm

# What config/default does not contain, and the chart has a value for.
CHART_COMPONENTS := impersonation network-policy policy prometheus

.PHONY: chart
chart: kustomization-build ## Generate charts/replika, the Helm chart, with VERSION and the image IMG.
	rm -rf bin/chart charts/replika
	mkdir -p bin/chart
	$(KUSTOMIZE) build manifests >bin/chart/manifests.yaml
	for component in $(CHART_COMPONENTS); do $(KUSTOMIZE) build config/$$component >bin/chart/$$component.yaml; done
	go run . --help 2>bin/chart/flags.txt || { cat bin/chart/flags.txt >&2; exit 1; }
	go run ./hack/chart --version $(VERSION) --input bin/chart --output charts/replika

# The OLM channels of VERSION. docs/release.md describes what they promise.
CHANNELS ?= stable,alpha
DEFAULT_CHANNEL ?= stable
# The versions that OLM upgrades to VERSION in one step: all earlier ones.
SKIP_RANGE := <$(VERSION)

.PHONY: bundle
bundle: kustomization-build bin/operator-sdk ## Generate and validate bundle/ for OLM, with VERSION and the image IMG.
	rm -rf bundle
	$(KUSTOMIZE) build bin/overlays/manifests | sed 's|controller:latest|$(IMG)|; s|<0.0.0|$(SKIP_RANGE)|' | bin/operator-sdk generate bundle --quiet \
		--version $(VERSION) --package replika --channels $(CHANNELS) --default-channel $(DEFAULT_CHANNEL)
	@# The generator keeps only the rules of roles that are bound to the operator. An aggregated role has no rules of its own.
	find manifests -name '*aggregated*' -exec cp {} bundle/manifests ';'
	@# A creation timestamp would change the bundle every time. The generator omits relatedImages unless a registry provides
	@# the digests. They are appended here, because spec is the last field of the file.
	sed -i.orig '/^    createdAt: /d' bundle/manifests/replika.clusterserviceversion.yaml
	rm bundle/manifests/replika.clusterserviceversion.yaml.orig
	printf '  relatedImages:\n  - image: %s\n    name: manager\n' $(IMG) >>bundle/manifests/replika.clusterserviceversion.yaml
	$(MAKE) bundle-validate

.PHONY: bundle-validate
bundle-validate: bin/operator-sdk ## Validate bundle/ with operator-sdk.
	@# Ignore one wrong warning: it mistakes the permission on events.k8s.io for one on v1beta1, regardless of minKubeVersion.
	bin/operator-sdk bundle validate ./bundle --select-optional suite=operatorframework 2>&1 | tee bin/bundle-validate.log
	! grep -v 'Migrate the API(s) for events: ([^)]*)"$$' bin/bundle-validate.log | grep -E 'level=(warning|error|fatal)'

.PHONY: catalog
catalog: bin/opm ## Generate and validate bin/catalog, a file-based OLM catalog with the bundle image BUNDLE_IMG.
	rm -rf bin/catalog
	mkdir -p bin/catalog/replika
	bin/opm init replika --default-channel $(DEFAULT_CHANNEL) --description README.md --icon docs/icon.svg --output yaml \
		>bin/catalog/replika/package.yaml
	channels=$(CHANNELS); for channel in $${channels//,/ }; do \
		printf -- '---\nschema: olm.channel\npackage: replika\nname: %s\nentries:\n  - name: replika.v%s\n    skipRange: "%s"\n' \
			$$channel $(VERSION) '$(SKIP_RANGE)'; \
	done >bin/catalog/replika/channels.yaml
	bin/opm render ./bundle --alpha-image-ref-template '$(BUNDLE_IMG)' --output yaml >bin/catalog/replika/bundle.yaml
	bin/opm validate bin/catalog

##@ Build

.PHONY: build
build: ## Compile the operator to bin/manager.
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/manager .

.PHONY: kubectl-replika
kubectl-replika: ## Compile the kubectl plugin to bin/kubectl-replika.
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/kubectl-replika ./cmd/kubectl-replika

.PHONY: kubectl-replika-all
kubectl-replika-all: ## Compile the kubectl plugin for all platforms to bin/plugin, with checksums and the manifest for krew.
	go run ./hack/plugin --version v$(VERSION) --output bin/plugin

# Additional flags of the image build commands.
BUILD_FLAGS ?=
# Build arguments of the image.
IMAGE_ARGS = --build-arg VERSION=v$(VERSION) --build-arg REVISION=$(shell git rev-parse HEAD)
# The platforms of docker-buildx.
PLATFORMS ?= linux/amd64,linux/arm64

.PHONY: docker-build
docker-build: ## Build the image IMG.
	$(CONTAINER_TOOL) build $(IMAGE_ARGS) $(BUILD_FLAGS) --tag $(IMG) .

.PHONY: docker-push
docker-push: ## Push the image IMG.
	$(CONTAINER_TOOL) push $(IMG)

.PHONY: docker-buildx
docker-buildx: ## Build and push the image IMG for all PLATFORMS, with SBOM and provenance. Requires docker buildx.
	$(CONTAINER_TOOL) buildx build $(IMAGE_ARGS) --platform $(PLATFORMS) --sbom=true --provenance=mode=max \
		$(BUILD_FLAGS) --push --tag $(IMG) .

.PHONY: bundle-build
bundle-build: ## Build the bundle image BUNDLE_IMG.
	$(CONTAINER_TOOL) build --file bundle.Dockerfile $(BUILD_FLAGS) --tag $(BUNDLE_IMG) .

.PHONY: bundle-push
bundle-push: ## Push the bundle image BUNDLE_IMG.
	$(CONTAINER_TOOL) push $(BUNDLE_IMG)

.PHONY: image-test
image-test: ## Build the images without a container engine and run the demo with them. Requires root on Debian.
	hack/image/build.sh bin/image $(VERSION)
	$(WITH_CONTROLPLANE) go run ./hack/demo --operator bin/image/manager --stay=false

##@ Release (docs/release.md)

# The tag to release.
TAG ?= v$(VERSION)

# A reference to a version of this project, and the files that have some. The changelog, the upgrade page and measurements also name
# earlier versions.
VERSION_REFERENCE := (ref=|targetRevision: |[tT]ag: |replika[a-z-]*:|replika/|replika\.|VERSION=|--version |tag --sign |origin |releases/download/|refs/tags/|^  version: )v?[0-9]+\.[0-9]+\.[0-9]+
VERSIONED := README.md docs config manifests charts bundle ':!docs/upgrade.md' ':!docs/performance.md' ':!config/manifests'

.PHONY: release-check
release-check: ## Verify that all version references match TAG.
	@[ "$(TAG)" = "v$(VERSION)" ] || { echo 'the tag is $(TAG), VERSION is $(VERSION)' >&2; exit 1; }
	@[ -z "$(filter $(VERSION),$(PUBLIC_VERSIONS))" ] || { echo 'v$(VERSION) has been published before: choose another VERSION' >&2; exit 1; }
	@grep -q '^## \[$(VERSION)\] - [0-9]\{4\}-[0-9][0-9]-[0-9][0-9]$$' CHANGELOG.md || \
		{ echo 'CHANGELOG.md has no section "## [$(VERSION)] - YYYY-MM-DD"' >&2; exit 1; }
	@! git grep -nE "$(VERSION_REFERENCE)" -- $(VERSIONED) | grep -vE '[^0-9.]$(subst .,\.,$(VERSION))([^0-9.]|$$)' || \
		{ echo 'these lines refer to another version than $(VERSION)' >&2; exit 1; }

.PHONY: upgrade-fixture
upgrade-fixture: ## Record this version's manifests and objects, from which the upgrade of later versions is tested.
	$(WITH_CONTROLPLANE) REPLIKA_RECORD_RELEASE=$(CURDIR)/test/upgrade/testdata/recorded/v$(VERSION) \
		go test ./test/upgrade -count=1 -run TestUpgrade -args -ginkgo.focus 'is recorded'

.PHONY: release-notes
release-notes: ## Generate bin/release-notes.md from the changelog's section about VERSION.
	@mkdir -p bin
	@awk '/^## / { in_section = index($$2, "[$(VERSION)]") == 1; next } /^\[.*\]: / { next } in_section' CHANGELOG.md >bin/release-notes.md
	@[ -s bin/release-notes.md ] || { echo 'CHANGELOG.md has no entries for $(VERSION)' >&2; exit 1; }

# The folder of the files on the release page.
RELEASE ?= bin/release
# Where charts/replika and manifests/replika are pushed, and flags for helm and oras, such as --plain-http.
REGISTRY ?= ghcr.io/prosimcorp
REGISTRY_FLAGS ?=

.PHONY: release-files
release-files: release-manifests kubectl-replika-all ## Generate RELEASE: manifests and chart, the dashboard, and the kubectl plugin.
	cp config/prometheus/dashboards/*.json bin/plugin/* $(RELEASE)

# bundle.yaml is the name of install.yaml in the releases up to v0.4.0. The archive has the same bytes for the same commit.
.PHONY: release-manifests
release-manifests: ## Generate RELEASE with all manifests in one file, their archive, and that of the Helm chart.
	rm -rf $(RELEASE)
	mkdir -p $(RELEASE)
	$(KUSTOMIZE) build manifests >$(RELEASE)/install.yaml
	cp $(RELEASE)/install.yaml $(RELEASE)/bundle.yaml
	$(HELM) package charts/replika --destination $(RELEASE)
	tar --create --sort=name --mtime="$$(git log -1 --format=%cI)" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
		config manifests | gzip --no-name >$(RELEASE)/manifests.tar.gz

# oras names a file in the artifact as on the command line, so it runs in the folder of the file, where `go tool` does not.
bin/oras: hack/tools/registry/go.mod
	go -C hack/tools/registry build -o $(CURDIR)/$@ oras.land/oras/cmd/oras

# The media type of the layer is what Argo CD accepts by default. Flux accepts any.
.PHONY: release-push
release-push: bin/oras ## Push the Helm chart, and the manifests as an OCI artifact, from RELEASE to REGISTRY.
	$(HELM) push $(REGISTRY_FLAGS) $(RELEASE)/replika-$(VERSION).tgz oci://$(REGISTRY)/charts
	@# Artifact Hub reads the metadata of a repository from this tag.
	bin/oras push $(REGISTRY_FLAGS) $(REGISTRY)/charts/replika:artifacthub.io \
		--config /dev/null:application/vnd.cncf.artifacthub.config.v1+yaml \
		artifacthub-repo.yml:application/vnd.cncf.artifacthub.repository-metadata.layer.v1.yaml
	revision="$$(git rev-parse HEAD)"; created="$$(git log -1 --format=%cI)"; cd $(RELEASE); \
	$(CURDIR)/bin/oras push $(REGISTRY_FLAGS) $(REGISTRY)/manifests/replika:v$(VERSION) \
		--annotation org.opencontainers.image.source=https://github.com/prosimcorp/replika \
		--annotation org.opencontainers.image.revision="$$revision" --annotation org.opencontainers.image.created="$$created" \
		manifests.tar.gz:application/vnd.oci.image.layer.v1.tar+gzip

# What is signed, besides the files.
SIGNED = $(IMG) $(REGISTRY)/replika:v$(VERSION) $(REGISTRY)/charts/replika:$(VERSION) $(REGISTRY)/manifests/replika:v$(VERSION)

# The workflow release.yml is what cosign signs as: there is no key. A tag can move, so digests are signed.
.PHONY: release-sign
release-sign: ## Sign what has been pushed, and each file of RELEASE, with cosign. Runs in GitHub Actions.
	for artifact in $(SIGNED); do digest="$$($(CRANE) digest "$$artifact")"; cosign sign --yes "$${artifact%:*}@$$digest"; done
	for file in $(RELEASE)/*; do cosign sign-blob --yes --bundle "$$file.sigstore.json" "$$file"; done

##@ Your cluster (the current kubectl context)

.PHONY: run
run: ## Run the operator locally against the cluster.
	go run -ldflags '$(LDFLAGS)' .

.PHONY: install
install: ## Install the CRD.
	$(KUSTOMIZE) build config/crd | kubectl apply --server-side -f -

.PHONY: uninstall
uninstall: delete-replikas ## Delete all Replikas, then the CRD. The operator must be running.
	$(KUSTOMIZE) build config/crd | kubectl delete --ignore-not-found -f -

.PHONY: deploy
deploy: overlays ## Install the CRD and the operator, with the image IMG.
	$(KUSTOMIZE) build bin/overlays/default | kubectl apply --server-side -f -
	kubectl --namespace replika rollout status deployment replika-controller-manager --timeout 3m

.PHONY: undeploy
undeploy: delete-replikas ## Delete all Replikas, then the operator, then the CRD.
	kubectl --namespace replika delete deployment replika-controller-manager --ignore-not-found --cascade=foreground
	$(KUSTOMIZE) build config/default | kubectl delete --ignore-not-found -f -

# Delete Replikas first, while the operator is still running: it cleans up their copies and removes their finalizers.
.PHONY: delete-replikas
delete-replikas:
	@if [ -n "$$(kubectl get crd replikas.replika.prosimcorp.com --ignore-not-found --output name)" ]; then \
		kubectl delete replikas.replika.prosimcorp.com --all --all-namespaces --timeout 3m || \
		{ echo 'Some Replikas still exist. Is the operator running? (make run, or make deploy)' >&2; exit 1; }; \
	fi
