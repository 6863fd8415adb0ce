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
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/controllers/planner"
)

// Of some fields the API server keeps the former value when an update changes it, and responds with success.
var _ = Describe("A field that keeps its former value", func() {
	service := func(clusterIP, app string) *corev1.Service {
		return &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: "front"},
			Spec: corev1.ServiceSpec{
				ClusterIP: clusterIP, Selector: map[string]string{"app": app}, Ports: []corev1.ServicePort{{Port: 80}},
			},
		}
	}

	It("returns Immutable for a headless Service whose source is a normal one", func(ctx SpecContext) {
		e := newEnv(ctx)
		observed := e.createCopy(ctx, newTemplate(ctx, service(corev1.ClusterIPNone, "one")))
		template := newTemplate(ctx, service("", "two"))

		result := e.execute(ctx, template.Kind, e.updateAction(observed, template))

		expectOutcome(result, planner.Immutable)
		Expect(e.interceptor.requests()).To(Equal([]string{"GET", "PATCH", "POST dry run"}))
		Expect(result.Err).To(MatchError(And(ContainSubstring("immutable"), ContainSubstring("spec.clusterIP"))))
		Expect(result.Object.AcceptedDigests).To(BeEmpty())
		Expect(result.Object.ResourceVersion).To(Equal(e.observe(ctx, template).ResourceVersion), "the other fields are updated")

		By("updating it again, and recreating it")
		result = e.execute(ctx, template.Kind, e.updateAction(result.Object, template))
		expectOutcome(result, planner.Immutable)
		recreate := e.updateAction(result.Object, template)
		recreate.Type = planner.Recreate
		result = e.execute(ctx, template.Kind, recreate)
		expectOutcome(result, planner.Done)
		expectInSync(result.Object, template)
	})

	It("returns Immutable for a normal Service whose source is a headless one", func(ctx SpecContext) {
		e := newEnv(ctx)
		observed := e.createCopy(ctx, newTemplate(ctx, service("", "one")))
		template := newTemplate(ctx, service(corev1.ClusterIPNone, "two"))

		expectOutcome(e.execute(ctx, template.Kind, e.updateAction(observed, template)), planner.Immutable)
	})

	It("returns Immutable when a webhook keeps the former value of updates only", func(ctx SpecContext) {
		e := newEnv(ctx)
		observed := e.createCopy(ctx, newTemplate(ctx, configMap(map[string]string{"mode": "fast", "note": "one"})))
		createMutatingWebhook(ctx, e, func(request *admissionv1.AdmissionRequest) map[string]any {
			if request.Operation == admissionv1.Update {
				return map[string]any{"data": map[string]any{"mode": "fast"}}
			}
			return map[string]any{"data": map[string]any{"injected": "yes"}}
		})
		template := newTemplate(ctx, configMap(map[string]string{"mode": "slow", "note": "two"}))

		result := e.execute(ctx, template.Kind, e.updateAction(observed, template))

		expectOutcome(result, planner.Immutable)
		Expect(result.Err).To(MatchError(ContainSubstring("data.mode")))
		Expect(e.interceptor.requests()).To(Equal([]string{"PATCH", "POST dry run"}))
	})

	It("returns Done when a webhook would change a new object, too", func(ctx SpecContext) {
		e := newEnv(ctx)
		createMutatingWebhook(ctx, e, always(map[string]any{"data": map[string]any{"mode": "safe"}}))
		before := newRawTemplate(configMap(map[string]string{"mode": "fast"}))
		result := e.execute(ctx, before.Kind, e.createAction(before))
		expectOutcome(result, planner.Done)
		template := newRawTemplate(configMap(map[string]string{"mode": "slow"}))

		result = e.execute(ctx, template.Kind, e.updateAction(result.Object, template))

		expectOutcome(result, planner.Done)
		expectAcceptedDigests(result.Object, template, "data")
		Expect(e.interceptor.requests()).To(Equal([]string{"PATCH", "POST dry run"}))
	})

	It("returns Done when the dry run is rejected", func(ctx SpecContext) {
		e := newEnv(ctx)
		observed := e.createCopy(ctx, newTemplate(ctx, service(corev1.ClusterIPNone, "one")))
		Expect(api.Create(ctx, &corev1.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "none"},
			Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/services": resource.MustParse("1")}},
		})).To(Succeed())
		probe := service("", "probe")
		probe.Namespace, probe.Name = e.namespace, "probe"
		Eventually(ctx, func() error { return api.Create(ctx, probe.DeepCopy(), client.DryRunAll) }).
			Should(MatchError(ContainSubstring("exceeded quota")))
		template := newTemplate(ctx, service("", "two"))

		result := e.execute(ctx, template.Kind, e.updateAction(observed, template))

		expectOutcome(result, planner.Done)
		expectAcceptedDigests(result.Object, template, "spec")
	})
})
