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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/controllers/planner"
)

var _ = Describe("Delete", func() {
	It("sends one request", func(ctx SpecContext) {
		e := newEnv(ctx)
		template := newTemplate(ctx, configMap(nil))
		observed := e.createCopy(ctx, template)

		result := e.execute(ctx, template.Kind, e.action(planner.Delete, observed))

		expectOutcome(result, planner.Done)
		Expect(result.Object).To(BeNil())
		Expect(e.interceptor.requests()).To(Equal([]string{"DELETE"}))
		e.expectNotFound(ctx, template)
	})

	DescribeTable("deletes kinds for which the response is the deleted object", func(ctx SpecContext, source client.Object) {
		e := newEnv(ctx)
		template := newTemplate(ctx, source)
		observed := e.createCopy(ctx, template)

		result := e.execute(ctx, template.Kind, e.action(planner.Delete, observed))

		expectOutcome(result, planner.Done)
		Expect(result.Object).To(BeNil())
		e.expectNotFound(ctx, template)
	},
		Entry("ServiceAccount", &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}),
		Entry("Service", &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: "front"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
		}),
		Entry("PodTemplate", &corev1.PodTemplate{
			ObjectMeta: metav1.ObjectMeta{Name: "shape"},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "shape"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "run", Image: "example.com/run"}}},
			},
		}),
	)

	It("deletes an unscheduled Pod", func(ctx SpecContext) {
		e := newEnv(ctx)
		// The API server rejects a Pod until its ServiceAccount exists.
		Eventually(ctx, func() error {
			return api.Get(ctx, client.ObjectKey{Namespace: e.namespace, Name: "default"}, &corev1.ServiceAccount{})
		}).Should(Succeed())
		template := newRawTemplate(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "runner"},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "run", Image: "example.com/run"}}},
		})
		e.createCopy(ctx, template)

		result := e.execute(ctx, template.Kind, e.action(planner.Delete, e.observe(ctx, template)))

		expectOutcome(result, planner.Done)
		Expect(result.Object).To(BeNil())
		e.expectNotFound(ctx, template)
	})

	It("returns a terminating object when it has a finalizer", func(ctx SpecContext) {
		e := newEnv(ctx)
		template := newTemplate(ctx, configMap(nil))
		e.createCopy(ctx, template)
		e.addFinalizer(ctx, template)

		result := e.execute(ctx, template.Kind, e.action(planner.Delete, e.observe(ctx, template)))

		expectOutcome(result, planner.Done)
		Expect(result.Object).NotTo(BeNil())
		Expect(result.Object.Terminating).To(BeTrue())
		Expect(result.Object).To(Equal(e.observe(ctx, template)))
		Expect(e.get(ctx, template).GetFinalizers()).To(ConsistOf(otherFinalizer))
	})

	DescribeTable("deletes nothing after a concurrent change", func(ctx SpecContext, change concurrentChange) {
		e := newEnv(ctx)
		template := newTemplate(ctx, configMap(nil))
		observed := e.createCopy(ctx, template)
		var modified *unstructured.Unstructured
		e.interceptor.before(1, func() {
			change(ctx, e, template)
			modified = e.get(ctx, template)
		})

		result := e.execute(ctx, template.Kind, e.action(planner.Delete, observed))

		expectOutcome(result, planner.Stale)
		Expect(e.interceptor.requests()).To(Equal([]string{"DELETE", "GET"}))
		Expect(result.Object).To(Equal(observe(modified)))
		Expect(e.get(ctx, template)).To(Equal(modified))
	},
		Entry("recreated with marks", recreated),
		Entry("owner mark removed", ownerMarkRemoved),
		Entry("owner changed", ownerChanged),
		Entry("marks version raised", marksVersionRaised),
		Entry("data changed", dataChanged),
	)

	// A restored backup of etcd can return to an earlier resourceVersion.
	It("deletes nothing when only the resourceVersion is the same", func(ctx SpecContext) {
		e := newEnv(ctx)
		template := newTemplate(ctx, configMap(nil))
		observed := *e.createCopy(ctx, template)
		e.recreate(ctx, template)
		observed.ResourceVersion = e.get(ctx, template).GetResourceVersion()

		expectOutcome(e.execute(ctx, template.Kind, e.action(planner.Delete, &observed)), planner.Stale)
		e.get(ctx, template)
	})

	It("returns Done when the object or its namespace does not exist", func(ctx SpecContext) {
		e := newEnv(ctx)
		template := newTemplate(ctx, configMap(nil))
		observed := e.createCopy(ctx, template)
		e.remove(ctx, template)

		expectOutcome(e.execute(ctx, template.Kind, e.action(planner.Delete, observed)), planner.Done)
		e.namespace = e.id + "-missing"
		expectOutcome(e.execute(ctx, template.Kind, e.action(planner.Delete, observed)), planner.Done)
		Expect(e.interceptor.requests()).To(Equal([]string{"DELETE"}))
	})

	It("returns Forbidden without permission", func(ctx SpecContext) {
		e := newEnv(ctx)
		template := newTemplate(ctx, configMap(nil))
		observed := e.createCopy(ctx, template)
		e.connectWithRules(ctx, rbacRule("", []string{"configmaps"}, "get"))

		expectOutcome(e.execute(ctx, template.Kind, e.action(planner.Delete, observed)), planner.Forbidden)
	})

	It("returns Rejected when a policy denies it", func(ctx SpecContext) {
		e := newEnv(ctx)
		template := newTemplate(ctx, configMap(nil))
		observed := e.createCopy(ctx, template)
		createDenyPolicy(ctx, e, denyPolicy{when: `request.operation == "DELETE"`, message: "no deletes"})

		expectOutcome(e.execute(ctx, template.Kind, e.action(planner.Delete, observed)), planner.Rejected)
		e.get(ctx, template)
	})
})
