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
	"bytes"
	"context"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// watchMetrics returns the operator's metric of watches, by group and resource.
func watchMetrics() map[string]float64 {
	GinkgoHelper()
	families, err := metrics.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	up := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "replika_watches" {
			continue
		}
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetValue())
			}
			up[strings.Join(labels, " ")] = metric.GetGauge().GetValue()
		}
	}
	return up
}

// reflectors counts the goroutines of client-go's watches in this process.
func reflectors() int {
	GinkgoHelper()
	var stacks bytes.Buffer
	Expect(pprof.Lookup("goroutine").WriteTo(&stacks, 2)).To(Succeed())
	return strings.Count(stacks.String(), "cache.(*Reflector).RunWithContext(")
}

// openWatches counts the operator's open watches of these kinds.
func openWatches(since auditMark, customKinds []*customKind) int {
	GinkgoHelper()
	groups := map[string]bool{}
	for _, d := range customKinds {
		groups[d.group] = true
	}
	events, err := controlPlane.AuditEvents(since.offset, cluster.ByUserAgent(operatorAgent), func(e cluster.AuditEvent) bool {
		return e.Verb == "watch" && groups[e.Group]
	})
	Expect(err).NotTo(HaveOccurred())
	open := 0
	for _, event := range events {
		switch event.Stage {
		case cluster.StageStarted:
			open++
		case cluster.StageComplete:
			open--
		}
	}
	return open
}

var _ = Describe("The deletion of Replikas", func() {
	It("Should stop their watches and goroutines, also of forbidden and removed kinds", serial, func(ctx SpecContext) {
		const kinds, each = 20, 10
		forbidden, removed := 0, 1
		began := markAudit()
		f := newFixture()
		target, home := f.namespace(ctx, "target"), f.namespace(ctx, "source")
		// A first Replika makes the operator create what it keeps, such as connections.
		first := create(ctx, kit.ConfigMap(home, "first", "one"))
		replika := f.replika(ctx, first, kit.TargetNamespaces(target))
		expect.Ready(ctx, api, replika, 1)
		deleteAndWait(ctx, replika)

		// Watches of earlier specs may still be ending: wait until two readings are equal.
		var watches map[string]float64
		var watching, goroutines int
		Eventually(ctx, func(g Gomega) {
			watchesBefore, watchingBefore, goroutinesBefore := watches, watching, goroutines
			watches, watching, goroutines = watchMetrics(), reflectors(), runtime.NumGoroutine()
			g.Expect(watches).To(Equal(watchesBefore))
			g.Expect(watching).To(Equal(watchingBefore))
			g.Expect(goroutines).To(BeNumerically("~", goroutinesBefore, 2))
		}).WithPolling(500 * time.Millisecond).Should(Succeed())

		customKinds := make([]*customKind, kinds)
		for i := range customKinds {
			customKinds[i] = newCustomKind()
			verbs := everyVerb
			if i == forbidden {
				verbs = []string{"get", "list", "create", "update", "patch", "delete"}
			}
			customKinds[i].grant(ctx, verbs...)
			customKinds[i].install(ctx)
		}
		replikas := make([][]*v1alpha1.Replika, kinds)
		for i, d := range customKinds {
			for n := range each {
				source := d.create(ctx, home, fmt.Sprintf("%s-%d", d.group[:7], n), "one")
				replikas[i] = append(replikas[i], f.replika(ctx, source, kit.TargetNamespaces(target), kit.Interval(time.Minute)))
			}
		}
		for i := range replikas {
			for _, replika := range replikas[i] {
				expect.Ready(ctx, api, replika, 1)
			}
		}
		Expect(reflectors()).To(Equal(watching+kinds*(1+each)), "one watch for the copies of each kind, one for each source")
		Eventually(ctx, func() int { return openWatches(began, customKinds) }).WithPolling(auditPolling).Should(Equal((kinds - 1) * (1 + each)))

		customKinds[removed].remove(ctx)
		for _, replika := range replikas[removed] {
			expect.Reason(ctx, api, replika, v1alpha1.ReasonKindNotFound)
		}
		for i := range replikas {
			for _, replika := range replikas[i] {
				Expect(api.Delete(ctx, replika)).To(Succeed())
			}
		}
		for i := range replikas {
			for _, replika := range replikas[i] {
				deleteAndWait(ctx, replika)
			}
		}
		Eventually(ctx, watchMetrics).Should(Equal(watches))
		Eventually(ctx, reflectors).Should(Equal(watching))
		Eventually(ctx, func() int { return openWatches(began, customKinds) }).WithPolling(auditPolling).Should(BeZero())
		Eventually(ctx, runtime.NumGoroutine).Should(BeNumerically("<=", goroutines+5), stacks)
		expectNoCopies(ctx, customKinds, target)
	})
})

// expectNoCopies checks that the copies were deleted with the Replikas.
func expectNoCopies(ctx context.Context, customKinds []*customKind, namespace string) {
	GinkgoHelper()
	for _, d := range customKinds[2:] {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion(d.group + "/" + d.version)
		list.SetKind(d.kind + "List")
		Expect(api.List(ctx, list)).To(Succeed())
		for i := range list.Items {
			Expect(list.Items[i].GetNamespace()).NotTo(Equal(namespace))
		}
	}
}

// stacks returns the stacks of all goroutines.
func stacks() string {
	var text bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&text, 1) // a buffer takes everything
	return text.String()
}
