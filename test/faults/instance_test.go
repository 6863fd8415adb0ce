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
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/prosimcorp/replika/test/operator"
	"github.com/prosimcorp/replika/test/proxy"
)

// instance is an operator with its own proxy to the API server, so that the requests of several instances are recorded
// separately.
type instance struct {
	*operator.Process
	*proxy.Proxy
}

// startInstance starts an operator. When the spec ends, the operator must stop gracefully, without a panic or data race before.
func startInstance(name string, args ...string) *instance {
	GinkgoHelper()
	apiProxy, err := proxy.Start(proxy.Options{Config: env.Config})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(apiProxy.Close()).To(Succeed()) })
	options, err := env.Options(name, apiProxy.Config(), args...)
	Expect(err).NotTo(HaveOccurred())
	process, err := operator.Start(options)
	Expect(err).NotTo(HaveOccurred())
	i := &instance{Process: process, Proxy: apiProxy}
	DeferCleanup(i.stop)
	Eventually(i.Ready).Should(Succeed())
	return i
}

// stop stops the operator, unless the spec has stopped it.
func (i *instance) stop() {
	if CurrentSpecReport().Failed() {
		GinkgoWriter.Printf("\nThe operator's log:\n%s\nIts requests:\n", i.Log())
		for _, request := range i.Requests(0) {
			GinkgoWriter.Printf("  %s %s\n", request.Received.Format("04:05.000"), request)
		}
		_ = i.Resume() // a paused operator does not handle SIGTERM
	}
	i.Intercept(nil)
	if i.Running() {
		Expect(i.Stop()).To(Succeed())
	}
	Expect(i.PanicsAndRaces()).To(BeEmpty())
}

// countErrors counts the errors in the log.
func (i *instance) countErrors() int {
	return strings.Count(i.Log(), `"level":"error"`)
}

// writesToCopies returns the writes to copies since the mark, whatever their result.
func (i *instance) writesToCopies(mark int, keep ...func(proxy.Request) bool) []proxy.Request {
	return i.Requests(mark, append(keep, proxy.Request.Writes, toCopies)...)
}

// toCopies selects requests for the kind of the copies.
func toCopies(r proxy.Request) bool { return r.Resource == "configmaps" }

func isWatch(r proxy.Request) bool { return r.Verb == "watch" }

// isSourceRead reports whether the request reads the source of this name.
func (f *fixture) isSourceRead(r proxy.Request, name string) bool {
	return r.Verb == "get" && toCopies(r) && r.Namespace == f.SourceNamespace && r.Name == name
}

// awaitReconcile waits until each source was read twice: then one reconcile is complete.
func (i *instance) awaitReconcile(f *fixture) {
	GinkgoHelper()
	start := i.Mark()
	for _, expected := range f.expected {
		reads := func() int {
			return len(i.Requests(start, func(r proxy.Request) bool { return f.isSourceRead(r, expected.name) }))
		}
		Eventually(reads).Should(BeNumerically(">=", 2))
	}
}

// expectNoWrites expects that further reconciles write nothing.
func (i *instance) expectNoWrites(f *fixture) {
	GinkgoHelper()
	i.awaitReconcile(f) // one in progress may still write
	start := i.Mark()
	i.awaitReconcile(f)
	relevant := func(r proxy.Request) bool { return r.Resource != "events" && r.Resource != "leases" }
	Expect(i.Requests(start, proxy.Request.Writes, relevant)).To(BeEmpty())
	reportCheck("no write in two idle intervals")
}
