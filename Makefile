# Everything that is done with this repository, by name. `make help` lists it.
#
# Needed: Go, git and make. kubectl only for what talks to your own cluster, a container engine only for the image.
# Every other tool is a Go module, pinned under hack/tools and compiled on first use.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The version that is stamped into the binary, the image that is built, pushed and deployed, and that of the bundle.
VERSION ?= 0.3.0
IMG ?= prosimcorp/replika:v$(VERSION)
BUNDLE_IMG ?= prosimcorp/replika-bundle:v$(VERSION)
CONTAINER_TOOL ?= docker

LDFLAGS := -s -w -X main.version=v$(VERSION)

GO_TOOL := go tool -modfile=$(CURDIR)/hack/tools/go.mod
CONTROLLER_GEN := $(GO_TOOL) controller-gen
CRD_REF_DOCS := $(GO_TOOL) crd-ref-docs
KUSTOMIZE := $(GO_TOOL) kustomize
GOVULNCHECK := go tool -modfile=$(CURDIR)/hack/tools/govulncheck/go.mod govulncheck
PROMTOOL := go tool -modfile=$(CURDIR)/hack/monitoring/go.mod promtool
GOLANGCI_LINT := go tool -modfile=$(CURDIR)/hack/tools/golangci-lint/go.mod golangci-lint
GINKGO := $(GO_TOOL) ginkgo

# The program whose last line says where etcd, kube-apiserver and kube-controller-manager are. It makes them if need be,
# and tells of its progress on stderr.
CONTROLPLANE := go -C hack/controlplane run .
# Put before a command: runs it with the control plane's binaries at hand.
WITH_CONTROLPLANE := assets="$$($(CONTROLPLANE) | tail -n 1)"; KUBEBUILDER_ASSETS="$$assets"

# The modules beside the operator's own, kept apart so that what they need never weighs on what it ships.
MODULES := hack/controlplane hack/bench hack/health hack/monitoring

# What is generated, as git pathspecs.
GENERATED := ':(glob)api/**/zz_generated.*.go' config/crd/bases docs/api.md manifests bundle bundle.Dockerfile

# The packages whose tests start a control plane (they import test/cluster, or are it), without the suite of controllers,
# which runs in parallel processes; and the packages whose tests need only Go.
CONTROLLERS = $(shell go list ./controllers)
SUITES = $(filter-out $(CONTROLLERS),$(shell go list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./... | grep -F /test/cluster | cut -d ' ' -f 1))
OTHERS = $(filter-out $(CONTROLLERS) $(SUITES),$(shell go list ./...))

# The number of processes that run the specs of controllers. A spec mostly waits, so they can be more than there are cores.
PROCS ?= 4

# On Linux the race detector needs a C compiler. Without one, tests run without it.
RACE := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

##@ General

.PHONY: help
help: ## List the targets.
	@awk 'BEGIN { FS = ":.*## "; print "Usage: make <target>" } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

##@ Development

.PHONY: manifests
manifests: ## Write the CRD from the Go types.
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:artifacts:config=config/crd/bases

.PHONY: generate
generate: ## Write the DeepCopy methods from the Go types.
	$(CONTROLLER_GEN) object:headerFile=hack/boilerplate.go.txt paths=./api/...

.PHONY: docs
docs: ## Write docs/api.md from the Go types.
	$(CRD_REF_DOCS) --source-path api/v1alpha1 --config hack/tools/crd-ref-docs.yaml --renderer markdown \
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

# Where vulncheck reads of vulnerabilities; file:// and a folder for a copy.
VULNDB ?= https://vuln.go.dev

.PHONY: vulncheck
vulncheck: ## Look for known vulnerabilities in what the operator calls, which asks the database of the Go project.
	$(GOVULNCHECK) -db $(VULNDB) ./...

