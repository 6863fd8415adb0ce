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
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// surprise is what somebody else may do to a copy between the observation and a request that gives it up.
type surprise func(SpecContext, *stage, *planner.Template)

func remade(ctx SpecContext, s *stage, template *planner.Template) { s.remade(ctx, template) }

func unmarked(ctx SpecContext, s *stage, template *planner.Template) {
	s.meanwhile(ctx, template, func(object *unstructured.Unstructured) {
		object.SetAnnotations(without(object.GetAnnotations(), v1alpha1.AnnotationOwner))
	})
}

func taken(ctx SpecContext, s *stage, template *planner.Template) {
	s.meanwhile(ctx, template, func(object *unstructured.Unstructured) {
		object.SetAnnotations(with(object.GetAnnotations(), v1alpha1.AnnotationOwner, theirs.String()))
	})
}

// upgraded is what an operator does whose marks say more than this one knows.
func upgraded(ctx SpecContext, s *stage, template *planner.Template) {
	s.meanwhile(ctx, template, func(object *unstructured.Unstructured) {
		object.SetAnnotations(with(object.GetAnnotations(), v1alpha1.AnnotationMarksVersion, "1000"))
	})
}

func edited(ctx SpecContext, s *stage, template *planner.Template) {
	s.meanwhile(ctx, template, func(object *unstructured.Unstructured) { object.Object["data"] = map[string]any{"mine": "now"} })
}

