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

// delayedKill kills the operator after a number of writes.
type delayedKill struct {
	// exited is closed when the operator has exited; err is valid then.
	exited chan struct{}
	err    error
	// seen counts the writes. The proxy forwards one at a time.
	seen int
	// mark is where the count starts in the proxy's record; auditMark and start are where it starts in the audit log, which
	// may still get events of earlier requests.
	mark      int
	auditMark int64
	start     time.Time
}

// killAfter kills the operator after the API server's response to the k-th write from now on that it accepts, before the
// operator gets the response. Meanwhile the proxy forwards no other write, so none takes effect.
func killAfter(k int) *delayedKill {
	kill := &delayedKill{exited: make(chan struct{}), auditMark: env.Mark(), mark: proxyMark(), start: time.Now()}
	target := process
	apiProxy.OnResponse(func(request proxy.Request) {
		if !isCountedWrite(request) {
			return
		}
		if kill.seen++; kill.seen != k {
			return
		}
		kill.err = target.Kill()
		apiProxy.Disconnect() // the operator's exit may not have closed all connections yet
		close(kill.exited)
	})
	return kill
}

// done reports whether the operator was killed.
func (k *delayedKill) done() bool {
	select {
	case <-k.exited:
		return true
	default:
		return false
	}
}

// cancel cancels the kill. It returns true if the operator was killed already.
func (k *delayedKill) cancel() bool {
	apiProxy.OnResponse(nil)
	apiProxy.Quiesce() // a write in progress may still be the k-th
	return k.done()
}

// expectKilledAfter expects that the operator was killed, after this number of writes by the proxy's record and by the API
// server's audit log.
func (k *delayedKill) expectKilledAfter(writes int) {
	GinkgoHelper()
	Expect(k.err).NotTo(HaveOccurred())
	Expect(process.Running()).To(BeFalse())
	Expect(process.PanicsAndRaces()).To(BeEmpty())
	Expect(writesSince(k.mark)).To(HaveLen(writes))
	sinceStart := func(e cluster.AuditEvent) bool { return e.Received.After(k.start) }
	Eventually(env.AuditEvents).WithArguments(k.auditMark, cluster.Filter(isCountedAuditEvent), cluster.Filter(sinceStart)).
		Should(HaveLen(writes))
}

// isCountedWrite reports whether the request is a write that took effect. Events do not count, because the operator sends
// them asynchronously.
func isCountedWrite(request proxy.Request) bool {
	return request.TookEffect() && request.Resource != "events"
}

// isCountedAuditEvent is isCountedWrite for the audit log.
func isCountedAuditEvent(e cluster.AuditEvent) bool {
	return cluster.ByUserAgent("replika/")(e) && e.Writes() && e.Resource != "events" && e.Code < 300 &&
		!strings.Contains(e.RequestURI, "dryRun=")
}

// proxyMark returns the position in the proxy's record after all writes so far. A write that is visible in the API server may
// not be recorded yet.
func proxyMark() int {
	apiProxy.Quiesce()
	return apiProxy.Mark()
}

// requests are recorded requests, with a readable format in failures.
type requests []proxy.Request

// GomegaString implements format.GomegaStringer.
func (r requests) GomegaString() string {
	var text strings.Builder
	for _, request := range r {
		text.WriteString("\n  " + request.String())
	}
	return text.String()
}

// toCopies selects the requests for copies.
func (r requests) toCopies() requests {
	return slices.DeleteFunc(slices.Clone(r), func(request proxy.Request) bool { return request.Resource != "configmaps" })
}

// writesSince returns the operator's writes since the mark that took effect.
func writesSince(mark int) requests {
	apiProxy.Quiesce()
	return apiProxy.Requests(mark, isCountedWrite)
}

// rejectedSince returns the operator's writes since the mark that the API server rejected.
func rejectedSince(mark int) requests {
	apiProxy.Quiesce()
	return apiProxy.Requests(mark, proxy.Request.Writes, func(r proxy.Request) bool { return !r.TookEffect() && r.Resource != "events" })
}
