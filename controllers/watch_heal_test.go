package controllers_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// atOnce is how soon what a watch tells is to be put right: much sooner than any interval of these specs, on two busy cores
// under the race detector.
const atOnce = 10 * time.Second

// soon checks that the function returns at once.
func soon(wait func()) {
	GinkgoHelper()
	began := time.Now()
	wait()
	Expect(time.Since(began)).To(BeNumerically("<", atOnce))
}

// theatre is a Replika that looks again every hour only, of a source with copies in two namespaces; what happens to it is
// seen by watches.
type theatre struct {
	*scene
	home, a, b string
	source     *corev1.ConfigMap
	replika    *v1alpha1.Replika
}

func newTheatre(ctx SpecContext, changes ...change) *theatre {
	GinkgoHelper()
	s := newScene()
	wanting := map[string]string{"wants": s.id}
	t := &theatre{scene: s, home: s.namespace(ctx, "source"), a: s.namespace(ctx, "a", wanting), b: s.namespace(ctx, "b", wanting)}
	t.source = configMap(t.home, "settings", "one")
	t.source.Labels = map[string]string{"tier": "back"}
	create(ctx, t.source)
	t.replika = s.replika(ctx, t.source, append([]change{selecting(wanting), lookingEvery(time.Hour)}, changes...)...)
	eventuallyReady(ctx, t.replika, 2)
	return t
}

