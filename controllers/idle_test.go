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
	"fmt"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("An idle operator", func() {
	DescribeTable("Should write nothing over several intervals",
		func(ctx SpecContext, reason string, disturb func(context.Context, *fixture)) {
			f := newFixture()
			source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
			targets := []string{f.namespace(ctx, "a"), f.namespace(ctx, "b")}
			disturb(ctx, f)
			replika := f.replika(ctx, source, kit.TargetNamespaces(targets[0], targets[1], f.name("missing")))
			if reason != v1alpha1.ReasonTargetNamespaceNotFound {
				update(ctx, replika, kit.TargetNamespaces(targets...))
			}
			expect.Status(ctx, api, replika, func(g Gomega, now *v1alpha1.Replika) {
				g.Expect(kit.Ready(now).Reason).To(Equal(reason))
			})
			f.waitForReads(ctx, markAudit(), source, 2) // everything left to do is done

			idle, before := markAudit(), f.resourceVersions(ctx, replika, targets...)
			f.waitForReads(ctx, idle, source, 3)
			Expect(f.writes(idle)).To(BeEmpty())
			Expect(f.resourceVersions(ctx, replika, targets...)).To(Equal(before))
		},
		Entry("when everything is in sync", v1alpha1.ReasonSynced, func(context.Context, *fixture) {}),
		Entry("with a conflict", v1alpha1.ReasonCopiesFailed, func(ctx context.Context, f *fixture) {
			create(ctx, kit.ConfigMap(f.name("a"), "settings", "theirs"))
		}),
		Entry("with a missing namespace", v1alpha1.ReasonTargetNamespaceNotFound, func(context.Context, *fixture) {}),
		Entry("with a missing source", v1alpha1.ReasonSourceNotFound, func(ctx context.Context, f *fixture) {
			deleteAndWait(ctx, kit.ConfigMap(f.name("source"), "settings", ""))
		}),
		Entry("with a refused source", v1alpha1.ReasonSourceNotAllowed, func(ctx context.Context, f *fixture) {
			update(ctx, kit.ConfigMap(f.name("source"), "settings", ""), func(source *corev1.ConfigMap) {
				source.Labels = map[string]string{v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue}
			})
		}),
	)

	It("Should read a source once per interval for all Replikas that copy it", func(ctx SpecContext) {
		f := newFixture()
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "read-once", "one"))
		const interval = 3 * time.Second
		began := markAudit()
		for _, name := range []string{"a", "b", "c"} {
			// Replikas whose copies have one name would be reconciled together.
			replika := f.replika(ctx, source, kit.WithName(name), kit.Interval(interval),
				kit.TargetName("read-once-"+name), kit.TargetNamespaces(f.namespace(ctx, name)))
			expect.Ready(ctx, api, replika, 1)
			// The intervals of the others begin so much later that they do not share a request.
			Eventually(ctx, func() time.Duration {
				return time.Since(slices.MaxFunc(f.requests(began, readsOf(source)), byReceived).Received)
			}).WithPolling(auditPolling).Should(BeNumerically(">", time.Second))
		}
		f.waitForReads(ctx, markAudit(), source, 2) // what was left to do is done

		idle := markAudit()
		f.waitForReads(ctx, idle, source, 4)
		reads := f.requests(idle, readsOf(source))
		Expect(reads[3].Received.Sub(reads[0].Received)).To(BeNumerically(">", 3*interval*9/10))

		By("each Replika still learns of a change")
		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		for _, name := range []string{"a", "b", "c"} {
			expect.CopiedAs(ctx, api, source, "read-once-"+name, f.name(name))
		}
	})

	It("Should write nothing while only fields of the source change that are not copied", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, playlist(f.namespace(ctx, "source"), "evening"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		shown := expect.Ready(ctx, api, replika, 1).Status.Source.ResourceVersion
		f.waitForReads(ctx, markAudit(), source, 2) // what was left to do is done

		idle, plays := markAudit(), int64(0)
		Consistently(ctx, func(g Gomega) {
			plays++
			update(ctx, source, func(source *unstructured.Unstructured) {
				source.SetAnnotations(map[string]string{"kubectl.kubernetes.io/last-applied-configuration": fmt.Sprint(plays)})
			})
			patchStatus(ctx, source, fmt.Sprintf(`{"status":{"plays":%d}}`, plays))
			g.Expect(f.writes(idle)).To(BeEmpty())
		}).WithTimeout(quietPeriod).Should(Succeed())
		Expect(expect.Ready(ctx, api, replika, 1).Status.Source.ResourceVersion).To(Equal(shown))
	})
})

// byReceived orders requests by the time at which they were received.
func byReceived(a, b cluster.AuditEvent) int { return a.Received.Compare(b.Received) }

// resourceVersions returns those of the Replika and of the objects with its copies' names.
func (f *fixture) resourceVersions(ctx context.Context, replika *v1alpha1.Replika, namespaces ...string) map[string]string {
	GinkgoHelper()
	now := &v1alpha1.Replika{}
	Expect(api.Get(ctx, client.ObjectKeyFromObject(replika), now)).To(Succeed())
	versions := map[string]string{"the Replika": now.ResourceVersion}
	for _, namespace := range namespaces {
		if copied := read(ctx, kit.ConfigMap("", replika.TargetName(), ""), namespace); copied != nil {
			versions[namespace] = copied.GetResourceVersion()
		}
	}
	return versions
}
