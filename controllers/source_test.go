package controllers_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var _ = Describe("The source", func() {
	It("is waited for, and served once it is there", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := configMap(s.namespace(ctx, "source"), "settings", "one")
		replika := s.replika(ctx, source, into(a))
		waiting := eventuallyNotReady(ctx, replika, v1alpha1.ReasonSourceNotFound)
		Expect(messageOf(waiting)).To(ContainSubstring(source.Namespace + "/" + source.Name))
		create(ctx, source)
		eventuallyCopied(ctx, source, a)
		eventuallyReady(ctx, replika, 1)
	})

	It("is waited for together with its namespace", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := configMap(s.name("source"), "settings", "one")
		replika := s.replika(ctx, source, living(a), into(a))
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonSourceNotFound)
		s.namespace(ctx, "source")
		create(ctx, source)
		eventuallyCopied(ctx, source, a)
		eventuallyReady(ctx, replika, 1)
	})

	It("when it goes, leaves its copies, which follow it again when it comes back", func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a, b))
		eventuallyReady(ctx, replika, 2)
		before := read(ctx, source, a)

		remove(ctx, source)
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonSourceNotFound)
		Consistently(ctx, func(g Gomega) { g.Expect(read(ctx, source, a)).To(Equal(before)) }).Should(Succeed())
		edit(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces.ReplicateIn = []string{a} })
		eventuallyGone(ctx, source, b)

		again := create(ctx, configMap(source.Namespace, source.Name, "two"))
		eventuallyCopied(ctx, again, a)
		eventuallyReady(ctx, replika, 1)
		Expect(read(ctx, source, a).GetUID()).To(Equal(before.GetUID()))
	})

	It("when it goes, takes its copies along under Delete, and they are made anew when it comes back", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a), onSourceDeletion(v1alpha1.SourceDeletionDelete))
		eventuallyReady(ctx, replika, 1)
		remove(ctx, source)
		eventuallyGone(ctx, source, a)
		await(ctx, replika, func(g Gomega, now *v1alpha1.Replika) {
			g.Expect(messageOf(now)).To(ContainSubstring("does not exist"))
			g.Expect(now.Status.Copies).To(HaveField("Synced", BeZero()), "there are none any more")
		})

		again := create(ctx, configMap(source.Namespace, source.Name, "two"))
		eventuallyCopied(ctx, again, a)
		eventuallyReady(ctx, replika, 1)
	})

	It("that is not there yet takes no copies along under Delete", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := configMap(s.namespace(ctx, "source"), "settings", "one")
		foreign := create(ctx, configMap(a, source.Name, "theirs"))
		eventuallyNotReady(ctx, s.replika(ctx, source, into(a), onSourceDeletion(v1alpha1.SourceDeletionDelete)), v1alpha1.ReasonSourceNotFound)
		Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(foreign.ResourceVersion))
	})

	It("when it goes while a conflict stands, leaves a status that adds up", func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		create(ctx, configMap(a, source.Name, "theirs"))
		replika := s.replika(ctx, source, into(a, b))
		eventuallyFailing(ctx, replika, map[string]string{a: v1alpha1.FailureConflict})
		remove(ctx, source)
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonSourceNotFound)
	})

	Describe("is refused", func() {
		It("when it is a copy", func(ctx SpecContext) {
			s := newScene()
			a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
			source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
			eventuallyReady(ctx, s.replika(ctx, source, into(a)), 1)
			refused := eventuallyNotReady(ctx, s.replika(ctx, in(a, source), into(b)), v1alpha1.ReasonSourceNotAllowed)
			Expect(messageOf(refused)).To(ContainSubstring("copy"))
			consistentlyAbsent(ctx, source, b)
		})

		DescribeTable("when it is a Secret that means something in one place only",
			func(ctx SpecContext, secretType corev1.SecretType) {
				s := newScene()
				a := s.namespace(ctx, "a")
				source := secret(s.namespace(ctx, "source"), "token", "s3cr3t")
				source.Type = secretType
				source.Annotations = map[string]string{corev1.ServiceAccountNameKey: "default"}
				eventuallyThere(ctx, &corev1.ServiceAccount{}, source.Namespace, "default") // else the token is deleted at once
				create(ctx, source)
				replika := s.replika(ctx, source, into(a))
				refused := eventuallyNotReady(ctx, replika, v1alpha1.ReasonSourceNotAllowed)
				Expect(messageOf(refused)).To(ContainSubstring(string(secretType)))
				consistentlyAbsent(ctx, source, a)

				remove(ctx, source)
				eventuallyNotReady(ctx, replika, v1alpha1.ReasonSourceNotFound)
				harmless := create(ctx, secret(source.Namespace, source.Name, "one"))
				eventuallyCopied(ctx, harmless, a)
				eventuallyReady(ctx, replika, 1)
			},
			Entry("a ServiceAccount's token", corev1.SecretTypeServiceAccountToken),
			Entry("a bootstrap token", corev1.SecretTypeBootstrapToken),
		)

		It("and copies from before it was refused stay as they are", func(ctx SpecContext) {
			s := newScene()
			a := s.namespace(ctx, "a")
			source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
			replika := s.replika(ctx, source, into(a))
			eventuallyReady(ctx, replika, 1)
			before := read(ctx, source, a)
			edit(ctx, source, func(source *corev1.ConfigMap) {
				source.Labels = map[string]string{v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue}
				source.Data["key"] = "two"
			})
			eventuallyNotReady(ctx, replika, v1alpha1.ReasonSourceNotAllowed)
			Consistently(ctx, func(g Gomega) { g.Expect(read(ctx, source, a)).To(Equal(before)) }).Should(Succeed())
			remove(ctx, replika)
			eventuallyGone(ctx, source, a)
			Expect(read(ctx, source, source.Namespace)).NotTo(BeNil(), "the source is nobody's copy")
		})
	})
})
