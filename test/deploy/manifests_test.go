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
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/operator"
)

// What the base is called by; overlays rely on it.
var (
	deploymentName = types.NamespacedName{Namespace: "replika", Name: "replika-controller-manager"}
	accountName    = deploymentName
)

var _ = Describe("The base that users reference", Ordered, func() {
	var (
		overlay string // the folder with the README's kustomization.yaml
		process *operator.Process
		metrics string // the address
	)

	BeforeAll(func(ctx SpecContext) {
		overlay = filepath.Join(folder, "overlay")
		Expect(os.Mkdir(overlay, 0o700)).To(Succeed())
		kustomization := local(block("yaml", "kind: Kustomization\nresources:"))
		Expect(os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(kustomization), 0o600)).To(Succeed())
		for _, name := range []string{"store", "shop-a", "shop-b"} {
			Expect(admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})).To(Succeed())
		}
	})

	JustAfterEach(func(ctx SpecContext) {
		if process != nil && CurrentSpecReport().Failed() {
			GinkgoWriter.Println(process.Log())
			shell(ctx, folder, "kubectl get events.events.k8s.io --all-namespaces")
		}
	})

	AfterAll(func() {
		if process != nil && process.Running() {
			Expect(process.Stop()).To(Succeed(), process.Log())
		}
	})

	It("is applied by the README's commands, over and over without a conflict", func(ctx SpecContext) {
		shell(ctx, folder, block("console", "kubectl apply --server-side --kustomize 'https"))
		for range 2 {
			shell(ctx, overlay, block("console", "kubectl apply --server-side --kustomize ."))
		}
		deployment := &appsv1.Deployment{}
		Expect(admin.Get(ctx, deploymentName, deployment)).To(Succeed())
		Expect(deployment.Spec.Template.Spec.Containers).To(HaveLen(1))
		Expect(deployment.Spec.Template.Spec.Containers[0].Image).To(HaveSuffix(":"+release()), "the version that the README tells to install")
		Expect(deployment.Spec.Template.Spec.ServiceAccountName).To(Equal(accountName.Name))
	})

	It("gives the operator's ServiceAccount the rights to copy what the overlay adds", func(ctx SpecContext) {
		var err error
		metrics, err = operator.FreeAddress()
		Expect(err).NotTo(HaveOccurred())
		process = startAs(ctx, accountName, "--metrics-bind-address="+metrics)
		Eventually(process.Ready).Should(Succeed(), process.Log)

		Expect(admin.Create(ctx, alertmanagerConfig())).To(Succeed())
		Expect(admin.Create(ctx, externalSecret())).To(Succeed())
		for _, source := range []*unstructured.Unstructured{alertmanagerConfig(), externalSecret()} {
			Expect(admin.Create(ctx, replikaOf(source))).To(Succeed())
			Eventually(readiness).WithContext(ctx).WithArguments(source.GetName()).
				Should(Equal("Synced: "+source.GetKind()+" store/"+source.GetName()+" is copied to 2 namespaces"), process.Log)
			for _, namespace := range []string{"shop-a", "shop-b"} {
				copied := &unstructured.Unstructured{}
				copied.SetGroupVersionKind(source.GroupVersionKind())
				Expect(admin.Get(ctx, types.NamespacedName{Namespace: namespace, Name: source.GetName()}, copied)).To(Succeed())
				original := source.DeepCopy()
				Expect(admin.Get(ctx, client.ObjectKeyFromObject(source), original)).To(Succeed())
				Expect(copied.Object["spec"]).To(Equal(original.Object["spec"]))
			}
		}
		Expect(process.Log()).NotTo(ContainSubstring("forbidden"), "a right is missing")
		Expect(health(ctx, "pager")).To(Equal("Healthy Current"))
	})

	It("gives it no rights to other kinds", func(ctx SpecContext) {
		source := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
			"metadata": map[string]any{"name": "closed", "namespace": "store"}, "spec": map[string]any{"podSelector": map[string]any{}},
		}}
		Expect(admin.Create(ctx, source)).To(Succeed())
		replika := replikaOf(source)
		Expect(admin.Create(ctx, replika)).To(Succeed())
		Eventually(readiness).WithContext(ctx).WithArguments(source.GetName()).Should(And(HavePrefix("Forbidden: "), ContainSubstring("networkpolicies")))
		Expect(health(ctx, source.GetName())).To(Equal("Progressing InProgress"), "it waits for the rights")
		Expect(admin.Delete(ctx, replika)).To(Succeed())
	})

	It("comes with alerts and a dashboard, which ask for what the operator tells", func(ctx SpecContext) {
		copied := alertmanagerConfig()
		copied.SetNamespace("shop-a")
		Expect(admin.Delete(ctx, copied)).To(Succeed())
		token := prometheus(ctx)
		Eventually(scrape).WithContext(ctx).WithArguments(metrics, token).Should(MatchRegexp(`replika_drift_repairs_total{name="pager",.*} 1\n`))
		told, err := scrape(ctx, metrics, token)
		Expect(err).NotTo(HaveOccurred())
		expectKnown(ctx, told)

		Expect(readme()).To(ContainSubstring("`" + published + "config/prometheus?ref=" + release() + "`"))
		shell(ctx, folder, "kubectl apply --server-side --kustomize '"+published+"config/prometheus?ref="+release()+"'")
		expectConnected(ctx)
	})

	It("is applied again while the operator runs, and no copy is touched", func(ctx SpecContext) {
		before := versions(ctx)
		Expect(before).To(HaveLen(4))
		shell(ctx, overlay, block("console", "kubectl apply --server-side --kustomize ."))
		Expect(process.Stop()).To(Succeed(), process.Log())
		process = startAs(ctx, accountName)
		Eventually(process.Ready).Should(Succeed(), process.Log)
		// It has looked at everything once a change comes through.
		source := alertmanagerConfig()
		Expect(admin.Get(ctx, client.ObjectKeyFromObject(source), source)).To(Succeed())
		Expect(unstructured.SetNestedField(source.Object, "nobody", "spec", "route", "receiver")).To(Succeed())
		receivers := []any{map[string]any{"name": "nobody"}}
		Expect(unstructured.SetNestedSlice(source.Object, receivers, "spec", "receivers")).To(Succeed())
		Expect(admin.Update(ctx, source)).To(Succeed())
		Eventually(versions).WithContext(ctx).Should(And(
			HaveKeyWithValue("ExternalSecret shop-a", before["ExternalSecret shop-a"]),
			HaveKeyWithValue("ExternalSecret shop-b", before["ExternalSecret shop-b"]),
			Not(HaveKeyWithValue("AlertmanagerConfig shop-a", before["AlertmanagerConfig shop-a"])),
			Not(HaveKeyWithValue("AlertmanagerConfig shop-b", before["AlertmanagerConfig shop-b"])),
		))
	})

	It("is uninstalled by the README's commands, and nothing is left", func(ctx SpecContext) {
		uninstall := block("console", "kubectl delete --kustomize")
		Expect(uninstall).To(HavePrefix("kubectl delete replikas --all --all-namespaces\n"))
		first, rest, _ := strings.Cut(uninstall, "\n")
		shell(ctx, folder, first)
		Expect(versions(ctx)).To(BeEmpty(), "the copies go with their Replikas")
		shell(ctx, folder, rest)
		for _, object := range []client.Object{
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "replika"}},
			crd("replikas.replika.prosimcorp.com"),
		} {
			Eventually(func() error { return admin.Get(ctx, client.ObjectKeyFromObject(object), object) }).
				Should(Satisfy(apierrors.IsNotFound), object.GetName())
		}
		for _, source := range []*unstructured.Unstructured{alertmanagerConfig(), externalSecret()} {
			Expect(admin.Get(ctx, client.ObjectKeyFromObject(source), source)).To(Succeed(), "the sources stay")
		}
		Expect(process.Complaints()).To(BeEmpty())
	})
})

