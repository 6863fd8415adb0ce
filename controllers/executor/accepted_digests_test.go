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
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/controllers/planner"
)

// When the API server changes what was written, its response is recorded as the one to expect for this template.
var _ = Describe("AcceptedDigests", func() {
	It("are set when the schema has defaults", func(ctx SpecContext) {
		e := newEnv(ctx)
		before := newRawTemplate(customObject(gadgetKind, map[string]any{"spec": map[string]any{"mode": "fast"}}))
		result := e.execute(ctx, before.Kind, e.createAction(before))
		expectOutcome(result, planner.Done)
		expectAcceptedDigests(result.Object, before, "spec")

		after := newRawTemplate(customObject(gadgetKind, map[string]any{"spec": map[string]any{"mode": "slow"}}))
		result = e.execute(ctx, after.Kind, e.updateAction(result.Object, after))
		expectOutcome(result, planner.Done)
		expectAcceptedDigests(result.Object, after, "spec")
		Expect(e.get(ctx, after).Object["spec"]).To(Equal(map[string]any{"mode": "slow", "pace": "steady"}))

		// The API server does not change a template that has the defaults.
		defaulted := newTemplate(ctx, customObject(gadgetKind, map[string]any{"spec": map[string]any{"mode": "slow"}}))
		result = e.execute(ctx, defaulted.Kind, e.updateAction(result.Object, defaulted))
		expectOutcome(result, planner.Done)
		expectInSync(result.Object, defaulted)
		Expect(result.Object.AcceptedDigests).To(BeEmpty())
	})

	It("are set when a webhook mutates the object", func(ctx SpecContext) {
		e := newEnv(ctx)
		createMutatingWebhook(ctx, e, always(map[string]any{
			"data":     map[string]any{"injected": "yes"},
			"metadata": map[string]any{"labels": map[string]any{"injected": "too"}},
		}))
		before := newRawTemplate(configMap(map[string]string{"mode": "fast"}))
		result := e.execute(ctx, before.Kind, e.createAction(before))
		expectOutcome(result, planner.Done)
		expectAcceptedDigests(result.Object, before, "data")

		after := newRawTemplate(configMap(map[string]string{"mode": "slow"}))
		result = e.execute(ctx, after.Kind, e.updateAction(result.Object, after))
		expectOutcome(result, planner.Done)
		Expect(e.interceptor.requests()).To(Equal([]string{"PATCH"}))
		expectAcceptedDigests(result.Object, after, "data")
		Expect(e.get(ctx, after).Object["data"]).To(Equal(map[string]any{"mode": "slow", "injected": "yes"}))
		Expect(e.get(ctx, after).GetLabels()).To(HaveKeyWithValue("injected", "too"))
	})

	It("are set after one more update when a webhook adds a field", func(ctx SpecContext) {
		e := newEnv(ctx)
		before := newRawTemplate(configMap(map[string]string{"mode": "fast"}))
		observed := e.createCopy(ctx, before)
		createMutatingWebhook(ctx, e, always(map[string]any{"immutable": false}))
		after := newRawTemplate(configMap(map[string]string{"mode": "slow"}))

		result := e.execute(ctx, after.Kind, e.updateAction(observed, after))
		expectOutcome(result, planner.Stale)
		result = e.execute(ctx, after.Kind, e.updateAction(result.Object, after))

		expectOutcome(result, planner.Done)
		expectAcceptedDigests(result.Object, after, "immutable")
	})

	It("are set by a merge patch", func(ctx SpecContext) {
		e := newEnv(ctx)
		// Without defaults, which an older source may not have.
		service := func(port int32) *planner.Template {
			return newRawTemplate(&corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Name: "front"},
				Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: port}}},
			})
		}
		before, after := service(80), service(81)
		observed := e.createCopy(ctx, before)
		expectAcceptedDigests(observed, before, "spec")

		result := e.execute(ctx, after.Kind, e.updateAction(observed, after))

		expectOutcome(result, planner.Done)
		expectAcceptedDigests(result.Object, after, "spec")
	})

	It("are not set by a release or a hand-over", func(ctx SpecContext) {
		e := newEnv(ctx)
		template := newRawTemplate(customObject(gadgetKind, map[string]any{"spec": map[string]any{"mode": "fast"}}))
		observed := e.createCopy(ctx, template)

		result := e.execute(ctx, template.Kind, e.handOverAction(observed))

		expectOutcome(result, planner.Done)
		Expect(result.Object.AcceptedDigests).To(BeEmpty())
		expectOutcome(e.execute(ctx, template.Kind, e.action(planner.Release, result.Object)), planner.Done)
	})
})

func expectAcceptedDigests(observed *planner.Observed, template *planner.Template, fields ...string) {
	GinkgoHelper()
	Expect(observed).NotTo(BeNil())
	Expect(template.Digests.Differing(observed.Digests)).To(Equal(fields))
	Expect(observed.AcceptedDigests).To(Equal(template.Digests))
}
