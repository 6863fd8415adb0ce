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
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("Selection", func() {
	DescribeTable("Should copy to the selected namespaces and to no other",
		func(ctx SpecContext, targets func(*fixture) v1alpha1.TargetNamespaces, wanted ...string) {
			f := newFixture()
			gold := map[string]string{"tier-of": f.id}
			all := map[string]string{
				"team-a": f.namespace(ctx, "team-a"), "team-b": f.namespace(ctx, "team-b", gold),
				"prod-a": f.namespace(ctx, "prod-a", gold), "prod-b": f.namespace(ctx, "prod-b"),
			}
			source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source", gold), "settings", "one"))
			replika := f.replika(ctx, source, func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces = targets(f) })

			expect.Ready(ctx, api, replika, len(wanted))
			for _, suffix := range wanted {
				expect.Copied(ctx, api, source, all[suffix])
				delete(all, suffix)
			}
			for _, other := range all {
				Expect(read(ctx, source, other)).To(BeNil(), other)
			}
			Expect(read(ctx, source, source.Namespace).GetResourceVersion()).To(Equal(source.ResourceVersion), "the source")
		},
		Entry("by name", func(f *fixture) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{ReplicateIn: []string{f.name("team-a"), f.name("prod-b")}}
		}, "team-a", "prod-b"),
		Entry("by name and by an overlapping glob", func(f *fixture) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{ReplicateIn: []string{f.name("team-a"), f.name("team-*"), f.name("team-a")}}
		}, "team-a", "team-b"),
		Entry("by a trailing glob", func(f *fixture) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{ReplicateIn: []string{f.name("team-*")}}
		}, "team-a", "team-b"),
		Entry("by globs in other positions", func(f *fixture) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{ReplicateIn: []string{"*" + f.id[1:] + "-*-a"}}
		}, "team-a", "prod-a"),
		Entry("by a glob that also matches the source's namespace", func(f *fixture) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{ReplicateIn: []string{f.name("*")}}
		}, "team-a", "team-b", "prod-a", "prod-b"),
		Entry("by labels that the source's namespace also has", func(f *fixture) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{Selector: &v1alpha1.LabelSelector{MatchLabels: map[string]string{"tier-of": f.id}}}
		}, "team-b", "prod-a"),
		Entry("by label expressions", func(f *fixture) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{Selector: &v1alpha1.LabelSelector{MatchExpressions: []v1alpha1.LabelRequirement{
				{Key: fixtureLabel, Operator: metav1.LabelSelectorOpIn, Values: []string{f.id}},
				{Key: "tier-of", Operator: metav1.LabelSelectorOpDoesNotExist},
			}}}
		}, "team-a", "prod-b"),
		Entry("by name in addition to labels", func(f *fixture) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{
				ReplicateIn: []string{f.name("team-a")},
				Selector:    &v1alpha1.LabelSelector{MatchLabels: map[string]string{"tier-of": f.id}},
			}
		}, "team-a", "team-b", "prod-a"),
		Entry("without excluded namespaces", func(f *fixture) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{
				ReplicateIn: []string{f.name("team-a"), f.name("team-b")},
				Selector:    &v1alpha1.LabelSelector{MatchLabels: map[string]string{fixtureLabel: f.id}},
				ExcludeFrom: []string{f.name("team-a"), f.name("prod-*"), "no-such-namespace"},
			}
		}, "team-b"),
		Entry("none, because all are excluded", func(f *fixture) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{ReplicateIn: []string{f.name("team-a")}, ExcludeFrom: []string{"*"}}
		}),
	)

	It("Should select all namespaces under matchAll except excluded ones", serial, func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "only-in-"+f.id, "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.ExcludeNamespaces("kube-*", b), func(replika *v1alpha1.Replika) {
			replika.Spec.Target.Namespaces.MatchAll = true
		})
		expect.Copied(ctx, api, source, a, metav1.NamespaceDefault)
		expect.Ready(ctx, api, replika, activeNamespaces(ctx)-5) // three of the system, b and the source's
		barrier(ctx, source, replika)
		expectAbsent(ctx, source, b, "kube-system", "kube-public", "kube-node-lease")

		deleteAndWait(ctx, replika)
		expect.Gone(ctx, api, source, a, metav1.NamespaceDefault)
	})

	DescribeTable("Should follow the labels of namespaces promptly",
		func(ctx SpecContext, selects func(*v1alpha1.TargetNamespaces, string)) {
			f := newFixture()
			a := f.namespace(ctx, "a")
			source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
			replika := f.replika(ctx, source, kit.Interval(time.Hour), func(replika *v1alpha1.Replika) {
				selects(&replika.Spec.Target.Namespaces, f.id)
			})
			expect.Ready(ctx, api, replika, 0)

			relabel(ctx, a, map[string]string{"wants": f.id})
			expect.Copied(ctx, api, source, a)
			expect.Ready(ctx, api, replika, 1)

			relabel(ctx, a, map[string]string{"wants": "nothing"})
			expect.Gone(ctx, api, source, a)
			expect.Ready(ctx, api, replika, 0)
		},
		Entry("by labels", func(targets *v1alpha1.TargetNamespaces, id string) {
			targets.Selector = &v1alpha1.LabelSelector{MatchLabels: map[string]string{"wants": id}}
		}),
		Entry("by labels and a name that never matches", func(targets *v1alpha1.TargetNamespaces, id string) {
			targets.Selector = &v1alpha1.LabelSelector{MatchLabels: map[string]string{"wants": id}}
			targets.ReplicateIn = []string{"no-such-" + id + "-*"}
		}),
	)

	It("Should follow changes of every selector of the spec", func(ctx SpecContext) {
		f := newFixture()
		a, b, c := f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "c")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b), kit.Interval(time.Hour))
		expect.Copied(ctx, api, source, a, b)

		for _, step := range []struct {
			targets    v1alpha1.TargetNamespaces
			have, lack []string
		}{
			{v1alpha1.TargetNamespaces{ReplicateIn: []string{b, c}}, []string{b, c}, []string{a}},
			{v1alpha1.TargetNamespaces{ReplicateIn: []string{f.name("*")}, ExcludeFrom: []string{c}}, []string{a, b}, []string{c}},
			{v1alpha1.TargetNamespaces{Selector: &v1alpha1.LabelSelector{
				MatchLabels: map[string]string{corev1.LabelMetadataName: c},
			}}, []string{c}, []string{a, b}},
		} {
			update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces = step.targets })
			expect.Copied(ctx, api, source, step.have...)
			expect.Gone(ctx, api, source, step.lack...)
			expect.Ready(ctx, api, replika, len(step.have))
		}
	})

	It("Should wait for a missing namespace that the spec names, and copy to the others", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(f.name("later"), a, f.name("no-*")), kit.Interval(time.Hour))
		waiting := expect.Reason(ctx, api, replika, v1alpha1.ReasonTargetNamespaceNotFound)
		Expect(kit.Ready(waiting).Message).To(And(ContainSubstring(f.name("later")), Not(ContainSubstring(f.name("no-")))))
		Expect(waiting.Status.Copies.Synced).To(BeEquivalentTo(1))
		expect.Copied(ctx, api, source, a)

		later := f.namespace(ctx, "later")
		expect.Copied(ctx, api, source, later)
		expect.Ready(ctx, api, replika, 2)

		expect.DeleteNamespace(ctx, api, later)
		expect.Reason(ctx, api, replika, v1alpha1.ReasonTargetNamespaceNotFound)
	})
})

// relabel adds labels to a namespace.
func relabel(ctx context.Context, namespace string, labels map[string]string) {
	GinkgoHelper()
	update(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, func(namespace *corev1.Namespace) {
		maps.Copy(namespace.Labels, labels)
	})
}

// activeNamespaces counts the namespaces that are not being deleted.
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
