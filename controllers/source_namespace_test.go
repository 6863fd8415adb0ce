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
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// Copies under another name in the namespace of their source.
var _ = Describe("The source's own namespace", func() {
	shared := kit.TargetName("shared")
	// copyIn returns the copy; nil if there is none.
	copyIn := func(ctx context.Context, namespace string) *unstructured.Unstructured {
		GinkgoHelper()
		return read(ctx, kit.ConfigMap(namespace, "shared", ""), namespace)
	}

	It("Should receive a copy if it is named, and the copy has another name", func(ctx SpecContext) {
		f := newFixture()
		home, a := f.namespace(ctx, "source"), f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(home, "settings", "one"))
		version := read(ctx, source, home).GetResourceVersion()
		replika := f.replika(ctx, source, kit.TargetNamespaces(home, a), shared, kit.Interval(time.Hour))
		expect.Ready(ctx, api, replika, 2)
		expect.CopiedAs(ctx, api, source, "shared", home, a)
		Expect(read(ctx, source, home).GetResourceVersion()).To(Equal(version), "the source")

		By("editing the source, and the copy")
		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		expect.CopiedAs(ctx, api, source, "shared", home, a)
		update(ctx, kit.ConfigMap(home, "shared", ""), func(copied *corev1.ConfigMap) { copied.Data["key"] = "drifted" })
		expect.CopiedAs(ctx, api, source, "shared", home, a)

		By("not naming it any more")
		version = read(ctx, source, home).GetResourceVersion()
		update(ctx, replika, func(replika *v1alpha1.Replika) {
			replika.Spec.Target.Namespaces.ReplicateIn = []string{a, f.id + "-s*"}
		})
		expect.Gone(ctx, api, kit.ConfigMap("", "shared", ""), home)
		expect.Ready(ctx, api, replika, 1)

		By("naming it again, and deleting the Replika")
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces.ReplicateIn = []string{home} })
		expect.Ready(ctx, api, replika, 1)
		expect.CopiedAs(ctx, api, source, "shared", home)
		deleteAndWait(ctx, replika)
		Expect(copyIn(ctx, home)).To(BeNil())
		Expect(read(ctx, source, home).GetResourceVersion()).To(Equal(version), "the source")
	})

	DescribeTable("Should receive no copy otherwise",
		func(ctx SpecContext, targets func(f *fixture) v1alpha1.TargetNamespaces) {
			f := newFixture()
			home, a := f.namespace(ctx, "source"), f.namespace(ctx, "a")
			source := create(ctx, kit.ConfigMap(home, "settings", "one"))
			replika := f.replika(ctx, source, shared, kit.InNamespace(a), func(replika *v1alpha1.Replika) {
				replika.Spec.Target.Namespaces = targets(f)
			})
			expect.Ready(ctx, api, replika, 1)
			expect.CopiedAs(ctx, api, source, "shared", a)
			Expect(copyIn(ctx, home)).To(BeNil())
		},
		Entry("by a glob", func(f *fixture) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{ReplicateIn: []string{f.id + "-*"}}
		}),
		Entry("by a label selector", func(f *fixture) v1alpha1.TargetNamespaces {
			return v1alpha1.TargetNamespaces{Selector: &v1alpha1.LabelSelector{MatchLabels: map[string]string{fixtureLabel: f.id}}}
		}),
	)

	It("Should receive no copy in the place of the source, whatever name an unset namespace hides", func(ctx SpecContext) {
		f := newFixture()
		home, a := f.namespace(ctx, "source"), f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(home, "settings", "one"))
		before := read(ctx, source, home)
		replika := f.replika(ctx, source, kit.TargetNamespaces(home, a), kit.Adopt(), func(replika *v1alpha1.Replika) {
			replika.Spec.Source.Namespace = "" // the schema does not know it
		})
		expect.Ready(ctx, api, replika, 1)
		Expect(read(ctx, source, home)).To(Equal(before))
	})

	It("Should have no copies of its copies", func(ctx SpecContext) {
		f := newFixture()
		home := f.namespace(ctx, "source")
		source := create(ctx, kit.ConfigMap(home, "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(home), shared)
		expect.Ready(ctx, api, replika, 1)

		chained := f.replika(ctx, kit.ConfigMap(home, "shared", ""), kit.TargetNamespaces(home), kit.TargetName("third"))
		expect.Reason(ctx, api, chained, v1alpha1.ReasonSourceNotAllowed)
		back := f.replika(ctx, kit.ConfigMap(home, "shared", ""), kit.WithName("back"), kit.TargetNamespaces(home), kit.TargetName("settings"), kit.Adopt())
		expect.Reason(ctx, api, back, v1alpha1.ReasonSourceNotAllowed)
		update(ctx, replika, func(replika *v1alpha1.Replika) {
			replika.Spec.Source.Name, replika.Spec.Target.Name = "shared", "settings"
		})
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotAllowed)
		Expect(kit.Content(read(ctx, source, home))).To(Equal(kit.Content(copyIn(ctx, home))))
		Expect(kit.OwnKeys(read(ctx, source, home))).To(BeEmpty(), "the source")
		update(ctx, replika, func(replika *v1alpha1.Replika) {
			replika.Spec.Source.Name, replika.Spec.Target.Name = "settings", "shared"
		})
		expect.Ready(ctx, api, replika, 1)
	})

	It("Should be left alone in an object that somebody else made", func(ctx SpecContext) {
		f := newFixture()
		home := f.namespace(ctx, "source")
		source := create(ctx, kit.ConfigMap(home, "settings", "one"))
		foreign := create(ctx, kit.ConfigMap(home, "shared", "theirs"))
		before := read(ctx, foreign, home)
		replika := f.replika(ctx, source, kit.TargetNamespaces(home), shared)
		expect.Failures(ctx, api, replika, map[string]string{home: v1alpha1.FailureConflict})
		Expect(read(ctx, foreign, home)).To(Equal(before))
		deleteAndWait(ctx, foreign)
		expect.Ready(ctx, api, replika, 1)
		expect.CopiedAs(ctx, api, source, "shared", home)
	})
})
