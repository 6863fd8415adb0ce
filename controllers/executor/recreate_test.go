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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/controllers/planner"
)

var _ = Describe("Recreate", func() {
	withMode := func(mode string) *corev1.ConfigMap { return immutableConfigMap(map[string]string{"mode": mode}) }
	recreate := func(e *env, observed *planner.Observed, template *planner.Template) planner.Action {
		action := e.updateAction(observed, template)
		action.Type = planner.Recreate
		return action
	}

	It("deletes and creates the copy", func(ctx SpecContext) {
		e := newEnv(ctx)
		observed := e.createCopy(ctx, newTemplate(ctx, withMode("fast")))
		template := newTemplate(ctx, withMode("slow"))

		result := e.execute(ctx, template.Kind, recreate(e, observed, template))

		expectOutcome(result, planner.Done)
		Expect(e.interceptor.requests()).To(Equal([]string{"DELETE", "POST"}))
		expectInSync(result.Object, template)
		Expect(result.Object).To(Equal(e.observe(ctx, template)))
		Expect(result.Object.UID).NotTo(Equal(observed.UID))
	})

	DescribeTable("changes nothing after a concurrent change", func(ctx SpecContext, change concurrentChange) {
		e := newEnv(ctx)
		before := newTemplate(ctx, configMap(map[string]string{"mode": "fast"}))
		observed := e.createCopy(ctx, before)
		template := newTemplate(ctx, withMode("slow"))
		var modified *unstructured.Unstructured
		e.interceptor.before(1, func() {
			change(ctx, e, before)
			modified = e.get(ctx, before)
		})

		expectOutcome(e.execute(ctx, template.Kind, recreate(e, observed, template)), planner.Stale)

		Expect(e.get(ctx, template)).To(Equal(modified))
	},
		Entry("recreated with marks", recreated),
		Entry("owner mark removed", ownerMarkRemoved),
		Entry("owner changed", ownerChanged),
		Entry("marks version raised", marksVersionRaised),
		Entry("data changed", dataChanged),
	)

	It("does not change an object that was created between the delete and the create", func(ctx SpecContext) {
		e := newEnv(ctx)
		observed := e.createCopy(ctx, newTemplate(ctx, withMode("fast")))
		template := newTemplate(ctx, withMode("slow"))
		foreign := configMap(map[string]string{"mode": "mine"})
		foreign.Namespace = e.namespace
		e.interceptor.before(2, func() { Expect(api.Create(ctx, foreign)).To(Succeed()) })

		result := e.execute(ctx, template.Kind, recreate(e, observed, template))

		expectOutcome(result, planner.Stale)
		Expect(result.Object.UID).To(Equal(foreign.UID))
		Expect(e.get(ctx, template).GetResourceVersion()).To(Equal(foreign.ResourceVersion))
	})

	It("returns a terminating object when it has a finalizer", func(ctx SpecContext) {
		e := newEnv(ctx)
		before := newTemplate(ctx, withMode("fast"))
		e.createCopy(ctx, before)
		e.addFinalizer(ctx, before)
		template := newTemplate(ctx, withMode("slow"))

		result := e.execute(ctx, template.Kind, recreate(e, e.observe(ctx, before), template))

		expectOutcome(result, planner.Stale)
		Expect(result.Object).NotTo(BeNil())
		Expect(result.Object.Terminating).To(BeTrue())
	})

	It("creates the copy when it does not exist", func(ctx SpecContext) {
		e := newEnv(ctx)
		before := newTemplate(ctx, withMode("fast"))
		observed := e.createCopy(ctx, before)
		e.remove(ctx, before)
		template := newTemplate(ctx, withMode("slow"))

		expectOutcome(e.execute(ctx, template.Kind, recreate(e, observed, template)), planner.Done)
		expectInSync(e.observe(ctx, template), template)
	})
})
