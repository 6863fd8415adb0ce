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

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("The status of a Replika that names another source", func() {
	missing := map[string]func(*v1alpha1.Replika){
		"name":      func(replika *v1alpha1.Replika) { replika.Spec.Source.Name = "missing" },
		"namespace": func(replika *v1alpha1.Replika) { replika.Spec.Source.Namespace = replika.Namespace + "-missing" },
		"kind":      func(replika *v1alpha1.Replika) { replika.Spec.Source.Kind = "Secret" },
		"group":     func(replika *v1alpha1.Replika) { replika.Spec.Source.Group = "missing.example.com" },
	}
	DescribeTable("Should say nothing of the former one while the new one cannot be read",
		func(ctx SpecContext, changed, reason string) {
			f := newFixture()
			a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
			source := create(ctx, allowNamespaces(kit.ConfigMap(home, "settings", "one"), a))
			replika := f.replika(ctx, source, kit.TargetNamespaces(a))
			Expect(expect.Ready(ctx, api, replika, 1).Status.Source.AllowedNamespaces).To(Equal([]string{a}))

			update(ctx, replika, missing[changed])
			now := expect.Reason(ctx, api, replika, reason)
			Expect(now.Status.Source).To(BeNil())
			Expect(now.Status.Copies).To(BeNil())
			Expect(now.Status.Failures).To(BeEmpty())
		},
		Entry("by name", "name", v1alpha1.ReasonSourceNotFound),
		Entry("by namespace", "namespace", v1alpha1.ReasonSourceNotFound),
		Entry("by kind", "kind", v1alpha1.ReasonSourceNotFound),
		Entry("by group", "group", v1alpha1.ReasonKindNotFound),
	)

	It("Should keep what it says while the same source cannot be read", func(ctx SpecContext) {
		f := newFixture()
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		source := create(ctx, allowNamespaces(kit.ConfigMap(home, "settings", "one"), a))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		before := expect.Ready(ctx, api, replika, 1).Status.Source
		Expect(api.Delete(ctx, source)).To(Succeed())
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain })
		now := expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)
		Expect(now.Status.Source).To(Equal(before))
		Expect(now.Status.Copies).To(Equal(&v1alpha1.CopiesStatus{Desired: 1, Synced: 1}))
	})

	It("Should say which namespaces the new one allows while the Replika is suspended", func(ctx SpecContext) {
		f := newFixture()
		a, b, home := f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "source")
		source := create(ctx, allowNamespaces(kit.ConfigMap(home, "settings", "one"), a))
		other := create(ctx, allowNamespaces(kit.ConfigMap(home, "others", "one"), b))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Suspended())
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Suspend = false })
		expect.Ready(ctx, api, replika, 1)
		update(ctx, replika, kit.Suspended())
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Source.Name = other.Name })
		now := expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		Expect(now.Status.Source).To(Equal(&v1alpha1.SourceStatus{AllowedNamespaces: []string{b}}))
	})
})
