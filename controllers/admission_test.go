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

package controllers_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("A webhook that changes copies on admission", func() {
	It("Should cost one write per change of the source, and be reported", func(ctx SpecContext) {
		f := newFixture()
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		pinMode(ctx, kit.ConfigMap(a, "probe", ""), admissionregistrationv1.Rule{
			APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"},
		}, "data")
		source := create(ctx, kit.ConfigMap(home, "settings", "one"))
		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["mode"] = "fast" })
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expectPinned := func(value string) {
			GinkgoHelper()
			Eventually(ctx, func(g Gomega) {
				copied := &corev1.ConfigMap{}
				g.Expect(api.Get(ctx, client.ObjectKey{Namespace: a, Name: source.Name}, copied)).To(Succeed())
				g.Expect(copied.Data).To(Equal(map[string]string{"key": value, "mode": "safe"}))
			}).Should(Succeed())
		}
		expectIdle := func() {
			GinkgoHelper()
			expect.Status(ctx, api, replika, func(g Gomega, current *v1alpha1.Replika) {
				g.Expect(current.Status.Source).To(HaveValue(HaveField("ResourceVersion", source.ResourceVersion)))
				g.Expect(kit.Ready(current).Reason).To(Equal(v1alpha1.ReasonSynced))
				g.Expect(kit.Ready(current).Message).To(ContainSubstring("data"))
			})
			idle := markAudit()
			f.waitForReads(ctx, idle, source, 4)
			Expect(f.writes(idle)).To(BeEmpty())
		}
		expectPinned("one")
		expectIdle()

		By("editing the source")
		edited := markAudit()
		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		expectPinned("two")
		expectIdle()
		Expect(f.writesTo(edited, "configmaps", source.Name)).To(HaveLen(1))

		By("editing only what the webhook pins: the write changes nothing")
		edited = markAudit()
		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["mode"] = "faster" })
		f.eventuallyWrites(ctx, edited, "configmaps", source.Name).Should(HaveLen(1))
		expectIdle()
		Expect(f.writesTo(edited, "configmaps", source.Name)).To(HaveLen(1))
	})
})

// pinMode installs a webhook that sets "mode" in a top-level field of every object of a resource in the probe's namespace, and
// returns when it is in effect.
func pinMode(ctx context.Context, probe client.Object, rule admissionregistrationv1.Rule, field string) {
	GinkgoHelper()
	server, reached := kit.ServeWebhook(func(request *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		return kit.MergeFields(request, map[string]any{field: map[string]any{"mode": "safe"}})
	})
	DeferCleanup(server.Close)
	hook := create(ctx, &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "pin-mode-" + probe.GetNamespace()},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name:                    "pin-mode.suite.example.com",
			ClientConfig:            reached,
			NamespaceSelector:       selectNamespace(probe.GetNamespace()),
			SideEffects:             new(admissionregistrationv1.SideEffectClassNone),
			AdmissionReviewVersions: []string{"v1"},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
				Rule:       rule,
			}},
		}},
	})
	DeferCleanup(deleteAndWait, hook)
	Eventually(ctx, func(g Gomega) {
		changed := probe.DeepCopyObject().(client.Object)
		g.Expect(api.Create(ctx, changed, client.DryRunAll)).To(Succeed())
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(changed)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(valueAt(&unstructured.Unstructured{Object: fields}, "/"+field+"/mode")).To(Equal("safe"))
	}).WithTimeout(time.Minute).Should(Succeed())
}