var _ = Describe("Without waiting for the interval", func() {
	DescribeTable("a copy is put right after", func(ctx SpecContext, spoil func(*corev1.ConfigMap)) {
		t := newTheatre(ctx)
		other := read(ctx, t.source, t.b)
		good := read(ctx, t.source, t.a)
		edit(ctx, in(t.a, t.source), spoil)
		soon(func() {
			Eventually(ctx, func(g Gomega) {
				now := read(ctx, t.source, t.a)
				g.Expect(content(now)).To(Equal(content(good)))
				g.Expect(now.GetLabels()).To(Equal(good.GetLabels()))
				g.Expect(now.GetAnnotations()).To(Equal(good.GetAnnotations()))
			}).Should(Succeed())
		})
		Expect(read(ctx, t.source, t.b).GetResourceVersion()).To(Equal(other.GetResourceVersion()), "the other copy")
	},
		Entry("an edit", func(copy *corev1.ConfigMap) { copy.Data["key"] = "edited" }),
		Entry("a change of a label of the source", func(copy *corev1.ConfigMap) { copy.Labels["tier"] = "front" }),
		Entry("the loss of the label by which it is watched", func(copy *corev1.ConfigMap) { delete(copy.Labels, v1alpha1.LabelCreatedBy) }),
		Entry("the loss of all labels", func(copy *corev1.ConfigMap) { copy.Labels = nil }),
		Entry("the loss of the marks", func(copy *corev1.ConfigMap) { copy.Annotations = nil }),
		Entry("the loss of the label, and an edit", func(copy *corev1.ConfigMap) {
			copy.Labels, copy.Data = nil, map[string]string{"key": "edited"}
		}),
		Entry("a change of owner", func(copy *corev1.ConfigMap) { copy.Annotations[v1alpha1.AnnotationOwner] = "no/body" }),
	)

	It("an edit of the source arrives everywhere", func(ctx SpecContext) {
		t := newTheatre(ctx)
		for _, value := range []string{"two", "three"} {
			edit(ctx, t.source, func(source *corev1.ConfigMap) { source.Data["key"] = value })
			soon(func() { eventuallyCopied(ctx, t.source, t.a, t.b) })
		}
		began := thisMoment()
		edit(ctx, t.source, func(source *corev1.ConfigMap) {
			source.Finalizers = []string{"suite.example.com/unimportant"}
		})
		edit(ctx, t.source, func(source *corev1.ConfigMap) { source.Finalizers = nil })
		Consistently(ctx, func() []string { return t.writes(began) }).Should(BeEmpty(), "content did not change")
	})

	It("a deleted copy is made again", func(ctx SpecContext) {
		t := newTheatre(ctx)
		gone := read(ctx, t.source, t.a)
		Expect(api.Delete(ctx, gone)).To(Succeed())
		soon(func() {
			Eventually(ctx, func(g Gomega) {
				now := read(ctx, t.source, t.a)
				g.Expect(now).NotTo(BeNil())
				g.Expect(now.GetUID()).NotTo(Equal(gone.GetUID()))
			}).Should(Succeed())
			eventuallyCopied(ctx, t.source, t.a)
		})
	})

	It("namespaces are served that are made, or whose labels begin to match, until they stop to", func(ctx SpecContext) {
		t := newTheatre(ctx)
		made := t.namespace(ctx, "made", map[string]string{"wants": t.id})
		soon(func() { eventuallyCopied(ctx, t.source, made) })
		plain := t.namespace(ctx, "plain")
		relabel(ctx, plain, map[string]string{"wants": t.id})
		soon(func() { eventuallyCopied(ctx, t.source, plain) })
		eventuallyReady(ctx, t.replika, 4)
		relabel(ctx, plain, map[string]string{"wants": "nothing"})
		soon(func() { eventuallyGone(ctx, t.source, plain) })
		eventuallyReady(ctx, t.replika, 3)
	})

	DescribeTable("a copy takes the place of a foreign object that goes", func(ctx SpecContext, deselect bool) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		obstacle := create(ctx, configMap(a, source.Name, "theirs"))
		second := create(ctx, configMap(b, source.Name, "theirs"))
		replika := s.replika(ctx, source, into(a, b), lookingEvery(time.Hour))
		eventuallyFailing(ctx, replika, map[string]string{a: v1alpha1.FailureConflict, b: v1alpha1.FailureConflict})

		Expect(api.Delete(ctx, obstacle)).To(Succeed())
		soon(func() { eventuallyCopied(ctx, source, a) })
		eventuallyFailing(ctx, replika, map[string]string{b: v1alpha1.FailureConflict})
		if deselect {
			// What is in the way of nobody is no longer looked at.
			edit(ctx, replika, into(a))
			eventuallyReady(ctx, replika, 1)
			Expect(api.Delete(ctx, second)).To(Succeed())
			consistentlyAbsent(ctx, source, b)
			return
		}
		// It comes back before it goes for good.
		Expect(api.Delete(ctx, in(a, source))).To(Succeed())
		soon(func() { eventuallyCopied(ctx, source, a) })
		edit(ctx, second, func(second *corev1.ConfigMap) { second.Data["key"] = "edited" })
		Expect(api.Delete(ctx, second)).To(Succeed())
		soon(func() { eventuallyCopied(ctx, source, b) })
		eventuallyReady(ctx, replika, 2)
	},
		Entry("one after the other", false),
		Entry("while the other's namespace is deselected", true),
	)

	It("a copy takes the place of a foreign object that a finalizer held", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		obstacle := create(ctx, configMap(a, source.Name, "theirs"))
		hold(ctx, obstacle)
		Expect(api.Delete(ctx, obstacle)).To(Succeed())
		replika := s.replika(ctx, source, into(a), lookingEvery(time.Hour))
		eventuallyFailing(ctx, replika, map[string]string{a: v1alpha1.FailureUnavailable})
		letGo(ctx, obstacle)
		soon(func() { eventuallyCopied(ctx, source, a) })
		eventuallyReady(ctx, replika, 1)
	})

	It("a source that goes and comes back is noticed", func(ctx SpecContext) {
		t := newTheatre(ctx)
		kept := read(ctx, t.source, t.a)
		remove(ctx, t.source)
		soon(func() { eventuallyNotReady(ctx, t.replika, v1alpha1.ReasonSourceNotFound) })
		Expect(read(ctx, kept, t.a).GetResourceVersion()).To(Equal(kept.GetResourceVersion()))
		t.source = create(ctx, configMap(t.home, "settings", "new"))
		soon(func() { eventuallyCopied(ctx, t.source, t.a, t.b) })
		eventuallyReady(ctx, t.replika, 2)
	})

	It("a source that goes takes its copies along, and brings them back, if the Replika says so", func(ctx SpecContext) {
		t := newTheatre(ctx, onSourceDeletion(v1alpha1.SourceDeletionDelete))
		remove(ctx, t.source)
		soon(func() { eventuallyGone(ctx, t.source, t.a, t.b) })
		t.source = create(ctx, configMap(t.home, "settings", "new"))
		soon(func() { eventuallyCopied(ctx, t.source, t.a, t.b) })
		eventuallyReady(ctx, t.replika, 2)
	})

	It("a released object that becomes a copy again is watched again", func(ctx SpecContext) {
		t := newTheatre(ctx, retaining)
		relabel(ctx, t.a, map[string]string{"wants": "nothing"})
		soon(func() {
			Eventually(ctx, func() map[string]string { return read(ctx, t.source, t.a).GetLabels() }).
				ShouldNot(HaveKey(v1alpha1.LabelCreatedBy))
		})
		edit(ctx, t.replika, adopting)
		relabel(ctx, t.a, map[string]string{"wants": t.id})
		soon(func() { eventuallyCopied(ctx, t.source, t.a) })
		edit(ctx, in(t.a, t.source), func(copy *corev1.ConfigMap) { copy.Data["key"] = "edited" })
		soon(func() { eventuallyCopied(ctx, t.source, t.a) })
	})
})
