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
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
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

var _ = Describe("Creating a copy", func() {
	It("takes one request, and answers with what was made", func(ctx SpecContext) {
		s := newStage(ctx)
		from := secret(map[string]string{"password": "hunter22", "empty": ""})
		from.Labels = map[string]string{"team": "blue", "flag": ""}
		from.Annotations = map[string]string{"example.com/note": `a "quoted" <note>`, "blank": ""}
		template := templateOf(ctx, from)

		result := s.do(ctx, template.Kind, s.create(template))

		expectOutcome(result, planner.Done)
		Expect(s.wire.requests()).To(Equal([]string{"POST"}))
		made := s.live(ctx, template)
		Expect(result.Object).To(Equal(observe(made)))
		expectInSync(result.Object, template)
		Expect(result.Object.AcceptedDigests).To(BeEmpty(), "the API server changed nothing")
		Expect(made.GetLabels()).To(Equal(map[string]string{
			"team": "blue", "flag": "", v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue, v1alpha1.LabelPartOf: "sync",
		}))
		Expect(made.GetAnnotations()).To(And(
			HaveKeyWithValue("example.com/note", `a "quoted" <note>`), HaveKeyWithValue("blank", ""),
			HaveKeyWithValue(v1alpha1.AnnotationOwner, "ops/sync"), HaveKeyWithValue(v1alpha1.AnnotationSelf, s.namespace+"/credentials"),
		))
		Expect(made.Object["data"]).To(Equal(map[string]any{"password": "aHVudGVyMjI=", "empty": ""}))
	})

	It("takes one request for objects with fields of any name", func(ctx SpecContext) {
		s := newStage(ctx)
		template := templateOf(ctx, custom(widgetKind, map[string]any{
			"a/b~c": "odd", "spec": map[string]any{"rows": []any{[]any{int64(1), "two"}, []any{}}},
		}))

		expectInSync(s.copied(ctx, template), template)

		Expect(s.live(ctx, template).Object).To(And(
			HaveKeyWithValue("a/b~c", "odd"),
			HaveKeyWithValue("spec", map[string]any{"rows": []any{[]any{int64(1), "two"}, []any{}}}),
		))
	})

	DescribeTable("never touches what took the place, and tells what that is",
		func(ctx SpecContext, take surprise, expect func(*planner.Observed)) {
			s := newStage(ctx)
			template := templateOf(ctx, configMap(map[string]string{"mode": "fast"}))
			var before *unstructured.Unstructured
			s.wire.before(1, func() {
				take(ctx, s, template)
				before = s.live(ctx, template)
			})

			result := s.do(ctx, template.Kind, s.create(template))

			expectOutcome(result, planner.Stale)
			Expect(s.wire.requests()).To(Equal([]string{"POST", "GET"}))
			Expect(result.Object).To(Equal(observe(before)))
			expect(result.Object)
			Expect(s.live(ctx, template)).To(Equal(before))
		},
		Entry("a foreign object", func(ctx SpecContext, s *stage, _ *planner.Template) {
			foreign := configMap(map[string]string{"mode": "mine"})
			foreign.Namespace = s.namespace
			Expect(api.Create(ctx, foreign)).To(Succeed())
		}, func(found *planner.Observed) {
			Expect(found.Marks).To(Equal(planner.MarksAbsent))
		}),
		Entry("our own copy, made by an operator that was killed before it knew", func(ctx SpecContext, s *stage, template *planner.Template) {
			rendered, err := template.Render(s.namespace)
			Expect(err).NotTo(HaveOccurred())
			object := &unstructured.Unstructured{}
			Expect(object.UnmarshalJSON(rendered)).To(Succeed())
			Expect(api.Create(ctx, object)).To(Succeed())
		}, func(found *planner.Observed) {
			Expect(found.OwnedBy(ours)).To(BeTrue())
		}),
		Entry("an object on its way out", func(ctx SpecContext, s *stage, _ *planner.Template) {
			foreign := unstructuredOf(configMap(nil))
			foreign.SetNamespace(s.namespace)
			foreign.SetFinalizers([]string{hold})
			Expect(api.Create(ctx, foreign)).To(Succeed())
			Expect(api.Delete(ctx, foreign)).To(Succeed())
			s.freedLater(foreign)
		}, func(found *planner.Observed) {
			Expect(found.Terminating).To(BeTrue())
		}),
	)

	It("says so when what took the place is gone again", func(ctx SpecContext) {
		s := newStage(ctx)
		template := templateOf(ctx, configMap(nil))
		s.copied(ctx, template)
		s.wire.before(2, func() { s.removed(ctx, template) })

		result := s.do(ctx, template.Kind, s.create(template))

		expectOutcome(result, planner.Stale)
		Expect(result.Object).To(BeNil())
	})

	Context("in a namespace whose quota is full", func() {
		fill := func(ctx SpecContext, s *stage) {
			GinkgoHelper()
			quota := &corev1.ResourceQuota{
				ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "none"},
				Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/secrets": resource.MustParse("0")}},
			}
			Expect(api.Create(ctx, quota)).To(Succeed())
			Eventually(ctx, func(g Gomega) {
				g.Expect(api.Get(ctx, client.ObjectKeyFromObject(quota), quota)).To(Succeed())
				g.Expect(quota.Status.Used).To(HaveKey(corev1.ResourceName("count/secrets")))
			}).Should(Succeed())
			// The API server knows of the quota from a watch of its own.
			probe := secret(nil)
			probe.Namespace, probe.Name = s.namespace, "probe"
			Eventually(ctx, func() error { return api.Create(ctx, probe.DeepCopy(), client.DryRunAll) }).
				Should(MatchError(ContainSubstring("exceeded quota")))
		}

		It("is refused by the quota when the name is free", func(ctx SpecContext) {
			s := newStage(ctx)
			fill(ctx, s)
			template := templateOf(ctx, secret(nil))

			result := s.do(ctx, template.Kind, s.create(template))

			expectOutcome(result, planner.QuotaExceeded)
			Expect(result.Err).To(MatchError(ContainSubstring("exceeded quota: none")))
			s.expectNothing(ctx, template)
		})

		It("finds the foreign object that has the name", func(ctx SpecContext) {
			s := newStage(ctx)
			foreign := secret(map[string]string{"theirs": "yes"})
			foreign.Namespace = s.namespace
			Expect(api.Create(ctx, foreign)).To(Succeed())
			fill(ctx, s)
			template := templateOf(ctx, secret(nil))

			result := s.do(ctx, template.Kind, s.create(template))

			expectOutcome(result, planner.Stale)
			Expect(result.Object).NotTo(BeNil())
			Expect(result.Object.UID).To(Equal(foreign.UID))
		})
	})

	It("is refused by a quota that does not know its usage yet", func(ctx SpecContext) {
		s := newStage(ctx)
		// The controller that counts learns of new kinds only now and then.
		kind := schema.GroupVersionKind{Group: s.id + ".example.com", Version: "v1", Kind: "Novelty"}
		definition := installKind(ctx, kind, nil)
		DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(api.Delete(ctx, definition))).To(Succeed()) })
		name := corev1.ResourceName("count/noveltys." + kind.Group)
		quota := &corev1.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "uncounted"},
			Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{name: resource.MustParse("7")}},
		}
		Expect(api.Create(ctx, quota)).To(Succeed())
		probe := newObject(kind, s.namespace, "probe")
		Eventually(ctx, func() error { return api.Create(ctx, probe.DeepCopy(), client.DryRunAll) }).
			Should(MatchError(ContainSubstring("status unknown for quota")))
		template := rawTemplateOf(custom(kind, nil))

		expectOutcome(s.do(ctx, kind, s.create(template)), planner.QuotaExceeded)
	})

	Context("in a namespace that is no target any more", func() {
		It("finds the namespace missing", func(ctx SpecContext) {
			s := newStage(ctx)
			s.namespace = s.id + "-missing"
			template := templateOf(ctx, configMap(nil))

			result := s.do(ctx, template.Kind, s.create(template))

			expectOutcome(result, planner.NamespaceGone)
			Expect(s.wire.requests()).To(Equal([]string{"POST"}))
		})

		DescribeTable("finds the namespace being deleted", func(ctx SpecContext, name string) {
			s := newStage(ctx)
			anchor := unstructuredOf(configMap(nil))
			anchor.SetNamespace(s.namespace)
			anchor.SetName(name)
			anchor.SetFinalizers([]string{hold})
			Expect(api.Create(ctx, anchor)).To(Succeed())
			s.freedLater(anchor)
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}}
			Expect(api.Delete(ctx, namespace)).To(Succeed())
			template := templateOf(ctx, configMap(nil))

			result := s.do(ctx, template.Kind, s.create(template))

			expectOutcome(result, planner.NamespaceGone)
			Expect(api.Get(ctx, client.ObjectKeyFromObject(namespace), namespace)).To(Succeed())
			Expect(namespace.Status.Phase).To(Equal(corev1.NamespaceTerminating))
		},
			Entry("with the name free", "anchor"),
			Entry("with the name taken", "settings"),
		)
	})

	Context("when the kind goes", func() {
		install := func(ctx SpecContext, s *stage) (*unstructured.Unstructured, *planner.Template) {
			GinkgoHelper()
			kind := schema.GroupVersionKind{Group: s.id + ".example.com", Version: "v1", Kind: "Fad"}
			definition := installKind(ctx, kind, nil)
			return definition, rawTemplateOf(custom(kind, nil))
		}
		gone := func(ctx SpecContext, definition *unstructured.Unstructured) {
			GinkgoHelper()
			Expect(client.IgnoreNotFound(api.Delete(ctx, definition))).To(Succeed())
			Eventually(ctx, func() error { return api.Get(ctx, client.ObjectKeyFromObject(definition), definition) }).
				Should(MatchError(ContainSubstring("not found")))
		}

		It("finds it gone, for every action", func(ctx SpecContext) {
			s := newStage(ctx)
			definition, template := install(ctx, s)
			observed := s.copied(ctx, template)
			resource := resourceOf(template.Kind)
			gone(ctx, definition)

			update, handOver := s.update(observed, template), s.about(planner.HandOver, observed)
			handOver.NewOwner = theirs
			for _, action := range []planner.Action{
				s.create(template), update, s.about(planner.Delete, observed), s.about(planner.Release, observed), handOver,
			} {
				Eventually(ctx, func() planner.Outcome { return s.writer.Execute(ctx, resource, ours, &action).Outcome }).
					Should(Equal(planner.KindGone), "%s", action.Type)
			}
		})

		It("finds it on its way out, held by objects that are left", func(ctx SpecContext) {
			s := newStage(ctx)
			definition, template := install(ctx, s)
			anchor := newObject(template.Kind, s.namespace, "anchor")
			anchor.SetFinalizers([]string{hold})
			Expect(api.Create(ctx, anchor)).To(Succeed())
			s.freedLater(anchor)
			Expect(api.Delete(ctx, definition)).To(Succeed())
			probe := newObject(template.Kind, s.namespace, "probe")
			Eventually(ctx, func() error { return api.Create(ctx, probe.DeepCopy(), client.DryRunAll) }).
				Should(MatchError(ContainSubstring("terminating")))

			expectOutcome(s.do(ctx, template.Kind, s.create(template)), planner.KindGone)
		})
	})

	Context("without the rights", func() {
		It("is forbidden", func(ctx SpecContext) {
			s := newStage(ctx)
			s.connectAs(ctx)
			template := templateOf(ctx, configMap(nil))

			result := s.do(ctx, template.Kind, s.create(template))

			expectOutcome(result, planner.Forbidden)
			Expect(result.Err).To(MatchError(ContainSubstring(`cannot create resource "configmaps"`)))
		})

		It("finds what has the name, if it may look", func(ctx SpecContext) {
			s := newStage(ctx)
			template := templateOf(ctx, configMap(nil))
			s.copied(ctx, template)
			s.connectAs(ctx, rule("", []string{"configmaps"}, "get"))

			result := s.do(ctx, template.Kind, s.create(template))

			expectOutcome(result, planner.Stale)
			expectInSync(result.Object, template)
		})

		It("is forbidden when the name is taken and it may not look", func(ctx SpecContext) {
			s := newStage(ctx)
			template := templateOf(ctx, configMap(nil))
			s.copied(ctx, template)
			s.connectAs(ctx, rule("", []string{"configmaps"}, "create"))

			result := s.do(ctx, template.Kind, s.create(template))

			expectOutcome(result, planner.Forbidden)
			Expect(result.Err).To(MatchError(ContainSubstring(`cannot get resource "configmaps"`)))
		})

		It("is forbidden to grant more than it has", func(ctx SpecContext) {
			s := newStage(ctx)
			s.connectAs(ctx, rule(rbacv1.GroupName, []string{"roles"}, "create", "get"))
			template := templateOf(ctx, &rbacv1.Role{
				ObjectMeta: metav1.ObjectMeta{Name: "readers"}, Rules: []rbacv1.PolicyRule{rule("", []string{"pods"}, "get")},
			})

			expectOutcome(s.do(ctx, template.Kind, s.create(template)), planner.Forbidden)
		})

		It("is forbidden to nobody in particular", func(ctx SpecContext) {
			s := newStage(ctx)
			stranger := rest.AnonymousClientConfig(controlPlane.Config)
			stranger.BearerToken = "made-up"
			s.connect(stranger)
			template := templateOf(ctx, configMap(nil))

			expectOutcome(s.do(ctx, template.Kind, s.create(template)), planner.Forbidden)
		})
	})

	It("is refused when the API server misses another object than the copy", func(ctx SpecContext) {
		s := newStage(ctx)
		s.connectAs(ctx, rule(rbacv1.GroupName, []string{"rolebindings"}, "create", "get"))
		template := rawTemplateOf(&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "readers"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "nowhere"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "somebody"}},
		})

		result := s.do(ctx, template.Kind, s.create(template))

		expectOutcome(result, planner.Rejected)
		Expect(result.Err).To(MatchError(ContainSubstring(`"nowhere" not found`)))
	})

	Context("of an invalid object", func() {
		It("is refused", func(ctx SpecContext) {
			s := newStage(ctx)
			template := rawTemplateOf(configMap(map[string]string{"no blanks": "please"}))

			result := s.do(ctx, template.Kind, s.create(template))

			expectOutcome(result, planner.Rejected)
			Expect(s.wire.requests()).To(Equal([]string{"POST", "GET"}))
		})

		It("finds what has the name", func(ctx SpecContext) {
			s := newStage(ctx)
			s.copied(ctx, templateOf(ctx, configMap(nil)))
			template := rawTemplateOf(configMap(map[string]string{"no blanks": "please"}))

			expectOutcome(s.do(ctx, template.Kind, s.create(template)), planner.Stale)
		})

		It("is refused when it cannot be decoded, and when it is too large", func(ctx SpecContext) {
			s := newStage(ctx)
			nonsense := unstructuredOf(configMap(nil))
			nonsense.Object["data"] = "a map, by rights"
			huge := configMap(map[string]string{"blob": strings.Repeat("x", 4<<20)})
			for _, template := range []*planner.Template{rawTemplateOf(nonsense), rawTemplateOf(huge)} {
				expectOutcome(s.do(ctx, template.Kind, s.create(template)), planner.Rejected)
			}
		})
	})

	Context("against the will of admission", func() {
		DescribeTable("is refused by a policy, whatever its words",
			func(ctx SpecContext, reason metav1.StatusReason, words string) {
				s := newStage(ctx)
				deny(ctx, s, denialPattern{when: `object.metadata.name == "settings"`, message: words, reason: reason})
				template := templateOf(ctx, configMap(nil))

				result := s.do(ctx, template.Kind, s.create(template))

				expectOutcome(result, planner.Rejected)
				Expect(result.Err).To(MatchError(ContainSubstring(words)))
			},
			Entry("that calls it invalid", metav1.StatusReasonInvalid, "not like this"),
			Entry("that calls it forbidden", metav1.StatusReasonForbidden, "not like this"),
			Entry("that calls it too large", metav1.StatusReasonRequestEntityTooLarge, "not like this"),
			Entry("that talks like the authorizer", metav1.StatusReasonForbidden, "settings cannot stand here"),
			Entry("that talks like a quota", metav1.StatusReasonForbidden, "you exceeded quota: ours"),
		)

		It("is refused by a LimitRange", func(ctx SpecContext) {
			s := newStage(ctx)
			Expect(api.Create(ctx, &corev1.LimitRange{
				ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "small"},
				Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
					Type: corev1.LimitTypePersistentVolumeClaim, Max: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
				}}},
			})).To(Succeed())
			from := claim("standard", "2Gi")
			probe := from.DeepCopy()
			probe.Namespace, probe.Name = s.namespace, "probe"
			Eventually(ctx, func() error { return api.Create(ctx, probe.DeepCopy(), client.DryRunAll) }).ShouldNot(Succeed())
			template := templateOf(ctx, from)

			result := s.do(ctx, template.Kind, s.create(template))

			expectOutcome(result, planner.Rejected)
			Expect(result.Err).To(MatchError(ContainSubstring("maximum storage usage")))
		})

		It("is refused by PodSecurity", func(ctx SpecContext) {
			s := newStage(ctx, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
			// A Pod of that namespace needs its ServiceAccount.
			Eventually(ctx, func() error {
				return api.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "default"}, &corev1.ServiceAccount{})
			}).Should(Succeed())
			template := rawTemplateOf(&corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "runner"},
				Spec:       corev1.PodSpec{HostNetwork: true, Containers: []corev1.Container{{Name: "run", Image: "example.com/run"}}},
			})

			result := s.do(ctx, template.Kind, s.create(template))

			expectOutcome(result, planner.Rejected)
			Expect(result.Err).To(MatchError(ContainSubstring("violates PodSecurity")))
		})
	})
})