// startAs runs the operator with the flags of the applied Deployment and the rights of the ServiceAccount, by a token of
// its own.
func startAs(ctx context.Context, account types.NamespacedName, flags ...string) *operator.Process {
	GinkgoHelper()
	access := rest.AnonymousClientConfig(controlPlane.Config)
	access.BearerToken = tokenOf(ctx, account)
	kubeconfig := filepath.Join(folder, "operator.kubeconfig")
	Expect(controlPlane.KubeconfigFor(access, kubeconfig)).To(Succeed())

	process, err := operator.Start(operator.Options{
		Binary: binary, Kubeconfig: kubeconfig, LogFile: filepath.Join(folder, "operator.log"),
		Args: slices.Concat(deployedFlags(ctx), []string{"--leader-election-namespace=" + account.Namespace}, flags),
	})
	Expect(err).NotTo(HaveOccurred())
	return process
}

// tokenOf is a token of the ServiceAccount, as a Pod gets it.
func tokenOf(ctx context.Context, account types.NamespacedName) string {
	GinkgoHelper()
	serviceAccount := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: account.Namespace, Name: account.Name}}
	token := &authenticationv1.TokenRequest{}
	Expect(admin.SubResource("token").Create(ctx, serviceAccount, token)).To(Succeed())
	return token.Status.Token
}

