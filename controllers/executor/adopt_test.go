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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/controllers/planner"
)

var _ = Describe("Adopt", func() {
	adopt := func(e *env, observed *planner.Observed, template *planner.Template) planner.Action {
		action := e.updateAction(observed, template)
		action.Adopt = true
		return action
	}
	newForeign := func(ctx SpecContext, e *env) *unstructured.Unstructured {
		GinkgoHelper()
		foreign := toUnstructured(configMap(map[string]string{"theirs": "yes"}))
		foreign.SetNamespace(e.namespace)
		Expect(api.Create(ctx, foreign)).To(Succeed())
		return foreign
	}

	It("sends one request for an object without labels and annotations", func(ctx SpecContext) {
		e := newEnv(ctx)
		observed := observe(newForeign(ctx, e))
		Expect([]bool{observed.HasLabels, observed.HasAnnotations}).To(Equal([]bool{false, false}))
		template := newTemplate(ctx, configMap(map[string]string{"mode": "fast"}), withLabels(map[string]string{"tier": "gold"}))

		result := e.execute(ctx, template.Kind, adopt(e, observed, template))

		expectOutcome(result, planner.Done)
		Expect(e.interceptor.requests()).To(Equal([]string{"PATCH"}))
		expectInSync(result.Object, template)
		Expect(result.Object.Adopted).To(BeTrue())
		Expect(result.Object.UID).To(Equal(observed.UID))
		Expect(e.get(ctx, template).Object["data"]).To(Equal(map[string]any{"mode": "fast"}))

		template = newTemplate(ctx, configMap(map[string]string{"mode": "slow"}))
		expectOutcome(e.execute(ctx, template.Kind, e.updateAction(result.Object, template)), planner.Done)
		Expect(e.observe(ctx, template).Adopted).To(BeTrue(), "it is still recorded as adopted")
	})

	It("reads an object with labels or annotations, and removes those of other replicators", func(ctx SpecContext) {
		e := newEnv(ctx)
		foreign := toUnstructured(configMap(map[string]string{"theirs": "yes"}))
		foreign.SetNamespace(e.namespace)
		foreign.SetLabels(map[string]string{"theirs": "stays", "hnc.x-k8s.io/inherited-from": "vault"})
		foreign.SetAnnotations(map[string]string{"theirs": "stays", "argocd.argoproj.io/tracking-id": "vault"})
		Expect(api.Create(ctx, foreign)).To(Succeed())
		template := newTemplate(ctx, configMap(map[string]string{"mode": "fast"}))

		result := e.execute(ctx, template.Kind, adopt(e, observe(foreign), template))

		expectOutcome(result, planner.Done)
		Expect(e.interceptor.requests()).To(Equal([]string{"GET", "PATCH"}))
		expectInSync(result.Object, template)
		adopted := e.get(ctx, template)
		Expect(adopted.GetUID()).To(Equal(foreign.GetUID()))
		Expect(adopted.Object["data"]).To(Equal(map[string]any{"mode": "fast"}))
		Expect(adopted.GetLabels()).To(And(HaveKeyWithValue("theirs", "stays"), Not(HaveKey("hnc.x-k8s.io/inherited-from"))))
		Expect(adopted.GetAnnotations()).To(And(HaveKeyWithValue("theirs", "stays"), Not(HaveKey("argocd.argoproj.io/tracking-id"))))
		Expect(result.Object.Adopted).To(BeTrue())
	})

	DescribeTable("changes nothing after any concurrent change", func(ctx SpecContext, change func(*unstructured.Unstructured, metav1.OwnerReference)) {
		e := newEnv(ctx)
		observed, controller := observe(newForeign(ctx, e)), e.newController(ctx)
		template := newTemplate(ctx, configMap(nil))
		var modified *unstructured.Unstructured
		e.interceptor.before(1, func() {
			e.modify(ctx, template, func(object *unstructured.Unstructured) { change(object, controller) })
			modified = e.get(ctx, template)
		})

		result := e.execute(ctx, template.Kind, adopt(e, observed, template))

		expectOutcome(result, planner.Stale)
		Expect(result.Object).To(Equal(observe(modified)))
		Expect(e.get(ctx, template)).To(Equal(modified))
	},
		Entry("labels added", func(object *unstructured.Unstructured, _ metav1.OwnerReference) {
			object.SetLabels(map[string]string{"theirs": "stays"})
		}),
		Entry("controller reference added", func(object *unstructured.Unstructured, controller metav1.OwnerReference) {
			object.SetOwnerReferences([]metav1.OwnerReference{controller})
		}),
		Entry("adopted by another Replika", func(object *unstructured.Unstructured, _ metav1.OwnerReference) {
			object.SetAnnotations(planner.Marks{
				Owner: otherReplika, Source: otherReplika, Self: types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()},
			}.Annotations())
		}),
	)
})
