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
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("A policy that changes copies on admission", func() {
	It("Should cost one write per change of the source, and be reported", func(ctx SpecContext) {
		f := newFixture()
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		pinMode(ctx, a)
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

		By("editing only what the policy pins: the write changes nothing")
		edited = markAudit()
		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["mode"] = "faster" })
		f.eventuallyWrites(ctx, edited, "configmaps", source.Name).Should(HaveLen(1))
		expectIdle()
		Expect(f.writesTo(edited, "configmaps", source.Name)).To(HaveLen(1))
	})
})

// pinMode creates a policy that sets the key "mode" of every ConfigMap of the namespace, and returns when it is in effect. It
// requires Kubernetes 1.36.
func pinMode(ctx context.Context, namespace string) {
	GinkgoHelper()
	policy := &admissionregistrationv1.MutatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "pin-mode-" + namespace},
		Spec: admissionregistrationv1.MutatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{
				NamespaceSelector: selectNamespace(namespace),
				ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
					RuleWithOperations: admissionregistrationv1.RuleWithOperations{
						Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
						Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
					},
				}},
			},
			ReinvocationPolicy: admissionregistrationv1.NeverReinvocationPolicy,
			Mutations: []admissionregistrationv1.Mutation{{
				PatchType:          admissionregistrationv1.PatchTypeApplyConfiguration,
				ApplyConfiguration: &admissionregistrationv1.ApplyConfiguration{Expression: `Object{data: {"mode": "safe"}}`},
			}},
		},
	}
	create(ctx, policy)
	DeferCleanup(deleteAndWait, policy)
	binding := create(ctx, &admissionregistrationv1.MutatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: policy.Name},
		Spec:       admissionregistrationv1.MutatingAdmissionPolicyBindingSpec{PolicyName: policy.Name},
	})
	DeferCleanup(deleteAndWait, binding)
	Eventually(ctx, func(g Gomega) {
		probe := kit.ConfigMap(namespace, "probe", "")
		g.Expect(api.Create(ctx, probe, client.DryRunAll)).To(Succeed())
		g.Expect(probe.Data).To(HaveKeyWithValue("mode", "safe"))
	}).WithTimeout(time.Minute).Should(Succeed())
}