// denial is a policy that refuses what `when`, in CEL, finds true.
type denialPattern struct {
	when       string
	message    string
	expression string // of the message
	reason     metav1.StatusReason
}

// deny puts a ValidatingAdmissionPolicy in force in the stage's namespace.
func deny(ctx SpecContext, s *stage, denial denialPattern) {
	GinkgoHelper()
	const probing = `(request.operation == "CREATE" && object.metadata.name == "probe")`
	validation := admissionregistrationv1.Validation{
		Expression: "!(" + probing + " || (" + denial.when + "))", Message: denial.message, MessageExpression: denial.expression,
	}
	if denial.reason != "" {
		validation.Reason = &denial.reason
	}
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: s.id + "-denial"},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: constraints(s),
			Validations:      []admissionregistrationv1.Validation{validation},
		},
	}
	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: policy.Name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName:        policy.Name,
			ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	}
	for _, object := range []client.Object{policy, binding} {
		Expect(api.Create(ctx, object)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(api.Delete(ctx, object)).To(Succeed()) })
	}
	probe := configMap(nil)
	probe.Namespace, probe.Name = s.namespace, "probe"
	Eventually(ctx, func() error { return api.Create(ctx, probe.DeepCopy(), client.DryRunAll) }).
		Should(MatchError(ContainSubstring(policy.Name)))
}

// constraints match what happens to ConfigMaps and Secrets in the stage's namespace.
func constraints(s *stage) *admissionregistrationv1.MatchResources {
	return &admissionregistrationv1.MatchResources{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{stageLabel: s.id}},
		ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
			RuleWithOperations: admissionregistrationv1.RuleWithOperations{
				Operations: []admissionregistrationv1.OperationType{
					admissionregistrationv1.Create, admissionregistrationv1.Update, admissionregistrationv1.Delete,
				},
				Rule: admissionregistrationv1.Rule{
					APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps", "secrets"},
				},
			},
		}},
	}
}

func claim(class, size string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "disk"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName: &class,
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}},
		},
	}
}
