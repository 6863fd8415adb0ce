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
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("Suspension", func() {
	It("Should stop all writes, pruning too, until it ends", func(ctx SpecContext) {
		f := newFixture()
		a, b, c, d := f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "c"), f.namespace(ctx, "d")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b, d))
		expect.Ready(ctx, api, replika, 3)

		update(ctx, replika, func(replika *v1alpha1.Replika) {
			replika.Spec.Suspend = true
			replika.Spec.Target.Namespaces.ReplicateIn = []string{a, c, d} // without b, with c
		})
		suspended := expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		Expect(meta.IsStatusConditionTrue(suspended.Status.Conditions, v1alpha1.ConditionReady)).To(BeTrue(), "Ready stays as it was")
		mark := markAudit()
		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		drifted := kit.CopyIn(a, source)
		update(ctx, drifted, func(copy *corev1.ConfigMap) { copy.Data["key"] = "edited" })
		untouched := read(ctx, source, b)
		Expect(api.Delete(ctx, kit.CopyIn(d, source))).To(Succeed())

		barrier(ctx, source)
		Expect(f.writes(mark)).To(BeEmpty())
		reconcile(ctx, replika)
		Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(drifted.ResourceVersion), "drift was repaired")
		Expect(read(ctx, source, b)).To(Equal(untouched), "a copy was pruned or updated")
		Expect(read(ctx, source, c)).To(BeNil(), "a copy was created")
		Expect(read(ctx, source, d)).To(BeNil(), "a copy was re-created")

		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Suspend = false })
		expect.Copied(ctx, api, source, a, c, d)
		expect.Gone(ctx, api, source, b)
		expect.Ready(ctx, api, replika, 3)
	})

	It("Should apply from the beginning", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Suspended())
		now := expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		Expect(meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionReady).Status).To(Equal(metav1.ConditionUnknown))
		barrier(ctx, source, replika)
		expectAbsent(ctx, source, a)
	})

	It("Should keep the condition Ready as it was", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		create(ctx, kit.ConfigMap(a, source.Name, "foreign"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Reason(ctx, api, replika, v1alpha1.ReasonCopiesFailed)
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Suspend = true })
		now := expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		Expect(meta.IsStatusConditionFalse(now.Status.Conditions, v1alpha1.ConditionReady)).To(BeTrue())
	})

	It("Should not block the Replika's deletion", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Suspend = true })
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		deleteAndWait(ctx, replika)
		expect.Gone(ctx, api, source, a)
	})
})
