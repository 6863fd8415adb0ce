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
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// Consent wins over suspension, promptly: the interval of these Replikas is an hour.
var _ = Describe("Suspension and consent", func() {
	It("Should prune only where the source's owner withdraws consent", func(ctx SpecContext) {
		f := newFixture()
		a, b, c, d := f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "c"), f.namespace(ctx, "d")
		source := create(ctx, allowNamespaces(kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"), a, b, c))
		replika := f.replika(ctx, source, kit.TargetNamespaces(f.id+"-*"), kit.Interval(time.Hour))
		expect.Ready(ctx, api, replika, 3)
		update(ctx, replika, func(replika *v1alpha1.Replika) {
			replika.Spec.Suspend = true
			replika.Spec.Target.Namespaces.ExcludeFrom = []string{c} // stays: it is not withdrawn consent
		})
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		mark := markAudit()

		update(ctx, source, func(source *corev1.ConfigMap) {
			source.Data["key"] = "two"
			allowNamespaces(source, a, c, d)
		})
		expect.Gone(ctx, api, source, b)
		suspended := expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		Expect(meta.IsStatusConditionTrue(suspended.Status.Conditions, v1alpha1.ConditionReady)).To(BeTrue(), "Ready stays as it was")
		Expect(f.writesTo(mark, "configmaps", source.Name)).To(HaveLen(1), "only the copy in %s is deleted", b)
		for _, namespace := range []string{a, c} {
			Expect(kit.Content(read(ctx, source, namespace))).To(HaveKeyWithValue("data", HaveKeyWithValue("key", "one")), "no update")
		}
		Expect(read(ctx, source, d)).To(BeNil(), "no creation")

		By("withdrawing all consent")
		update(ctx, source, func(source *corev1.ConfigMap) { allowNamespaces(source) })
		expect.Gone(ctx, api, source, a, c)
	})

	It("Should prune where a namespace opts out, whatever the spec selects by now", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b), kit.Interval(time.Hour))
		expect.Ready(ctx, api, replika, 2)
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Suspend = true })
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)

		optOut(ctx, b, v1alpha1.OptOutValue)
		expect.Gone(ctx, api, source, b)
		Expect(read(ctx, source, a)).NotTo(BeNil())

		By("changing the source's kind, so that the copy is of a former one, and another namespace opts out")
		update(ctx, replika, func(replika *v1alpha1.Replika) {
			replika.Spec.Source.Kind = "Secret"
			replika.Spec.Synchronization.Time.Duration = time.Second
		})
		optOut(ctx, a, v1alpha1.OptOutValue)
		expect.Gone(ctx, api, source, a)
	})

	It("Should find consent that was withdrawn while the operator was not watching", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(time.Hour))
		expect.Ready(ctx, api, replika, 1)
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Suspend = true })
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Source.Kind = "Secret" }) // ends the watch
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		update(ctx, source, func(source *corev1.ConfigMap) { allowNamespaces(source, "nowhere") })
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Source.Kind = "ConfigMap" })
		expect.Gone(ctx, api, source, a)
	})

	It("Should cost one read of the source per interval and no write", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(time.Second))
		expect.Ready(ctx, api, replika, 1)
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Suspend = true })
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		reconcile(ctx, replika)
		mark := markAudit()
		Eventually(ctx, func() int { return len(f.requests(mark)) }).Should(BeNumerically(">=", 2))
		for _, request := range f.requests(mark) {
			Expect(request.Verb + " " + request.Resource).To(Equal("get configmaps"))
		}
	})
})
