package controllers_test

import (
	"context"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var _ = Describe("At rest", func() {
	DescribeTable("nothing is written, over several intervals",
		func(ctx SpecContext, reason string, disturb func(context.Context, *scene)) {
			s := newScene()
			source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
			targets := []string{s.namespace(ctx, "a"), s.namespace(ctx, "b")}
			disturb(ctx, s)
			replika := s.replika(ctx, source, into(targets[0], targets[1], s.name("missing")))
			if reason != v1alpha1.ReasonTargetNamespaceNotFound {
				edit(ctx, replika, into(targets...))
			}
			await(ctx, replika, func(g Gomega, now *v1alpha1.Replika) {
				g.Expect(meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionReady).Reason).To(Equal(reason))
			})
			eventuallyQuiet(ctx, s)

			rest, before := thisMoment(), s.resourceVersions(ctx, replika, targets...)
			Consistently(ctx, func(g Gomega) {
				g.Expect(s.writes(rest)).To(BeEmpty())
				g.Expect(s.resourceVersions(ctx, replika, targets...)).To(Equal(before))
			}).WithTimeout(patienceForNothing).Should(Succeed())
		},
		Entry("when all is in sync", v1alpha1.ReasonSynced, func(context.Context, *scene) {}),
		Entry("while a conflict stands", v1alpha1.ReasonCopiesFailed, func(ctx context.Context, s *scene) {
			create(ctx, configMap(s.name("a"), "settings", "theirs"))
		}),
		Entry("while a namespace is missing", v1alpha1.ReasonTargetNamespaceNotFound, func(context.Context, *scene) {}),
		Entry("while the source is missing", v1alpha1.ReasonSourceNotFound, func(ctx context.Context, s *scene) {
			remove(ctx, configMap(s.name("source"), "settings", ""))
		}),
		Entry("while the source is refused", v1alpha1.ReasonSourceNotAllowed, func(ctx context.Context, s *scene) {
			edit(ctx, configMap(s.name("source"), "settings", ""), func(source *corev1.ConfigMap) {
				source.Labels = map[string]string{v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue}
			})
		}),
	)

	It("nothing is written while the source is busy with what is not copied", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, playlist(s.namespace(ctx, "source"), "evening"))
		replika := s.replika(ctx, source, into(a))
		shown := eventuallyReady(ctx, replika, 1).Status.Source.ResourceVersion
		eventuallyQuiet(ctx, s)

		rest, plays := thisMoment(), int64(0)
		Consistently(ctx, func(g Gomega) {
			plays++
			edit(ctx, source, func(source *unstructured.Unstructured) {
				source.SetAnnotations(map[string]string{"kubectl.kubernetes.io/last-applied-configuration": fmt.Sprint(plays)})
			})
			source.Object["status"] = map[string]any{"plays": plays}
			g.Expect(api.Status().Update(ctx, source)).To(Succeed())
			g.Expect(s.writes(rest)).To(BeEmpty())
		}).WithTimeout(patienceForNothing).Should(Succeed())
		Expect(eventuallyReady(ctx, replika, 1).Status.Source.ResourceVersion).To(Equal(shown))
	})
})

// eventuallyQuiet waits until the operator has done what is to do: nothing was written for a while.
func eventuallyQuiet(ctx context.Context, s *scene) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		since := thisMoment()
		g.Consistently(ctx, func() []string { return s.writes(since) }).WithTimeout(patienceForNothing / 3).Should(BeEmpty())
	}).Should(Succeed())
}

// resourceVersions are those of the Replika and of what stands at the copies' places.
func (s *scene) resourceVersions(ctx context.Context, replika *v1alpha1.Replika, namespaces ...string) map[string]string {
	GinkgoHelper()
	now := &v1alpha1.Replika{}
	Expect(api.Get(ctx, client.ObjectKeyFromObject(replika), now)).To(Succeed())
	versions := map[string]string{"the Replika": now.ResourceVersion}
	for _, namespace := range namespaces {
		if copied := read(ctx, configMap("", replika.TargetName(), ""), namespace); copied != nil {
			versions[namespace] = copied.GetResourceVersion()
		}
	}
	return versions
}
