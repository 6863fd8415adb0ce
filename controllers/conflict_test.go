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
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("A conflicting foreign object", func() {
	DescribeTable("Should be reported and left unchanged, and be replaced by a copy when it is deleted",
		func(ctx SpecContext, foreign client.Object, source client.Object) {
			f := newFixture()
			a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
			foreign, source = foreign.DeepCopyObject().(client.Object), source.DeepCopyObject().(client.Object) // each attempt creates them
			source.SetNamespace(f.namespace(ctx, "source"))
			create(ctx, source)
			foreign.SetNamespace(a)
			create(ctx, foreign)
			replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))

			conflict := expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureConflict})
			Expect(kit.Ready(conflict).Message).To(ContainSubstring(a))
			Expect(conflict.Status.Failures[0].Message).To(ContainSubstring("conflictPolicy"))
			Expect(*conflict.Status.Copies).To(Equal(v1alpha1.CopiesStatus{Desired: 2, Synced: 1, Failed: 1}))
			expect.Copied(ctx, api, source, b)
			barrier(ctx, source, replika)
			Expect(read(ctx, foreign, a).GetResourceVersion()).To(Equal(foreign.GetResourceVersion()))

			Expect(api.Delete(ctx, foreign)).To(Succeed())
			expect.Copied(ctx, api, source, a)
			expect.Ready(ctx, api, replika, 2)
		},
		Entry("a ConfigMap", kit.ConfigMap("", "settings", "theirs"), kit.ConfigMap("", "settings", "one")),
		Entry("a ConfigMap with the content of a copy", kit.ConfigMap("", "settings", "one"), kit.ConfigMap("", "settings", "one")),
		Entry("a Secret", kit.Secret("", "account", "theirs"), kit.Secret("", "account", "one")),
	)

	It("Should stay when the Replika is deleted or no longer selects the namespace", func(ctx SpecContext) {
		f := newFixture()
		a, b, c := f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "c")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		first, second := create(ctx, kit.ConfigMap(a, source.Name, "theirs")), create(ctx, kit.ConfigMap(b, source.Name, "theirs"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b, c))
		expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureConflict, b: v1alpha1.FailureConflict})

		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces.ReplicateIn = []string{b, c} })
		expect.Failures(ctx, api, replika, map[string]string{b: v1alpha1.FailureConflict})
		deleteAndWait(ctx, replika)
		expect.Gone(ctx, api, source, c)
		Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(first.ResourceVersion))
		Expect(read(ctx, source, b).GetResourceVersion()).To(Equal(second.ResourceVersion))
	})

	It("Should include a duplicate of a copy, with its ownership annotations", func(ctx SpecContext) {
		f := newFixture()
		a, b, c := f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "c")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		duplicate := func(namespace string) *corev1.ConfigMap {
			copied := kit.CopyIn(a, source)
			Expect(api.Get(ctx, client.ObjectKeyFromObject(copied), copied)).To(Succeed())
			copied.ObjectMeta = metav1.ObjectMeta{
				Namespace: namespace, Name: copied.Name, Labels: copied.Labels, Annotations: copied.Annotations,
			}
			return create(ctx, copied)
		}
		selected, notSelected := duplicate(b), duplicate(c)

		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces.ReplicateIn = []string{a, b} })
		expect.Failures(ctx, api, replika, map[string]string{b: v1alpha1.FailureConflict})
		deleteAndWait(ctx, replika)
		expect.Gone(ctx, api, source, a)
		Expect(read(ctx, source, b).GetResourceVersion()).To(Equal(selected.ResourceVersion))
		Expect(read(ctx, source, c).GetResourceVersion()).To(Equal(notSelected.ResourceVersion))
	})

	It("Should include a copy with ownership annotations of a newer version", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		newer := kit.CopyIn(a, source)
		update(ctx, newer, func(copy *corev1.ConfigMap) {
			copy.Annotations[v1alpha1.AnnotationMarksVersion] = "2"
			copy.Data["key"] = "newer"
		})
		failing := expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureConflict})
		Expect(failing.Status.Failures[0].Message).NotTo(ContainSubstring("conflictPolicy"), "it is not offered for adoption")
		deleteAndWait(ctx, replika)
		Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(newer.ResourceVersion))
	})

	It("Should be listed up to the limit of failures, sorted by namespace", func(ctx SpecContext) {
		const conflicts = v1alpha1.MaxFailures + 3
		f := newFixture()
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		for i := range conflicts {
			create(ctx, kit.ConfigMap(f.namespace(ctx, fmt.Sprintf("way-%02d", i)), source.Name, "theirs"))
		}
		replika := f.replika(ctx, source, kit.TargetNamespaces(f.name("way-*")))
		failing := expect.Status(ctx, api, replika, func(g Gomega, now *v1alpha1.Replika) {
			g.Expect(now.Status.Copies).To(Equal(&v1alpha1.CopiesStatus{Desired: conflicts, Failed: conflicts}))
		})
		Expect(failing.Status.Failures).To(HaveLen(v1alpha1.MaxFailures))
		for i, failure := range failing.Status.Failures {
			Expect(failure.Namespace).To(Equal(f.name(fmt.Sprintf("way-%02d", i))))
		}
	})

	Describe("created by the 2022 release", func() {
		legacy := func(replika, namespace, value string) *corev1.ConfigMap {
			copied := kit.ConfigMap(namespace, "settings", value)
			copied.Labels = map[string]string{v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue, v1alpha1.LabelPartOf: replika}
			return copied
		}
		It("Should become a copy if it has a copy's content", func(ctx SpecContext) {
			f := newFixture()
			a := f.namespace(ctx, "a")
			source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
			old := create(ctx, legacy("upgraded", a, "one"))
			expect.Ready(ctx, api, f.replika(ctx, source, kit.WithName("upgraded"), kit.TargetNamespaces(a)), 1)
			expect.Copied(ctx, api, source, a)
			Expect(read(ctx, source, a).GetUID()).To(Equal(old.UID))
		})
		DescribeTable("Should stay foreign",
			func(ctx SpecContext, replika, value string) {
				f := newFixture()
				a := f.namespace(ctx, "a")
				source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
				old := create(ctx, legacy("upgraded", a, value))
				failing := expect.Failures(ctx, api, f.replika(ctx, source, kit.WithName(replika), kit.TargetNamespaces(a)), map[string]string{a: v1alpha1.FailureConflict})
				Expect(failing.Status.Failures[0].Message).To(ContainSubstring("Adopt"))
				Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(old.ResourceVersion))
			},
			Entry("with other content", "upgraded", "other"),
			Entry("with the label of another Replika", "another", "one"),
		)
	})
})