var _ = Describe("Deleting a copy", func() {
	It("takes one request", func(ctx SpecContext) {
		s := newStage(ctx)
		template := templateOf(ctx, configMap(nil))
		observed := s.copied(ctx, template)

		result := s.do(ctx, template.Kind, s.about(planner.Delete, observed))

		expectOutcome(result, planner.Done)
		Expect(result.Object).To(BeNil())
		Expect(s.wire.requests()).To(Equal([]string{"DELETE"}))
		s.expectNothing(ctx, template)
	})

	DescribeTable("leaves nothing of kinds whose deletion is answered with the object", func(ctx SpecContext, from client.Object) {
		s := newStage(ctx)
		template := templateOf(ctx, from)
		observed := s.copied(ctx, template)

		result := s.do(ctx, template.Kind, s.about(planner.Delete, observed))

		expectOutcome(result, planner.Done)
		Expect(result.Object).To(BeNil())
		s.expectNothing(ctx, template)
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

	It("leaves nothing of a Pod that runs nowhere", func(ctx SpecContext) {
		s := newStage(ctx)
		Eventually(ctx, func() error {
			return api.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "default"}, &corev1.ServiceAccount{})
		}).Should(Succeed())
		template := rawTemplateOf(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "runner"},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "run", Image: "example.com/run"}}},
		})
		s.copied(ctx, template)

		result := s.do(ctx, template.Kind, s.about(planner.Delete, s.observed(ctx, template)))

		expectOutcome(result, planner.Done)
		Expect(result.Object).To(BeNil())
		s.expectNothing(ctx, template)
	})

	It("tells that a finalizer holds it", func(ctx SpecContext) {
		s := newStage(ctx)
		template := templateOf(ctx, configMap(nil))
		s.copied(ctx, template)
		s.held(ctx, template)

		result := s.do(ctx, template.Kind, s.about(planner.Delete, s.observed(ctx, template)))

		expectOutcome(result, planner.Done)
		Expect(result.Object).NotTo(BeNil())
		Expect(result.Object.Terminating).To(BeTrue())
		Expect(result.Object).To(Equal(s.observed(ctx, template)))
		Expect(s.live(ctx, template).GetFinalizers()).To(ConsistOf(hold))
	})

	DescribeTable("deletes nothing when, since it was observed, the object was", func(ctx SpecContext, meanwhile surprise) {
		s := newStage(ctx)
		template := templateOf(ctx, configMap(nil))
		observed := s.copied(ctx, template)
		var meddled *unstructured.Unstructured
		s.wire.before(1, func() {
			meanwhile(ctx, s, template)
			meddled = s.live(ctx, template)
		})

		result := s.do(ctx, template.Kind, s.about(planner.Delete, observed))

		expectOutcome(result, planner.Stale)
		Expect(s.wire.requests()).To(Equal([]string{"DELETE", "GET"}))
		Expect(result.Object).To(Equal(observe(meddled)))
		Expect(s.live(ctx, template)).To(Equal(meddled))
	},
		Entry("made anew, marks and all", remade),
		Entry("stripped of our owner mark", unmarked),
		Entry("given another owner", taken),
		Entry("marked by a newer operator", upgraded),
		Entry("edited", edited),
	)

	It("guards by UID too: a restored backup may bring a resourceVersion back", func(ctx SpecContext) {
		s := newStage(ctx)
		template := templateOf(ctx, configMap(nil))
		observed := *s.copied(ctx, template)
		s.remade(ctx, template)
		observed.ResourceVersion = s.live(ctx, template).GetResourceVersion()

		expectOutcome(s.do(ctx, template.Kind, s.about(planner.Delete, &observed)), planner.Stale)
		s.live(ctx, template)
	})

	It("is done when the object is gone, and when its namespace is", func(ctx SpecContext) {
		s := newStage(ctx)
		template := templateOf(ctx, configMap(nil))
		observed := s.copied(ctx, template)
		s.removed(ctx, template)

		expectOutcome(s.do(ctx, template.Kind, s.about(planner.Delete, observed)), planner.Done)
		s.namespace = s.id + "-missing"
		expectOutcome(s.do(ctx, template.Kind, s.about(planner.Delete, observed)), planner.Done)
		Expect(s.wire.requests()).To(Equal([]string{"DELETE"}))
	})

	It("is forbidden without the right", func(ctx SpecContext) {
		s := newStage(ctx)
		template := templateOf(ctx, configMap(nil))
		observed := s.copied(ctx, template)
		s.connectAs(ctx, rule("", []string{"configmaps"}, "get"))

		expectOutcome(s.do(ctx, template.Kind, s.about(planner.Delete, observed)), planner.Forbidden)
	})

	It("is refused by a policy", func(ctx SpecContext) {
		s := newStage(ctx)
		template := templateOf(ctx, configMap(nil))
		observed := s.copied(ctx, template)
		deny(ctx, s, denialPattern{when: `request.operation == "DELETE"`, message: "it stays"})

		expectOutcome(s.do(ctx, template.Kind, s.about(planner.Delete, observed)), planner.Rejected)
		s.live(ctx, template)
	})
})