.PHONY: verify
verify: generate docs bundle ## Fail unless what is generated is current and every overlay builds.
	git --no-pager diff --exit-code -- $(GENERATED)
	@untracked="$$(git ls-files --others --exclude-standard -- $(GENERATED))"; \
	if [ -n "$$untracked" ]; then printf 'generated, but not in git:\n%s\n' "$$untracked" >&2; exit 1; fi
	go mod tidy -diff
	@for module in $(MODULES); do (set -x; go -C $$module mod tidy -diff); done
	$(KUSTOMIZE) build config/default >/dev/null
	$(KUSTOMIZE) build config/samples >/dev/null
	$(KUSTOMIZE) build config/samples/kinds >/dev/null
	$(KUSTOMIZE) build config/prometheus >/dev/null

##@ Tests

.PHONY: test
test: vet ## Run all tests but the slowest faults; those that need a cluster get a control plane of their own.
	@for module in $(MODULES); do (set -x; go -C $$module test $(RACE) -timeout 10m ./...); done
	go test $(RACE) -timeout 10m $(OTHERS)
	$(MAKE) test-controllers
	@# A suite depends on more than the files that go's test cache knows of: always run it.
	$(WITH_CONTROLPLANE) go test $(RACE) -count=1 -p 1 -timeout 20m $(SUITES)

# The serial specs need the operator or the whole cluster for themselves. They run beside the others, on a control plane of
# their own; their output follows when both are done.
.PHONY: test-controllers
test-controllers: ## Run the specs of controllers in PROCS processes, and the serial ones beside them.
	mkdir -p bin
	go test $(RACE) -c -o controllers/controllers.test ./controllers
	assets="$$($(CONTROLPLANE) | tail -n 1)"; export KUBEBUILDER_ASSETS="$$assets"; failed=0; \
	$(GINKGO) --timeout=20m --label-filter=serial controllers/controllers.test >bin/controllers-serial.log 2>&1 & serial=$$!; \
	trap 'kill $$serial 2>/dev/null || true' EXIT; \
	$(GINKGO) --timeout=20m --procs=$(PROCS) --label-filter='!serial' controllers/controllers.test || failed=1; \
	wait $$serial || failed=1; cat bin/controllers-serial.log; exit $$failed

.PHONY: test-e2e
test-e2e: ## Let the real operator work through every fault there is, and tell of each what was injected and checked.
	$(WITH_CONTROLPLANE) REPLIKA_TEST_EVERYTHING=1 REPLIKA_SOAK=10m go test $(RACE) -v -count=1 -p 1 -timeout 60m ./test/...

.PHONY: test-alerts
test-alerts: ## Try the alerts of config/prometheus on made-up metrics.
	mkdir -p bin/alerts
	go -C hack/monitoring run . rules $(CURDIR)/config/prometheus/prometheus_rule.yaml >bin/alerts/rules.yaml
	cp config/prometheus/tests/alerts.yaml bin/alerts/alerts.yaml
	$(PROMTOOL) check rules --lint=all --lint-fatal bin/alerts/rules.yaml
	$(PROMTOOL) test rules bin/alerts/alerts.yaml

# How long each fuzzer runs.
FUZZTIME ?= 5s

.PHONY: fuzz
fuzz: ## Run every fuzzer for FUZZTIME.
	@targets="$$(go test -list '^Fuzz' ./controllers/planner | grep '^Fuzz')"; \
	for target in $$targets; do \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./controllers/planner; \
	done

.PHONY: demo
demo: build ## Watch the operator at work on a local control plane; in a terminal, it stays up to play with.
	$(WITH_CONTROLPLANE) go run ./hack/demo --operator bin/manager

# What `make bench` is to do otherwise than by default; bin/bench --help lists it.
BENCH_FLAGS ?=

.PHONY: bench
bench: build ## Measure the operator against its budget (docs/performance.md); BENCH_FLAGS='--only latency' and the like.
	go -C hack/bench build -o $(CURDIR)/bin/bench .
	$(WITH_CONTROLPLANE) bin/bench --operator bin/manager $(BENCH_FLAGS)

