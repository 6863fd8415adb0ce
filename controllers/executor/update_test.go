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
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/controllers/planner"
)

var _ = Describe("Updating a copy", func() {
	It("takes one request, and leaves what others put there", func(ctx SpecContext) {
		s := newStage(ctx)
		before := templateOf(ctx, configMap(map[string]string{"mode": "fast", "old": "yes"}))
		s.copied(ctx, before)
		boss := s.boss(ctx)
		boss.Controller, boss.BlockOwnerDeletion = nil, nil
		s.meanwhile(ctx, before, func(object *unstructured.Unstructured) {
			object.SetLabels(with(object.GetLabels(), "theirs", "stays"))
			object.SetAnnotations(with(object.GetAnnotations(), "example.com/theirs", "stays"))
			object.SetOwnerReferences([]metav1.OwnerReference{boss})
		})
		s.held(ctx, before)
		after := templateOf(ctx, configMap(map[string]string{"mode": "slow", "new": ""}), labelling(map[string]string{"tier": ""}))

		result := s.do(ctx, after.Kind, s.update(s.observed(ctx, before), after))

		expectOutcome(result, planner.Done)
		Expect(s.wire.requests()).To(Equal([]string{"PATCH"}))
		now := s.live(ctx, after)
		Expect(result.Object).To(Equal(observe(now)))
		expectInSync(result.Object, after)
		Expect(now.Object["data"]).To(Equal(map[string]any{"mode": "slow", "new": ""}), "a dropped key is dropped")
		Expect(now.GetLabels()).To(And(HaveKeyWithValue("theirs", "stays"), HaveKeyWithValue("tier", "")))
		Expect(now.GetAnnotations()).To(HaveKeyWithValue("example.com/theirs", "stays"))
		Expect(now.GetOwnerReferences()).To(ConsistOf(boss))
		Expect(now.GetFinalizers()).To(ConsistOf(hold))
	})

	DescribeTable("adds and drops whole top-level fields",
		func(ctx SpecContext, from, to func() client.Object) {
			s := newStage(ctx)
			observed := s.copied(ctx, templateOf(ctx, from()))
			template := templateOf(ctx, to())

			result := s.do(ctx, template.Kind, s.update(observed, template))

			expectOutcome(result, planner.Done)
			Expect(s.wire.requests()).To(Equal([]string{"PATCH"}))
			expectInSync(result.Object, template)
			live := s.live(ctx, template).Object
			for _, field := range []string{"apiVersion", "kind", "metadata"} {
				delete(live, field)
			}
			Expect(slices.Collect(maps.Keys(live))).To(ConsistOf(slices.Collect(maps.Keys(template.Content))), "no null is kept either")
		},
		Entry("all data of a ConfigMap vanishes",
			func() client.Object { return configMap(map[string]string{"mode": "fast"}) },
			func() client.Object { return configMap(nil) }),
		Entry("all data of a Secret vanishes",
			func() client.Object { return secret(map[string]string{"password": "hunter22"}) },
			func() client.Object {
				empty := secret(nil)
				empty.Data = nil
				return empty
			}),
		Entry("a ConfigMap gets binary data instead of text",
			func() client.Object { return configMap(map[string]string{"mode": "fast"}) },
			func() client.Object {
				binary := configMap(nil)
				binary.BinaryData = map[string][]byte{"blob": {0, 255}}
				return binary
			}),
		Entry("an object without data gets some",
			func() client.Object { return configMap(nil) },
			func() client.Object { return configMap(map[string]string{"mode": "fast"}) }),
		Entry("a custom object whose schema allows no null there",
			func() client.Object {
				return custom(gadgetKind, map[string]any{"spec": map[string]any{"mode": "fast"}, "extra": map[string]any{"colour": "red"}})
			},
			func() client.Object {
				return custom(gadgetKind, map[string]any{"spec": map[string]any{"mode": "fast"}})
			}),
		Entry("a custom object whose schema keeps everything, nulls too",
			func() client.Object {
				return custom(widgetKind, map[string]any{"a/b~c": "odd", "list": []any{[]any{"nested"}}})
			},
			func() client.Object {
				return custom(widgetKind, map[string]any{"~1": []any{[]any{"other"}}, "/": "slash"})
			}),
	)

	It("drops the keys that the template no longer has, one that is absent already among them", func(ctx SpecContext) {
		s := newStage(ctx)
		before := templateOf(ctx, configMap(nil),
			labelling(map[string]string{"example.com/tier": "", "stays": "1", "taken": "off"}),
			annotating(map[string]string{"example.com/note": "", "taken": "off"}))
		s.copied(ctx, before)
		s.meanwhile(ctx, before, func(object *unstructured.Unstructured) {
			object.SetLabels(without(object.GetLabels(), "taken"))
			object.SetAnnotations(without(object.GetAnnotations(), "taken"))
		})
		after := templateOf(ctx, configMap(nil), labelling(map[string]string{"stays": ""}))

		result := s.do(ctx, after.Kind, s.update(s.observed(ctx, before), after))

		expectOutcome(result, planner.Done)
		Expect(s.wire.requests()).To(Equal([]string{"PATCH"}))
		expectInSync(result.Object, after)
		Expect(s.live(ctx, after).GetLabels()).To(Equal(after.CopyLabels()))
		Expect(s.live(ctx, after).GetAnnotations()).To(Equal(after.CopyAnnotations(s.namespace, false)))
	})

	It("puts labels back where there are none at all", func(ctx SpecContext) {
		s := newStage(ctx)
		template := templateOf(ctx, configMap(nil), labelling(map[string]string{"tier": "gold"}))
		s.copied(ctx, template)
		s.meanwhile(ctx, template, func(object *unstructured.Unstructured) { object.SetLabels(nil) })
		observed := s.observed(ctx, template)
		Expect(observed.HasLabels).To(BeFalse())

		result := s.do(ctx, template.Kind, s.update(observed, template))

		expectOutcome(result, planner.Done)
		Expect(s.wire.requests()).To(Equal([]string{"PATCH"}))
		expectInSync(result.Object, template)
		Expect(s.live(ctx, template).GetLabels()).To(Equal(template.CopyLabels()))
	})

	DescribeTable("changes nothing when, since it was observed, somebody",
		func(ctx SpecContext, meanwhile surprise, exists bool) {
			s := newStage(ctx)
			before := templateOf(ctx, configMap(map[string]string{"mode": "fast"}), labelling(map[string]string{"tier": "gold"}))
			observed := s.copied(ctx, before)
			after := templateOf(ctx, configMap(map[string]string{"mode": "slow"}))
			var meddled *unstructured.Unstructured
			s.wire.before(1, func() {
				meanwhile(ctx, s, before)
				if exists {
					meddled = s.live(ctx, before)
				}
			})

			result := s.do(ctx, after.Kind, s.update(observed, after))

			expectOutcome(result, planner.Stale)
			Expect(s.wire.requests()).To(Equal([]string{"PATCH", "GET"}))
			if !exists {
				Expect(result.Object).To(BeNil())
				s.expectNothing(ctx, after)
				return
			}
			Expect(result.Object).To(Equal(observe(meddled)))
			Expect(s.live(ctx, after)).To(Equal(meddled))
		},
		Entry("made the object anew, marks and all", remade, true),
		Entry("took our owner mark off", unmarked, true),
		Entry("gave it another owner", taken, true),
		Entry("marked it as a newer operator does", upgraded, true),
		Entry("took all annotations off", func(ctx SpecContext, s *stage, t *planner.Template) {
			s.meanwhile(ctx, t, func(object *unstructured.Unstructured) { object.SetAnnotations(nil) })
		}, true),
		Entry("took all labels off", func(ctx SpecContext, s *stage, t *planner.Template) {
			s.meanwhile(ctx, t, func(object *unstructured.Unstructured) { object.SetLabels(nil) })
		}, true),
		Entry("deleted it", func(ctx SpecContext, s *stage, t *planner.Template) { s.removed(ctx, t) }, false),
	)

	It("keeps labels that came to an object which had none", func(ctx SpecContext) {
		s := newStage(ctx)
		template := templateOf(ctx, configMap(nil))
		s.copied(ctx, template)
		s.meanwhile(ctx, template, func(object *unstructured.Unstructured) { object.SetLabels(nil) })
		observed := s.observed(ctx, template)
		s.wire.before(1, func() {
			s.meanwhile(ctx, template, func(object *unstructured.Unstructured) { object.SetLabels(map[string]string{"theirs": "stays"}) })
		})

		result := s.do(ctx, template.Kind, s.update(observed, template))

		expectOutcome(result, planner.Stale)
		Expect(s.live(ctx, template).GetLabels()).To(Equal(map[string]string{"theirs": "stays"}))
		expectOutcome(s.do(ctx, template.Kind, s.update(result.Object, template)), planner.Done)
		Expect(s.live(ctx, template).GetLabels()).To(Equal(with(template.CopyLabels(), "theirs", "stays")))
	})

	It("overwrites an edit of the field that it sends", func(ctx SpecContext) {
		s := newStage(ctx)
		before := templateOf(ctx, configMap(map[string]string{"mode": "fast"}))
		observed := s.copied(ctx, before)
		after := templateOf(ctx, configMap(map[string]string{"mode": "slow"}))
		s.wire.before(1, func() {
			s.meanwhile(ctx, before, func(object *unstructured.Unstructured) {
				object.Object["data"] = map[string]any{"mode": "mine", "more": "mine"}
			})
		})

		result := s.do(ctx, after.Kind, s.update(observed, after))

		expectOutcome(result, planner.Done)
		expectInSync(result.Object, after)
		Expect(s.live(ctx, after).Object["data"]).To(Equal(map[string]any{"mode": "slow"}))
	})

	It("does not take an edit of another field for the API server's answer", func(ctx SpecContext) {
		s := newStage(ctx)
		before := templateOf(ctx, configMap(map[string]string{"mode": "fast"}))
		observed := s.copied(ctx, before)
		after := templateOf(ctx, configMap(map[string]string{"mode": "slow"}))
		s.wire.before(1, func() {
			s.meanwhile(ctx, before, func(object *unstructured.Unstructured) { object.Object["binaryData"] = map[string]any{"drift": "AP8="} })
		})

		result := s.do(ctx, after.Kind, s.update(observed, after))

		expectOutcome(result, planner.Stale)
		Expect(result.Object.AcceptedDigests).To(BeEmpty())
		Expect(after.Digests.Differing(result.Object.Digests)).To(Equal([]string{"binaryData"}))
		result = s.do(ctx, after.Kind, s.update(result.Object, after))
		expectOutcome(result, planner.Done)
		expectInSync(result.Object, after)
	})

	It("goes through on a copy that is on its way out", func(ctx SpecContext) {
		s := newStage(ctx)
		before := templateOf(ctx, configMap(nil))
		s.copied(ctx, before)
		s.held(ctx, before)
		observed := s.observed(ctx, before)
		s.wire.before(1, func() { Expect(api.Delete(ctx, s.live(ctx, before))).To(Succeed()) })
		after := templateOf(ctx, configMap(map[string]string{"mode": "fast"}))

		result := s.do(ctx, after.Kind, s.update(observed, after))

		expectOutcome(result, planner.Done)
		Expect(result.Object.Terminating).To(BeTrue())
	})

	It("is forbidden without the right, in one request", func(ctx SpecContext) {
		s := newStage(ctx)
		before := templateOf(ctx, configMap(nil))
		observed := s.copied(ctx, before)
		s.connectAs(ctx, rule("", []string{"configmaps"}, "get"))
		after := templateOf(ctx, configMap(map[string]string{"mode": "fast"}))

		result := s.do(ctx, after.Kind, s.update(observed, after))

		expectOutcome(result, planner.Forbidden)
		Expect(s.wire.requests()).To(Equal([]string{"PATCH"}))
	})

	It("is forbidden when it may not look at what surprised it", func(ctx SpecContext) {
		s := newStage(ctx)
		before := templateOf(ctx, configMap(nil))
		observed := s.copied(ctx, before)
		s.remade(ctx, before)
		s.connectAs(ctx, rule("", []string{"configmaps"}, "patch"))

		expectOutcome(s.do(ctx, before.Kind, s.update(observed, before)), planner.Forbidden)
	})

	It("is refused when the API server misses another object than the copy", func(ctx SpecContext) {
		s := newStage(ctx)
		role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "readers"}}
		Expect(api.Create(ctx, role)).To(Succeed())
		binding := func(subject string) *planner.Template {
			return rawTemplateOf(&rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Name: "readers"},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "readers"},
				Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: subject}},
			})
		}
		observed := s.copied(ctx, binding("somebody"))
		Expect(api.Delete(ctx, role)).To(Succeed())
		s.connectAs(ctx, rule(rbacv1.GroupName, []string{"rolebindings"}, "get", "patch"))
		template := binding("somebody-else")

		// The API server's cache of Roles may lag behind for a moment; then the update goes through.
		result := s.do(ctx, template.Kind, s.update(observed, template))

		expectOutcome(result, planner.Rejected)
		Expect(result.Err).To(MatchError(ContainSubstring(`"readers" not found`)))
	})
})

