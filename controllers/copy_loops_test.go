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
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("Replikas whose sources are copies", func() {
	// ring returns functions that create three Replikas, each of which copies an object of the same name from its own
	// namespace to the next.
	ring := func(ctx context.Context, f *fixture, changes ...kit.ReplikaOption) (namespaces []string, replikas map[string]func() *v1alpha1.Replika) {
		for _, suffix := range []string{"one", "two", "three"} {
			namespaces = append(namespaces, f.namespace(ctx, suffix))
		}
		replikas = map[string]func() *v1alpha1.Replika{}
		for i, namespace := range namespaces {
			next := namespaces[(i+1)%len(namespaces)]
			replikas[namespace] = func() *v1alpha1.Replika {
				return f.replika(ctx, kit.ConfigMap(namespace, "settings", ""), append([]kit.ReplikaOption{kit.TargetNamespaces(next)}, changes...)...)
			}
		}
		return namespaces, replikas
	}

	DescribeTable("Should copy only the original, in any order of creation",
		func(ctx SpecContext, first, second, third int) {
			f := newFixture()
			namespaces, replikaIn := ring(ctx, f)
			one, two, three := namespaces[0], namespaces[1], namespaces[2]
			source := create(ctx, kit.ConfigMap(one, "settings", "one"))
			made := map[string]*v1alpha1.Replika{}
			for _, i := range []int{first, second, third} {
				made[namespaces[i]] = replikaIn[namespaces[i]]()
			}
			expect.Ready(ctx, api, made[one], 1)
			refused := expect.Reason(ctx, api, made[two], v1alpha1.ReasonSourceNotAllowed)
			Expect(kit.Ready(refused).Message).To(ContainSubstring(one + "/" + made[one].Name))
			expect.Reason(ctx, api, made[three], v1alpha1.ReasonSourceNotFound)

			since := markAudit()
			update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
			expect.Copied(ctx, api, source, two)
			barrier(ctx, source, made[two], made[three])
			expectAbsent(ctx, source, three)
			Expect(read(ctx, source, one).GetResourceVersion()).To(Equal(source.ResourceVersion), "the original")
			f.eventuallyWrites(ctx, since, "configmaps", "settings").
				Should(ConsistOf("patch in " + two))
		},
		Entry("in the direction of the ring", 0, 1, 2),
		Entry("against the direction of the ring", 2, 1, 0),
		Entry("middle first", 1, 0, 2),
	)

	It("Should copy nothing around a ring, even under Adopt", func(ctx SpecContext) {
		f := newFixture()
		namespaces, replikaIn := ring(ctx, f, kit.Adopt())
		one, two, three := namespaces[0], namespaces[1], namespaces[2]
		create(ctx, kit.ConfigMap(one, "settings", "first"))
		create(ctx, kit.ConfigMap(two, "settings", "second"))
		last := create(ctx, kit.ConfigMap(three, "settings", "third"))

		expect.Ready(ctx, api, replikaIn[one](), 1) // two becomes a copy
		middle := replikaIn[two]()
		expect.Reason(ctx, api, middle, v1alpha1.ReasonSourceNotAllowed)
		expect.Ready(ctx, api, replikaIn[three](), 1) // one becomes a copy
		beginning := &v1alpha1.Replika{}
		Expect(api.Get(ctx, client.ObjectKey{Namespace: one, Name: "replika-of-settings"}, beginning)).To(Succeed())
		expect.Reason(ctx, api, beginning, v1alpha1.ReasonSourceNotAllowed)
		before := read(ctx, last, two)
		Expect(kit.Content(before)).To(HaveKeyWithValue("data", HaveKeyWithValue("key", "first")))

		since := markAudit()
		update(ctx, last, func(source *corev1.ConfigMap) { source.Data["key"] = "new" })
		expect.Copied(ctx, api, last, one)
		barrier(ctx, last, beginning, middle)
		Expect(read(ctx, last, two)).To(Equal(before), "a copy of a copy")
		Expect(read(ctx, last, three).GetResourceVersion()).To(Equal(last.ResourceVersion), "the source")
		f.eventuallyWrites(ctx, since, "configmaps", "settings").Should(ConsistOf("patch in " + one))
	})

	It("Should be refused when the source becomes a copy, and synced again when it is released", func(ctx SpecContext) {
		f := newFixture()
		one, two, three := f.namespace(ctx, "one"), f.namespace(ctx, "two"), f.namespace(ctx, "three")
		theirs := create(ctx, kit.ConfigMap(two, "settings", "theirs"))
		// Its copies must stay under Delete, because the source exists.
		replika := f.replika(ctx, theirs, kit.TargetNamespaces(three), kit.OnSourceDeletion(v1alpha1.SourceDeletionDelete))
		expect.Ready(ctx, api, replika, 1)
		before := read(ctx, theirs, three)

		adopted := create(ctx, kit.ConfigMap(one, "settings", "adopted"))
		other := f.replika(ctx, adopted, kit.TargetNamespaces(two), kit.Adopt())
		expect.Copied(ctx, api, adopted, two)
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotAllowed)
		barrier(ctx, theirs, replika)
		Expect(read(ctx, theirs, three)).To(Equal(before))

		deleteAndWait(ctx, other)
		expect.Ready(ctx, api, replika, 1)
		expect.Copied(ctx, api, theirs, three)
		Expect(kit.Content(read(ctx, theirs, three))).To(HaveKeyWithValue("data", HaveKeyWithValue("key", "adopted")))
	})

	It("Should be refused when the source has ownership annotations of a newer version", func(ctx SpecContext) {
		f := newFixture()
		home, a := f.namespace(ctx, "source"), f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(home, "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		before := read(ctx, source, a)
		update(ctx, source, func(source *corev1.ConfigMap) {
			source.Annotations = map[string]string{v1alpha1.AnnotationMarksVersion: "2"}
			source.Data["key"] = "two"
		})
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotAllowed)
		Expect(read(ctx, source, a)).To(Equal(before))
	})
})