var _ = Describe("Recreating a copy", func() {
	frozen := func(mode string) *corev1.ConfigMap {
		yes := true
		from := configMap(map[string]string{"mode": mode})
		from.Immutable = &yes
		return from
	}
	recreate := func(s *stage, observed *planner.Observed, template *planner.Template) planner.Action {
		action := s.update(observed, template)
		action.Type = planner.Recreate
		return action
	}

	It("deletes it and makes it anew", func(ctx SpecContext) {
		s := newStage(ctx)
		observed := s.copied(ctx, templateOf(ctx, frozen("fast")))
		template := templateOf(ctx, frozen("slow"))

		result := s.do(ctx, template.Kind, recreate(s, observed, template))

		expectOutcome(result, planner.Done)
		Expect(s.wire.requests()).To(Equal([]string{"DELETE", "POST"}))
		expectInSync(result.Object, template)
		Expect(result.Object).To(Equal(s.observed(ctx, template)))
		Expect(result.Object.UID).NotTo(Equal(observed.UID))
	})

	DescribeTable("touches nothing when, since it was observed, the object was", func(ctx SpecContext, meanwhile surprise) {
		s := newStage(ctx)
		before := templateOf(ctx, configMap(map[string]string{"mode": "fast"}))
		observed := s.copied(ctx, before)
		template := templateOf(ctx, frozen("slow"))
		var meddled *unstructured.Unstructured
		s.wire.before(1, func() {
			meanwhile(ctx, s, before)
			meddled = s.live(ctx, before)
		})

		expectOutcome(s.do(ctx, template.Kind, recreate(s, observed, template)), planner.Stale)

		Expect(s.live(ctx, template)).To(Equal(meddled))
	},
		Entry("made anew, marks and all", remade),
		Entry("stripped of our owner mark", unmarked),
		Entry("given another owner", taken),
		Entry("marked by a newer operator", upgraded),
		Entry("edited", edited),
	)

	It("meets the object that took the place in between, and leaves it alone", func(ctx SpecContext) {
		s := newStage(ctx)
		observed := s.copied(ctx, templateOf(ctx, frozen("fast")))
		template := templateOf(ctx, frozen("slow"))
		foreign := configMap(map[string]string{"mode": "mine"})
		foreign.Namespace = s.namespace
		s.wire.before(2, func() { Expect(api.Create(ctx, foreign)).To(Succeed()) })

		result := s.do(ctx, template.Kind, recreate(s, observed, template))

		expectOutcome(result, planner.Stale)
		Expect(result.Object.UID).To(Equal(foreign.UID))
		Expect(s.live(ctx, template).GetResourceVersion()).To(Equal(foreign.ResourceVersion))
	})

	It("finds that a finalizer holds what is to go", func(ctx SpecContext) {
		s := newStage(ctx)
		before := templateOf(ctx, frozen("fast"))
		s.copied(ctx, before)
		s.held(ctx, before)
		template := templateOf(ctx, frozen("slow"))

		result := s.do(ctx, template.Kind, recreate(s, s.observed(ctx, before), template))

		expectOutcome(result, planner.Stale)
		Expect(result.Object).NotTo(BeNil())
		Expect(result.Object.Terminating).To(BeTrue())
	})

	It("makes it when it is gone already", func(ctx SpecContext) {
		s := newStage(ctx)
		before := templateOf(ctx, frozen("fast"))
		observed := s.copied(ctx, before)
		s.removed(ctx, before)
		template := templateOf(ctx, frozen("slow"))

		expectOutcome(s.do(ctx, template.Kind, recreate(s, observed, template)), planner.Done)
		expectInSync(s.observed(ctx, template), template)
	})
})

