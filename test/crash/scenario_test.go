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

package crash

import (
	"cmp"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// scenario is one operation of the operator in the target namespaces.
type scenario struct {
	// prepare creates the objects before the operation, and waits until the operator has reconciled them.
	prepare func(*fixture)
	// act starts the operation.
	act func(*fixture)
	// expectDone expects the final state. It is true from the operator's last write on.
	expectDone func(Gomega, *fixture)
	// writes is the number of writes of the operation, however often the operator is killed. copyWrites is the number of
	// writes to copies among them.
	writes, copyWrites int
	// concurrent: two Replikas reconcile at the same time, and the numbers of writes depend on their order. They are the
	// minimum; the maximum is twice as many writes to copies.
	concurrent bool
	// rejections: the API server rejects some writes, because the operator does not know all existing objects beforehand.
	rejections bool
	// copies is the number of copies that the Replikas have at the end; one in each target namespace for each Replika if it is zero.
	copies int
	// expectLeft expects what remains after the Replikas are deleted; nil for nothing.
	expectLeft func(Gomega, *fixture)
}

// runWithKills runs the scenario once without a kill and counts the writes. Then it runs the scenario once for each write, in
// new namespaces: it kills the operator right after this write and starts it again.
func (s *scenario) runWithKills(name string) {
	startOperator()
	writes := s.runWithoutKill(newFixture(name))
	for k := 1; k <= writes; k++ {
		By(fmt.Sprintf("killing the operator after write %d of %d", k, writes))
		if killed := s.runWithKillAfter(k, writes, newFixture(fmt.Sprintf("%s-%d", name, k))); !killed {
			Expect(s.concurrent).To(BeTrue(), "the operation completed before write %d", k)
			Expect(k).To(BeNumerically(">", s.writes), "the operation completed with too few writes")
			return
		}
	}
}

// runWithoutKill returns the number of writes.
func (s *scenario) runWithoutKill(f *fixture) int {
	GinkgoHelper()
	s.prepare(f)
	start := proxyMark()
	s.act(f)
	Eventually(s.expectDone).WithArguments(f).Should(Succeed())
	f.expectNoWrites()
	writes := writesSince(start)
	AddReportEntry(fmt.Sprintf("%d writes without a kill", len(writes)), ReportEntryVisibilityFailureOrVerbose,
		writes.GomegaString()+"\nrejected:"+rejectedSince(start).GomegaString())
	s.expectWriteCounts(start)
	s.cleanUp(f)
	return len(writes)
}

// runWithKillAfter returns false if the operation completed before the k-th write.
func (s *scenario) runWithKillAfter(k, writes int, f *fixture) (killed bool) {
	GinkgoHelper()
	s.prepare(f)
	kill := killAfter(k)
	s.act(f)
	Eventually(func(g Gomega) {
		if !kill.done() {
			s.expectDone(g, f)
		}
	}).Should(Succeed())
	if killed = kill.cancel(); killed {
		kill.expectKilledAfter(k)
		startOperator()
		Eventually(s.expectDone).WithArguments(f).Should(Succeed())
		if k == writes {
			f.expectNoWrites()
		}
	}
	s.expectWriteCounts(kill.mark)
	s.cleanUp(f)
	return killed
}

// expectWriteCounts expects that no write was repeated since the mark.
func (s *scenario) expectWriteCounts(start int) {
	GinkgoHelper()
	writes := writesSince(start)
	if s.concurrent {
		Expect(len(writes.toCopies())).To(BeNumerically("<=", 2*s.copyWrites), writes.GomegaString())
	} else {
		Expect(writes).To(HaveLen(s.writes))
		Expect(writes.toCopies()).To(HaveLen(s.copyWrites))
	}
	if !s.rejections {
		Expect(rejectedSince(start)).To(BeEmpty())
	}
}

// cleanUp deletes the Replikas, and expects that no copy is left.
func (s *scenario) cleanUp(f *fixture) {
	GinkgoHelper()
	replikas, start := len(f.ListReplikas(Default)), proxyMark()
	f.DeleteReplikas()
	expectCopies(Default)
	if s.expectLeft != nil {
		s.expectLeft(Default, f)
	}
	writes, copies := writesSince(start), cmp.Or(s.copies, targets*replikas)
	Expect(writes.toCopies()).To(HaveLen(copies))
	Expect(writes).To(HaveLen(copies+replikas), "one for each copy, and one for each finalizer")
}
