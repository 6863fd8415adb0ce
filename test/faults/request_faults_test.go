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
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/proxy"
)

// All operations of a Replika, from its creation to its deletion, while every n-th request of each verb fails: reads, lists,
// watches, writes, status updates and events.
var _ = DescribeTable("Every n-th request fails",
	func(prefix string, n int, kind proxy.FaultKind, fault func() *proxy.Fault) {
		i := startInstance(prefix)
		f := newFixture(prefix, 8)
		mark := i.Mark()
		injectEvery(i, n, fault)

		start := time.Now()
		f.replicate(name)
		f.eventuallyReplicated("fan-out", start)
		start = time.Now()
		f.editSource()
		f.eventuallyReplicated("edit", start)
		start = time.Now()
		f.driftCopies()
		f.eventuallyReplicated("drift of two copies", start)
		start = time.Now()
		f.addTarget()
		f.eventuallyReplicated("new namespace", start)
		start = time.Now()
		f.renameCopies()
		f.eventuallyReplicated("rename", start)

		i.Intercept(nil)
		Eventually(f.expectReplicated).Should(Succeed())
		i.expectNoWrites(f)

		injectEvery(i, n, fault)
		f.deleteReplikas()
		reportRequestFaults(i, mark, n, kind)
	},
	Entry("409 Conflict", "conflict", 3, proxy.Responded, func() *proxy.Fault { return proxy.Respond(http.StatusConflict) }),
	Entry("422 Unprocessable", Label(heavy), "unprocessable", 3, proxy.Responded, func() *proxy.Fault { return proxy.Respond(http.StatusUnprocessableEntity) }),
	Entry("429 with Retry-After", Label(heavy), "throttled", 3, proxy.Responded, func() *proxy.Fault { return proxy.TooManyRequests(1) }),
	Entry("500 Internal Server Error", Label(heavy), "error", 3, proxy.Responded, func() *proxy.Fault { return proxy.Respond(http.StatusInternalServerError) }),
	Entry("connection dropped before the request took effect", Label(heavy), "dropped-before", 5, proxy.DroppedBefore, proxy.DropBefore),
	Entry("connection dropped after the request took effect", "dropped-after", 5, proxy.DroppedAfter, proxy.DropAfter),
)

// The operator must delete the copies only after a response that the source does not exist: otherwise every copy would be lost
// in an outage.
var _ = It("The source of onSourceDeletion: Delete is deleted while reads of it fail", func() {
	i := startInstance("source-deletion")
	f := newFixture("source-deletion", 3)
	f.replicate(name, kit.OnSourceDeletion(v1alpha1.SourceDeletionDelete))
	Eventually(f.expectReplicated).Should(Succeed())
	var reads atomic.Int32
	faults := []func() *proxy.Fault{
		func() *proxy.Fault { return proxy.Respond(http.StatusInternalServerError) },
		func() *proxy.Fault { return proxy.Respond(http.StatusServiceUnavailable) },
		func() *proxy.Fault { return proxy.Respond(http.StatusForbidden) },
		func() *proxy.Fault { return proxy.Respond(http.StatusUnauthorized) },
		proxy.DropBefore,
	}
	i.Intercept(func(r proxy.Request) *proxy.Fault {
		if !f.isSourceRead(r, name) {
			return nil
		}
		return faults[int(reads.Add(1))%len(faults)]()
	})
	mark := i.Mark()
	Expect(env.Admin.Delete(context.Background(), f.copyIn(f.SourceNamespace))).To(Succeed())
	Eventually(reads.Load).Should(BeNumerically(">=", 2*len(faults)))
	reportFault(i.Injected(proxy.Responded)+i.Injected(proxy.DroppedBefore), "failed reads of the source, of %d kinds", len(faults))
	for _, namespace := range f.TargetNamespaces {
		object := f.copyIn(namespace)
		Expect(env.Admin.Get(context.Background(), client.ObjectKeyFromObject(object), object)).To(Succeed())
	}
	Expect(i.writesToCopies(mark)).To(BeEmpty())
	reportCheck("no copy is deleted")

	i.Intercept(nil)
	recovered := time.Now()
	Eventually(func(g Gomega) {
		list := &corev1.ConfigMapList{}
		g.Expect(env.Admin.List(context.Background(), list, client.HasLabels{v1alpha1.LabelCreatedBy})).To(Succeed())
		g.Expect(list.Items).To(BeEmpty())
	}).Should(Succeed())
	reportCheck("all copies are deleted %s after reads succeed", elapsed(recovered))
	f.deleteReplikas()
})

// injectEvery injects the fault into every n-th request from now on. It counts each verb and resource separately: otherwise a
// retry loop of n requests would always fail at the same request.
func injectEvery(i *instance, n int, fault func() *proxy.Fault) {
	var mu sync.Mutex
	counts := map[string]int{}
	i.Intercept(func(r proxy.Request) *proxy.Fault {
		mu.Lock()
		defer mu.Unlock()
		key := r.Verb + " " + r.Resource + "/" + r.Subresource
		if r.Resource == "" {
			key += r.URI // discovery
		}
		if counts[key]++; counts[key]%n != 0 {
			return nil
		}
		return fault()
	})
}

// reportRequestFaults reports the injected faults, and expects some of reads, watches and writes.
func reportRequestFaults(i *instance, mark, n int, kind proxy.FaultKind) {
	GinkgoHelper()
	isFaulty := func(r proxy.Request) bool {
		// A request without a response failed with another request's connection, before its own fault.
		return r.Fault == kind && (kind != proxy.DroppedAfter || r.Status != 0)
	}
	count := func(keep ...func(proxy.Request) bool) int { return len(i.Requests(mark, append(keep, isFaulty)...)) }
	isRead := func(r proxy.Request) bool { return r.Verb == "get" || r.Verb == "list" }
	i.Intercept(nil)
	Eventually(func(g Gomega) { g.Expect(i.Injected(kind)).To(Equal(count()), "every fault is recorded") }).Should(Succeed())
	reportFault(count(), "times, in every %d. of each kind of request, of %d requests", n, len(i.Requests(mark)))
	reportFault(count(proxy.Request.Writes, toCopies), "of these in writes to copies")
	reportFault(count(isRead), "in reads")
	if kind != proxy.Responded { // a watch that succeeded may last for the whole spec, so that there is no n-th one
		reportFault(count(isWatch), "in watches")
	}
	if kind == proxy.DroppedAfter {
		reportFault(count(proxy.Request.TookEffect, toCopies), "writes to copies that took effect, without a response")
	}
}
