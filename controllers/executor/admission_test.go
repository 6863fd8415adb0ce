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
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/controllers/planner"
)

var _ = Describe("Create denied by admission", func() {
	DescribeTable("returns Rejected for any reason and message of a policy",
		func(ctx SpecContext, reason metav1.StatusReason, message string) {
			e := newEnv(ctx)
			createDenyPolicy(ctx, e, denyPolicy{when: `object.metadata.name == "settings"`, message: message, reason: reason})
			template := newTemplate(ctx, configMap(nil))

			result := e.execute(ctx, template.Kind, e.createAction(template))

			expectOutcome(result, planner.Rejected)
			Expect(result.Err).To(MatchError(ContainSubstring(message)))
		},
		Entry("reason Invalid", metav1.StatusReasonInvalid, "not like this"),
		Entry("reason Forbidden", metav1.StatusReasonForbidden, "not like this"),
		Entry("reason RequestEntityTooLarge", metav1.StatusReasonRequestEntityTooLarge, "not like this"),
		Entry("message similar to the authorizer's", metav1.StatusReasonForbidden, "settings cannot be created here"),
		Entry("message similar to a quota's", metav1.StatusReasonForbidden, "you exceeded quota: ours"),
	)

	It("returns Rejected for a LimitRange", func(ctx SpecContext) {
		e := newEnv(ctx)
		Expect(api.Create(ctx, &corev1.LimitRange{
			ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "small"},
			Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
				Type: corev1.LimitTypePersistentVolumeClaim, Max: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			}}},
		})).To(Succeed())
		source := persistentVolumeClaim("standard", "2Gi")
		probe := source.DeepCopy()
		probe.Namespace, probe.Name = e.namespace, "probe"
		Eventually(ctx, func() error { return api.Create(ctx, probe.DeepCopy(), client.DryRunAll) }).ShouldNot(Succeed())
		template := newTemplate(ctx, source)

		result := e.execute(ctx, template.Kind, e.createAction(template))

		expectOutcome(result, planner.Rejected)
		Expect(result.Err).To(MatchError(ContainSubstring("maximum storage usage")))
	})

	It("returns Rejected for PodSecurity", func(ctx SpecContext) {
		e := newEnv(ctx, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
		// The API server rejects a Pod until its ServiceAccount exists.
		Eventually(ctx, func() error {
			return api.Get(ctx, client.ObjectKey{Namespace: e.namespace, Name: "default"}, &corev1.ServiceAccount{})
		}).Should(Succeed())
		template := newRawTemplate(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "runner"},
			Spec:       corev1.PodSpec{HostNetwork: true, Containers: []corev1.Container{{Name: "run", Image: "example.com/run"}}},
		})

		result := e.execute(ctx, template.Kind, e.createAction(template))

		expectOutcome(result, planner.Rejected)
		Expect(result.Err).To(MatchError(ContainSubstring("violates PodSecurity")))
	})
})

var _ = Describe("Validating webhook", func() {
	It("returns Rejected, not Immutable, when a webhook denies an update as invalid", func(ctx SpecContext) {
		e := newEnv(ctx)
		observed := e.createCopy(ctx, newTemplate(ctx, configMap(map[string]string{"mode": "fast"})))
		// The response of a webhook that uses controller-runtime.
		createWebhook(ctx, e, func(request *admissionv1.AdmissionRequest) *metav1.Status {
			if request.Operation != admissionv1.Update {
				return nil
			}
			return &metav1.Status{
				Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid, Message: "not in May",
				Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: metav1.CauseTypeFieldValueInvalid, Field: "data"}}},
			}
		})
		template := newTemplate(ctx, configMap(map[string]string{"mode": "slow"}))

		result := e.execute(ctx, template.Kind, e.updateAction(observed, template))

		expectOutcome(result, planner.Rejected)
		Expect(result.Err).To(MatchError(ContainSubstring("not in May")))
		Expect(e.interceptor.requests()).To(Equal([]string{"PATCH"}))
	})

	It("returns Unavailable when a webhook fails", func(ctx SpecContext) {
		e := newEnv(ctx)
		createWebhook(ctx, e, func(*admissionv1.AdmissionRequest) *metav1.Status { panic(http.ErrAbortHandler) })
		template := newRawTemplate(configMap(nil))

		expectOutcome(e.execute(ctx, template.Kind, e.createAction(template)), planner.Unavailable)
	})
})
