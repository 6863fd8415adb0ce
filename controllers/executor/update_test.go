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
	"maps"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/controllers/planner"
)

var _ = Describe("Update", func() {
	It("sends one request and keeps metadata of other clients", func(ctx SpecContext) {
		e := newEnv(ctx)
		before := newTemplate(ctx, configMap(map[string]string{"mode": "fast", "old": "yes"}))
		e.createCopy(ctx, before)
		controller := e.newController(ctx)
		controller.Controller, controller.BlockOwnerDeletion = nil, nil
		e.modify(ctx, before, func(object *unstructured.Unstructured) {
			object.SetLabels(withKey(object.GetLabels(), "theirs", "stays"))
			object.SetAnnotations(withKey(object.GetAnnotations(), "example.com/theirs", "stays"))
			object.SetOwnerReferences([]metav1.OwnerReference{controller})
		})
		e.addFinalizer(ctx, before)
		after := newTemplate(ctx, configMap(map[string]string{"mode": "slow", "new": ""}), withLabels(map[string]string{"tier": ""}))

		result := e.execute(ctx, after.Kind, e.updateAction(e.observe(ctx, before), after))

		expectOutcome(result, planner.Done)
		Expect(e.interceptor.requests()).To(Equal([]string{"PATCH"}))
		live := e.get(ctx, after)
		Expect(result.Object).To(Equal(observe(live)))
		expectInSync(result.Object, after)
		Expect(live.Object["data"]).To(Equal(map[string]any{"mode": "slow", "new": ""}), "a removed key is removed")
		Expect(live.GetLabels()).To(And(HaveKeyWithValue("theirs", "stays"), HaveKeyWithValue("tier", "")))
		Expect(live.GetAnnotations()).To(HaveKeyWithValue("example.com/theirs", "stays"))
		Expect(live.GetOwnerReferences()).To(ConsistOf(controller))
		Expect(live.GetFinalizers()).To(ConsistOf(otherFinalizer))
	})

	DescribeTable("adds and removes top-level fields",
		func(ctx SpecContext, before, after func() client.Object) {
			e := newEnv(ctx)
			observed := e.createCopy(ctx, newTemplate(ctx, before()))
			template := newTemplate(ctx, after())

			result := e.execute(ctx, template.Kind, e.updateAction(observed, template))

			expectOutcome(result, planner.Done)
			Expect(e.interceptor.requests()).To(Equal([]string{"PATCH"}))
			expectInSync(result.Object, template)
			live := e.get(ctx, template).Object
			for _, field := range []string{"apiVersion", "kind", "metadata"} {
				delete(live, field)
			}
			Expect(slices.Collect(maps.Keys(live))).To(ConsistOf(slices.Collect(maps.Keys(template.Content))), "no field is null")
		},
		Entry("ConfigMap, data removed",
			func() client.Object { return configMap(map[string]string{"mode": "fast"}) },
			func() client.Object { return configMap(nil) }),
		Entry("Secret, data removed",
			func() client.Object { return secret(map[string]string{"password": "hunter22"}) },
			func() client.Object {
				empty := secret(nil)
				empty.Data = nil
				return empty
			}),
		Entry("ConfigMap, data replaced by binaryData",
			func() client.Object { return configMap(map[string]string{"mode": "fast"}) },
			func() client.Object {
				binary := configMap(nil)
				binary.BinaryData = map[string][]byte{"blob": {0, 255}}
				return binary
			}),
		Entry("ConfigMap, data added",
			func() client.Object { return configMap(nil) },
			func() client.Object { return configMap(map[string]string{"mode": "fast"}) }),
		Entry("custom resource, schema without null",
			func() client.Object {
				return customObject(gadgetKind, map[string]any{"spec": map[string]any{"mode": "fast"}, "extra": map[string]any{"colour": "red"}})
			},
			func() client.Object {
				return customObject(gadgetKind, map[string]any{"spec": map[string]any{"mode": "fast"}})
			}),
		Entry("custom resource, schema that preserves unknown fields",
			func() client.Object {
				return customObject(widgetKind, map[string]any{"a/b~c": "odd", "list": []any{[]any{"nested"}}})
			},
			func() client.Object {
				return customObject(widgetKind, map[string]any{"~1": []any{[]any{"other"}}, "/": "slash"})
			}),
	)

	It("removes stale labels and annotations, present or absent", func(ctx SpecContext) {
		e := newEnv(ctx)
		before := newTemplate(ctx, configMap(nil),
			withLabels(map[string]string{"example.com/tier": "", "stays": "1", "removed": "before"}),
			withAnnotations(map[string]string{"example.com/note": "", "removed": "before"}))
		e.createCopy(ctx, before)
		e.modify(ctx, before, func(object *unstructured.Unstructured) {
			object.SetLabels(withoutKey(object.GetLabels(), "removed"))
			object.SetAnnotations(withoutKey(object.GetAnnotations(), "removed"))
		})
		after := newTemplate(ctx, configMap(nil), withLabels(map[string]string{"stays": ""}))

		result := e.execute(ctx, after.Kind, e.updateAction(e.observe(ctx, before), after))

		expectOutcome(result, planner.Done)
		Expect(e.interceptor.requests()).To(Equal([]string{"PATCH"}))
		expectInSync(result.Object, after)
		Expect(e.get(ctx, after).GetLabels()).To(Equal(after.CopyLabels()))
		Expect(e.get(ctx, after).GetAnnotations()).To(Equal(after.CopyAnnotations(e.namespace, false)))
	})

	It("restores labels on an object without labels", func(ctx SpecContext) {
		e := newEnv(ctx)
		template := newTemplate(ctx, configMap(nil), withLabels(map[string]string{"tier": "gold"}))
		e.createCopy(ctx, template)
		e.modify(ctx, template, func(object *unstructured.Unstructured) { object.SetLabels(nil) })
		observed := e.observe(ctx, template)
		Expect(observed.HasLabels).To(BeFalse())

		result := e.execute(ctx, template.Kind, e.updateAction(observed, template))

		expectOutcome(result, planner.Done)
		Expect(e.interceptor.requests()).To(Equal([]string{"PATCH"}))
		expectInSync(result.Object, template)
		Expect(e.get(ctx, template).GetLabels()).To(Equal(template.CopyLabels()))
	})

	DescribeTable("changes nothing after a concurrent change",
		func(ctx SpecContext, change concurrentChange, exists bool) {
			e := newEnv(ctx)
			before := newTemplate(ctx, configMap(map[string]string{"mode": "fast"}), withLabels(map[string]string{"tier": "gold"}))
			observed := e.createCopy(ctx, before)
			after := newTemplate(ctx, configMap(map[string]string{"mode": "slow"}))
			var modified *unstructured.Unstructured
			e.interceptor.before(1, func() {
				change(ctx, e, before)
				if exists {
					modified = e.get(ctx, before)
				}
			})

			result := e.execute(ctx, after.Kind, e.updateAction(observed, after))

			expectOutcome(result, planner.Stale)
			Expect(e.interceptor.requests()).To(Equal([]string{"PATCH", "GET"}))
			if !exists {
				Expect(result.Object).To(BeNil())
				e.expectNotFound(ctx, after)
				return
			}
			Expect(result.Object).To(Equal(observe(modified)))
			Expect(e.get(ctx, after)).To(Equal(modified))
		},
		Entry("recreated with marks", recreated, true),
		Entry("owner mark removed", ownerMarkRemoved, true),
		Entry("owner changed", ownerChanged, true),
		Entry("marks version raised", marksVersionRaised, true),
		Entry("annotations removed", annotationsRemoved, true),
		Entry("labels removed", labelsRemoved, true),
		Entry("deleted", removed, false),
	)

	It("keeps concurrently added labels on an object without labels", func(ctx SpecContext) {
		e := newEnv(ctx)
		template := newTemplate(ctx, configMap(nil))
		e.createCopy(ctx, template)
		e.modify(ctx, template, func(object *unstructured.Unstructured) { object.SetLabels(nil) })
		observed := e.observe(ctx, template)
		e.interceptor.before(1, func() {
			e.modify(ctx, template, func(object *unstructured.Unstructured) { object.SetLabels(map[string]string{"theirs": "stays"}) })
		})

		result := e.execute(ctx, template.Kind, e.updateAction(observed, template))

		expectOutcome(result, planner.Stale)
		Expect(e.get(ctx, template).GetLabels()).To(Equal(map[string]string{"theirs": "stays"}))
		expectOutcome(e.execute(ctx, template.Kind, e.updateAction(result.Object, template)), planner.Done)
		Expect(e.get(ctx, template).GetLabels()).To(Equal(withKey(template.CopyLabels(), "theirs", "stays")))
	})

	It("overwrites a concurrent change of a field that it sends", func(ctx SpecContext) {
		e := newEnv(ctx)
		before := newTemplate(ctx, configMap(map[string]string{"mode": "fast"}))
		observed := e.createCopy(ctx, before)
		after := newTemplate(ctx, configMap(map[string]string{"mode": "slow"}))
		e.interceptor.before(1, func() {
			e.modify(ctx, before, func(object *unstructured.Unstructured) {
				object.Object["data"] = map[string]any{"mode": "mine", "more": "mine"}
			})
		})

		result := e.execute(ctx, after.Kind, e.updateAction(observed, after))

		expectOutcome(result, planner.Done)
		expectInSync(result.Object, after)
		Expect(e.get(ctx, after).Object["data"]).To(Equal(map[string]any{"mode": "slow"}))
	})

	It("returns Stale after a concurrent change of a field that it does not send", func(ctx SpecContext) {
		e := newEnv(ctx)
		before := newTemplate(ctx, configMap(map[string]string{"mode": "fast"}))
		observed := e.createCopy(ctx, before)
		after := newTemplate(ctx, configMap(map[string]string{"mode": "slow"}))
		e.interceptor.before(1, func() {
			e.modify(ctx, before, func(object *unstructured.Unstructured) { object.Object["binaryData"] = map[string]any{"drift": "AP8="} })
		})

		result := e.execute(ctx, after.Kind, e.updateAction(observed, after))

		expectOutcome(result, planner.Stale)
		Expect(result.Object.AcceptedDigests).To(BeEmpty())
		Expect(after.Digests.Differing(result.Object.Digests)).To(Equal([]string{"binaryData"}))
		result = e.execute(ctx, after.Kind, e.updateAction(result.Object, after))
		expectOutcome(result, planner.Done)
		expectInSync(result.Object, after)
	})

	It("updates a terminating copy", func(ctx SpecContext) {
		e := newEnv(ctx)
		before := newTemplate(ctx, configMap(nil))
		e.createCopy(ctx, before)
		e.addFinalizer(ctx, before)
		observed := e.observe(ctx, before)
		e.interceptor.before(1, func() { Expect(api.Delete(ctx, e.get(ctx, before))).To(Succeed()) })
		after := newTemplate(ctx, configMap(map[string]string{"mode": "fast"}))

		result := e.execute(ctx, after.Kind, e.updateAction(observed, after))

		expectOutcome(result, planner.Done)
		Expect(result.Object.Terminating).To(BeTrue())
	})

	It("returns Forbidden after one request without permission", func(ctx SpecContext) {
		e := newEnv(ctx)
		before := newTemplate(ctx, configMap(nil))
		observed := e.createCopy(ctx, before)
		e.connectWithRules(ctx, rbacRule("", []string{"configmaps"}, "get"))
		after := newTemplate(ctx, configMap(map[string]string{"mode": "fast"}))

		result := e.execute(ctx, after.Kind, e.updateAction(observed, after))

		expectOutcome(result, planner.Forbidden)
		Expect(e.interceptor.requests()).To(Equal([]string{"PATCH"}))
	})

	It("returns Forbidden when the copy is stale and get is not allowed", func(ctx SpecContext) {
		e := newEnv(ctx)
		before := newTemplate(ctx, configMap(nil))
		observed := e.createCopy(ctx, before)
		e.recreate(ctx, before)
		e.connectWithRules(ctx, rbacRule("", []string{"configmaps"}, "patch"))

		expectOutcome(e.execute(ctx, before.Kind, e.updateAction(observed, before)), planner.Forbidden)
	})

	It("returns Rejected when an object that the copy refers to does not exist", func(ctx SpecContext) {
		e := newEnv(ctx)
		role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "readers"}}
		Expect(api.Create(ctx, role)).To(Succeed())
		binding := func(subject string) *planner.Template {
			return newRawTemplate(&rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Name: "readers"},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "readers"},
				Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: subject}},
			})
		}
		observed := e.createCopy(ctx, binding("reader"))
		Expect(api.Delete(ctx, role)).To(Succeed())
		e.connectWithRules(ctx, rbacRule(rbacv1.GroupName, []string{"rolebindings"}, "get", "patch"))
		template := binding("other-reader")

		// The update can succeed while the API server's cache of Roles is outdated.
		result := e.execute(ctx, template.Kind, e.updateAction(observed, template))

		expectOutcome(result, planner.Rejected)
		Expect(result.Err).To(MatchError(ContainSubstring(`"readers" not found`)))
	})
})