.PHONY: controlplane
controlplane: ## Provide the local control plane's binaries; the last line is their folder.
	@$(CONTROLPLANE)

##@ Deployment

# Copies of Kustomize's folders with the image IMG, where another image does not show as a change in git.
.PHONY: overlays
overlays:
	@for base in default manifests; do \
		mkdir -p bin/overlays/$$base; \
		printf 'resources: [../../../config/%s]\n' $$base >bin/overlays/$$base/kustomization.yaml; \
		(cd bin/overlays/$$base && $(KUSTOMIZE) edit set image prosimcorp/replika=$(IMG)); \
	done

.PHONY: kustomization-build
kustomization-build: manifests overlays ## Write manifests/, the base that users reference, with the image IMG.
	rm -rf manifests
	mkdir manifests
	$(KUSTOMIZE) build bin/overlays/default --output manifests
	cd manifests && $(KUSTOMIZE) create --autodetect

# operator-sdk and opm are compiled by hand: `go tool` takes neither tags (without which they want C libraries) nor a version
# to stamp, which lands in the bundle.
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

# The channel of OLM: what v1alpha1 promises, docs/release.md says.
CHANNEL ?= alpha

.PHONY: bundle
bundle: kustomization-build bin/operator-sdk ## Write bundle/, for OLM, with VERSION and the image IMG, and validate it.
	rm -rf bundle
	$(KUSTOMIZE) build bin/overlays/manifests | sed 's|controller:latest|$(IMG)|' | bin/operator-sdk generate bundle --quiet \
		--version $(VERSION) --package replika --channels $(CHANNEL) --default-channel $(CHANNEL)
	@# Of roles that are bound to the operator the generator keeps the rules, and one that aggregates others has none of its own.
	find manifests -name '*aggregated*' -exec cp {} bundle/manifests ';'
	@# The hour at which it was made would make each bundle another one. The generator drops the images unless it can ask a
	@# registry for their digests; spec is the last field of the file.
	sed -i.orig '/^    createdAt: /d' bundle/manifests/replika.clusterserviceversion.yaml
	rm bundle/manifests/replika.clusterserviceversion.yaml.orig
	printf '  relatedImages:\n  - image: %s\n    name: manager\n' $(IMG) >>bundle/manifests/replika.clusterserviceversion.yaml
	$(MAKE) bundle-validate

.PHONY: bundle-validate
bundle-validate: bin/operator-sdk ## Fail if OLM's own validators say anything about bundle/.
	@# One warning is wrong: it takes the right on events.k8s.io for one on that group's v1beta1, whatever minKubeVersion says.
	bin/operator-sdk bundle validate ./bundle --select-optional suite=operatorframework 2>&1 | tee bin/bundle-validate.log
	! grep -v 'Migrate the API(s) for events: ([^)]*)"$$' bin/bundle-validate.log | grep -E 'level=(warning|error|fatal)'

.PHONY: catalog
catalog: bin/opm ## Write bin/catalog, a file-based catalog of OLM with this bundle as BUNDLE_IMG, and validate it.
	rm -rf bin/catalog
	mkdir -p bin/catalog/replika
	bin/opm init replika --default-channel $(CHANNEL) --description README.md --icon docs/icon.svg --output yaml \
		>bin/catalog/replika/package.yaml
	printf 'schema: olm.channel\npackage: replika\nname: %s\nentries:\n  - name: replika.v%s\n' $(CHANNEL) $(VERSION) \
		>bin/catalog/replika/channel.yaml
	bin/opm render ./bundle --alpha-image-ref-template '$(BUNDLE_IMG)' --output yaml >bin/catalog/replika/bundle.yaml
	bin/opm validate bin/catalog

##@ Build

.PHONY: build
build: ## Compile the operator to bin/manager.
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/manager .

