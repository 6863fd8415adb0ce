package controllers_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var _ = Describe("Suspension", func() {
	It("touches nothing, pruning too, until it ends", func(ctx SpecContext) {
		s := newScene()
		a, b, c, d := s.namespace(ctx, "a"), s.namespace(ctx, "b"), s.namespace(ctx, "c"), s.namespace(ctx, "d")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a, b, d))
		eventuallyReady(ctx, replika, 3)

		edit(ctx, replika, func(replika *v1alpha1.Replika) {
			replika.Spec.Suspend = true
			replika.Spec.Target.Namespaces.ReplicateIn = []string{a, c, d} // b goes, c comes
		})
		suspended := eventuallyNotReady(ctx, replika, v1alpha1.ReasonSuspended)
		Expect(meta.IsStatusConditionTrue(suspended.Status.Conditions, v1alpha1.ConditionReady)).To(BeTrue(), "Ready stays as it was")
		mark := thisMoment()
		edit(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		drifted := in(a, source)
		edit(ctx, drifted, func(copy *corev1.ConfigMap) { copy.Data["key"] = "edited" })
		untouched := read(ctx, source, b)
		Expect(api.Delete(ctx, in(d, source))).To(Succeed())

		Consistently(ctx, func(g Gomega) {
			g.Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(drifted.ResourceVersion), "drift is repaired")
			g.Expect(read(ctx, source, b)).To(Equal(untouched), "a copy is pruned or updated")
			g.Expect(read(ctx, source, c)).To(BeNil(), "a namespace is served")
			g.Expect(read(ctx, source, d)).To(BeNil(), "a copy is made anew")
		}).WithTimeout(patienceForNothing).Should(Succeed())
		Expect(s.writes(mark)).To(BeEmpty())

		edit(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Suspend = false })
		eventuallyCopied(ctx, source, a, c, d)
		eventuallyGone(ctx, source, b)
		eventuallyReady(ctx, replika, 3)
	})

	It("holds from the beginning", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a), suspended)
		now := eventuallyNotReady(ctx, replika, v1alpha1.ReasonSuspended)
		Expect(meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionReady).Status).To(Equal(metav1.ConditionUnknown))
		consistentlyAbsent(ctx, source, a)
	})

	It("keeps a Replika that was not ready as it was", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		create(ctx, configMap(a, source.Name, "foreign"))
		replika := s.replika(ctx, source, into(a))
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonCopiesFailed)
		edit(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Suspend = true })
		now := eventuallyNotReady(ctx, replika, v1alpha1.ReasonSuspended)
		Expect(meta.IsStatusConditionFalse(now.Status.Conditions, v1alpha1.ConditionReady)).To(BeTrue())
	})

	It("does not hinder the Replika's deletion", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a))
		eventuallyReady(ctx, replika, 1)
		edit(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Suspend = true })
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonSuspended)
		remove(ctx, replika)
		eventuallyGone(ctx, source, a)
	})
})