var _ = Describe("Releasing and handing over", func() {
	ourLabels := []string{v1alpha1.LabelCreatedBy, v1alpha1.LabelPartOf}
	// ownPaths are those of what is ours.
	ownPaths := func() [][]string {
		var paths [][]string
		for _, key := range planner.MarkKeys() {
			paths = append(paths, []string{"metadata", "annotations", key})
		}
		for _, key := range ourLabels {
			paths = append(paths, []string{"metadata", "labels", key})
		}
		return paths
	}
	act := map[string]func(*stage, *planner.Observed) planner.Action{
		"release": func(s *stage, observed *planner.Observed) planner.Action {
			return s.about(planner.Release, observed)
		},
		"hand over": func(s *stage, observed *planner.Observed) planner.Action {
			action := s.about(planner.HandOver, observed)
			action.NewOwner = theirs
			return action
		},
	}
	for _, name := range slices.Sorted(maps.Keys(act)) {
		action := act[name]
		DescribeTable(name+": one request, and all that is not ours stays to the byte", func(ctx SpecContext, change func(*unstructured.Unstructured)) {
			s := newStage(ctx)
			from := secret(map[string]string{"blob": "\x00\xff<&>", "empty": ""})
			from.Labels = map[string]string{"example.com/tier": ""}
			template := templateOf(ctx, from, annotating(map[string]string{"example.com/note": "<&>\u2028"}))
			s.copied(ctx, template)
			s.meanwhile(ctx, template, func(object *unstructured.Unstructured) {
				object.SetAnnotations(with(object.GetAnnotations(), "example.com/theirs", ""))
				change(object)
			})
			s.held(ctx, template)
			before := s.live(ctx, template)

			result := s.do(ctx, template.Kind, action(s, observe(before)))

			expectOutcome(result, planner.Done)
			Expect(s.wire.requests()).To(Equal([]string{"PATCH"}))
			after := s.live(ctx, template)
			Expect(result.Object).To(Equal(observe(after)))
			// A labels map that holds nothing is not there.
			but := append(ownPaths(), []string{"metadata", "resourceVersion"})
			if len(before.GetLabels()) == 0 {
				but = append(but, []string{"metadata", "labels"})
			}
			Expect(whole(after, but...)).To(Equal(whole(before, but...)))
			if name == "release" {
				Expect(result.Object.Marks).To(Equal(planner.MarksAbsent))
				Expect(result.Object.HasAnyMark).To(BeFalse())
				for _, key := range ourLabels {
					Expect(after.GetLabels()).NotTo(HaveKey(key))
				}
				return
			}
			Expect(result.Object.OwnedBy(theirs)).To(BeTrue())
			Expect(after.GetAnnotations()).To(Equal(with(before.GetAnnotations(), v1alpha1.AnnotationOwner, theirs.String())))
			Expect(after.GetLabels()).To(And(
				HaveKeyWithValue(v1alpha1.LabelCreatedBy, v1alpha1.CreatedByValue), HaveKeyWithValue(v1alpha1.LabelPartOf, theirs.Name)))
		},
			Entry("as it was made", func(*unstructured.Unstructured) {}),
			Entry("with labels of others", func(object *unstructured.Unstructured) {
				object.SetLabels(with(object.GetLabels(), "theirs", ""))
			}),
			Entry("without one of our labels", func(object *unstructured.Unstructured) {
				object.SetLabels(without(object.GetLabels(), v1alpha1.LabelPartOf))
			}),
			Entry("without any label", func(object *unstructured.Unstructured) { object.SetLabels(nil) }),
			Entry("adopted", func(object *unstructured.Unstructured) {
				object.SetAnnotations(with(object.GetAnnotations(), v1alpha1.AnnotationAdopted, v1alpha1.AdoptedValue))
			}),
		)

		DescribeTable(name+": nothing is changed when, since it was observed, the object was", func(ctx SpecContext, meanwhile surprise) {
			s := newStage(ctx)
			template := templateOf(ctx, configMap(nil))
			observed := s.copied(ctx, template)
			var meddled *unstructured.Unstructured
			s.wire.before(1, func() {
				meanwhile(ctx, s, template)
				meddled = s.live(ctx, template)
			})

			result := s.do(ctx, template.Kind, action(s, observed))

			expectOutcome(result, planner.Stale)
			Expect(s.wire.requests()).To(Equal([]string{"PATCH", "GET"}))
			Expect(result.Object).To(Equal(observe(meddled)))
			Expect(s.live(ctx, template)).To(Equal(meddled))
		},
			Entry("made anew, marks and all", remade),
			Entry("stripped of our owner mark", unmarked),
			Entry("given another owner", taken),
			Entry("marked by a newer operator", upgraded),
			Entry("marked by a newer operator", upgraded),
		)

		It(name+": an edit at the same time stays", func(ctx SpecContext) {
			s := newStage(ctx)
			template := templateOf(ctx, configMap(nil))
			observed := s.copied(ctx, template)
			s.wire.before(1, func() { edited(ctx, s, template) })

			expectOutcome(s.do(ctx, template.Kind, action(s, observed)), planner.Done)
			Expect(s.live(ctx, template).Object["data"]).To(Equal(map[string]any{"mine": "now"}))
		})

		It(name+": an object that is gone is told of", func(ctx SpecContext) {
			s := newStage(ctx)
			template := templateOf(ctx, configMap(nil))
			observed := s.copied(ctx, template)
			s.removed(ctx, template)

			result := s.do(ctx, template.Kind, action(s, observed))

			expectOutcome(result, planner.Stale)
			Expect(result.Object).To(BeNil())
			s.expectNothing(ctx, template)
		})
	}
})
