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
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("An idle operator with 100 Replikas", func() {
	It("Should read each source once in an interval, and do nothing else", serial, func(ctx SpecContext) {
		const (
			count    = 100
			interval = 8 * time.Second
		)
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		home := f.namespace(ctx, "source")
		var sources []*corev1.ConfigMap
		var replikas []*v1alpha1.Replika
		for i := range count {
			source := kit.ConfigMap(home, fmt.Sprintf("settings-%d", i), "one")
			targets := []string{a, b}
			switch i {
			case 0:
				create(ctx, kit.ConfigMap(a, source.Name, "theirs"))
			case 1:
				targets = append(targets, f.name("missing"))
			}
			sources = append(sources, create(ctx, source))
			replikas = append(replikas, f.replika(ctx, source, kit.TargetNamespaces(targets...), kit.Interval(interval)))
		}
		for i := 3; i < count; i++ {
			expect.Ready(ctx, api, replikas[i], 2)
		}
		expect.Failures(ctx, api, replikas[0], map[string]string{a: v1alpha1.FailureConflict})
		expect.Reason(ctx, api, replikas[1], v1alpha1.ReasonTargetNamespaceNotFound)
		expect.Ready(ctx, api, replikas[2], 2)
		contested := kit.CopyIn(a, sources[2])
		longestStall := measureStalls()
		contestBegan := markAudit()
		startContest(contested, competingWrites["content"])
		expect.Failures(ctx, api, replikas[2], map[string]string{a: v1alpha1.FailureContested})
		// Three at once, and four after 0.5, 1, 2 and 4 seconds.
		Eventually(ctx, func() int { return len(f.repairs(contestBegan, contested)) }).WithPolling(auditPolling).Should(BeNumerically(">=", 7))

		began := markAudit()
		before := f.allResourceVersions(ctx, contested)
		Expect(before).To(HaveLen(4*count - 1)) // sources, two copies of each but one, Replikas
		Consistently(ctx, func() map[string]string { return f.allResourceVersions(ctx, contested) }).
			WithTimeout(2 * interval).WithPolling(time.Second).Should(Equal(before))
		// A stall of the machine delays the next repair of the contested copy.
		Eventually(ctx, func() []time.Time { return f.repairs(began, contested) }).WithPolling(auditPolling).ShouldNot(BeEmpty())
		window := time.Since(began.time)
		// mostRepairs of the contested copy: the backoff has reached its limit, an interval.
		mostRepairs := 1 + int(window/interval)
		if longestStall() > interval/2 {
			mostRepairs += 7 // the contest has ended by the stall, and has begun again
		}

		reads := map[string][]time.Time{}
		repairs := 0
		requests, err := controlPlane.AuditEvents(began.offset, cluster.ByUserAgent(operatorAgent), func(e cluster.AuditEvent) bool {
			return e.Received.After(began.time)
		})
		Expect(err).NotTo(HaveOccurred())
		for _, request := range requests {
			asked := fmt.Sprintf("%s %s %s/%s: %d", request.Verb, request.Resource, request.Namespace, request.Name, request.Code)
			switch {
			case request.Verb == "get" && request.Resource == "configmaps" && request.Namespace == home:
				reads[request.Name] = append(reads[request.Name], request.Received)
			case request.Verb == "watch": // ended or restarted
			case request.Verb == "patch" && request.Namespace == a && request.Name == contested.Name:
				repairs++
			case request.Writes() && request.Resource == "events" && repairs > 0: // about the repair
			default:
				Fail("unexpected request: " + asked)
			}
		}
		Expect(repairs).To(And(BeNumerically(">", 0), BeNumerically("<=", mostRepairs)))
		Expect(reads).To(HaveLen(count))
		for name, times := range reads {
			if name == contested.Name {
				// A repair and the competing write are two more reasons to read it.
				Expect(len(times)).To(BeNumerically("<=", 3+2*mostRepairs), name)
				continue
			}
			Expect(len(times)).To(BeNumerically("<=", 1+int(window/interval)), "%s: %v", name, times)
			for i := range times[1:] {
				Expect(times[i+1].Sub(times[i])).To(And(BeNumerically(">", interval*3/4), BeNumerically("<", interval*5/4+longestStall())),
					"%s: %v", name, times)
			}
		}
	})
})

// allResourceVersions returns those of all ConfigMaps and Replikas of the fixture, without one ConfigMap and those that the
// API server creates in every namespace.
func (f *fixture) allResourceVersions(ctx SpecContext, but client.Object) map[string]string {
	GinkgoHelper()
	versions := map[string]string{}
	for _, namespace := range f.namespaces(ctx) {
		list := &corev1.ConfigMapList{}
		Expect(api.List(ctx, list, client.InNamespace(namespace.Name))).To(Succeed())
		for i := range list.Items {
			object := &list.Items[i]
			if object.Name != "kube-root-ca.crt" && client.ObjectKeyFromObject(object) != client.ObjectKeyFromObject(but) {
				versions["ConfigMap "+object.Namespace+"/"+object.Name] = object.ResourceVersion
			}
		}
	}
	for _, replika := range f.replikas(ctx) {
		versions["Replika "+replika.Name] = replika.ResourceVersion
	}
	return versions
}