// deployedFlags are the flags of the Deployment but for the ports, which are this machine's.
func deployedFlags(ctx context.Context) []string {
	GinkgoHelper()
	deployment := &appsv1.Deployment{}
	Expect(admin.Get(ctx, deploymentName, deployment)).To(Succeed())
	var flags []string
	for _, flag := range deployment.Spec.Template.Spec.Containers[0].Args {
		if !strings.Contains(flag, "-bind-address=") {
			flags = append(flags, strings.ReplaceAll(flag, "$(POD_NAMESPACE)", deployment.Namespace))
		}
	}
	return flags
}

func alertmanagerConfig() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "monitoring.coreos.com/v1alpha1", "kind": "AlertmanagerConfig",
		"metadata": map[string]any{"name": "pager", "namespace": "store"},
		"spec": map[string]any{
			"route":     map[string]any{"receiver": "team", "groupBy": []any{"namespace"}},
			"receivers": []any{map[string]any{"name": "team", "webhookConfigs": []any{map[string]any{"url": "https://pager.example.com"}}}},
		},
	}}
}

func externalSecret() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
		"metadata": map[string]any{"name": "database", "namespace": "store"},
		"spec": map[string]any{
			"secretStoreRef": map[string]any{"name": "vault", "kind": "ClusterSecretStore"},
			"target":         map[string]any{"name": "database"},
			"data": []any{map[string]any{
				"secretKey": "password", "remoteRef": map[string]any{"key": "database", "property": "password"},
			}},
		},
	}}
}

// replikaOf copies the source to the shops.
func replikaOf(source *unstructured.Unstructured) *v1alpha1.Replika {
	kind := source.GroupVersionKind()
	return &v1alpha1.Replika{
		ObjectMeta: metav1.ObjectMeta{Namespace: source.GetNamespace(), Name: source.GetName()},
		Spec: v1alpha1.ReplikaSpec{
			Source: v1alpha1.SourceSpec{Group: kind.Group, Version: kind.Version, Kind: kind.Kind, Name: source.GetName()},
			Target: v1alpha1.TargetSpec{Namespaces: v1alpha1.TargetNamespaces{ReplicateIn: []v1alpha1.NamespacePattern{"shop-*"}}},
		},
	}
}

// readiness is the reason and message of the Replika's condition Ready.
func readiness(ctx context.Context, name string) (string, error) {
	replika := &v1alpha1.Replika{}
	if err := admin.Get(ctx, types.NamespacedName{Namespace: "store", Name: name}, replika); err != nil {
		return "", err
	}
	ready := meta.FindStatusCondition(replika.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return "", fmt.Errorf("Replika %s has no condition Ready", name)
	}
	return ready.Reason + ": " + ready.Message, nil
}

// versions are the resourceVersions of all copies, by kind and namespace.
func versions(ctx context.Context) map[string]string {
	GinkgoHelper()
	found := map[string]string{}
	for _, source := range []*unstructured.Unstructured{alertmanagerConfig(), externalSecret()} {
		copies := &unstructured.UnstructuredList{}
		copies.SetGroupVersionKind(source.GroupVersionKind())
		Expect(admin.List(ctx, copies, client.MatchingLabels{v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue})).To(Succeed())
		for i := range copies.Items {
			found[source.GetKind()+" "+copies.Items[i].GetNamespace()] = copies.Items[i].GetResourceVersion()
		}
	}
	return found
}

func crd(name string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion("apiextensions.k8s.io/v1")
	object.SetKind("CustomResourceDefinition")
	object.SetName(name)
	return object
}
