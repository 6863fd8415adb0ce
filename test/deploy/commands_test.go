/*
Copyright The Replika Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

package deploy

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit/expect"
	"github.com/prosimcorp/replika/test/operator"
	"github.com/prosimcorp/replika/test/shell"
)

// Where the documentation's commands are tested, or why they are not.
const (
	bySuite           = "test/deploy" // a spec of this suite
	byCI              = ".ci/run"     // a step of CI, or part of one
	needsRegistry     = "needs a registry to push to"
	needsNodes        = "needs nodes to run Pods"
	needsGitHub       = "needs the project's GitHub repository"
	staysInForeground = "stays in the foreground: the suite starts the operator in another way"
	needsIdleMachine  = "needs an idle machine: CI runs a short benchmark"
)

// upgradePage has steps, all of which test/upgrade runs.
const upgradePage = "upgrade.md"

// signer are the flags that name who signed a release.
const signer = " --certificate-oidc-issuer https://token.actions.githubusercontent.com" +
	" --certificate-identity https://github.com/prosimcorp/replika/.github/workflows/release.yml@refs/tags/v0.5.0"

// pluginPage has examples with their output. Tests of the plugin, in cmd/kubectl-replika, run them.
const pluginPage = "kubectl-replika.md"

// migrationPage has commands on the objects of other tools. test/migration runs all of them.
const migrationPage = "migration.md"

// testedCommands are all commands in the README and the docs.
var testedCommands = map[string][]string{
	byCI: {
		"make demo",
		"make test",
		"make lint verify test",
		"make kustomization-build",
		"make release-files",
		"make generate docs schemas bundle chart",
		"make upgrade-fixture",
		"make bench BENCH_FLAGS='--only latency --namespaces 50 --samples 20'",
	},
	bySuite: {
		"kubectl apply --server-side --kustomize 'https://github.com/prosimcorp/replika//manifests?ref=v0.5.0'",
		"kubectl apply --server-side --kustomize 'https://github.com/prosimcorp/replika//config/prometheus?ref=v0.5.0'",
		"kubectl apply --server-side --kustomize .",
		"kubectl apply --kustomize 'https://github.com/prosimcorp/replika//config/samples/olm?ref=v0.5.0'",
		"kubectl apply --kustomize config/samples",
		"kubectl delete replikas --all --all-namespaces",
		"kubectl delete --kustomize 'https://github.com/prosimcorp/replika//manifests?ref=v0.5.0'",
		installChart, uninstallChart, deleteCRD, applyReleasePage,
		"make release-push",
		"make uninstall",
		listReplikas, listCreated, listPartOf, listOwners, removeFinalizer, consent, keyConsent, optOut, grantMetrics, grantImpersonation, mintToken,
	},
	staysInForeground: {"make install run"},
	needsIdleMachine: {
		"make bench",
		"make bench BENCH_FLAGS='--namespaces 1000,10000 --json bench.json --plot bench.svg'",
		"make bench BENCH_FLAGS='--only many --replikas 1000 --replika-namespaces 100'",
		"make bench BENCH_FLAGS='--only large --namespaces 88000'",
		"make bench BENCH_FLAGS='--only events --namespaces 100,1000,10000 --replikas 10,100,1000 --plot events.svg'",
		"make bench BENCH_FLAGS='--only neighbours'",
		"bin/bench --help",
	},
	needsNodes: {"make deploy IMG=registry.example.com/replika:dev"},
	needsRegistry: {
		"make docker-build docker-push",
		"make docker-build docker-push IMG=registry.example.com/replika:dev",
		"make bundle bundle-build bundle-push",
		"cosign verify ghcr.io/prosimcorp/replika:v0.5.0" + signer,
		"docker buildx imagetools inspect prosimcorp/replika:v0.5.0 --format '{{ json .SBOM }}'",
	},
	needsGitHub: {
		"cosign verify-blob install.yaml --bundle install.yaml.sigstore.json" + signer,
		"export VERSION=0.5.0",
		"export IMG=prosimcorp/replika:v$VERSION",
		"git tag --sign v0.5.0",
		"git push origin v0.5.0",
		"kubectl krew install --manifest-url https://github.com/prosimcorp/replika/releases/download/v0.5.0/kubectl-replika_krew.yaml",
		"gh attestation verify oci://docker.io/prosimcorp/replika:v0.5.0 --owner prosimcorp",
		"kubeconform -strict -schema-location default -schema-location 'https://raw.githubusercontent.com/prosimcorp/replika/v0.5.0/config/crd/schemas/" +
			"{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json' FILE",
	},
}

// Commands that the specs run.
const (
	listReplikas       = "kubectl get replikas --all-namespaces"
	listCreated        = "kubectl get configmaps --all-namespaces --selector replika.prosimcorp.com/created-by=replika-controller"
	listPartOf         = "kubectl get configmaps --all-namespaces --selector replika.prosimcorp.com/part-of=replika-sample"
	listOwners         = listCreated + ` --output custom-columns='NAMESPACE:.metadata.namespace,NAME:.metadata.name,OWNER:.metadata.annotations.replika\.prosimcorp\.com/owner'`
	removeFinalizer    = `kubectl patch replika NAME --namespace NAMESPACE --type merge --patch '{"metadata":{"finalizers":null}}'`
	consent            = "kubectl annotate secret registry-credentials --namespace platform replika.prosimcorp.com/allowed-namespaces='team-*, staging'"
	keyConsent         = "kubectl annotate --overwrite secret root-ca --namespace cert-manager replika.prosimcorp.com/allowed-keys='ca.crt, *.pub'"
	grantMetrics       = "kubectl create clusterrolebinding prometheus-reads-replika --clusterrole replika-metrics-reader --serviceaccount NAMESPACE:PROMETHEUS_SERVICE_ACCOUNT"
	grantImpersonation = "kubectl --namespace TEAM create role act-as-copier --verb impersonate --resource serviceaccounts --resource-name copier"
	mintToken          = "kubectl create secret generic probe --type bootstrap.kubernetes.io/token --dry-run=server --as system:serviceaccount:replika:replika-controller-manager"
	optOut             = "kubectl label namespace team-a replika.prosimcorp.com/opt-out=true"
)

var _ = Describe("The documentation", func() {
	It("has only commands that are tested", func() {
		Expect(slices.Compact(slices.Sorted(slices.Values(documentedCommands())))).To(ConsistOf(slices.Concat(slices.Collect(maps.Values(testedCommands))...)))
	})
})

var _ = Describe("From a clone", Ordered, func() {
	var process *operator.Process

	stop := func() {
		GinkgoHelper()
		if process != nil && process.Running() {
			Expect(process.Stop()).To(Succeed(), process.Log())
		}
	}
	start := func() {
		GinkgoHelper()
		stop() // that of a failed attempt
		var err error
		process, err = operator.Start(operator.Options{
			Binary: env.Binary, Kubeconfig: env.Kubeconfig, LogFile: filepath.Join(workDir, "clone.log"),
		})
		Expect(err).NotTo(HaveOccurred())
		Eventually(process.Ready).Should(Succeed(), process.Log)
	}

	BeforeAll(func(ctx SpecContext) {
		for _, name := range []string{"platform", "team-a", "cert-manager", "shop-databases", "shop", "shop-preview-1"} {
			create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
		}
	})

	AfterAll(func() { stop() })

	replicateSample := func(ctx context.Context) {
		GinkgoHelper()
		terminal.Run(ctx, repository, "kubectl apply --kustomize config/samples")
		terminal.Run(ctx, repository, "kubectl wait --for condition=Ready --timeout 3m replika replika-sample")
	}

	It("the CRD is installed, and the sample is replicated", func(ctx SpecContext) {
		terminal.Run(ctx, repository, "make install")
		Eventually(func() error { return admin.List(ctx, &v1alpha1.ReplikaList{}) }).Should(Succeed())
		start()
		replicateSample(ctx)
		Expect(terminal.Run(ctx, workDir, listReplikas)).To(MatchRegexp(`default +replika-sample +True +Synced`))
		copies := terminal.Run(ctx, workDir, listCreated)
		Expect(copies).To(And(MatchRegexp(`platform +sample-configmap`), MatchRegexp(`team-a +sample-configmap`)))
		Expect(terminal.Run(ctx, workDir, listPartOf)).To(MatchRegexp(`platform +sample-configmap`))
		Expect(terminal.Run(ctx, workDir, listOwners)).To(MatchRegexp(`sample-configmap +default/replika-sample`))
	})

	It("the certificate of an authority is replicated without its private key", func(ctx SpecContext) {
		expectInReadme("ca-bundle")
		create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "cert-manager", Name: "root-ca"}, Type: corev1.SecretTypeTLS,
			Data: map[string][]byte{"ca.crt": []byte("certificate"), "tls.crt": []byte("certificate"), "tls.key": []byte("key")},
		})
		terminal.Run(ctx, repository, "kubectl apply --kustomize config/samples/secrets")
		for range 2 {
			terminal.Run(ctx, repository, "kubectl wait --for condition=Ready --timeout 3m replika ca-bundle --namespace cert-manager")
			bundle := &corev1.Secret{}
			Expect(admin.Get(ctx, types.NamespacedName{Namespace: "team-a", Name: "ca-bundle"}, bundle)).To(Succeed())
			Expect(bundle.Data).To(Equal(map[string][]byte{"ca-bundle.crt": []byte("certificate")}))
			terminal.Run(ctx, workDir, keyConsent)
		}
	})

	It("the credentials of all application databases are replicated", func(ctx SpecContext) {
		expectInReadme("database-credentials")
		for name, userType := range map[string]string{"orders-app": "app", "orders-superuser": "superuser", "users-app": "app"} {
			create(ctx, databaseSecret(name, userType))
		}
		terminal.Run(ctx, repository, "kubectl apply --kustomize config/samples/secrets")
		terminal.Run(ctx, repository, "kubectl wait --for jsonpath='{.status.sources.synced}'=2 --timeout 3m replika database-credentials --namespace shop-databases")
		terminal.Run(ctx, repository, "kubectl wait --for condition=Ready --timeout 3m replika database-credentials --namespace shop-databases")
		Expect(terminal.Run(ctx, workDir, listReplikas+" --output wide")).To(MatchRegexp(`shop-databases +database-credentials +True +Synced +4 +4 +Enforce +2 +Secret`))
		for _, namespace := range []string{"shop", "shop-preview-1"} {
			copies := &corev1.SecretList{}
			partOf := client.MatchingLabels{v1alpha1.LabelPartOf: "database-credentials"}
			Expect(admin.List(ctx, copies, client.InNamespace(namespace), partOf)).To(Succeed())
			data := map[string]map[string][]byte{}
			for i := range copies.Items {
				data[copies.Items[i].Name] = copies.Items[i].Data
			}
			Expect(data).To(Equal(map[string]map[string][]byte{
				"database-orders-app": keysForOtherNamespaces("orders-app"), "database-users-app": keysForOtherNamespaces("users-app"),
			}))
		}

		By("deleting a database")
		Expect(admin.Delete(ctx, databaseSecret("users-app", "app"))).To(Succeed())
		Eventually(func() error {
			return admin.Get(ctx, types.NamespacedName{Namespace: "shop", Name: "database-users-app"}, &corev1.Secret{})
		}).Should(Satisfy(apierrors.IsNotFound))
		terminal.Run(ctx, repository, "kubectl delete --kustomize config/samples/secrets")
	})

	It("a source and a namespace are annotated and labelled for consent", func(ctx SpecContext) {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "platform", Name: "registry-credentials"}}
		create(ctx, secret)
		Eventually(getSampleCopy).WithContext(ctx).WithArguments("team-a").Should(Succeed())
		terminal.Run(ctx, workDir, consent)
		afterFailure(func(ctx context.Context) {
			terminal.Run(ctx, workDir, "kubectl label namespace team-a replika.prosimcorp.com/opt-out-")
			terminal.Run(ctx, workDir, "kubectl --namespace team-a delete role act-as-copier --ignore-not-found")
		})
		terminal.Run(ctx, workDir, optOut)
		terminal.Run(ctx, workDir, strings.Replace(grantImpersonation, "TEAM", "team-a", 1))
		Eventually(getSampleCopy).WithContext(ctx).WithArguments("team-a").Should(Satisfy(apierrors.IsNotFound))
	})

	It("a Replika is deleted without the operator, and its copies stay", func(ctx SpecContext) {
		if CurrentSpecReport().NumAttempts > 1 {
			start()
			replicateSample(ctx)
		}
		stop()
		terminal.Run(ctx, workDir, "kubectl delete replika replika-sample --wait=false")
		sample := &v1alpha1.Replika{}
		key := types.NamespacedName{Namespace: "default", Name: "replika-sample"}
		Expect(admin.Get(ctx, key, sample)).To(Succeed(), "its finalizer remains")
		terminal.Run(ctx, workDir, strings.NewReplacer("NAMESPACE", key.Namespace, "NAME", key.Name).Replace(removeFinalizer))
		Expect(admin.Get(ctx, key, sample)).To(Satisfy(apierrors.IsNotFound))
		Expect(getSampleCopy(ctx, "platform")).To(Succeed())
	})

	It("the operator is undeployed, or the CRD is uninstalled, after the copies are deleted", func(ctx SpecContext) {
		start()
		for _, target := range []string{"uninstall", "undeploy"} {
			terminal.Run(ctx, repository, "make install")
			Eventually(func() error { return admin.List(ctx, &v1alpha1.ReplikaList{}) }).Should(Succeed())
			replicateSample(ctx)
			terminal.Run(ctx, repository, "make "+target)
			definition := crd("replikas.replika.prosimcorp.com")
			Expect(admin.Get(ctx, client.ObjectKeyFromObject(definition), definition)).To(Satisfy(apierrors.IsNotFound))
			Expect(getSampleCopy(ctx, "platform")).To(Satisfy(apierrors.IsNotFound), "the copies are deleted first")
		}
		Expect(process.PanicsAndRaces()).To(BeEmpty())
	})
})

// expectInReadme expects that the README shows the sample of Secrets as it is, without its comment.
func expectInReadme(name string) {
	GinkgoHelper()
	sample, err := os.ReadFile(filepath.Join(repository, "config", "samples", "secrets", name+".yaml"))
	Expect(err).NotTo(HaveOccurred())
	Expect(string(sample)).To(HaveSuffix("\n" + block("yaml", "name: "+name)))
}

// databaseSecret returns a Secret as CloudNativePG creates it for a user of a database.
func databaseSecret(name, userType string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop-databases", Name: name,
			Labels: map[string]string{"cnpg.io/userType": userType, "cnpg.io/reload": "true", "app.kubernetes.io/managed-by": "cloudnative-pg"},
		},
		Type: corev1.SecretTypeBasicAuth,
		Data: map[string][]byte{
			"username": []byte(name), "user": []byte(name), "password": []byte("password of " + name), "dbname": []byte("app"),
			"host": []byte("orders-rw"), "port": []byte("5432"), "pgpass": []byte("line"),
			"uri": []byte("uri"), "jdbc-uri": []byte("uri"), "fqdn-uri": []byte("uri of " + name), "fqdn-jdbc-uri": []byte("uri of " + name),
		},
	}
}

// keysForOtherNamespaces returns what the sample copies of the Secret.
func keysForOtherNamespaces(name string) map[string][]byte {
	data := databaseSecret(name, "app").Data
	for _, key := range []string{"user", "host", "port", "pgpass", "uri", "jdbc-uri"} {
		delete(data, key)
	}
	return data
}

// create creates the object; see expect.CreateForAttempt.
func create(ctx context.Context, object client.Object) {
	GinkgoHelper()
	expect.CreateForAttempt(ctx, admin, object)
}

// afterFailure lets the next attempt begin where this one did, if this one fails.
func afterFailure(restore func(context.Context)) {
	DeferCleanup(func(ctx SpecContext) {
		if CurrentSpecReport().Failed() {
			restore(ctx)
		}
	})
}

// getSampleCopy returns an error if the sample has no copy in the namespace.
func getSampleCopy(ctx context.Context, namespace string) error {
	return admin.Get(ctx, types.NamespacedName{Namespace: namespace, Name: "sample-configmap"}, &corev1.ConfigMap{})
}

// documentedCommands returns the commands in the README and the docs, without comments.
func documentedCommands() []string {
	GinkgoHelper()
	pages, err := filepath.Glob(filepath.Join(repository, "docs", "*.md"))
	Expect(err).NotTo(HaveOccurred())
	var commands []string
	pages = slices.DeleteFunc(pages, func(page string) bool { return filepath.Base(page) == migrationPage })
	for _, page := range append(pages, filepath.Join(repository, "README.md")) {
		if filepath.Base(page) == upgradePage {
			continue
		}
		text, err := os.ReadFile(page)
		Expect(err).NotTo(HaveOccurred())
		for _, block := range shell.Blocks(string(text), "console", "") {
			joined := regexp.MustCompile(`\s*\\\n\s*`).ReplaceAllString(block, " ")
			withOutput := strings.HasPrefix(joined, "$ ") && filepath.Base(page) == pluginPage
			for line := range strings.Lines(joined) {
				line, _, _ = strings.Cut(line, " #")
				line, isCommand := strings.CutPrefix(strings.TrimSpace(line), "$ ")
				if !withOutput {
					commands = append(commands, line)
				} else if isCommand {
					Expect(line).To(HavePrefix("kubectl replika "), "a test of the plugin runs it")
				}
			}
		}
	}
	return commands
}
