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

package faults

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/proxy"
)

// A whole life under a fault that hits every n-th request of whatever verb: reads,
// lists, watches, writes, status, events.
var _ = DescribeTable("every n-th request goes wrong",
	func(name string, n int, kind proxy.FaultKind, fault func() *proxy.Fault) {
		i := startInstance(name)
		f := newFixture(name, 8)
		begin := i.Mark()
		injectEvery(i, n, fault)

		then := time.Now()
		f.replicate(replikaName)
		f.eventuallyReplicated("fan-out", then, time.Minute)
		then = time.Now()
		f.editSource()
		f.eventuallyReplicated("edit", then, time.Minute)
		then = time.Now()
		f.changeCopies()
		f.eventuallyReplicated("two copies changed by hand", then, time.Minute)
		then = time.Now()
		f.addTarget()
		f.eventuallyReplicated("new namespace", then, time.Minute)
		then = time.Now()
		f.renameCopies()
		f.eventuallyReplicated("rename", then, time.Minute)

		i.Intercept(nil)
		Eventually(f.expectReplicated).Should(Succeed())
		i.expectNoWrites(f)

		injectEvery(i, n, fault)
		f.deleteReplikas()
		reportHits(i, begin, n, kind)
	},
	Entry("409 Conflict", "conflict", 3, proxy.Responded, func() *proxy.Fault { return proxy.Respond(http.StatusConflict) }),
	Entry("422 Unprocessable", Label(heavy), "unprocessable", 3, proxy.Responded, func() *proxy.Fault { return proxy.Respond(http.StatusUnprocessableEntity) }),
	Entry("429 with Retry-After", Label(heavy), "throttled", 3, proxy.Responded, func() *proxy.Fault { return proxy.TooManyRequests(1) }),
	Entry("500 Internal Server Error", Label(heavy), "broken", 3, proxy.Responded, func() *proxy.Fault { return proxy.Respond(http.StatusInternalServerError) }),
	Entry("connection dropped before it took effect", Label(heavy), "dropped-before", 5, proxy.DroppedBefore, proxy.DropBefore),
	Entry("connection dropped after it took effect", "dropped-after", 5, proxy.DroppedAfter, proxy.DropAfter),
)

// A source is gone when the API server says so, and not before: else an outage would take every copy along.
var _ = It("a source whose copies go with it is deleted while nobody can tell", func() {
	i := startInstance("untold")
	f := newFixture("untold", 3)
	f.replicate(replikaName, func(replika *v1alpha1.Replika) {
		replika.Spec.Synchronization.OnSourceDeletion = v1alpha1.SourceDeletionDelete
	})
	Eventually(f.expectReplicated).Should(Succeed())
	var looks atomic.Int32
	faults := []func() *proxy.Fault{
		func() *proxy.Fault { return proxy.Respond(http.StatusInternalServerError) },
		func() *proxy.Fault { return proxy.Respond(http.StatusServiceUnavailable) },
		func() *proxy.Fault { return proxy.Respond(http.StatusForbidden) },
		func() *proxy.Fault { return proxy.Respond(http.StatusUnauthorized) },
		proxy.DropBefore,
	}
	i.Intercept(func(r proxy.Request) *proxy.Fault {
		if r.Verb != "get" || !toCopies(r) || r.Namespace != f.sourceNamespace {
			return nil
		}
		return faults[int(looks.Add(1))%len(faults)]()
	})
	begin := i.Mark()
	Expect(admin.Delete(context.Background(), f.copyIn(f.sourceNamespace))).To(Succeed())
	Eventually(looks.Load).Should(BeNumerically(">=", 2*len(faults)))
	reportFault(i.Injected(proxy.Responded)+i.Injected(proxy.DroppedBefore), "looks at the source of %d kinds went wrong", len(faults))
	for _, namespace := range f.targetNamespaces {
		object := f.copyIn(namespace)
		Expect(admin.Get(context.Background(), client.ObjectKeyFromObject(object), object)).To(Succeed())
	}
	Expect(i.writesToCopies(begin)).To(BeEmpty())
	reportCheck("every copy stays")

	i.Intercept(nil)
	told := time.Now()
	Eventually(func(g Gomega) {
		list := &corev1.ConfigMapList{}
		g.Expect(admin.List(context.Background(), list, client.HasLabels{v1alpha1.LabelCreatedBy})).To(Succeed())
		g.Expect(list.Items).To(BeEmpty())
	}).Should(Succeed())
	reportCheck("all gone %s after it could be told", elapsed(told))
	f.deleteReplikas()
})

// hitEvery lets every n-th request from now on meet the fault, of each verb and
// resource: were they counted together, a loop of n requests would never get past
// the one that is always hit.
func injectEvery(i *instance, n int, fault func() *proxy.Fault) {
	var mu sync.Mutex
	counts := map[string]int{}
	i.Intercept(func(r proxy.Request) *proxy.Fault {
		mu.Lock()
		defer mu.Unlock()
		same := r.Verb + " " + r.Resource + "/" + r.Subresource
		if r.Resource == "" {
			same += r.URI // discovery
		}
		if counts[same]++; counts[same]%n != 0 {
			return nil
		}
		return fault()
	})
}

// tellHits: the fault hit reads, watches and writes.
func reportHits(i *instance, begin, n int, kind proxy.FaultKind) {
	GinkgoHelper()
	isHit := func(r proxy.Request) bool {
		// One that got no answer fell with the connection of another, before it could be dropped after its answer.
		return r.Fault == kind && (kind != proxy.DroppedAfter || r.Status != 0)
	}
	hits := func(keep ...func(proxy.Request) bool) int { return len(i.Requests(begin, append(keep, isHit)...)) }
	isRead := func(r proxy.Request) bool { return r.Verb == "get" || r.Verb == "list" }
	i.Intercept(nil)
	Eventually(func(g Gomega) { g.Expect(i.Injected(kind)).To(Equal(hits()), "every fault is recorded") }).Should(Succeed())
	reportFault(hits(), "times, every %d. of each kind of request, %d in all", n, len(i.Requests(begin)))
	reportFault(hits(proxy.Request.Writes, toCopies), "of these on writes to copies")
	reportFault(hits(isRead), "on reads")
	if kind != proxy.Responded { // an answered watch may stand for as long as the spec lasts
		reportFault(hits(isWatch), "on watches")
	}
	if kind == proxy.DroppedAfter {
		reportFault(hits(proxy.Request.TookEffect, toCopies), "writes to copies that took effect and were not answered")
	}
}
