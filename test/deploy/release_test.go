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
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
	"github.com/prosimcorp/replika/test/operator"
)

// Commands for what a release publishes. The specs replace the registry and the release page.
const (
	installChart     = "helm upgrade --install replika oci://ghcr.io/prosimcorp/charts/replika --version 0.5.0 --namespace replika --create-namespace"
	uninstallChart   = "helm uninstall replika --namespace replika"
	deleteCRD        = "kubectl delete crd replikas.replika.prosimcorp.com"
	applyReleasePage = "kubectl apply --server-side --filename https://github.com/prosimcorp/replika/releases/download/v0.5.0/install.yaml"
)

var _ = Describe("What a release publishes", Ordered, func() {
	var (
		files    string // the folder of the files on the release page
		registry string // the address of a registry
		process  *operator.Process
	)

	BeforeAll(func(ctx SpecContext) {
		terminal.Build(ctx, "tools/helm", "helm.sh/helm/v4/cmd/helm")
		terminal.Build(ctx, "tools/registry", "github.com/google/go-containerregistry/cmd/crane")
		files = filepath.Join(workDir, "release")
		registry = startRegistry(ctx)
		terminal.Command(ctx, "make", "-C", repository, "release-manifests", "release-push", "RELEASE="+files,
			"REGISTRY="+registry+"/prosimcorp", "REGISTRY_FLAGS=--plain-http")
		create(ctx, kit.Namespace("chart-source"))
		create(ctx, kit.Namespace("chart-target"))
		DeferCleanup(func(ctx SpecContext) {
			if process != nil && process.Running() {
				Expect(process.Stop()).To(Succeed(), process.Log())
			}
			terminal.Run(ctx, workDir, uninstallChart+" --ignore-not-found")
			terminal.Run(ctx, workDir, deleteCRD+" --ignore-not-found")
			terminal.Run(ctx, workDir, "kubectl delete namespace replika --ignore-not-found")
		})
	})

	// published runs a command of the README with the files and the registry of this suite.
	published := func(ctx context.Context, text string) {
		GinkgoHelper()
		terminal.Run(ctx, workDir, strings.NewReplacer("oci://ghcr.io/", "oci://"+registry+"/", "helm upgrade", "helm upgrade --plain-http",
			"https://github.com/prosimcorp/replika/releases/download/"+release(), files).Replace(text))
	}

	It("has the manifests in an OCI artifact that Argo CD and Flux accept", func(ctx SpecContext) {
		artifact := registry + "/prosimcorp/manifests/replika"
		manifest := struct {
			Layers []struct{ MediaType, Digest string }
		}{}
		Expect(json.Unmarshal([]byte(terminal.Run(ctx, workDir, "crane manifest "+artifact+":"+release())), &manifest)).To(Succeed())
		Expect(manifest.Layers).To(HaveLen(1))
		Expect(manifest.Layers[0].MediaType).To(Equal("application/vnd.oci.image.layer.v1.tar+gzip"))
		extracted := filepath.Join(workDir, "artifact")
		Expect(os.MkdirAll(extracted, 0o700)).To(Succeed())
		terminal.Run(ctx, extracted, "crane blob "+artifact+"@"+manifest.Layers[0].Digest+" | tar --extract --gzip")
		built := terminal.Run(ctx, extracted, "kubectl kustomize manifests")
		Expect(decodeObjects(built)).To(Equal(decodeObjects(terminal.Run(ctx, repository, "kubectl kustomize manifests"))))
		terminal.Run(ctx, extracted, "kubectl kustomize config/prometheus")
		for _, name := range []string{"install.yaml", "bundle.yaml"} {
			file, err := os.ReadFile(filepath.Join(files, name))
			Expect(err).NotTo(HaveOccurred())
			Expect(decodeObjects(string(file))).To(ConsistOf(decodeObjects(built)), name)
		}
	})

	It("has the metadata of the chart's repository where Artifact Hub reads it", func(ctx SpecContext) {
		charts := registry + "/prosimcorp/charts/replika"
		type blob struct{ MediaType, Digest string }
		manifest := struct {
			Config blob
			Layers []blob
		}{}
		Expect(json.Unmarshal([]byte(terminal.Run(ctx, workDir, "crane manifest "+charts+":artifacthub.io")), &manifest)).To(Succeed())
		Expect(manifest.Config.MediaType).To(Equal("application/vnd.cncf.artifacthub.config.v1+yaml"))
		Expect(manifest.Layers).To(HaveLen(1))
		Expect(manifest.Layers[0].MediaType).To(Equal("application/vnd.cncf.artifacthub.repository-metadata.layer.v1.yaml"))
		metadata, err := os.ReadFile(filepath.Join(repository, "artifacthub-repo.yml"))
		Expect(err).NotTo(HaveOccurred())
		Expect(terminal.Run(ctx, workDir, "crane blob "+charts+"@"+manifest.Layers[0].Digest)).To(Equal(string(metadata)))
	})

	It("is installed by the README's helm command, over an earlier version, with its CRD", func(ctx SpecContext) {
		earlier := filepath.Join(workDir, "earlier-chart")
		Expect(os.RemoveAll(earlier)).To(Succeed())
		Expect(os.CopyFS(earlier, os.DirFS(filepath.Join(repository, "charts", "replika")))).To(Succeed())
		terminal.Run(ctx, earlier, "sed -i.orig '/- rpk$/d; /shortNames:$/d' templates/crd.yaml && rm templates/crd.yaml.orig")
		published(ctx, strings.Replace(installChart, "oci://ghcr.io/prosimcorp/charts/replika --version 0.5.0", earlier, 1))
		Expect(shortNames(ctx)).To(BeEmpty())
		published(ctx, block("console", "helm upgrade --install"))
		Expect(shortNames(ctx)).To(ConsistOf("rpk"))
		deployment := &appsv1.Deployment{}
		Expect(admin.Get(ctx, deploymentName, deployment)).To(Succeed())
		Expect(deployment.Spec.Template.Spec.Containers[0].Image).To(HaveSuffix(":" + release()))
	})

	It("runs with the README's values", func(ctx SpecContext) {
		values := filepath.Join(workDir, "values.yaml")
		Expect(os.WriteFile(values, []byte(block("yaml", "extraKinds:")), 0o600)).To(Succeed())
		published(ctx, installChart+" --values values.yaml")
		Expect(admin.Get(ctx, types.NamespacedName{Name: "replika-service-account"}, &admissionregistrationv1.ValidatingAdmissionPolicy{})).To(Succeed())
		Expect(admin.Get(ctx, types.NamespacedName{Name: "replika-impersonator-role"}, &rbacv1.ClusterRole{})).To(Succeed())
		deployment := &appsv1.Deployment{}
		Expect(admin.Get(ctx, deploymentName, deployment)).To(Succeed())
		var err error
		process, err = env.StartAs(ctx, "chart-operator", deployment)
		Expect(err).NotTo(HaveOccurred())
		Eventually(process.Ready).Should(Succeed(), process.Log)
		source := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
			"metadata": map[string]any{"name": expect.NameOfAttempt("closed"), "namespace": "chart-source"},
			"spec":     map[string]any{"podSelector": map[string]any{}, "policyTypes": []any{"Ingress"}},
		}}
		create(ctx, source)
		replika := kit.NewReplika(source, kit.TargetNamespaces("chart-target"))
		create(ctx, replika)
		expect.Copied(ctx, admin, source, "chart-target")
		Expect(process.Log()).NotTo(ContainSubstring("forbidden"), "a permission is missing")
		Expect(admin.Delete(ctx, replika)).To(Succeed())
		expect.Gone(ctx, admin, replika, replika.Namespace)
		Expect(process.Stop()).To(Succeed(), process.Log())
		Expect(process.PanicsAndRaces()).To(BeEmpty())
	})

	It("leaves the CRD when it is uninstalled", func(ctx SpecContext) {
		uninstall := block("console", uninstallChart)
		Expect(uninstall).To(Equal(uninstallChart + "\n" + deleteCRD + "\n"))
		published(ctx, uninstallChart)
		Expect(admin.Get(ctx, deploymentName, &appsv1.Deployment{})).To(Satisfy(apierrors.IsNotFound))
		Expect(shortNames(ctx)).To(ConsistOf("rpk"))
	})

	It("is installed with an operator in another namespace than the release", func(ctx SpecContext) {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: expect.NameOfAttempt("chart-operator")}}
		published(ctx, installChart+" --set namespace.name="+namespace.Name)
		Expect(admin.Get(ctx, client.ObjectKeyFromObject(namespace), namespace)).To(Succeed())
		Expect(namespace.Labels).To(HaveKeyWithValue("pod-security.kubernetes.io/enforce", "restricted"))
		deployment := &appsv1.Deployment{}
		Expect(admin.Get(ctx, types.NamespacedName{Namespace: namespace.Name, Name: deploymentName.Name}, deployment)).To(Succeed())
		published(ctx, uninstallChart+" --wait=legacy")
	})

	It("is installed from one file, and then upgraded by Helm", func(ctx SpecContext) {
		published(ctx, block("console", "kubectl apply --server-side --filename"))
		Expect(admin.Get(ctx, deploymentName, &appsv1.Deployment{})).To(Succeed())
		published(ctx, installChart+" --take-ownership --force-conflicts")
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: deploymentName.Namespace}}
		Expect(admin.Get(ctx, client.ObjectKeyFromObject(namespace), namespace)).To(Succeed())
		Expect(namespace.Annotations).NotTo(HaveKey("meta.helm.sh/release-name"), "it is not part of the release")
		published(ctx, uninstallChart+" && "+deleteCRD)
		definition := crd("replikas.replika.prosimcorp.com")
		Eventually(func() error { return admin.Get(ctx, client.ObjectKeyFromObject(definition), definition) }).Should(Satisfy(apierrors.IsNotFound))
	})
})

// startRegistry starts a registry that keeps everything in memory, and returns its address.
func startRegistry(ctx context.Context) string {
	GinkgoHelper()
	address, err := operator.FreeAddress()
	Expect(err).NotTo(HaveOccurred())
	server := exec.Command(filepath.Join(terminal.BinDir(), "crane"), "registry", "serve", "--address", address)
	server.Stdout, server.Stderr = GinkgoWriter, GinkgoWriter
	Expect(server.Start()).To(Succeed())
	DeferCleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait() // it is killed
	})
	Eventually(ctx, func() error {
		return exec.CommandContext(ctx, filepath.Join(terminal.BinDir(), "crane"), "catalog", address).Run()
	}).Should(Succeed())
	return address
}

// shortNames returns those in the CRD of Replikas.
func shortNames(ctx context.Context) []string {
	GinkgoHelper()
	definition := crd("replikas.replika.prosimcorp.com")
	Expect(admin.Get(ctx, client.ObjectKeyFromObject(definition), definition)).To(Succeed())
	names, _, err := unstructured.NestedStringSlice(definition.Object, "spec", "names", "shortNames")
	Expect(err).NotTo(HaveOccurred())
	return names
}
