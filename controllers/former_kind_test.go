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
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("A spec change", func() {
	It("Should replace the copies when it changes their name", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b), kit.TargetName("before"))
		expect.CopiedAs(ctx, api, source, "before", a, b)
		Expect(read(ctx, source, a)).To(BeNil(), "the source's own name")

		update(ctx, replika, kit.TargetName("after"))
		expect.CopiedAs(ctx, api, source, "after", a, b)
		expect.Ready(ctx, api, replika, 2)
		Expect(f.copies(ctx, &corev1.ConfigMap{})).To(ConsistOf(a+"/after", b+"/after"))
		deleteAndWait(ctx, replika)
		Expect(f.copies(ctx, &corev1.ConfigMap{})).To(BeEmpty())
	})

	It("Should delete the former copies when the new name is in conflict", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		foreign := create(ctx, kit.ConfigMap(a, "after", "theirs"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		update(ctx, replika, kit.TargetName(foreign.Name))
		expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureConflict})
		expect.Gone(ctx, api, source, a)
		Expect(read(ctx, foreign, a).GetResourceVersion()).To(Equal(foreign.ResourceVersion))
	})

	It("Should update copies with a name of their own in place when it changes the source", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		home := f.namespace(ctx, "source")
		first, second := create(ctx, kit.ConfigMap(home, "first", "one")), create(ctx, kit.ConfigMap(home, "second", "two"))
		replika := f.replika(ctx, first, kit.TargetNamespaces(a), kit.TargetName("shared"))
		expect.Ready(ctx, api, replika, 1)
		shared := kit.ConfigMap("", "shared", "")
		uid := read(ctx, shared, a).GetUID()
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Source.Name = second.Name })
		expect.CopiedAs(ctx, api, second, "shared", a)
		expect.Ready(ctx, api, replika, 1)
		Expect(read(ctx, shared, a).GetUID()).To(Equal(uid))
		Eventually(ctx, func() map[string]string { return read(ctx, shared, a).GetAnnotations() }).
			Should(HaveKeyWithValue(v1alpha1.AnnotationSource, home+"/second"))
	})

	It("Should replace the copies when it changes the source's kind", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		home := f.namespace(ctx, "source")
		before, after := create(ctx, kit.ConfigMap(home, "settings", "one")), create(ctx, kit.Secret(home, "settings", "one"))
		replika := f.replika(ctx, before, kit.TargetNamespaces(a, b))
		expect.Ready(ctx, api, replika, 2)
		update(ctx, replika, kit.SourceKind("", "v1", "Secret"))
		expect.Copied(ctx, api, after, a, b)
		expect.Gone(ctx, api, before, a, b)
		expect.Ready(ctx, api, replika, 2)

		update(ctx, replika, func(replika *v1alpha1.Replika) {
			kit.SourceKind("", "v1", "ConfigMap")(replika)
			kit.TargetNamespaces(b)(replika)
		})
		expect.Copied(ctx, api, before, b)
		expect.Gone(ctx, api, after, a, b)
		Expect(read(ctx, before, a)).To(BeNil())
	})

	It("Should delete the copies of the former kind when the new kind is not served", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		update(ctx, replika, kit.SourceKind("no.example.com", "v1", "Thing"))
		expect.Gone(ctx, api, source, a)
		expect.Reason(ctx, api, replika, v1alpha1.ReasonKindNotFound)
	})

	It("Should leave no orphan when it changes kind and name of a suspended Replika that is deleted then", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.TargetName("before"))
		expect.Ready(ctx, api, replika, 1)
		update(ctx, replika, kit.Suspended())
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		update(ctx, replika, func(replika *v1alpha1.Replika) {
			kit.SourceKind("", "v1", "Secret")(replika)
			kit.TargetName("after")(replika)
		})
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		deleteAndWait(ctx, replika)
		Expect(f.copies(ctx, &corev1.ConfigMap{})).To(BeEmpty())
	})

	It("Should never cause a write into the new source namespace, not even to a former copy", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		other := create(ctx, kit.ConfigMap(a, "others", "two"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b), kit.TargetName("shared"))
		expect.Ready(ctx, api, replika, 2)
		before := read(ctx, kit.ConfigMap("", "shared", ""), a)

		update(ctx, replika, func(replika *v1alpha1.Replika) {
			replika.Spec.Source.Namespace, replika.Spec.Source.Name = a, other.Name
			kit.TargetNamespaces(b)(replika)
		})
		expect.CopiedAs(ctx, api, other, "shared", b)
		expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureConflict})
		Expect(read(ctx, before, a)).To(Equal(before))

		Expect(api.Delete(ctx, before)).To(Succeed())
		expect.Ready(ctx, api, replika, 1)
	})
})
