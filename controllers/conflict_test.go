package controllers_test

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var _ = Describe("A foreign object in the way", func() {
	DescribeTable("is left alone and reported, the other namespaces are served, and its place is taken when it goes",
		func(ctx SpecContext, foreign client.Object, source client.Object) {
			s := newScene()
			a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
			source.SetNamespace(s.namespace(ctx, "source"))
			create(ctx, source)
			foreign.SetNamespace(a)
			create(ctx, foreign)
			replika := s.replika(ctx, source, into(a, b))

			conflict := eventuallyFailing(ctx, replika, map[string]string{a: v1alpha1.FailureConflict})
			Expect(messageOf(conflict)).To(ContainSubstring(a))
			Expect(conflict.Status.Failures[0].Message).To(ContainSubstring("conflictPolicy"))
			Expect(*conflict.Status.Copies).To(Equal(v1alpha1.CopiesStatus{Desired: 2, Synced: 1, Failed: 1}))
			eventuallyCopied(ctx, source, b)
			Consistently(ctx, func() string { return read(ctx, foreign, a).GetResourceVersion() }).
				Should(Equal(foreign.GetResourceVersion()))

			Expect(api.Delete(ctx, foreign)).To(Succeed())
			eventuallyCopied(ctx, source, a)
			eventuallyReady(ctx, replika, 2)
		},
		Entry("a ConfigMap", configMap("", "settings", "theirs"), configMap("", "settings", "one")),
		Entry("a ConfigMap with the very content of a copy", configMap("", "settings", "one"), configMap("", "settings", "one")),
		Entry("a Secret", secret("", "account", "theirs"), secret("", "account", "one")),
	)

	It("stays when the Replika is deleted, or no longer wants the namespace", func(ctx SpecContext) {
		s := newScene()
		a, b, c := s.namespace(ctx, "a"), s.namespace(ctx, "b"), s.namespace(ctx, "c")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		first, second := create(ctx, configMap(a, source.Name, "theirs")), create(ctx, configMap(b, source.Name, "theirs"))
		replika := s.replika(ctx, source, into(a, b, c))
		eventuallyFailing(ctx, replika, map[string]string{a: v1alpha1.FailureConflict, b: v1alpha1.FailureConflict})

		edit(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces.ReplicateIn = []string{b, c} })
		eventuallyFailing(ctx, replika, map[string]string{b: v1alpha1.FailureConflict})
		remove(ctx, replika)
		eventuallyGone(ctx, source, c)
		Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(first.ResourceVersion))
		Expect(read(ctx, source, b).GetResourceVersion()).To(Equal(second.ResourceVersion))
	})

	It("may be a copy that somebody duplicated, marks and all", func(ctx SpecContext) {
		s := newScene()
		a, b, c := s.namespace(ctx, "a"), s.namespace(ctx, "b"), s.namespace(ctx, "c")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a))
		eventuallyReady(ctx, replika, 1)
		duplicate := func(namespace string) *corev1.ConfigMap {
			copied := in(a, source)
			Expect(api.Get(ctx, client.ObjectKeyFromObject(copied), copied)).To(Succeed())
			copied.ObjectMeta = metav1.ObjectMeta{
				Namespace: namespace, Name: copied.Name, Labels: copied.Labels, Annotations: copied.Annotations,
			}
			return create(ctx, copied)
		}
		wanted, unwanted := duplicate(b), duplicate(c)

		edit(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces.ReplicateIn = []string{a, b} })
		eventuallyFailing(ctx, replika, map[string]string{b: v1alpha1.FailureConflict})
		remove(ctx, replika)
		eventuallyGone(ctx, source, a)
		Expect(read(ctx, source, b).GetResourceVersion()).To(Equal(wanted.ResourceVersion))
		Expect(read(ctx, source, c).GetResourceVersion()).To(Equal(unwanted.ResourceVersion))
	})

	It("carries marks of a newer operator, and is left alone too", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a))
		eventuallyReady(ctx, replika, 1)
		newer := in(a, source)
		edit(ctx, newer, func(copy *corev1.ConfigMap) {
			copy.Annotations[v1alpha1.AnnotationMarksVersion] = "2"
			copy.Data["key"] = "newer"
		})
		failing := eventuallyFailing(ctx, replika, map[string]string{a: v1alpha1.FailureConflict})
		Expect(failing.Status.Failures[0].Message).To(ContainSubstring("newer"))
		remove(ctx, replika)
		Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(newer.ResourceVersion))
	})

	It("is listed with 20 others at most, of which the first by name", func(ctx SpecContext) {
		const conflicts = v1alpha1.MaxFailures + 3
		s := newScene()
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		for i := range conflicts {
			create(ctx, configMap(s.namespace(ctx, fmt.Sprintf("way-%02d", i)), source.Name, "theirs"))
		}
		replika := s.replika(ctx, source, into(s.name("way-*")))
		failing := await(ctx, replika, func(g Gomega, now *v1alpha1.Replika) {
			g.Expect(now.Status.Copies).To(Equal(&v1alpha1.CopiesStatus{Desired: conflicts, Failed: conflicts}))
		})
		Expect(failing.Status.Failures).To(HaveLen(v1alpha1.MaxFailures))
		for i, failure := range failing.Status.Failures {
			Expect(failure.Namespace).To(Equal(s.name(fmt.Sprintf("way-%02d", i))))
		}
	})

	Describe("that the 2022 release made", func() {
		legacy := func(replika, namespace, value string) *corev1.ConfigMap {
			copied := configMap(namespace, "settings", value)
			copied.Labels = map[string]string{v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue, v1alpha1.LabelPartOf: replika}
			return copied
		}
		It("is ours if it has the content of a copy, and gets its marks", func(ctx SpecContext) {
			s := newScene()
			a := s.namespace(ctx, "a")
			source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
			old := create(ctx, legacy("upgraded", a, "one"))
			eventuallyReady(ctx, s.replika(ctx, source, called("upgraded"), into(a)), 1)
			eventuallyCopied(ctx, source, a)
			Expect(read(ctx, source, a).GetUID()).To(Equal(old.UID))
		})
		DescribeTable("is foreign",
			func(ctx SpecContext, replika, value string) {
				s := newScene()
				a := s.namespace(ctx, "a")
				source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
				old := create(ctx, legacy("upgraded", a, value))
				failing := eventuallyFailing(ctx, s.replika(ctx, source, called(replika), into(a)), map[string]string{a: v1alpha1.FailureConflict})
				Expect(failing.Status.Failures[0].Message).To(ContainSubstring("Adopt"))
				Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(old.ResourceVersion))
			},
			Entry("if it has other content", "upgraded", "other"),
			Entry("if it is named for another Replika", "another", "one"),
		)
	})
})
