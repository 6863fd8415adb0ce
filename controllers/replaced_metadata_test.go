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
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// kubectl replace, Argo CD with Replace=true and Helm with --force send a PUT of the user's manifest, which has neither the
// finalizer nor the inventory. The interval of these Replikas is an hour.
var _ = Describe("Replaced metadata of a Replika", func() {
	replace := func(ctx SpecContext, replika *v1alpha1.Replika, change func(*v1alpha1.Replika)) {
		GinkgoHelper()
		update(ctx, replika, func(replika *v1alpha1.Replika) {
			replika.Finalizers, replika.Annotations = nil, nil
			change(replika)
		})
	}
	expectRestored := func(ctx SpecContext, replika *v1alpha1.Replika, inventory string) {
		GinkgoHelper()
		Eventually(ctx, func(g Gomega) {
			current := &v1alpha1.Replika{}
			g.Expect(api.Get(ctx, client.ObjectKeyFromObject(replika), current)).To(Succeed())
			g.Expect(current.Finalizers).To(ContainElement(v1alpha1.Finalizer))
			g.Expect(current.Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationKinds, inventory))
		}).Should(Succeed())
	}

	It("Should be restored at once, so that a deletion still deletes the copies", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(time.Hour))
		expect.Ready(ctx, api, replika, 1)

		replace(ctx, replika, func(*v1alpha1.Replika) {})
		expectRestored(ctx, replika, "configmaps")
		deleteAndWait(ctx, replika)
		expect.Gone(ctx, api, source, a)
	})

	It("Should orphan no copies of the former kind, which the same request replaces", func(ctx SpecContext) {
		f := newFixture()
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		former := create(ctx, kit.ConfigMap(home, "settings", "one"))
		source := create(ctx, kit.Secret(home, "settings", "two"))
		replika := f.replika(ctx, former, kit.TargetNamespaces(a), kit.Interval(time.Hour))
		expect.Ready(ctx, api, replika, 1)

		replace(ctx, replika, kit.SourceKind("", "v1", "Secret"))
		expect.Copied(ctx, api, source, a)
		expect.Gone(ctx, api, former, a)
		expectRestored(ctx, replika, "secrets")
	})

	It("Should be restored while the Replika is suspended", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(time.Hour))
		expect.Ready(ctx, api, replika, 1)

		replace(ctx, replika, kit.Suspended())
		expectRestored(ctx, replika, "configmaps")
		expect.Copied(ctx, api, source, a)
	})
})

// No other spec may run while the operator is stopped.
var _ = Describe("Replaced metadata of a Replika, while the operator is down", serial, func() {
	It("Should orphan no copies of the former kind, which the same request replaces", func(ctx SpecContext) {
		f := newFixture()
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		former := create(ctx, kit.ConfigMap(home, "settings", "one"))
		source := create(ctx, kit.Secret(home, "settings", "two"))
		replika := f.replika(ctx, former, kit.TargetNamespaces(a), kit.Interval(time.Hour))
		expect.Ready(ctx, api, replika, 1)

		whileStopped(func() {
			update(ctx, replika, func(replika *v1alpha1.Replika) {
				replika.Finalizers, replika.Annotations = nil, nil
				kit.SourceKind("", "v1", "Secret")(replika)
			})
		})
		expect.Copied(ctx, api, source, a)
		expect.Gone(ctx, api, former, a)
		expect.Status(ctx, api, replika, func(g Gomega, current *v1alpha1.Replika) {
			g.Expect(current.Status.Inventory).To(Equal([]string{"secrets"}))
			g.Expect(current.Finalizers).To(ContainElement(v1alpha1.Finalizer))
			g.Expect(current.Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationKinds, "secrets"))
		})
	})
})
