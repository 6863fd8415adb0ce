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
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// scenario is something that the operator does in five namespaces.
type scenario struct {
	// prepare makes what is there before, and returns when the operator has
	// nothing to do.
	prepare func(*fixture)
	// act gives the operator something to do.
	act func(*fixture)
	// reached is the final state. It comes true with the operator's last write.
	expectDone func(Gomega, *fixture)
	// writes is how many writes that takes, however often the operator is killed
	// meanwhile; copyWrites is how many of them are to copies.
	writes, copyWrites int
	// racy: these numbers depend on who comes first. They are the least; twice as
	// many writes to copies are the most.
	nondeterministic bool
	// refusals: the API server refuses some writes in any case, because something
	// is in the way that the operator cannot know of.
	expectRejections bool
	// left is what stays when the Replikas are deleted; nil for nothing.
	expectLeft func(Gomega, *fixture)
}

// killedAfterAnyWrite counts the writes of an undisturbed run. Then, for each of
// them, it lets the same happen in fresh namespaces, kills the operator right
// after that write, and starts it again.
func (s *scenario) runWithKills(name string) {
	startOperator()
	writes := s.runWithoutKill(newFixture(name))
	for k := 1; k <= writes; k++ {
		By(fmt.Sprintf("killing the operator after write %d of %d", k, writes))
		if struck := s.runWithKillAfter(k, writes, newFixture(fmt.Sprintf("%s-%d", name, k))); !struck {
			Expect(s.nondeterministic).To(BeTrue(), "it was over before write %d", k)
			Expect(k).To(BeNumerically(">", s.writes), "it was over too soon")
			return
		}
	}
}

// undisturbed returns how many writes it takes when nobody is killed.
func (s *scenario) runWithoutKill(f *fixture) int {
	GinkgoHelper()
	s.prepare(f)
	begin := proxyMark()
	s.act(f)
	Eventually(s.expectDone).WithArguments(f).Should(Succeed())
	f.expectNoWrites()
	writes := writesSince(begin)
	AddReportEntry(fmt.Sprintf("undisturbed, it takes %d writes", len(writes)), ReportEntryVisibilityFailureOrVerbose,
		writes.GomegaString()+"\nrefused:"+rejectedSince(begin).GomegaString())
	s.expectWriteCounts(begin)
	s.cleanUp(f)
	return len(writes)
}

// killedAfter reports false if it was all over before the k-th write.
func (s *scenario) runWithKillAfter(k, writes int, f *fixture) (struck bool) {
	GinkgoHelper()
	s.prepare(f)
	kill := killAfter(k)
	s.act(f)
	Eventually(func(g Gomega) {
		if !kill.fired() {
			s.expectDone(g, f)
		}
	}).Should(Succeed())
	if struck = kill.cancel(); struck {
		kill.expectKilledAfter(k)
		startOperator()
		Eventually(s.expectDone).WithArguments(f).Should(Succeed())
		if k == writes {
			f.expectNoWrites()
		}
	}
	s.expectWriteCounts(kill.mark)
	s.cleanUp(f)
	return struck
}

// expectNoMoreThanNeeded: nothing was written twice since the mark.
func (s *scenario) expectWriteCounts(begin int) {
	GinkgoHelper()
	writes := writesSince(begin)
	if s.nondeterministic {
		Expect(len(writes.toCopies())).To(BeNumerically("<=", 2*s.copyWrites), writes.GomegaString())
	} else {
		Expect(writes).To(HaveLen(s.writes))
		Expect(writes.toCopies()).To(HaveLen(s.copyWrites))
	}
	if !s.expectRejections {
		Expect(rejectedSince(begin)).To(BeEmpty())
	}
}

// cleanUp deletes the Replikas, and looks for orphans.
func (s *scenario) cleanUp(f *fixture) {
	GinkgoHelper()
	served, begin := len(f.listReplikas(Default)), proxyMark()
	f.deleteReplikas()
	expectCopies(Default)
	if s.expectLeft != nil {
		s.expectLeft(Default, f)
	}
	writes := writesSince(begin)
	Expect(writes.toCopies()).To(HaveLen(5 * served))
	Expect(writes).To(HaveLen(6*served), "one for each copy, and one for the finalizer")
}
