package controllers_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var _ = Describe("Adoption", func() {
	It("takes a foreign object over, keeps it in step, and never deletes it", func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		foreign := configMap(a, source.Name, "theirs")
		foreign.Data["more"] = "theirs"
		foreign.Labels = map[string]string{"theirs": "kept"}
		create(ctx, foreign)
		replika := s.replika(ctx, source, into(a, b), adopting)
		eventuallyCopied(ctx, source, a, b)
		eventuallyReady(ctx, replika, 2)
		Expect(read(ctx, source, a).GetUID()).To(Equal(foreign.UID))
		Expect(read(ctx, source, a).GetAnnotations()).To(HaveKeyWithValue(v1alpha1.AnnotationAdopted, v1alpha1.AdoptedValue))
		Expect(read(ctx, source, b).GetAnnotations()).NotTo(HaveKey(v1alpha1.AnnotationAdopted))

		edit(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		eventuallyCopied(ctx, source, a, b)
		remove(ctx, replika)
		eventuallyGone(ctx, source, b)
		released := read(ctx, source, a)
		Expect(released.GetUID()).To(Equal(foreign.UID))
		Expect(ourKeys(released)).To(BeEmpty())
		Expect(released.GetLabels()).To(Equal(map[string]string{"theirs": "kept"}))
		Expect(content(released)).To(HaveKeyWithValue("data", Equal(map[string]any{"key": "two"})))
	})

	It("ends with a release when the namespace is no longer selected", func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		foreign := create(ctx, configMap(a, source.Name, "theirs"))
		replika := s.replika(ctx, source, into(a, b), adopting)
		eventuallyReady(ctx, replika, 2)
		edit(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces.ReplicateIn = []string{b} })
		eventuallyReleased(ctx, source, a, foreign.UID)
	})

	It("ends with a release when the source is deleted and copies go with it", func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		foreign := create(ctx, configMap(a, source.Name, "theirs"))
		eventuallyReady(ctx, s.replika(ctx, source, into(a, b), adopting, onSourceDeletion(v1alpha1.SourceDeletionDelete)), 2)
		remove(ctx, source)
		eventuallyGone(ctx, source, b)
		eventuallyReleased(ctx, source, a, foreign.UID)
	})

	It("follows a change of the policy", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		foreign := create(ctx, configMap(a, source.Name, "theirs"))
		replika := s.replika(ctx, source, into(a))
		eventuallyFailing(ctx, replika, map[string]string{a: v1alpha1.FailureConflict})
		edit(ctx, replika, adopting)
		eventuallyReady(ctx, replika, 1)
		eventuallyCopied(ctx, source, a)

		edit(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.ConflictPolicy = v1alpha1.ConflictPolicyFail })
		eventuallyReady(ctx, replika, 1)
		remove(ctx, replika)
		Expect(read(ctx, source, a).GetUID()).To(Equal(foreign.UID), "what was adopted is released")
	})

	It("never makes an object anew that refuses the template", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		foreign := configMap(a, source.Name, "theirs")
		foreign.Immutable = new(true)
		create(ctx, foreign)
		eventuallyFailing(ctx, s.replika(ctx, source, into(a), adopting, withImmutableFields(v1alpha1.ImmutableFieldsRecreate)),
			map[string]string{a: v1alpha1.FailureImmutable})
		Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(foreign.ResourceVersion))
	})

	It("refuses an object that another controller rules", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		foreign := configMap(a, source.Name, "theirs")
		foreign.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "Namespace", Name: a, UID: namespaceUID(ctx, a), Controller: new(true),
		}}
		create(ctx, foreign)
		replika := s.replika(ctx, source, into(a), adopting)
		failing := eventuallyFailing(ctx, replika, map[string]string{a: v1alpha1.FailureConflict})
		Expect(failing.Status.Failures[0].Message).To(ContainSubstring("controller"))
		Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(foreign.ResourceVersion))
	})
})
