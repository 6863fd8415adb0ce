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
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/proxy"
)

// kill is a SIGKILL that waits for a write.
type delayedKill struct {
	// done is closed when the operator is dead.
	done chan struct{}
	err  error
	// seen counts the writes. The proxy lets them through one at a time.
	seen int
	// The counting begins at a place in the proxy's record, and at a place and a
	// moment in the audit log, which is written a little later.
	mark      int
	auditMark int64
	started     time.Time
}

// killAfter has the operator killed when the API server has answered the k-th
// write from now on that it agrees to, and before the operator hears of that.
// The proxy holds all further writes back meanwhile, so that no other takes
// effect.
func killAfter(k int) *delayedKill {
	kill := &delayedKill{done: make(chan struct{}), auditMark: controlPlane.Mark(), mark: proxyMark(), started: time.Now()}
	victim := process
	apiProxy.OnResponse(func(request proxy.Request) {
		if !isCountedWrite(request) {
			return
		}
		if kill.seen++; kill.seen != k {
			return
		}
		kill.err = victim.Kill()
		apiProxy.Disconnect() // as far as the connections have not ended with the operator
		close(kill.done)
	})
	return kill
}

// struck tells whether the operator is dead.
func (k *delayedKill) fired() bool {
	select {
	case <-k.done:
		return true
	default:
		return false
	}
}

// disarm calls the kill off, and tells whether it is too late for that.
func (k *delayedKill) cancel() bool {
	apiProxy.OnResponse(nil)
	apiProxy.Quiesce() // a write that is under way may still be the k-th
	return k.fired()
}

// expectDeathAfter: the operator is dead, and so many writes were all it made:
// in the proxy's eyes, and in the API server's own.
func (k *delayedKill) expectKilledAfter(writes int) {
	GinkgoHelper()
	Expect(k.err).NotTo(HaveOccurred())
	Expect(process.Running()).To(BeFalse())
	Expect(process.PanicsAndRaces()).To(BeEmpty())
	Expect(writesSince(k.mark)).To(HaveLen(writes))
	Eventually(controlPlane.AuditEvents).WithArguments(k.auditMark, cluster.Filter(isCountedAuditEvent), cluster.Filter(k.isAfterStart)).
		Should(HaveLen(writes))
}

func (k *delayedKill) isAfterStart(e cluster.AuditEvent) bool {
	return e.Received.After(k.started)
}

// counts tells whether the request is one of the writes that the operator is
// killed after: one that took effect. Events are told on the side, whenever
// there is time.
func isCountedWrite(request proxy.Request) bool {
	return request.TookEffect() && request.Resource != "events"
}

// isAuditedWrite is counts for the audit log.
func isCountedAuditEvent(e cluster.AuditEvent) bool {
	return cluster.ByUserAgent("replika/")(e) && e.Writes() && e.Resource != "events" && e.Code < 300 &&
		!strings.Contains(e.RequestURI, "dryRun=")
}

// mark is the place in the proxy's record after all writes so far. What the API
// server shows already may not be recorded yet.
func proxyMark() int {
	apiProxy.Quiesce()
	return apiProxy.Mark()
}

// requests are what the proxy recorded, as a list for people.
type requests []proxy.Request

// GomegaString implements format.GomegaStringer.
func (r requests) GomegaString() string {
	var text strings.Builder
	for _, request := range r {
		text.WriteString("\n  " + request.String())
	}
	return text.String()
}

// toCopies picks those to copies.
func (r requests) toCopies() requests {
	return slices.DeleteFunc(slices.Clone(r), func(request proxy.Request) bool { return request.Resource != "configmaps" })
}

// writesSince are the operator's writes that took effect since the mark.
func writesSince(mark int) requests {
	apiProxy.Quiesce()
	return apiProxy.Requests(mark, isCountedWrite)
}

// refusedSince are the operator's writes that the API server refused since the
// mark.
func rejectedSince(mark int) requests {
	apiProxy.Quiesce()
	return apiProxy.Requests(mark, proxy.Request.Writes, func(r proxy.Request) bool { return !r.TookEffect() && r.Resource != "events" })
}
