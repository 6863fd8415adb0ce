# Everything that is done with this repository, by name. `make help` lists it.
#
# Needed: Go, git and make. kubectl only for what talks to your own cluster, a container engine only for the image.
# Every other tool is a Go module, pinned under hack/tools and compiled on first use.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The version that is stamped into the binary, and the image that is built, pushed and deployed.
VERSION ?= 0.3.0
IMG ?= prosimcorp/replika:v$(VERSION)
CONTAINER_TOOL ?= docker

LDFLAGS := -s -w -X main.version=v$(VERSION)

GO_TOOL := go tool -modfile=$(CURDIR)/hack/tools/go.mod
CONTROLLER_GEN := $(GO_TOOL) controller-gen
KUSTOMIZE := $(GO_TOOL) kustomize
GOVULNCHECK := go tool -modfile=$(CURDIR)/hack/tools/govulncheck/go.mod govulncheck
GOLANGCI_LINT := go tool -modfile=$(CURDIR)/hack/tools/golangci-lint/go.mod golangci-lint

# The program whose last line says where etcd, kube-apiserver and kube-controller-manager are. It makes them if need be,
# and tells of its progress on stderr.
CONTROLPLANE := go -C hack/controlplane run .
# Put before a command: runs it with the control plane's binaries at hand.
WITH_CONTROLPLANE := assets="$$($(CONTROLPLANE) | tail -n 1)"; KUBEBUILDER_ASSETS="$$assets"

# The modules beside the operator's own, kept apart so that what they need never weighs on what it ships.
MODULES := hack/controlplane hack/bench

# What is generated, as git pathspecs.
GENERATED := ':(glob)api/**/zz_generated.*.go' config/crd/bases manifests

# The packages whose tests start a control plane (they import test/cluster, or are it), and those that need only Go.
SUITES = $(shell go list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./... | grep -F /test/cluster | cut -d ' ' -f 1)
OTHERS = $(filter-out $(SUITES),$(shell go list ./...))

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
verify: manifests generate kustomization-build ## Fail unless what is generated is current and every overlay builds.
	git --no-pager diff --exit-code -- $(GENERATED)
	@untracked="$$(git ls-files --others --exclude-standard -- $(GENERATED))"; \
	if [ -n "$$untracked" ]; then printf 'generated, but not in git:\n%s\n' "$$untracked" >&2; exit 1; fi
	go mod tidy -diff
	@for module in $(MODULES); do (set -x; go -C $$module mod tidy -diff); done
	$(KUSTOMIZE) build config/default >/dev/null
	$(KUSTOMIZE) build config/samples >/dev/null
	$(KUSTOMIZE) build config/samples/kinds >/dev/null

##@ Tests

.PHONY: test
test: vet ## Run all tests but the slowest faults; those that need a cluster get a control plane of their own.
	@for module in $(MODULES); do (set -x; go -C $$module test $(RACE) -timeout 10m ./...); done
	go test $(RACE) -timeout 10m $(OTHERS)
	@# A suite depends on more than the files that go's test cache knows of: always run it.
	$(WITH_CONTROLPLANE) go test $(RACE) -count=1 -p 1 -timeout 20m $(SUITES)

.PHONY: test-e2e
test-e2e: ## Let the real operator work through every fault there is, and tell of each what was injected and checked.
	$(WITH_CONTROLPLANE) REPLIKA_TEST_EVERYTHING=1 REPLIKA_SOAK=10m go test $(RACE) -v -count=1 -p 1 -timeout 60m ./test/...

# How long each fuzzer runs.
FUZZTIME ?= 5s

.PHONY: fuzz
fuzz: ## Run every fuzzer for FUZZTIME.
	@targets="$$(go test -list '^Fuzz' ./controllers/replication | grep '^Fuzz')"; \
	for target in $$targets; do \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./controllers/replication; \
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

# config/default with the image IMG, in a place of its own: another image then does not show as a change in git.
.PHONY: overlay
overlay:
	mkdir -p bin/deploy
	printf 'resources: [../../config/default]\n' >bin/deploy/kustomization.yaml
	cd bin/deploy && $(KUSTOMIZE) edit set image prosimcorp/replika=$(IMG)

.PHONY: kustomization-build
kustomization-build: manifests overlay ## Write manifests/, the base that users reference, with the image IMG.
	rm -rf manifests
	mkdir manifests
	$(KUSTOMIZE) build bin/deploy --output manifests
	cd manifests && $(KUSTOMIZE) create --autodetect

##@ Build

.PHONY: build
build: ## Compile the operator to bin/manager.
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/manager .

.PHONY: docker-build
docker-build: ## Build the image IMG.
	$(CONTAINER_TOOL) build --build-arg VERSION=v$(VERSION) --tag $(IMG) .

.PHONY: docker-push
docker-push: ## Push the image IMG.
	$(CONTAINER_TOOL) push $(IMG)

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
deploy: overlay ## Install the CRD and the operator, with the image IMG.
	$(KUSTOMIZE) build bin/deploy | kubectl apply --server-side -f -
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
