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
	"regexp"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/prosimcorp/replika/test/proxy"
)

const (
	// leaseDuration is how long a lease is valid after its last renewal.
	leaseDuration = 15 * time.Second
	// shortestRetry is the shortest time between two reads of the lease by a standby; the longest is 4.4 s.
	shortestRetry = 2 * time.Second
	// takeoverTolerance is how much later a standby takes over: it may notice the last renewal and the expiry one read late each.
	takeoverTolerance = 10 * time.Second
)

// holdsLease reports whether the instance has written the lease since the mark.
func holdsLease(i *instance, mark int) bool {
	return slices.ContainsFunc(i.Requests(mark, proxy.Request.TookEffect), func(r proxy.Request) bool { return r.Resource == "leases" })
}

// startPair starts a leader, and a standby whose watches are established.
func startPair(f *fixture, prefix string) (leader, standby *instance) {
	GinkgoHelper()
	args := []string{"--leader-elect", "--leader-election-namespace=" + f.SourceNamespace}
	leader = startInstance(prefix+"-leader", args...)
	Eventually(holdsLease).WithArguments(leader, 0).Should(BeTrue())
	f.replicate(name)
	Eventually(f.expectReplicated).Should(Succeed())
	standby = startInstance(prefix+"-standby", args...)
	copyWatches := func() []proxy.Request { return standby.Requests(0, isWatch, toCopies) }
	Eventually(copyWatches).Should(HaveLen(2), "copies and source")
	Expect(holdsLease(standby, 0)).To(BeFalse())
	return leader, standby
}

// expectTakeover waits until the standby leads, and expects that it lists and watches nothing again.
func expectTakeover(f *fixture, standby *instance, mark int, paused time.Time) {
	GinkgoHelper()
	Eventually(holdsLease).WithArguments(standby, mark).Should(BeTrue())
	// The reads measure the time of the standby, which a stall of the machine also stops.
	reads := standby.Requests(mark, func(r proxy.Request) bool { return r.Verb == "get" && r.Resource == "leases" })
	Expect(len(reads)).To(BeNumerically("<=", int((leaseDuration+takeoverTolerance)/shortestRetry)))
	reportCheck("takeover %s after the leader's pause, by the %d. read of the lease", elapsed(paused), len(reads))
	f.eventuallyReplicated("by the standby", time.Now())
	Expect(standby.Requests(mark, func(r proxy.Request) bool { return isWatch(r) || r.Verb == "list" })).To(BeEmpty())
	reportCheck("no list and no watch by the standby")
}

// loggedPause matches the duration in the message of the fence.
var loggedPause = regexp.MustCompile(`\bfor (\d+(?:\.\d+)?s)\b`)

// expectExit expects that the resumed leader exits by itself, without another write, because of a pause longer than its lease.
func expectExit(leader *instance, mark int) {
	GinkgoHelper()
	Eventually(leader.Running).Should(BeFalse())
	var pauses []time.Duration
	for _, match := range loggedPause.FindAllStringSubmatch(leader.Log(), -1) {
		pause, err := time.ParseDuration(match[1])
		Expect(err).NotTo(HaveOccurred())
		pauses = append(pauses, pause)
	}
	Expect(pauses).To(ContainElement(BeNumerically(">=", leaseDuration)), "the log names the duration of the pause")
	Expect(leader.writesToCopies(mark)).To(BeEmpty())
	Expect(holdsLease(leader, mark)).To(BeFalse(), "the lease is the new leader's")
	reportCheck("the former leader exits by itself, without another write to a copy or to the lease")
}

var _ = Describe("The leader of two operators is paused longer than its lease and resumed", Label(heavy), func() {
	It("while idle", func() {
		f := newFixture("leader", 20)
		leader, standby := startPair(f, "leader")
		history := watchCopies()

		Expect(leader.Pause()).To(Succeed())
		paused, markStandby := time.Now(), standby.Mark()
		first := f.editSource()
		expectTakeover(f, standby, markStandby, paused)
		reportFault(1, "SIGSTOP of the leader for %s", elapsed(paused))
		markLeader := leader.Mark() // what arrived until now was sent before the pause
		Expect(leader.Resume()).To(Succeed())
		second := f.editSource()
		f.eventuallyReplicated("edit after the former leader is resumed", time.Now())
		expectExit(leader, markLeader)

		standby.expectNoWrites(f)
		for _, namespace := range f.TargetNamespaces {
			Expect(history.revisionsIn(namespace)).To(Equal([]string{first, second}), "%s: one change for each edit, none reverted", namespace)
		}
		reportCheck("each copy changed once for each edit")
		f.deleteReplikas()
	})

	It("during an edit", func() {
		f := newFixture("fenced", 60)
		leader, standby := startPair(f, "fenced")
		history := watchCopies()

		written := f.pauseDuringEdit(leader)
		paused, markStandby := time.Now(), standby.Mark()
		newest := f.editSource()
		expectTakeover(f, standby, markStandby, paused)
		reportFault(1, "SIGSTOP of the leader for %s, after %d of %d copies", elapsed(paused), written, len(f.TargetNamespaces))
		markLeader := leader.Mark() // what arrived until now was sent before the pause
		Expect(leader.Resume()).To(Succeed())
		expectExit(leader, markLeader)

		Eventually(f.expectReplicated).Should(Succeed())
		standby.expectNoWrites(f)
		for _, namespace := range f.TargetNamespaces {
			revisions := history.revisionsIn(namespace)
			Expect(slices.Index(revisions, newest)).To(Equal(len(revisions)-1), "%s: the newest revision is the last: %v", namespace, revisions)
		}
		reportCheck("no copy is reverted to the revision that the former leader had read")
		f.deleteReplikas()
	})
})

// writeDelay delays each write to a copy, so that the leader has sent only some of them when it is paused.
const writeDelay = 500 * time.Millisecond

func delayWritesToCopies(r proxy.Request) *proxy.Fault {
	if r.Writes() && toCopies(r) {
		return proxy.Delay(writeDelay)
	}
	return nil
}

// pauseDuringEdit edits the source and pauses the operator when some copies, but not all, have the edit. It returns how many.
func (f *fixture) pauseDuringEdit(leader *instance) int {
	GinkgoHelper()
	mark := leader.Mark()
	paused := make(chan error, 1)
	leader.Intercept(delayWritesToCopies)
	leader.OnResponse(func(r proxy.Request) {
		if toCopies(r) {
			select {
			case paused <- leader.Pause():
			default:
			}
		}
	})
	f.editSource()
	Eventually(paused).Should(Receive(Succeed()))
	leader.OnResponse(nil)
	// The requests that the operator had sent before the pause take effect.
	Eventually(func(g Gomega) {
		g.Expect(leader.Requests(mark, proxy.Request.TookEffect, toCopies)).To(HaveLen(leader.Injected(proxy.Delayed)))
	}).Should(Succeed())
	written := len(leader.Requests(mark, proxy.Request.TookEffect, toCopies))
	Expect(written).To(And(BeNumerically(">", 0), BeNumerically("<", len(f.TargetNamespaces))))
	return written
}
