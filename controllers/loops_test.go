package controllers_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var _ = Describe("Replikas that name one another's copies as sources", func() {
	// ring makes three Replikas, each of which copies an object of one name from its own namespace to the next one.
	ring := func(ctx context.Context, s *scene, changes ...change) (namespaces []string, replikas map[string]func() *v1alpha1.Replika) {
		for _, suffix := range []string{"one", "two", "three"} {
			namespaces = append(namespaces, s.namespace(ctx, suffix))
		}
		replikas = map[string]func() *v1alpha1.Replika{}
		for i, namespace := range namespaces {
			next := namespaces[(i+1)%len(namespaces)]
			replikas[namespace] = func() *v1alpha1.Replika {
				return s.replika(ctx, configMap(namespace, "settings", ""), append([]change{into(next)}, changes...)...)
			}
		}
		return namespaces, replikas
	}

	DescribeTable("copy nothing but the original, in whatever order they come",
		func(ctx SpecContext, first, second, third int) {
			s := newScene()
			namespaces, replikaIn := ring(ctx, s)
			one, two, three := namespaces[0], namespaces[1], namespaces[2]
			source := create(ctx, configMap(one, "settings", "one"))
			made := map[string]*v1alpha1.Replika{}
			for _, i := range []int{first, second, third} {
				made[namespaces[i]] = replikaIn[namespaces[i]]()
			}
			eventuallyReady(ctx, made[one], 1)
			refused := eventuallyNotReady(ctx, made[two], v1alpha1.ReasonSourceNotAllowed)
			Expect(messageOf(refused)).To(ContainSubstring(one + "/" + made[one].Name))
			eventuallyNotReady(ctx, made[three], v1alpha1.ReasonSourceNotFound)

			since := thisMoment()
			edit(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
			eventuallyCopied(ctx, source, two)
			consistentlyAbsent(ctx, source, three)
			Expect(read(ctx, source, one).GetResourceVersion()).To(Equal(source.ResourceVersion), "the original")
			Eventually(ctx, func() []string { return s.changesOf(since, "configmaps", "settings") }).
				Should(ConsistOf("patch in " + two))
		},
		Entry("along the way", 0, 1, 2),
		Entry("against it", 2, 1, 0),
		Entry("the middle first", 1, 0, 2),
	)

	It("pass nothing round in a ring, although each would adopt what is in its way", func(ctx SpecContext) {
		s := newScene()
		namespaces, replikaIn := ring(ctx, s, adopting)
		one, two, three := namespaces[0], namespaces[1], namespaces[2]
		create(ctx, configMap(one, "settings", "first"))
		create(ctx, configMap(two, "settings", "second"))
		last := create(ctx, configMap(three, "settings", "third"))

		eventuallyReady(ctx, replikaIn[one](), 1) // two becomes a copy
		middle := replikaIn[two]()
		eventuallyNotReady(ctx, middle, v1alpha1.ReasonSourceNotAllowed)
		eventuallyReady(ctx, replikaIn[three](), 1) // one becomes a copy
		beginning := &v1alpha1.Replika{}
		Expect(api.Get(ctx, client.ObjectKey{Namespace: one, Name: "replika-of-settings"}, beginning)).To(Succeed())
		eventuallyNotReady(ctx, beginning, v1alpha1.ReasonSourceNotAllowed)
		before := read(ctx, last, two)
		Expect(content(before)).To(HaveKeyWithValue("data", HaveKeyWithValue("key", "first")))

		since := thisMoment()
		edit(ctx, last, func(source *corev1.ConfigMap) { source.Data["key"] = "new" })
		eventuallyCopied(ctx, last, one)
		Consistently(ctx, func(g Gomega) {
			g.Expect(read(ctx, last, two)).To(Equal(before), "a copy of a copy")
			g.Expect(read(ctx, last, three).GetResourceVersion()).To(Equal(last.ResourceVersion), "the source")
		}).Should(Succeed())
		Expect(s.changesOf(since, "configmaps", "settings")).To(ConsistOf("patch in " + one))
	})

	It("are refused when the source becomes a copy later, and served again when it is released", func(ctx SpecContext) {
		s := newScene()
		one, two, three := s.namespace(ctx, "one"), s.namespace(ctx, "two"), s.namespace(ctx, "three")
		theirs := create(ctx, configMap(two, "settings", "theirs"))
		// Its copies must not go either: the source is still there.
		replika := s.replika(ctx, theirs, into(three), onSourceDeletion(v1alpha1.SourceDeletionDelete))
		eventuallyReady(ctx, replika, 1)
		before := read(ctx, theirs, three)

		adopted := create(ctx, configMap(one, "settings", "adopted"))
		other := s.replika(ctx, adopted, into(two), adopting)
		eventuallyCopied(ctx, adopted, two)
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonSourceNotAllowed)
		Consistently(ctx, func(g Gomega) { g.Expect(read(ctx, theirs, three)).To(Equal(before)) }).Should(Succeed())

		remove(ctx, other)
		eventuallyReady(ctx, replika, 1)
		eventuallyCopied(ctx, theirs, three)
		Expect(content(read(ctx, theirs, three))).To(HaveKeyWithValue("data", HaveKeyWithValue("key", "adopted")))
	})

	It("are refused however the source came by our marks, those of a newer operator too", func(ctx SpecContext) {
		s := newScene()
		home, a := s.namespace(ctx, "source"), s.namespace(ctx, "a")
		source := create(ctx, configMap(home, "settings", "one"))
		replika := s.replika(ctx, source, into(a))
		eventuallyReady(ctx, replika, 1)
		before := read(ctx, source, a)
		edit(ctx, source, func(source *corev1.ConfigMap) {
			source.Annotations = map[string]string{v1alpha1.AnnotationMarksVersion: "2"}
			source.Data["key"] = "two"
		})
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonSourceNotAllowed)
		Expect(read(ctx, source, a)).To(Equal(before))
	})
})
