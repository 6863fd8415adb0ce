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
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/prosimcorp/replika/test/proxy"
)

const (
	// lease is how long a leader may be silent. A standby looks every 2 s to 4.4 s:
	// so late it may see the last renewal, and so late that the lease is over. slack
	// is twice that and a little.
	leaseDuration = 15 * time.Second
	leaseTolerance = 10 * time.Second
)

// holdsLease tells whether the instance has written the lease since the mark.
func holdsLease(i *instance, mark int) bool {
	return slices.ContainsFunc(i.Requests(mark, proxy.Request.TookEffect), func(r proxy.Request) bool { return r.Resource == "leases" })
}

// startPair starts a leader and a standby whose watches stand.
func startPair(f *fixture, name string) (leader, standby *instance) {
	GinkgoHelper()
	args := []string{"--leader-elect", "--leader-election-namespace=" + f.sourceNamespace}
	leader = startInstance(name+"-leader", args...)
	Eventually(holdsLease).WithArguments(leader, 0).Should(BeTrue())
	f.replicate(replikaName)
	Eventually(f.expectReplicated).Should(Succeed())
	standby = startInstance(name+"-standby", args...)
	copiesAreWatched := func() []proxy.Request { return standby.Requests(0, isWatch, toCopies) }
	Eventually(copiesAreWatched).Should(HaveLen(2), "copies and source")
	Expect(holdsLease(standby, 0)).To(BeFalse())
	return leader, standby
}

// expectTakeover waits until the standby leads, and expects that it reads nothing
// that it knows already.
func expectTakeover(f *fixture, standby *instance, mark int, paused time.Time) {
	GinkgoHelper()
	Eventually(holdsLease).WithArguments(standby, mark).WithTimeout(time.Until(paused.Add(leaseDuration + leaseTolerance))).Should(BeTrue())
	reportCheck("takeover %s after the leader's pause", elapsed(paused))
	f.eventuallyReplicated("by the standby", time.Now(), 10*time.Second)
	Expect(standby.Requests(mark, func(r proxy.Request) bool { return isWatch(r) || r.Verb == "list" })).To(BeEmpty())
	reportCheck("no list and no watch by the standby")
}

// expectEnd expects that the resumed leader notices by itself what happened to it,
// and ends without another write.
func expectExit(leader *instance, mark int) {
	GinkgoHelper()
	Eventually(leader.Running).WithTimeout(leaseDuration).Should(BeFalse())
	Expect(leader.Log()).To(ContainSubstring("the operator stood still for"))
	Expect(leader.writesToCopies(mark)).To(BeEmpty())
	reportCheck("the old leader ends by itself, without another write")
}

var _ = Describe("the leader of two operators is paused past its lease and resumed", Label(heavy), func() {
	It("at rest", func() {
		f := newFixture("leader", 20)
		leader, standby := startPair(f, "leader")
		seen := watchCopies()

		Expect(leader.Pause()).To(Succeed())
		paused, markLeader, markStandby := time.Now(), leader.Mark(), standby.Mark()
		edited := f.editSource()
		expectTakeover(f, standby, markStandby, paused)
		reportFault(1, "SIGSTOP of the leader for %s", elapsed(paused))
		Expect(leader.Resume()).To(Succeed())
		again := f.editSource()
		f.eventuallyReplicated("edit once the old leader is back", time.Now(), 10*time.Second)
		expectExit(leader, markLeader)

		standby.expectNoWrites(f)
		for _, namespace := range f.targetNamespaces {
			Expect(seen.revisionsIn(namespace)).To(Equal([]string{edited, again}), "%s: one change for each edit, none back", namespace)
		}
		reportCheck("each copy changed once for each edit")
		f.deleteReplikas()
	})

	It("in the middle of writing", func() {
		f := newFixture("fenced", 60)
		leader, standby := startPair(f, "fenced")
		seen := watchCopies()

		midEdit := f.pauseInMidEdit(leader)
		paused, markLeader, markStandby := time.Now(), leader.Mark(), standby.Mark()
		edited := f.editSource()
		expectTakeover(f, standby, markStandby, paused)
		reportFault(1, "SIGSTOP of the leader for %s, after %d of %d copies", elapsed(paused), midEdit, len(f.targetNamespaces))
		Expect(leader.Resume()).To(Succeed())
		expectExit(leader, markLeader)

		Eventually(f.expectReplicated).Should(Succeed())
		standby.expectNoWrites(f)
		for _, namespace := range f.targetNamespaces {
			revisions := seen.revisionsIn(namespace)
			Expect(slices.Index(revisions, edited)).To(Equal(len(revisions)-1), "%s: nothing comes after the newest: %v", namespace, revisions)
		}
		reportCheck("no copy fell back to the source that the old leader had read")
		f.deleteReplikas()
	})
})

// pauseInMidEdit edits the source and pauses the operator when some copies, not
// all, have the edit. It returns how many.
func (f *fixture) pauseInMidEdit(leader *instance) int {
	GinkgoHelper()
	begin := leader.Mark()
	paused := make(chan error, 1)
	leader.Intercept(func(r proxy.Request) *proxy.Fault {
		if r.Writes() && toCopies(r) {
			return proxy.Delay(slowWrite)
		}
		return nil
	})
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
	// What was sent already takes effect; then there is silence.
	Eventually(func(g Gomega) {
		g.Expect(leader.Requests(begin, proxy.Request.TookEffect, toCopies)).To(HaveLen(leader.Injected(proxy.Delayed)))
	}).Should(Succeed())
	written := len(leader.Requests(begin, proxy.Request.TookEffect, toCopies))
	Expect(written).To(And(BeNumerically(">", 0), BeNumerically("<", len(f.targetNamespaces))))
	return written
}
