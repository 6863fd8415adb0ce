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
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
	"github.com/prosimcorp/replika/test/operator"
	"github.com/prosimcorp/replika/test/shell"
)

// Names in the base, which overlays rely on.
var (
	deploymentName = types.NamespacedName{Namespace: "replika", Name: "replika-controller-manager"}
	accountName    = deploymentName
)

var _ = Describe("The base that users reference", Ordered, func() {
	var (
		overlay string // the workDir with the README's kustomization.yaml
		process *operator.Process
		metrics string // the address
	)

	BeforeAll(func(ctx SpecContext) {
		overlay = filepath.Join(workDir, "overlay")
		Expect(os.MkdirAll(overlay, 0o700)).To(Succeed())
		kustomization := terminal.UseClone(block("yaml", "kind: Kustomization\nresources:"))
		Expect(os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(kustomization), 0o600)).To(Succeed())
		for _, name := range []string{"store", "branch-a", "branch-b"} {
			create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
		}
	})

	JustAfterEach(func(ctx SpecContext) {
		if process != nil && CurrentSpecReport().Failed() {
			GinkgoWriter.Println(process.Log())
			terminal.Run(ctx, workDir, "kubectl get events.events.k8s.io --all-namespaces")
		}
	})

	stop := func() {
		GinkgoHelper()
		if process != nil && process.Running() {
			Expect(process.Stop()).To(Succeed(), process.Log())
		}
	}
	AfterAll(func() { stop() })

	It("is applied repeatedly by the README's commands, without a conflict", func(ctx SpecContext) {
		terminal.Run(ctx, workDir, block("console", "kubectl apply --server-side --kustomize 'https"))
		for range 2 {
			terminal.Run(ctx, overlay, block("console", "kubectl apply --server-side --kustomize ."))
		}
		deployment := &appsv1.Deployment{}
		Expect(admin.Get(ctx, deploymentName, deployment)).To(Succeed())
		Expect(deployment.Spec.Template.Spec.Containers).To(HaveLen(1))
		Expect(deployment.Spec.Template.Spec.Containers[0].Image).To(HaveSuffix(":"+release()), "the version that the README installs")
		Expect(deployment.Spec.Template.Spec.ServiceAccountName).To(Equal(accountName.Name))
	})

	It("grants the operator's ServiceAccount the permissions for the kinds that the overlay adds", func(ctx SpecContext) {
		var err error
		metrics, err = operator.FreeAddress()
		Expect(err).NotTo(HaveOccurred())
		stop() // that of a failed attempt
		process = startDeployed(ctx, "--metrics-bind-address="+metrics)
		Eventually(process.Ready).Should(Succeed(), process.Log)

		create(ctx, alertmanagerConfig())
		create(ctx, externalSecret())
		for _, source := range []*unstructured.Unstructured{alertmanagerConfig(), externalSecret()} {
			create(ctx, newReplika(source))
			Eventually(readyCondition).WithContext(ctx).WithArguments(source.GetName()).Should(And(HaveField("Reason", v1alpha1.ReasonSynced),
				HaveField("Message", ContainSubstring(source.GetKind()+" store/"+source.GetName())), HaveField("Message", ContainSubstring("2"))), process.Log)
			for _, namespace := range []string{"branch-a", "branch-b"} {
				copied := &unstructured.Unstructured{}
				copied.SetGroupVersionKind(source.GroupVersionKind())
				Expect(admin.Get(ctx, types.NamespacedName{Namespace: namespace, Name: source.GetName()}, copied)).To(Succeed())
				original := source.DeepCopy()
				Expect(admin.Get(ctx, client.ObjectKeyFromObject(source), original)).To(Succeed())
				Expect(copied.Object["spec"]).To(Equal(original.Object["spec"]))
			}
		}
		Expect(process.Log()).NotTo(ContainSubstring("forbidden"), "a permission is missing")
		Expect(healthStatus(ctx, "pager")).To(Equal("Healthy Current"))
	})

	It("limits what the operator's token can be used for", func(ctx SpecContext) {
		Eventually(ctx, func() string { return terminal.Run(ctx, workDir, mintToken+" 2>&1 || true") }).
			Should(And(ContainSubstring("ValidatingAdmissionPolicy"), ContainSubstring("bootstrap.kubernetes.io/token")))
	})

	It("grants it no permissions for other kinds", func(ctx SpecContext) {
		source := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
			"metadata": map[string]any{"name": "closed", "namespace": "store"}, "spec": map[string]any{"podSelector": map[string]any{}},
		}}
		create(ctx, source)
		replika := newReplika(source)
		create(ctx, replika)
		Eventually(readyCondition).WithContext(ctx).WithArguments(source.GetName()).Should(And(
			HaveField("Reason", v1alpha1.ReasonForbidden), HaveField("Message", ContainSubstring("networkpolicies"))))
		Expect(healthStatus(ctx, source.GetName())).To(Equal("Progressing InProgress"), "it waits for the permissions")
		Expect(admin.Delete(ctx, replika)).To(Succeed())
	})

	It("includes alerts and a dashboard, which query the operator's metrics", func(ctx SpecContext) {
		token := createPrometheusAccount(ctx)
		var before int // not zero after a failed attempt
		Eventually(ctx, func() (err error) {
			before, err = scrapeRepairs(ctx, metrics, token)
			return err
		}).Should(Succeed())
		copied := alertmanagerConfig()
		copied.SetNamespace("branch-a")
		Expect(admin.Delete(ctx, copied)).To(Succeed())
		Eventually(scrapeRepairs).WithContext(ctx).WithArguments(metrics, token).Should(Equal(before + 1))
		exposed, err := scrape(ctx, metrics, token)
		Expect(err).NotTo(HaveOccurred())
		expectMetricsExist(ctx, exposed)

		Expect(readme()).To(ContainSubstring("`" + shell.RepositoryURL + "config/prometheus?ref=" + release() + "`"))
		terminal.Run(ctx, workDir, "kubectl apply --server-side --kustomize '"+shell.RepositoryURL+"config/prometheus?ref="+release()+"'")
		expectMonitoringConnected(ctx)
	})

	It("is applied again while the operator runs, without a write to a copy", func(ctx SpecContext) {
		before := copyVersions(ctx)
		Expect(before).To(HaveLen(4))
		terminal.Run(ctx, overlay, block("console", "kubectl apply --server-side --kustomize ."))
		stop()
		process = startDeployed(ctx)
		Eventually(process.Ready).Should(Succeed(), process.Log)
		// Once the operator has replicated a change, it has also reconciled the other Replika.
		expect.Update(ctx, admin, alertmanagerConfig(), func(source *unstructured.Unstructured) {
			receiver := expect.NameOfAttempt("edited")
			Expect(unstructured.SetNestedField(source.Object, receiver, "spec", "route", "receiver")).To(Succeed())
			receivers := []any{map[string]any{"name": receiver}}
			Expect(unstructured.SetNestedSlice(source.Object, receivers, "spec", "receivers")).To(Succeed())
		})
		Eventually(copyVersions).WithContext(ctx).Should(And(
			HaveKeyWithValue("ExternalSecret branch-a", before["ExternalSecret branch-a"]),
			HaveKeyWithValue("ExternalSecret branch-b", before["ExternalSecret branch-b"]),
			Not(HaveKeyWithValue("AlertmanagerConfig branch-a", before["AlertmanagerConfig branch-a"])),
			Not(HaveKeyWithValue("AlertmanagerConfig branch-b", before["AlertmanagerConfig branch-b"])),
		))
	})

	It("is uninstalled by the README's commands, without leftovers", func(ctx SpecContext) {
		if CurrentSpecReport().NumAttempts > 1 {
			stop()
			expect.DeleteNamespace(ctx, admin, deploymentName.Namespace) // it may be in deletion
			terminal.Run(ctx, overlay, block("console", "kubectl apply --server-side --kustomize ."))
			process = startDeployed(ctx)
			Eventually(process.Ready).Should(Succeed(), process.Log)
		}
		uninstall := block("console", "kubectl delete --kustomize")
		Expect(uninstall).To(HavePrefix("kubectl delete replikas --all --all-namespaces\n"))
		first, rest, _ := strings.Cut(uninstall, "\n")
		terminal.Run(ctx, workDir, first)
		Expect(copyVersions(ctx)).To(BeEmpty(), "the copies are deleted with their Replikas")
		terminal.Run(ctx, workDir, rest)
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
		Expect(process.PanicsAndRaces()).To(BeEmpty())
	})
})

