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
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("A refused copy", func() {
	It("Should be requested again only when something changed that the refusal depends on", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		frozen := kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one")
		frozen.Immutable = new(true)
		source := create(ctx, frozen)
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b), kit.Interval(time.Hour),
			kit.ImmutableFields(v1alpha1.ImmutableFieldsFail))
		expect.Ready(ctx, api, replika, 2)

		begin := markAudit()
		deleteAndWait(ctx, source)
		source = kit.ConfigMap(source.Namespace, source.Name, "two")
		source.Immutable = new(true)
		create(ctx, source)
		// Each refusal takes two requests: the update, and a dry run that finds out why it is refused.
		expectRefused := func(inA, inB int) {
			GinkgoHelper()
			failing := expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureImmutable, b: v1alpha1.FailureImmutable})
			Expect(failing.Status.Copies.Failed).To(BeEquivalentTo(2))
			Eventually(ctx, func() map[string]int { return f.attemptsByNamespace(begin, source) }).WithPolling(auditPolling).
				Should(Equal(map[string]int{a: inA, b: inB}))
		}
		expectRefused(2, 2)

		By("reconciling without a change of the content")
		idle := markAudit()
		update(ctx, source, func(source *corev1.ConfigMap) {
			source.Annotations = map[string]string{corev1.LastAppliedConfigAnnotation: "{}"}
		})
		f.waitForReads(ctx, idle, source, 1)
		expectRefused(2, 2)

		By("changing the labels of a namespace")
		update(ctx, kit.Namespace(a), func(namespace *corev1.Namespace) { namespace.Labels["changed"] = "true" })
		expectRefused(4, 2)

		By("changing a copy")
		update(ctx, kit.CopyIn(b, source), func(copied *corev1.ConfigMap) { delete(copied.Labels, v1alpha1.LabelPartOf) })
		expectRefused(4, 4)

		By("changing the source")
		update(ctx, source, func(source *corev1.ConfigMap) { source.Labels = map[string]string{"changed": "true"} })
		expectRefused(6, 6)

		By("changing the spec")
		update(ctx, replika, kit.ImmutableFields(v1alpha1.ImmutableFieldsRecreate))
		expect.Copied(ctx, api, source, a, b)
		expect.Ready(ctx, api, replika, 2)
	})

	It("Should not be requested in every interval, and be created when the refusal ends", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		policy := installDenyPolicy(ctx, a, "no settings here", nil, admissionregistrationv1.Create)
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		begin := markAudit()
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
		expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureRejected})
		// After 0.5, 1, 2 and 4 seconds; the next delay is at least six seconds.
		Eventually(ctx, func() int { return f.attemptsByNamespace(begin, source)[a] }).WithPolling(auditPolling).Should(BeNumerically(">=", 5))

		rest := markAudit()
		f.waitForReads(ctx, rest, source, 4)
		Expect(f.attemptsByNamespace(rest, source)[a]).To(BeNumerically("<=", 1), "in 4 intervals")
		expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureRejected})

		Expect(api.Delete(ctx, policy)).To(Succeed())
		expect.Copied(ctx, api, source, a)
		expect.Ready(ctx, api, replika, 2)
	})
})

// attemptsByNamespace counts the operator's attempts since the mark to write copies of the source, dry runs included.
func (f *fixture) attemptsByNamespace(since auditMark, source *corev1.ConfigMap) map[string]int {
	GinkgoHelper()
	counts := map[string]int{}
	for _, event := range f.attemptedWrites(since, "configmaps", "") {
		if event.Namespace != source.Namespace && (event.Name == source.Name || event.Name == "") {
			counts[event.Namespace]++
		}
	}
	return counts
}