var _ = Describe("Adopting an object", func() {
	adopt := func(s *stage, observed *planner.Observed, template *planner.Template) planner.Action {
		action := s.update(observed, template)
		action.Adopt = true
		return action
	}
	bare := func(ctx SpecContext, s *stage) *unstructured.Unstructured {
		GinkgoHelper()
		foreign := unstructuredOf(configMap(map[string]string{"theirs": "yes"}))
		foreign.SetNamespace(s.namespace)
		Expect(api.Create(ctx, foreign)).To(Succeed())
		return foreign
	}

	It("takes one request, be there labels and annotations or not", func(ctx SpecContext) {
		s := newStage(ctx)
		observed := observe(bare(ctx, s))
		Expect([]bool{observed.HasLabels, observed.HasAnnotations}).To(Equal([]bool{false, false}))
		template := templateOf(ctx, configMap(map[string]string{"mode": "fast"}), labelling(map[string]string{"tier": "gold"}))

		result := s.do(ctx, template.Kind, adopt(s, observed, template))

		expectOutcome(result, planner.Done)
		Expect(s.wire.requests()).To(Equal([]string{"PATCH"}))
		expectInSync(result.Object, template)
		Expect(result.Object.Adopted).To(BeTrue())
		Expect(result.Object.UID).To(Equal(observed.UID))
		Expect(s.live(ctx, template).Object["data"]).To(Equal(map[string]any{"mode": "fast"}))

		template = templateOf(ctx, configMap(map[string]string{"mode": "slow"}))
		expectOutcome(s.do(ctx, template.Kind, s.update(result.Object, template)), planner.Done)
		Expect(s.observed(ctx, template).Adopted).To(BeTrue(), "an adopted object stays one")
	})

	DescribeTable("changes nothing when the object is not quite as it was observed", func(ctx SpecContext, change func(*unstructured.Unstructured, metav1.OwnerReference)) {
		s := newStage(ctx)
		observed, boss := observe(bare(ctx, s)), s.boss(ctx)
		template := templateOf(ctx, configMap(nil))
		var meddled *unstructured.Unstructured
		s.wire.before(1, func() {
			s.meanwhile(ctx, template, func(object *unstructured.Unstructured) { change(object, boss) })
			meddled = s.live(ctx, template)
		})

		result := s.do(ctx, template.Kind, adopt(s, observed, template))

		expectOutcome(result, planner.Stale)
		Expect(result.Object).To(Equal(observe(meddled)))
		Expect(s.live(ctx, template)).To(Equal(meddled))
	},
		Entry("labels came", func(object *unstructured.Unstructured, _ metav1.OwnerReference) {
			object.SetLabels(map[string]string{"theirs": "stays"})
		}),
		Entry("a controller took it", func(object *unstructured.Unstructured, boss metav1.OwnerReference) {
			object.SetOwnerReferences([]metav1.OwnerReference{boss})
		}),
		Entry("another Replika took it", func(object *unstructured.Unstructured, _ metav1.OwnerReference) {
			object.SetAnnotations(planner.Marks{
				Owner: theirs, Source: theirs, Self: types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()},
			}.Annotations())
		}),
	)
})