// startDeployed starts the operator with the flags and the ServiceAccount of the applied Deployment.
func startDeployed(ctx context.Context, flags ...string) *operator.Process {
	GinkgoHelper()
	deployment := &appsv1.Deployment{}
	Expect(admin.Get(ctx, deploymentName, deployment)).To(Succeed())
	process, err := env.StartAs(ctx, "operator", deployment, flags...)
	Expect(err).NotTo(HaveOccurred())
	return process
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

// newReplika builds a Replika of the source for the branches.
func newReplika(source *unstructured.Unstructured) *v1alpha1.Replika {
	return kit.NewReplika(source, kit.TargetNamespaces("branch-*"))
}

// readyCondition returns the Replika's condition Ready.
func readyCondition(ctx context.Context, name string) (*metav1.Condition, error) {
	replika := &v1alpha1.Replika{}
	if err := admin.Get(ctx, types.NamespacedName{Namespace: "store", Name: name}, replika); err != nil {
		return nil, err
	}
	ready := kit.Condition(replika, v1alpha1.ConditionReady)
	if ready == nil {
		return nil, fmt.Errorf("Replika %s has no condition Ready", name)
	}
	return ready, nil
}

// copyVersions returns the resourceVersions of all copies, by kind and namespace.
func copyVersions(ctx context.Context) map[string]string {
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
