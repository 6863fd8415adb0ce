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
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/controllers/planner"
)

var _ = Describe("Immutable fields", func() {
	secretOfType := func(secretType corev1.SecretType) *corev1.Secret {
		object := secret(map[string]string{"username": "u", "password": "p"})
		object.Type = secretType
		return object
	}
	binding := func(role string) *rbacv1.RoleBinding {
		return &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "readers"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "reader"}},
		}
	}

	DescribeTable("returns Immutable and changes nothing",
		func(ctx SpecContext, before, after func() client.Object) {
			e := newEnv(ctx)
			observed := e.createCopy(ctx, newTemplate(ctx, before()))
			template := newTemplate(ctx, after())
			live := e.get(ctx, template)

			result := e.execute(ctx, template.Kind, e.updateAction(observed, template))

			expectOutcome(result, planner.Immutable)
			Expect(e.interceptor.requests()).To(Equal([]string{"PATCH", "POST dry run"}))
			Expect(result.Err).To(MatchError(ContainSubstring("is invalid")))
			Expect(e.get(ctx, template)).To(Equal(live))
		},
		Entry("data of an immutable ConfigMap",
			func() client.Object { return immutableConfigMap(map[string]string{"mode": "fast"}) },
			func() client.Object { return immutableConfigMap(map[string]string{"mode": "slow"}) }),
		Entry("type of a Secret",
			func() client.Object { return secretOfType(corev1.SecretTypeOpaque) },
			func() client.Object { return secretOfType(corev1.SecretTypeBasicAuth) }),
		Entry("roleRef of a RoleBinding",
			func() client.Object { return binding("view") },
			func() client.Object { return binding("edit") }),
		Entry("field of a custom resource",
			func() client.Object {
				return customObject(gadgetKind, map[string]any{"spec": map[string]any{"make": "a"}})
			},
			func() client.Object {
				return customObject(gadgetKind, map[string]any{"spec": map[string]any{"make": "b"}})
			}),
	)

	It("returns Rejected when the template itself is invalid", func(ctx SpecContext) {
		e := newEnv(ctx)
		observed := e.createCopy(ctx, newTemplate(ctx, immutableConfigMap(map[string]string{"mode": "fast"})))
		template := newRawTemplate(configMap(map[string]string{"invalid key": ""}))
		live := e.get(ctx, template)

		expectOutcome(e.execute(ctx, template.Kind, e.updateAction(observed, template)), planner.Rejected)
		Expect(e.get(ctx, template)).To(Equal(live))
	})

	It("returns Rejected, not Immutable, when annotations of other clients exceed the size limit", func(ctx SpecContext) {
		e := newEnv(ctx)
		observed := e.createCopy(ctx, newTemplate(ctx, configMap(map[string]string{"mode": "fast"})))
		template := newTemplate(ctx, configMap(map[string]string{"mode": "slow"}), withAnnotations(map[string]string{"note": strings.Repeat("x", 100<<10)}))
		e.modify(ctx, template, func(object *unstructured.Unstructured) {
			annotations := object.GetAnnotations()
			annotations["theirs"] = strings.Repeat("x", 200<<10)
			object.SetAnnotations(annotations)
		})
		live := e.get(ctx, template)

		result := e.execute(ctx, template.Kind, e.updateAction(observed, template))

		expectOutcome(result, planner.Rejected)
		Expect(result.Err).To(MatchError(ContainSubstring("metadata.annotations")))
		Expect(e.interceptor.requests()).To(Equal([]string{"PATCH"}))
		Expect(e.get(ctx, template)).To(Equal(live))
	})

	It("returns Rejected when a policy denies the create", func(ctx SpecContext) {
		e := newEnv(ctx)
		observed := e.createCopy(ctx, newTemplate(ctx, immutableConfigMap(map[string]string{"mode": "fast"})))
		createDenyPolicy(ctx, e, denyPolicy{when: `request.operation == "CREATE" && object.data.mode == "slow"`, message: "too slow"})
		template := newTemplate(ctx, immutableConfigMap(map[string]string{"mode": "slow"}))

		expectOutcome(e.execute(ctx, template.Kind, e.updateAction(observed, template)), planner.Rejected)
	})

	DescribeTable("returns Rejected, not Immutable, when a policy denies updates only",
		func(ctx SpecContext, reason metav1.StatusReason) {
			e := newEnv(ctx)
			observed := e.createCopy(ctx, newTemplate(ctx, configMap(map[string]string{"mode": "fast"})))
			createDenyPolicy(ctx, e, denyPolicy{when: `request.operation == "UPDATE"`, message: "no updates", reason: reason})
			template := newTemplate(ctx, configMap(map[string]string{"mode": "slow"}))

			result := e.execute(ctx, template.Kind, e.updateAction(observed, template))

			expectOutcome(result, planner.Rejected)
			Expect(result.Err).To(MatchError(ContainSubstring("no updates")))
		},
		Entry("reason Invalid", metav1.StatusReasonInvalid),
		Entry("reason Forbidden", metav1.StatusReasonForbidden),
		Entry("reason RequestEntityTooLarge", metav1.StatusReasonRequestEntityTooLarge),
	)

	It("returns QuotaExceeded when the quota does not allow the create", func(ctx SpecContext) {
		e := newEnv(ctx)
		observed := e.createCopy(ctx, newTemplate(ctx, immutableConfigMap(map[string]string{"mode": "fast"})))
		quota := &corev1.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "none"},
			Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/configmaps": resource.MustParse("0")}},
		}
		Expect(api.Create(ctx, quota)).To(Succeed())
		probe := configMap(nil)
		probe.Namespace, probe.Name = e.namespace, "probe"
		Eventually(ctx, func() error { return api.Create(ctx, probe.DeepCopy(), client.DryRunAll) }).
			Should(MatchError(ContainSubstring("exceeded quota")))
		template := newTemplate(ctx, immutableConfigMap(map[string]string{"mode": "slow"}))

		expectOutcome(e.execute(ctx, template.Kind, e.updateAction(observed, template)), planner.QuotaExceeded)
	})

	It("returns Stale and creates nothing when the object is deleted before the dry run", func(ctx SpecContext) {
		e := newEnv(ctx)
		before := newTemplate(ctx, immutableConfigMap(map[string]string{"mode": "fast"}))
		observed := e.createCopy(ctx, before)
		template := newTemplate(ctx, immutableConfigMap(map[string]string{"mode": "slow"}))
		e.interceptor.before(2, func() { e.remove(ctx, before) })

		result := e.execute(ctx, template.Kind, e.updateAction(observed, template))

		expectOutcome(result, planner.Stale)
		Expect(e.interceptor.requests()).To(Equal([]string{"PATCH", "POST dry run"}))
		Expect(result.Object).To(BeNil())
		e.expectNotFound(ctx, template)
	})

	It("returns Forbidden when create is not allowed", func(ctx SpecContext) {
		e := newEnv(ctx)
		observed := e.createCopy(ctx, newTemplate(ctx, immutableConfigMap(map[string]string{"mode": "fast"})))
		e.connectWithRules(ctx, rbacRule("", []string{"configmaps"}, "get", "patch"))
		template := newTemplate(ctx, immutableConfigMap(map[string]string{"mode": "slow"}))

		expectOutcome(e.execute(ctx, template.Kind, e.updateAction(observed, template)), planner.Forbidden)
	})
})
