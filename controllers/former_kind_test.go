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

var _ = Describe("A change of the source's kind", func() {
	It("Should replace the copies of the former kind", func(ctx SpecContext) {
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

	It("Should leave no orphan when a suspended Replika also changes the name and is deleted", func(ctx SpecContext) {
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
})
