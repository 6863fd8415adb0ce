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

package executor_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/controllers/planner"
)

// What the API server makes of what is written is remembered as the answer to expect for this template.
var _ = Describe("An answer that differs from what was written", func() {
	It("comes from a schema's defaults", func(ctx SpecContext) {
		s := newStage(ctx)
		before := rawTemplateOf(custom(gadgetKind, map[string]any{"spec": map[string]any{"mode": "fast"}}))
		result := s.do(ctx, before.Kind, s.create(before))
		expectOutcome(result, planner.Done)
		expectAnswer(result.Object, before, "spec")

		after := rawTemplateOf(custom(gadgetKind, map[string]any{"spec": map[string]any{"mode": "slow"}}))
		result = s.do(ctx, after.Kind, s.update(result.Object, after))
		expectOutcome(result, planner.Done)
		expectAnswer(result.Object, after, "spec")
		Expect(s.live(ctx, after).Object["spec"]).To(Equal(map[string]any{"mode": "slow", "pace": "steady"}))

		// Once the template is what the API server makes of it, there is nothing to remember.
		whole := templateOf(ctx, custom(gadgetKind, map[string]any{"spec": map[string]any{"mode": "slow"}}))
		result = s.do(ctx, whole.Kind, s.update(result.Object, whole))
		expectOutcome(result, planner.Done)
		expectInSync(result.Object, whole)
		Expect(result.Object.AcceptedDigests).To(BeEmpty())
	})

	It("comes from a policy", func(ctx SpecContext) {
		s := newStage(ctx)
		mutate(ctx, s, `Object{data: {"injected": "yes"}, metadata: Object.metadata{labels: {"injected": "too"}}}`)
		before := rawTemplateOf(configMap(map[string]string{"mode": "fast"}))
		result := s.do(ctx, before.Kind, s.create(before))
		expectOutcome(result, planner.Done)
		expectAnswer(result.Object, before, "data")

		after := rawTemplateOf(configMap(map[string]string{"mode": "slow"}))
		result = s.do(ctx, after.Kind, s.update(result.Object, after))
		expectOutcome(result, planner.Done)
		Expect(s.wire.requests()).To(Equal([]string{"PATCH"}))
		expectAnswer(result.Object, after, "data")
		Expect(s.live(ctx, after).Object["data"]).To(Equal(map[string]any{"mode": "slow", "injected": "yes"}))
		Expect(s.live(ctx, after).GetLabels()).To(HaveKeyWithValue("injected", "too"))
	})

	It("comes, for a field that is there because of a policy only, with one request more", func(ctx SpecContext) {
		s := newStage(ctx)
		before := rawTemplateOf(configMap(map[string]string{"mode": "fast"}))
		observed := s.copied(ctx, before)
		mutate(ctx, s, `Object{immutable: false}`)
		after := rawTemplateOf(configMap(map[string]string{"mode": "slow"}))

		result := s.do(ctx, after.Kind, s.update(observed, after))
		expectOutcome(result, planner.Stale)
		result = s.do(ctx, after.Kind, s.update(result.Object, after))

		expectOutcome(result, planner.Done)
		expectAnswer(result.Object, after, "immutable")
	})

	It("comes from a merge too", func(ctx SpecContext) {
		s := newStage(ctx)
		// Sent without its defaults, as an old source might be.
		service := func(port int32) *planner.Template {
			return rawTemplateOf(&corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Name: "front"},
				Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: port}}},
			})
		}
		before, after := service(80), service(81)
		observed := s.copied(ctx, before)
		expectAnswer(observed, before, "spec")

		result := s.do(ctx, after.Kind, s.update(observed, after))

		expectOutcome(result, planner.Done)
		expectAnswer(result.Object, after, "spec")
	})

	It("is of no account for one that is given up", func(ctx SpecContext) {
		s := newStage(ctx)
		template := rawTemplateOf(custom(gadgetKind, map[string]any{"spec": map[string]any{"mode": "fast"}}))
		observed := s.copied(ctx, template)
		handOver := s.about(planner.HandOver, observed)
		handOver.NewOwner = theirs

		result := s.do(ctx, template.Kind, handOver)

		expectOutcome(result, planner.Done)
		Expect(result.Object.AcceptedDigests).To(BeEmpty())
		expectOutcome(s.do(ctx, template.Kind, s.about(planner.Release, result.Object)), planner.Done)
	})
})

func expectAnswer(observed *planner.Observed, template *planner.Template, fields ...string) {
	GinkgoHelper()
	Expect(observed).NotTo(BeNil())
	Expect(template.Digests.Differing(observed.Digests)).To(Equal(fields))
	Expect(observed.AcceptedDigests).To(Equal(template.Digests))
}

// mutate puts a MutatingAdmissionPolicy in force in the stage's namespace. On API servers before 1.36 there are none.
func mutate(ctx SpecContext, s *stage, configuration string) {
	GinkgoHelper()
	policy := &admissionregistrationv1.MutatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: s.id + "-mutation"},
		Spec: admissionregistrationv1.MutatingAdmissionPolicySpec{
			MatchConstraints:   constraints(s),
			ReinvocationPolicy: admissionregistrationv1.NeverReinvocationPolicy,
			Mutations: []admissionregistrationv1.Mutation{{
				PatchType:          admissionregistrationv1.PatchTypeApplyConfiguration,
				ApplyConfiguration: &admissionregistrationv1.ApplyConfiguration{Expression: configuration},
			}},
		},
	}
	policy.Spec.MatchConstraints.ResourceRules[0].Operations = []admissionregistrationv1.OperationType{
		admissionregistrationv1.Create, admissionregistrationv1.Update,
	}
	binding := &admissionregistrationv1.MutatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: policy.Name},
		Spec:       admissionregistrationv1.MutatingAdmissionPolicyBindingSpec{PolicyName: policy.Name},
	}
	for _, object := range []client.Object{policy, binding} {
		Expect(api.Create(ctx, object)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(api.Delete(ctx, object)).To(Succeed()) })
	}
	probe := unstructuredOf(configMap(nil))
	probe.SetNamespace(s.namespace)
	probe.SetName("probe")
	Eventually(ctx, func(g Gomega) {
		answer := probe.DeepCopy()
		g.Expect(api.Create(ctx, answer, client.DryRunAll)).To(Succeed())
		g.Expect(answer.Object).To(Or(HaveKey("data"), HaveKey("immutable")), "it was sent without either")
	}).Should(Succeed())
}