# Further flags of the commands that build an image.
BUILD_FLAGS ?=
# What the image is built of.
IMAGE_ARGS = --build-arg VERSION=v$(VERSION) --build-arg REVISION=$(shell git rev-parse HEAD)
# What docker-buildx builds for.
PLATFORMS ?= linux/amd64,linux/arm64

.PHONY: docker-build
docker-build: ## Build the image IMG.
	$(CONTAINER_TOOL) build $(IMAGE_ARGS) $(BUILD_FLAGS) --tag $(IMG) .

.PHONY: docker-push
docker-push: ## Push the image IMG.
	$(CONTAINER_TOOL) push $(IMG)

.PHONY: docker-buildx
docker-buildx: ## Build the image IMG for all PLATFORMS and push it, with an SBOM and its provenance. Needs docker buildx.
	$(CONTAINER_TOOL) buildx build $(IMAGE_ARGS) --platform $(PLATFORMS) --sbom=true --provenance=mode=max \
		$(BUILD_FLAGS) --push --tag $(IMG) .

.PHONY: bundle-build
bundle-build: ## Build the image BUNDLE_IMG of the bundle.
	$(CONTAINER_TOOL) build --file bundle.Dockerfile $(BUILD_FLAGS) --tag $(BUNDLE_IMG) .

.PHONY: bundle-push
bundle-push: ## Push the image BUNDLE_IMG.
	$(CONTAINER_TOOL) push $(BUNDLE_IMG)

.PHONY: image-test
image-test: ## Really build the images, and run the demo with what is in them. Needs root on Debian.
	hack/image/build.sh bin/image $(VERSION)
	$(WITH_CONTROLPLANE) go run ./hack/demo --operator bin/image/manager --stay=false

##@ Release (docs/release.md)

# The tag that is released.
TAG ?= v$(VERSION)

.PHONY: release-check
release-check: ## Fail unless Makefile, README and changelog speak of the version that TAG names.
	@[ "$(TAG)" = "v$(VERSION)" ] || { echo 'the tag is $(TAG), VERSION is $(VERSION)' >&2; exit 1; }
	@grep -q '^## \[$(VERSION)\] - [0-9]\{4\}-[0-9][0-9]-[0-9][0-9]$$' CHANGELOG.md || \
		{ echo 'CHANGELOG.md has no section "## [$(VERSION)] - YYYY-MM-DD"' >&2; exit 1; }
	@! grep -nE '(ref=|targetRevision: |tag: )v[0-9]' README.md docs/operations.md | grep -v 'v$(VERSION)\b' || \
		{ echo 'these lines install another version than $(VERSION)' >&2; exit 1; }

.PHONY: release-notes
release-notes: ## Write bin/release-notes.md, the changelog's section about VERSION.
	@mkdir -p bin
	@awk '/^## / { in_section = index($$2, "[$(VERSION)]") == 1; next } /^\[.*\]: / { next } in_section' CHANGELOG.md >bin/release-notes.md
	@[ -s bin/release-notes.md ] || { echo 'CHANGELOG.md says nothing about $(VERSION)' >&2; exit 1; }

.PHONY: release-files
release-files: ## Write bin/release: the manifests in one file, for those who have no Kustomize, and the dashboard.
	rm -rf bin/release
	mkdir -p bin/release
	$(KUSTOMIZE) build manifests >bin/release/replika.yaml
	cp config/prometheus/dashboards/*.json bin/release

##@ Your cluster (the one that kubectl talks to)

.PHONY: run
run: ## Run the operator on this machine, against the cluster.
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

# Replikas go first, while the operator still runs: it cleans up after each and takes its finalizer off.
.PHONY: delete-replikas
delete-replikas:
	@if [ -n "$$(kubectl get crd replikas.replika.prosimcorp.com --ignore-not-found --output name)" ]; then \
		kubectl delete replikas.replika.prosimcorp.com --all --all-namespaces --timeout 3m || \
		{ echo 'Replikas are left. Is the operator running? (make run, or make deploy)' >&2; exit 1; }; \
	fi
