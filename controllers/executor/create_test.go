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
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

var _ = Describe("Create", func() {
	It("sends one request and returns the created object", func(ctx SpecContext) {
		e := newEnv(ctx)
		source := secret(map[string]string{"password": "hunter22", "empty": ""})
		source.Labels = map[string]string{"team": "blue", "flag": ""}
		source.Annotations = map[string]string{"example.com/note": `a "quoted" <note>`, "blank": ""}
		template := newTemplate(ctx, source)

		result := e.execute(ctx, template.Kind, e.createAction(template))

		expectOutcome(result, planner.Done)
		Expect(e.interceptor.requests()).To(Equal([]string{"POST"}))
		created := e.get(ctx, template)
		Expect(result.Object).To(Equal(observe(created)))
		expectInSync(result.Object, template)
		Expect(result.Object.AcceptedDigests).To(BeEmpty(), "the API server changed nothing")
		Expect(created.GetLabels()).To(Equal(map[string]string{
			"team": "blue", "flag": "", v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue, v1alpha1.LabelPartOf: "sync",
		}))
		Expect(created.GetAnnotations()).To(And(
			HaveKeyWithValue("example.com/note", `a "quoted" <note>`), HaveKeyWithValue("blank", ""),
			HaveKeyWithValue(v1alpha1.AnnotationOwner, "ops/sync"), HaveKeyWithValue(v1alpha1.AnnotationSelf, e.namespace+"/credentials"),
		))
		Expect(created.Object["data"]).To(Equal(map[string]any{"password": "aHVudGVyMjI=", "empty": ""}))
	})

	It("creates objects with any field names", func(ctx SpecContext) {
		e := newEnv(ctx)
		template := newTemplate(ctx, customObject(widgetKind, map[string]any{
			"a/b~c": "odd", "spec": map[string]any{"rows": []any{[]any{int64(1), "two"}, []any{}}},
		}))

		expectInSync(e.createCopy(ctx, template), template)

		Expect(e.get(ctx, template).Object).To(And(
			HaveKeyWithValue("a/b~c", "odd"),
			HaveKeyWithValue("spec", map[string]any{"rows": []any{[]any{int64(1), "two"}, []any{}}}),
		))
	})

	DescribeTable("returns the existing object and does not change it",
		func(ctx SpecContext, change concurrentChange, expect func(*planner.Observed)) {
			e := newEnv(ctx)
			template := newTemplate(ctx, configMap(map[string]string{"mode": "fast"}))
			var before *unstructured.Unstructured
			e.interceptor.before(1, func() {
				change(ctx, e, template)
				before = e.get(ctx, template)
			})

			result := e.execute(ctx, template.Kind, e.createAction(template))

			expectOutcome(result, planner.Stale)
			Expect(e.interceptor.requests()).To(Equal([]string{"POST", "GET"}))
			Expect(result.Object).To(Equal(observe(before)))
			expect(result.Object)
			Expect(e.get(ctx, template)).To(Equal(before))
		},
		Entry("foreign object", func(ctx SpecContext, e *env, _ *planner.Template) {
			foreign := configMap(map[string]string{"mode": "mine"})
			foreign.Namespace = e.namespace
			Expect(api.Create(ctx, foreign)).To(Succeed())
		}, func(existing *planner.Observed) {
			Expect(existing.Marks).To(Equal(planner.MarksAbsent))
		}),
		Entry("our own copy, created before the operator was killed", func(ctx SpecContext, e *env, template *planner.Template) {
			rendered, err := template.Render(e.namespace)
			Expect(err).NotTo(HaveOccurred())
			object := &unstructured.Unstructured{}
			Expect(object.UnmarshalJSON(rendered)).To(Succeed())
			Expect(api.Create(ctx, object)).To(Succeed())
		}, func(existing *planner.Observed) {
			Expect(existing.OwnedBy(replika)).To(BeTrue())
		}),
		Entry("terminating object", func(ctx SpecContext, e *env, _ *planner.Template) {
			foreign := toUnstructured(configMap(nil))
			foreign.SetNamespace(e.namespace)
			foreign.SetFinalizers([]string{otherFinalizer})
			Expect(api.Create(ctx, foreign)).To(Succeed())
			Expect(api.Delete(ctx, foreign)).To(Succeed())
			e.removeFinalizersAfterSpec(foreign)
		}, func(existing *planner.Observed) {
			Expect(existing.Terminating).To(BeTrue())
		}),
	)

	It("returns Stale without an object when the existing object was deleted since", func(ctx SpecContext) {
		e := newEnv(ctx)
		template := newTemplate(ctx, configMap(nil))
		e.createCopy(ctx, template)
		e.interceptor.before(2, func() { e.remove(ctx, template) })

		result := e.execute(ctx, template.Kind, e.createAction(template))

		expectOutcome(result, planner.Stale)
		Expect(result.Object).To(BeNil())
	})

	Context("in a namespace with an exhausted quota", func() {
		exhaustQuota := func(ctx SpecContext, e *env) {
			GinkgoHelper()
			quota := &corev1.ResourceQuota{
				ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "none"},
				Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/secrets": resource.MustParse("0")}},
			}
			Expect(api.Create(ctx, quota)).To(Succeed())
			Eventually(ctx, func(g Gomega) {
				g.Expect(api.Get(ctx, client.ObjectKeyFromObject(quota), quota)).To(Succeed())
				g.Expect(quota.Status.Used).To(HaveKey(corev1.ResourceName("count/secrets")))
			}).Should(Succeed())
			// The quota plugin of the API server learns of the quota by a watch.
			probe := secret(nil)
			probe.Namespace, probe.Name = e.namespace, "probe"
			Eventually(ctx, func() error { return api.Create(ctx, probe.DeepCopy(), client.DryRunAll) }).
				Should(MatchError(ContainSubstring("exceeded quota")))
		}

		It("returns QuotaExceeded when the name is free", func(ctx SpecContext) {
			e := newEnv(ctx)
			exhaustQuota(ctx, e)
			template := newTemplate(ctx, secret(nil))

			result := e.execute(ctx, template.Kind, e.createAction(template))

			expectOutcome(result, planner.QuotaExceeded)
			Expect(result.Err).To(MatchError(ContainSubstring("exceeded quota: none")))
			e.expectNotFound(ctx, template)
		})

		It("returns the foreign object of the same name", func(ctx SpecContext) {
			e := newEnv(ctx)
			foreign := secret(map[string]string{"theirs": "yes"})
			foreign.Namespace = e.namespace
			Expect(api.Create(ctx, foreign)).To(Succeed())
			exhaustQuota(ctx, e)
			template := newTemplate(ctx, secret(nil))

			result := e.execute(ctx, template.Kind, e.createAction(template))

			expectOutcome(result, planner.Stale)
			Expect(result.Object).NotTo(BeNil())
			Expect(result.Object.UID).To(Equal(foreign.UID))
		})
	})

	// The quota controller discovers new kinds every 30 seconds. If that is between the creation of the kind and that of the quota,
	// the usage is known at once, and the spec tries again with another kind.
	It("returns QuotaExceeded while the usage of the quota is unknown", FlakeAttempts(3), func(ctx SpecContext) {
		e := newEnv(ctx)
		kind := schema.GroupVersionKind{Group: e.id + ".example.com", Version: "v1", Kind: "Novelty"}
		definition := installKind(ctx, kind, nil)
		DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(api.Delete(ctx, definition))).To(Succeed()) })
		name := corev1.ResourceName("count/noveltys." + kind.Group)
		quota := &corev1.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "unknown"},
			Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{name: resource.MustParse("7")}},
		}
		Expect(api.Create(ctx, quota)).To(Succeed())
		probe := newObject(kind, e.namespace, "probe")
		Eventually(ctx, func() error { return api.Create(ctx, probe.DeepCopy(), client.DryRunAll) }).
			Should(MatchError(ContainSubstring("status unknown for quota")))
		template := newRawTemplate(customObject(kind, nil))

		expectOutcome(e.execute(ctx, kind, e.createAction(template)), planner.QuotaExceeded)
	})

	Context("in a deleted namespace", func() {
		It("returns NamespaceGone when the namespace does not exist", func(ctx SpecContext) {
			e := newEnv(ctx)
			e.namespace = e.id + "-missing"
			template := newTemplate(ctx, configMap(nil))

			result := e.execute(ctx, template.Kind, e.createAction(template))

			expectOutcome(result, planner.NamespaceGone)
			Expect(e.interceptor.requests()).To(Equal([]string{"POST"}))
		})

		DescribeTable("returns NamespaceGone when the namespace is terminating", func(ctx SpecContext, name string) {
			e := newEnv(ctx)
			blocker := toUnstructured(configMap(nil))
			blocker.SetNamespace(e.namespace)
			blocker.SetName(name)
			blocker.SetFinalizers([]string{otherFinalizer})
			Expect(api.Create(ctx, blocker)).To(Succeed())
			e.removeFinalizersAfterSpec(blocker)
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.namespace}}
			Expect(api.Delete(ctx, namespace)).To(Succeed())
			template := newTemplate(ctx, configMap(nil))

			result := e.execute(ctx, template.Kind, e.createAction(template))

			expectOutcome(result, planner.NamespaceGone)
			Expect(api.Get(ctx, client.ObjectKeyFromObject(namespace), namespace)).To(Succeed())
			Expect(namespace.Status.Phase).To(Equal(corev1.NamespaceTerminating))
		},
			Entry("name free", "blocker"),
			Entry("name taken", "settings"),
		)
	})

	Context("of a deleted kind", func() {
		install := func(ctx SpecContext, e *env) (*unstructured.Unstructured, *planner.Template) {
			GinkgoHelper()
			kind := schema.GroupVersionKind{Group: e.id + ".example.com", Version: "v1", Kind: "Temporary"}
			definition := installKind(ctx, kind, nil)
			return definition, newRawTemplate(customObject(kind, nil))
		}
		waitUntilDeleted := func(ctx SpecContext, definition *unstructured.Unstructured) {
			GinkgoHelper()
			Expect(client.IgnoreNotFound(api.Delete(ctx, definition))).To(Succeed())
			Eventually(ctx, func() error { return api.Get(ctx, client.ObjectKeyFromObject(definition), definition) }).
				Should(MatchError(ContainSubstring("not found")))
		}

		It("returns KindGone for every action", func(ctx SpecContext) {
			e := newEnv(ctx)
			definition, template := install(ctx, e)
			observed := e.createCopy(ctx, template)
			resource := resourceOf(template.Kind)
			waitUntilDeleted(ctx, definition)

			for _, action := range []planner.Action{
				e.createAction(template), e.updateAction(observed, template), e.action(planner.Delete, observed),
				e.action(planner.Release, observed), e.handOverAction(observed),
			} {
				Eventually(ctx, func() planner.Outcome { return e.executor.Execute(ctx, resource, replika, &action).Outcome }).
					Should(Equal(planner.KindGone), "%s", action.Type)
			}
		})

		It("returns KindGone while the definition is terminating", func(ctx SpecContext) {
			e := newEnv(ctx)
			definition, template := install(ctx, e)
			blocker := newObject(template.Kind, e.namespace, "blocker")
			blocker.SetFinalizers([]string{otherFinalizer})
			Expect(api.Create(ctx, blocker)).To(Succeed())
			e.removeFinalizersAfterSpec(blocker)
			Expect(api.Delete(ctx, definition)).To(Succeed())
			probe := newObject(template.Kind, e.namespace, "probe")
			Eventually(ctx, func() error { return api.Create(ctx, probe.DeepCopy(), client.DryRunAll) }).
				Should(MatchError(ContainSubstring("terminating")))

			expectOutcome(e.execute(ctx, template.Kind, e.createAction(template)), planner.KindGone)
		})
	})

	Context("without permissions", func() {
		It("returns Forbidden", func(ctx SpecContext) {
			e := newEnv(ctx)
			e.connectWithRules(ctx)
			template := newTemplate(ctx, configMap(nil))

			result := e.execute(ctx, template.Kind, e.createAction(template))

			expectOutcome(result, planner.Forbidden)
			Expect(result.Err).To(MatchError(ContainSubstring(`cannot create resource "configmaps"`)))
		})

		It("returns the existing object when get is allowed", func(ctx SpecContext) {
			e := newEnv(ctx)
			template := newTemplate(ctx, configMap(nil))
			e.createCopy(ctx, template)
			e.connectWithRules(ctx, rbacRule("", []string{"configmaps"}, "get"))

			result := e.execute(ctx, template.Kind, e.createAction(template))

			expectOutcome(result, planner.Stale)
			expectInSync(result.Object, template)
		})

		It("returns Forbidden when the name is taken and get is not allowed", func(ctx SpecContext) {
			e := newEnv(ctx)
			template := newTemplate(ctx, configMap(nil))
			e.createCopy(ctx, template)
			e.connectWithRules(ctx, rbacRule("", []string{"configmaps"}, "create"))

			result := e.execute(ctx, template.Kind, e.createAction(template))

			expectOutcome(result, planner.Forbidden)
			Expect(result.Err).To(MatchError(ContainSubstring(`cannot get resource "configmaps"`)))
		})

		It("returns Forbidden when RBAC prevents privilege escalation", func(ctx SpecContext) {
			e := newEnv(ctx)
			e.connectWithRules(ctx, rbacRule(rbacv1.GroupName, []string{"roles"}, "create", "get"))
			template := newTemplate(ctx, &rbacv1.Role{
				ObjectMeta: metav1.ObjectMeta{Name: "readers"}, Rules: []rbacv1.PolicyRule{rbacRule("", []string{"pods"}, "get")},
			})

			expectOutcome(e.execute(ctx, template.Kind, e.createAction(template)), planner.Forbidden)
		})

		It("returns Forbidden when authentication fails", func(ctx SpecContext) {
			e := newEnv(ctx)
			unauthenticated := rest.AnonymousClientConfig(controlPlane.Config)
			unauthenticated.BearerToken = "invalid"
			e.connect(unauthenticated)
			template := newTemplate(ctx, configMap(nil))

			expectOutcome(e.execute(ctx, template.Kind, e.createAction(template)), planner.Forbidden)
		})
	})

	It("returns Rejected when an object that the copy refers to does not exist", func(ctx SpecContext) {
		e := newEnv(ctx)
		e.connectWithRules(ctx, rbacRule(rbacv1.GroupName, []string{"rolebindings"}, "create", "get"))
		template := newRawTemplate(&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "readers"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "missing"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "reader"}},
		})

		result := e.execute(ctx, template.Kind, e.createAction(template))

		expectOutcome(result, planner.Rejected)
		Expect(result.Err).To(MatchError(ContainSubstring(`"missing" not found`)))
	})

	Context("of an invalid object", func() {
		It("returns Rejected", func(ctx SpecContext) {
			e := newEnv(ctx)
			template := newRawTemplate(configMap(map[string]string{"invalid key": ""}))

			result := e.execute(ctx, template.Kind, e.createAction(template))

			expectOutcome(result, planner.Rejected)
			Expect(e.interceptor.requests()).To(Equal([]string{"POST", "GET"}))
		})

		It("returns the existing object of the same name", func(ctx SpecContext) {
			e := newEnv(ctx)
			e.createCopy(ctx, newTemplate(ctx, configMap(nil)))
			template := newRawTemplate(configMap(map[string]string{"invalid key": ""}))

			expectOutcome(e.execute(ctx, template.Kind, e.createAction(template)), planner.Stale)
		})

		It("returns Rejected when the body cannot be decoded or is too large", func(ctx SpecContext) {
			e := newEnv(ctx)
			malformed := toUnstructured(configMap(nil))
			malformed.Object["data"] = "not a map"
			tooLarge := configMap(map[string]string{"blob": strings.Repeat("x", 4<<20)})
			for _, template := range []*planner.Template{newRawTemplate(malformed), newRawTemplate(tooLarge)} {
				expectOutcome(e.execute(ctx, template.Kind, e.createAction(template)), planner.Rejected)
			}
		})
	})
})
