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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

var _ = Describe("Release and hand-over", func() {
	ourLabels := []string{v1alpha1.LabelCreatedBy, v1alpha1.LabelPartOf}
	// ourPaths returns the paths of our labels and marks.
	ourPaths := func() [][]string {
		var paths [][]string
		for _, key := range planner.MarkKeys() {
			paths = append(paths, []string{"metadata", "annotations", key})
		}
		for _, key := range ourLabels {
			paths = append(paths, []string{"metadata", "labels", key})
		}
		return paths
	}
	actions := map[string]func(*env, *planner.Observed) planner.Action{
		"release": func(e *env, observed *planner.Observed) planner.Action {
			return e.action(planner.Release, observed)
		},
		"hand-over": (*env).handOverAction,
	}
	for _, name := range slices.Sorted(maps.Keys(actions)) {
		newAction := actions[name]
		DescribeTable(name+" sends one request and changes nothing but our labels and marks", func(ctx SpecContext, change func(*unstructured.Unstructured)) {
			e := newEnv(ctx)
			source := secret(map[string]string{"blob": "\x00\xff<&>", "empty": ""})
			source.Labels = map[string]string{"example.com/tier": ""}
			template := newTemplate(ctx, source, withAnnotations(map[string]string{"example.com/note": "<&>\u2028"}))
			e.createCopy(ctx, template)
			e.modify(ctx, template, func(object *unstructured.Unstructured) {
				object.SetAnnotations(withKey(object.GetAnnotations(), "example.com/theirs", ""))
				change(object)
			})
			e.addFinalizer(ctx, template)
			before := e.get(ctx, template)

			result := e.execute(ctx, template.Kind, newAction(e, observe(before)))

			expectOutcome(result, planner.Done)
			Expect(e.interceptor.requests()).To(Equal([]string{"PATCH"}))
			after := e.get(ctx, template)
			Expect(result.Object).To(Equal(observe(after)))
			// The API server omits empty labels.
			paths := append(ourPaths(), []string{"metadata", "resourceVersion"})
			if len(before.GetLabels()) == 0 {
				paths = append(paths, []string{"metadata", "labels"})
			}
			Expect(renderWithout(after, paths...)).To(Equal(renderWithout(before, paths...)))
			if name == "release" {
				Expect(result.Object.Marks).To(Equal(planner.MarksAbsent))
				Expect(result.Object.HasAnyMark).To(BeFalse())
				for _, key := range ourLabels {
					Expect(after.GetLabels()).NotTo(HaveKey(key))
				}
				return
			}
			Expect(result.Object.OwnedBy(otherReplika)).To(BeTrue())
			Expect(after.GetAnnotations()).To(Equal(withKey(before.GetAnnotations(), v1alpha1.AnnotationOwner, otherReplika.String())))
			Expect(after.GetLabels()).To(And(
				HaveKeyWithValue(v1alpha1.LabelCreatedBy, v1alpha1.CreatedByValue), HaveKeyWithValue(v1alpha1.LabelPartOf, otherReplika.Name)))
		},
			Entry("unchanged copy", func(*unstructured.Unstructured) {}),
			Entry("labels of other clients", func(object *unstructured.Unstructured) {
				object.SetLabels(withKey(object.GetLabels(), "theirs", ""))
			}),
			Entry("one of our labels missing", func(object *unstructured.Unstructured) {
				object.SetLabels(withoutKey(object.GetLabels(), v1alpha1.LabelPartOf))
			}),
			Entry("no labels", func(object *unstructured.Unstructured) { object.SetLabels(nil) }),
			Entry("adopted object", func(object *unstructured.Unstructured) {
				object.SetAnnotations(withKey(object.GetAnnotations(), v1alpha1.AnnotationAdopted, v1alpha1.AdoptedValue))
			}),
		)

		DescribeTable(name+" changes nothing after a concurrent change", func(ctx SpecContext, change concurrentChange) {
			e := newEnv(ctx)
			template := newTemplate(ctx, configMap(nil))
			observed := e.createCopy(ctx, template)
			var modified *unstructured.Unstructured
			e.interceptor.before(1, func() {
				change(ctx, e, template)
				modified = e.get(ctx, template)
			})

			result := e.execute(ctx, template.Kind, newAction(e, observed))

			expectOutcome(result, planner.Stale)
			Expect(e.interceptor.requests()).To(Equal([]string{"PATCH", "GET"}))
			Expect(result.Object).To(Equal(observe(modified)))
			Expect(e.get(ctx, template)).To(Equal(modified))
		},
			Entry("recreated with marks", recreated),
			Entry("owner mark removed", ownerMarkRemoved),
			Entry("owner changed", ownerChanged),
			Entry("marks version raised", marksVersionRaised),
			Entry("annotations removed", annotationsRemoved),
		)

		It(name+" keeps a concurrent change of data", func(ctx SpecContext) {
			e := newEnv(ctx)
			template := newTemplate(ctx, configMap(nil))
			observed := e.createCopy(ctx, template)
			e.interceptor.before(1, func() { dataChanged(ctx, e, template) })

			expectOutcome(e.execute(ctx, template.Kind, newAction(e, observed)), planner.Done)
			Expect(e.get(ctx, template).Object["data"]).To(Equal(map[string]any{"mine": "now"}))
		})

		It(name+" returns Stale when the object does not exist", func(ctx SpecContext) {
			e := newEnv(ctx)
			template := newTemplate(ctx, configMap(nil))
			observed := e.createCopy(ctx, template)
			e.remove(ctx, template)

			result := e.execute(ctx, template.Kind, newAction(e, observed))

			expectOutcome(result, planner.Stale)
			Expect(result.Object).To(BeNil())
			e.expectNotFound(ctx, template)
		})
	}
})
