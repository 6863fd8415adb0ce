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

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("A Replika whose spec changes", func() {
	var (
		f             *fixture
		a, b, c, home string
		source        *corev1.ConfigMap
		replika       *v1alpha1.Replika
	)
	// copied creates a Replika with copies in a and b.
	copied := func(ctx context.Context, changes ...kit.ReplikaOption) {
		GinkgoHelper()
		f = newFixture()
		a, b, c, home = f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "c"), f.namespace(ctx, "source")
		source = create(ctx, kit.ConfigMap(home, "settings", "one"))
		replika = f.replika(ctx, source, append([]kit.ReplikaOption{kit.TargetNamespaces(a, b)}, changes...)...)
		expect.Ready(ctx, api, replika, 2)
	}

	It("Should leave no copy of the former source when it names another source", func(ctx SpecContext) {
		copied(ctx)
		other := create(ctx, kit.ConfigMap(home, "others", "two"))
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Source.Name = other.Name })
		expect.Copied(ctx, api, other, a, b)
		expect.Gone(ctx, api, source, a, b)
		expect.Ready(ctx, api, replika, 2)
		Expect(read(ctx, source, home).GetResourceVersion()).To(Equal(source.ResourceVersion))
	})

	It("Should leave no copy of the former source when the new source does not exist", func(ctx SpecContext) {
		copied(ctx)
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Source.Name = "missing" })
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)
		expect.Gone(ctx, api, source, a, b)
	})

	It("Should write each copy once when its copies have a name of their own", func(ctx SpecContext) {
		copied(ctx, kit.TargetName("shared"))
		other := create(ctx, kit.ConfigMap(f.namespace(ctx, "other"), "others", "two"))
		since := markAudit()
		update(ctx, replika, func(replika *v1alpha1.Replika) {
			replika.Spec.Source.Name, replika.Spec.Source.Namespace = other.Name, other.Namespace
		})
		expect.CopiedAs(ctx, api, other, "shared", a, b)
		expect.Ready(ctx, api, replika, 2)
		f.eventuallyWrites(ctx, since, "configmaps", "").Should(ConsistOf("patch in "+a, "patch in "+b))
	})

	It("Should leave only the desired copies when everything changes at once", func(ctx SpecContext) {
		copied(ctx)
		account := kit.Secret(f.namespace(ctx, "other"), "account", "one")
		create(ctx, account)
		update(ctx, replika, func(replika *v1alpha1.Replika) {
			kit.SourceKind("", "v1", "Secret")(replika)
			replika.Spec.Source.Namespace, replika.Spec.Source.Name = account.Namespace, account.Name
			replika.Spec.Target.Name, replika.Spec.Target.Labels = "renamed", v1alpha1.Labels{"tier": "back"}
			kit.TargetNamespaces(b, c)(replika)
		})
		expect.CopiedAs(ctx, api, account, "renamed", b, c)
		expect.Status(ctx, api, replika, func(g Gomega, now *v1alpha1.Replika) {
			g.Expect(f.copies(ctx, source)).To(BeEmpty())
			g.Expect(f.copies(ctx, account)).To(ConsistOf(b+"/renamed", c+"/renamed"))
			g.Expect(now.Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationKinds, "secrets"), "the inventory")
		})
		expect.Ready(ctx, api, replika, 2)
	})

	It("Should leave no copy of the former kind when the new kind is refused", func(ctx SpecContext) {
		copied(ctx)
		update(ctx, replika, kit.SourceKind("", "v1", "Node"))
		expect.Reason(ctx, api, replika, v1alpha1.ReasonKindNotAllowed)
		expect.Gone(ctx, api, source, a, b)
	})

	DescribeTable("Should release the former copies under Retain",
		func(ctx SpecContext, move kit.ReplikaOption) {
			copied(ctx, kit.Retain())
			create(ctx, kit.Secret(home, source.Name, "one"))
			create(ctx, kit.ConfigMap(home, "others", "two"))
			uid := read(ctx, source, a).GetUID()
			update(ctx, replika, move)
			expect.Ready(ctx, api, replika, 2)
			expectReleased(ctx, source, a, uid)
			Expect(kit.Content(read(ctx, source, a))).To(Equal(kit.Content(read(ctx, source, home))))
		},
		Entry("when the copies get another name", kit.TargetName("renamed")),
		Entry("when it names another source", kit.ReplikaOption(func(replika *v1alpha1.Replika) { replika.Spec.Source.Name = "others" })),
		Entry("when it names another kind", kit.SourceKind("", "v1", "Secret")),
	)
})

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
