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
	"fmt"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("A label of a namespace", func() {
	It("Should cause a reconcile only of Replikas whose selection depends on it", func(ctx SpecContext) {
		f := newFixture()
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		selects := func(team string) kit.ReplikaOption {
			return func(replika *v1alpha1.Replika) {
				replika.Spec.Target.Namespaces = v1alpha1.TargetNamespaces{
					Selector: &v1alpha1.LabelSelector{MatchLabels: map[string]string{f.id + "-team": team}},
				}
			}
		}
		red, blue := create(ctx, kit.ConfigMap(home, "red", "one")), create(ctx, kit.ConfigMap(home, "blue", "one"))
		redReplika := f.replika(ctx, red, selects("red"), kit.Interval(time.Hour))
		blueReplika := f.replika(ctx, blue, selects("blue"), kit.Interval(time.Hour))
		expect.Ready(ctx, api, redReplika, 0)
		expect.Ready(ctx, api, blueReplika, 0)
		barrier(ctx, red, redReplika, blueReplika)

		since := markAudit()
		relabel(ctx, a, map[string]string{f.id + "-note": "x"})
		relabel(ctx, a, map[string]string{f.id + "-team": "red"})
		expect.Copied(ctx, api, red, a)
		expect.Ready(ctx, api, redReplika, 1)
		Eventually(ctx, func() int { return reads(f, since, "red") }).WithPolling(auditPolling).Should(Equal(1))
		Expect(reads(f, since, "blue")).To(BeZero())
	})
})

var _ = Describe("A new namespace", func() {
	It("Should receive the copies of many Replikas before they report them, with one request of each type", func(ctx SpecContext) {
		f := newFixture()
		home, first := f.namespace(ctx, "source"), f.namespace(ctx, "target-a")
		const replikas = 30
		sources, created := make([]*corev1.ConfigMap, replikas), make([]*v1alpha1.Replika, replikas)
		for i := range replikas {
			sources[i] = create(ctx, kit.ConfigMap(home, fmt.Sprintf("many-%d", i), "one"))
			created[i] = f.replika(ctx, sources[i], kit.WithName(sources[i].Name), kit.TargetNamespaces(f.name("target-*")), kit.Interval(time.Hour))
		}
		for i := range replikas {
			expect.Copied(ctx, api, sources[i], first)
			expect.Ready(ctx, api, created[i], 1)
		}
		receiveCopyEvents(ctx, sources[0])

		since := markAudit()
		second := f.namespace(ctx, "target-b")
		for i := range replikas {
			expect.Copied(ctx, api, sources[i], second)
			expect.Ready(ctx, api, created[i], 2)
		}
		reports := func() []cluster.AuditEvent { return f.attemptedWrites(since, "replikas", "") }
		Eventually(ctx, reports).WithPolling(auditPolling).Should(HaveLen(replikas))
		creates := f.attemptedWrites(since, "configmaps", "")
		Expect(creates).To(HaveLen(replikas))
		lastCreate := slices.MaxFunc(creates, byReceived)
		early := slices.DeleteFunc(reports(), func(e cluster.AuditEvent) bool { return e.Received.After(lastCreate.Received) })
		Expect(len(early)).To(BeNumerically("<", replikas/2))
		for i := range replikas {
			Expect(reads(f, since, sources[i].Name)).To(Equal(1), sources[i].Name)
		}
	})
})

// reads counts the operator's reads of the source with the name.
func reads(f *fixture, since auditMark, name string) int {
	return len(f.requests(since, func(e cluster.AuditEvent) bool {
		return e.Verb == "get" && e.Namespace == f.name("source") && e.Name == name
	}))
}
