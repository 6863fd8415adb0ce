package controllers_test

import (
	"context"
	"maps"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var _ = Describe("Selection", func() {
	DescribeTable("copies to the namespaces that the spec selects, and to no other",
		func(ctx SpecContext, targets func(*scene) v1alpha1.TargetNamespaces, wanted ...string) {
			s := newScene()
			gold := map[string]string{"tier-of": s.id}
			all := map[string]string{
				"team-a": s.namespace(ctx, "team-a"), "team-b": s.namespace(ctx, "team-b", gold),
				"prod-a": s.namespace(ctx, "prod-a", gold), "prod-b": s.namespace(ctx, "prod-b"),
			}
			source := create(ctx, configMap(s.namespace(ctx, "source", gold), "settings", "one"))
			replika := s.replika(ctx, source, func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces = targets(s) })

			eventuallyReady(ctx, replika, len(wanted))
			for _, suffix := range wanted {
				eventuallyCopied(ctx, source, all[suffix])
				delete(all, suffix)
			}
			for _, other := range all {
				Expect(read(ctx, source, other)).To(BeNil(), other)
			}
			Expect(read(ctx, source, source.Namespace).GetResourceVersion()).To(Equal(source.ResourceVersion), "the source")
		},
		Entry("by name", func(s *scene) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{ReplicateIn: []string{s.name("team-a"), s.name("prod-b")}}
		}, "team-a", "prod-b"),
		Entry("by name, twice", func(s *scene) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{ReplicateIn: []string{s.name("team-a"), s.name("team-*"), s.name("team-a")}}
		}, "team-a", "team-b"),
		Entry("by a glob at the end", func(s *scene) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{ReplicateIn: []string{s.name("team-*")}}
		}, "team-a", "team-b"),
		Entry("by globs elsewhere", func(s *scene) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{ReplicateIn: []string{"*" + s.id[1:] + "-*-a"}}
		}, "team-a", "prod-a"),
		Entry("by a glob that matches the source's namespace too", func(s *scene) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{ReplicateIn: []string{s.name("*")}}
		}, "team-a", "team-b", "prod-a", "prod-b"),
		Entry("by labels, the source's namespace matching too", func(s *scene) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{Selector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]string{"tier-of": s.id}}}
		}, "team-b", "prod-a"),
		Entry("by label expressions", func(s *scene) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{Selector: &v1alpha1.NamespaceSelector{MatchExpressions: []v1alpha1.NamespaceRequirement{
				{Key: sceneLabel, Operator: metav1.LabelSelectorOpIn, Values: []string{s.id}},
				{Key: "tier-of", Operator: metav1.LabelSelectorOpDoesNotExist},
			}}}
		}, "team-a", "prod-b"),
		Entry("by name in addition to labels", func(s *scene) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{
				ReplicateIn: []string{s.name("team-a")},
				Selector:    &v1alpha1.NamespaceSelector{MatchLabels: map[string]string{"tier-of": s.id}},
			}
		}, "team-a", "team-b", "prod-a"),
		Entry("less the excluded ones", func(s *scene) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{
				ReplicateIn: []string{s.name("team-a"), s.name("team-b")},
				Selector:    &v1alpha1.NamespaceSelector{MatchLabels: map[string]string{sceneLabel: s.id}},
				ExcludeFrom: []string{s.name("team-a"), s.name("prod-*"), "no-such-namespace"},
			}
		}, "team-b"),
		Entry("none at all, when all are excluded", func(s *scene) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{ReplicateIn: []string{s.name("team-a")}, ExcludeFrom: []string{"*"}}
		}),
	)

	It("selects all namespaces but some, whatever else the spec lists", Serial, func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "only-in-"+s.id, "one"))
		replika := s.replika(ctx, source, into(a), excluding("kube-*", b), func(replika *v1alpha1.Replika) {
			replika.Spec.Target.Namespaces.MatchAll = true
		})
		eventuallyCopied(ctx, source, a, metav1.NamespaceDefault)
		eventuallyReady(ctx, replika, activeNamespaces(ctx)-5) // three of the system, b and the source's
		consistentlyAbsent(ctx, source, b, "kube-system", "kube-public", "kube-node-lease")

		remove(ctx, replika)
		eventuallyGone(ctx, source, a, metav1.NamespaceDefault)
	})

	DescribeTable("follows a namespace's labels at once",
		func(ctx SpecContext, selects func(*v1alpha1.TargetNamespaces, string)) {
			s := newScene()
			a := s.namespace(ctx, "a")
			source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
			replika := s.replika(ctx, source, lookingEvery(time.Hour), func(replika *v1alpha1.Replika) {
				selects(&replika.Spec.Target.Namespaces, s.id)
			})
			eventuallyReady(ctx, replika, 0)

			relabel(ctx, a, map[string]string{"wants": s.id})
			eventuallyCopied(ctx, source, a)
			eventuallyReady(ctx, replika, 1)

			relabel(ctx, a, map[string]string{"wants": "nothing"})
			eventuallyGone(ctx, source, a)
			eventuallyReady(ctx, replika, 0)
		},
		Entry("when a label starts and stops to match", func(targets *v1alpha1.TargetNamespaces, id string) {
			targets.Selector = &v1alpha1.NamespaceSelector{MatchLabels: map[string]string{"wants": id}}
		}),
		Entry("when labels match beside a name that never does", func(targets *v1alpha1.TargetNamespaces, id string) {
			targets.Selector = &v1alpha1.NamespaceSelector{MatchLabels: map[string]string{"wants": id}}
			targets.ReplicateIn = []string{"no-such-" + id + "-*"}
		}),
	)

	It("follows a change of every selector in the spec", func(ctx SpecContext) {
		s := newScene()
		a, b, c := s.namespace(ctx, "a"), s.namespace(ctx, "b"), s.namespace(ctx, "c")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a, b), lookingEvery(time.Hour))
		eventuallyCopied(ctx, source, a, b)

		for _, step := range []struct {
			targets    v1alpha1.TargetNamespaces
			have, lack []string
		}{
			{v1alpha1.TargetNamespaces{ReplicateIn: []string{b, c}}, []string{b, c}, []string{a}},
			{v1alpha1.TargetNamespaces{ReplicateIn: []string{s.name("*")}, ExcludeFrom: []string{c}}, []string{a, b}, []string{c}},
			{v1alpha1.TargetNamespaces{Selector: &v1alpha1.NamespaceSelector{
				MatchLabels: map[string]string{corev1.LabelMetadataName: c},
			}}, []string{c}, []string{a, b}},
		} {
			edit(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces = step.targets })
			eventuallyCopied(ctx, source, step.have...)
			eventuallyGone(ctx, source, step.lack...)
			eventuallyReady(ctx, replika, len(step.have))
		}
	})

	It("waits for a namespace that the spec names, serves the others, and serves it once it is there", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(s.name("later"), a, s.name("no-*")), lookingEvery(time.Hour))
		waiting := eventuallyNotReady(ctx, replika, v1alpha1.ReasonTargetNamespaceNotFound)
		Expect(messageOf(waiting)).To(And(ContainSubstring(s.name("later")), Not(ContainSubstring(s.name("no-")))))
		Expect(waiting.Status.Copies.Synced).To(BeEquivalentTo(1))
		eventuallyCopied(ctx, source, a)

		later := s.namespace(ctx, "later")
		eventuallyCopied(ctx, source, later)
		eventuallyReady(ctx, replika, 2)

		removeNamespace(ctx, later)
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonTargetNamespaceNotFound)
	})
})

// relabel puts labels on a namespace, and leaves the others.
func relabel(ctx context.Context, namespace string, labels map[string]string) {
	GinkgoHelper()
	edit(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, func(namespace *corev1.Namespace) {
		maps.Copy(namespace.Labels, labels)
	})
}

// activeNamespaces counts those that are not on their way out.
func activeNamespaces(ctx context.Context) int {
	GinkgoHelper()
	list := &corev1.NamespaceList{}
	Expect(api.List(ctx, list)).To(Succeed())
	active := 0
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp == nil {
			active++
		}
	}
	return active
}