var _ = Describe("An update that the API server refuses", func() {
	immutable := func(from *corev1.ConfigMap) *corev1.ConfigMap {
		yes := true
		from.Immutable = &yes
		return from
	}
	typed := func(kind corev1.SecretType) *corev1.Secret {
		typed := secret(map[string]string{"username": "u", "password": "p"})
		typed.Type = kind
		return typed
	}
	binding := func(role string) *rbacv1.RoleBinding {
		return &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "readers"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "somebody"}},
		}
	}

	DescribeTable("for an immutable field is told from others, and changes nothing",
		func(ctx SpecContext, from, to func() client.Object) {
			s := newStage(ctx)
			observed := s.copied(ctx, templateOf(ctx, from()))
			template := templateOf(ctx, to())
			before := s.live(ctx, template)

			result := s.do(ctx, template.Kind, s.update(observed, template))

			expectOutcome(result, planner.Immutable)
			Expect(s.wire.requests()).To(Equal([]string{"PATCH", "POST dry run"}))
			Expect(result.Err).To(MatchError(ContainSubstring("is invalid")))
			Expect(s.live(ctx, template)).To(Equal(before))
		},
		Entry("an immutable ConfigMap",
			func() client.Object { return immutable(configMap(map[string]string{"mode": "fast"})) },
			func() client.Object { return immutable(configMap(map[string]string{"mode": "slow"})) }),
		Entry("the type of a Secret",
			func() client.Object { return typed(corev1.SecretTypeOpaque) },
			func() client.Object { return typed(corev1.SecretTypeBasicAuth) }),
		Entry("the role of a RoleBinding",
			func() client.Object { return binding("view") },
			func() client.Object { return binding("edit") }),
		Entry("a field of a custom object",
			func() client.Object { return custom(gadgetKind, map[string]any{"spec": map[string]any{"make": "a"}}) },
			func() client.Object { return custom(gadgetKind, map[string]any{"spec": map[string]any{"make": "b"}}) }),
	)

	It("is invalid when the template would not be accepted anew either", func(ctx SpecContext) {
		s := newStage(ctx)
		observed := s.copied(ctx, templateOf(ctx, immutable(configMap(map[string]string{"mode": "fast"}))))
		template := rawTemplateOf(configMap(map[string]string{"no blanks": "please"}))
		before := s.live(ctx, template)

		expectOutcome(s.do(ctx, template.Kind, s.update(observed, template)), planner.Rejected)
		Expect(s.live(ctx, template)).To(Equal(before))
	})

	It("is invalid when what others put there leaves no room: the copy must not be deleted to make some", func(ctx SpecContext) {
		s := newStage(ctx)
		observed := s.copied(ctx, templateOf(ctx, configMap(map[string]string{"mode": "fast"})))
		template := templateOf(ctx, configMap(map[string]string{"mode": "slow"}), annotating(map[string]string{"note": strings.Repeat("x", 100<<10)}))
		s.meanwhile(ctx, template, func(object *unstructured.Unstructured) {
			annotations := object.GetAnnotations()
			annotations["theirs"] = strings.Repeat("x", 200<<10)
			object.SetAnnotations(annotations)
		})
		before := s.live(ctx, template)

		result := s.do(ctx, template.Kind, s.update(observed, template))

		expectOutcome(result, planner.Rejected)
		Expect(result.Err).To(MatchError(ContainSubstring("metadata.annotations")))
		Expect(s.wire.requests()).To(Equal([]string{"PATCH"}))
		Expect(s.live(ctx, template)).To(Equal(before))
	})

	It("is a policy's refusal when a policy would not let the template in anew", func(ctx SpecContext) {
		s := newStage(ctx)
		observed := s.copied(ctx, templateOf(ctx, immutable(configMap(map[string]string{"mode": "fast"}))))
		deny(ctx, s, denialPattern{when: `request.operation == "CREATE" && object.data.mode == "slow"`, message: "too slow"})
		template := templateOf(ctx, immutable(configMap(map[string]string{"mode": "slow"})))

		expectOutcome(s.do(ctx, template.Kind, s.update(observed, template)), planner.Rejected)
	})

	DescribeTable("by a policy that objects to updates only is no immutable field: the copy must not be deleted to get round it",
		func(ctx SpecContext, reason metav1.StatusReason) {
			s := newStage(ctx)
			observed := s.copied(ctx, templateOf(ctx, configMap(map[string]string{"mode": "fast"})))
			deny(ctx, s, denialPattern{when: `request.operation == "UPDATE"`, message: "frozen for the season", reason: reason})
			template := templateOf(ctx, configMap(map[string]string{"mode": "slow"}))

			result := s.do(ctx, template.Kind, s.update(observed, template))

			expectOutcome(result, planner.Rejected)
			Expect(result.Err).To(MatchError(ContainSubstring("frozen for the season")))
		},
		Entry("invalid", metav1.StatusReasonInvalid),
		Entry("forbidden", metav1.StatusReasonForbidden),
		Entry("too large", metav1.StatusReasonRequestEntityTooLarge),
	)

	It("is the quota's when there would be no room to make the copy anew", func(ctx SpecContext) {
		s := newStage(ctx)
		observed := s.copied(ctx, templateOf(ctx, immutable(configMap(map[string]string{"mode": "fast"}))))
		quota := &corev1.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "none"},
			Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/configmaps": resource.MustParse("0")}},
		}
		Expect(api.Create(ctx, quota)).To(Succeed())
		probe := configMap(nil)
		probe.Namespace, probe.Name = s.namespace, "probe"
		Eventually(ctx, func() error { return api.Create(ctx, probe.DeepCopy(), client.DryRunAll) }).
			Should(MatchError(ContainSubstring("exceeded quota")))
		template := templateOf(ctx, immutable(configMap(map[string]string{"mode": "slow"})))

		expectOutcome(s.do(ctx, template.Kind, s.update(observed, template)), planner.QuotaExceeded)
	})

	It("leaves nothing behind when the object went before the dry run", func(ctx SpecContext) {
		s := newStage(ctx)
		before := templateOf(ctx, immutable(configMap(map[string]string{"mode": "fast"})))
		observed := s.copied(ctx, before)
		template := templateOf(ctx, immutable(configMap(map[string]string{"mode": "slow"})))
		s.wire.before(2, func() { s.removed(ctx, before) })

		result := s.do(ctx, template.Kind, s.update(observed, template))

		expectOutcome(result, planner.Stale)
		Expect(s.wire.requests()).To(Equal([]string{"PATCH", "POST dry run"}))
		Expect(result.Object).To(BeNil())
		s.expectNothing(ctx, template)
	})

	It("is forbidden when it may not create, and so not recreate", func(ctx SpecContext) {
		s := newStage(ctx)
		observed := s.copied(ctx, templateOf(ctx, immutable(configMap(map[string]string{"mode": "fast"}))))
		s.connectAs(ctx, rule("", []string{"configmaps"}, "get", "patch"))
		template := templateOf(ctx, immutable(configMap(map[string]string{"mode": "slow"})))

		expectOutcome(s.do(ctx, template.Kind, s.update(observed, template)), planner.Forbidden)
	})
})

func with(keys map[string]string, key, value string) map[string]string {
	changed := maps.Clone(keys)
	if changed == nil {
		changed = map[string]string{}
	}
	changed[key] = value
	return changed
}

func without(keys map[string]string, key string) map[string]string {
	changed := maps.Clone(keys)
	delete(changed, key)
	return changed
}
