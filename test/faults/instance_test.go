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
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/prosimcorp/replika/test/operator"
	"github.com/prosimcorp/replika/test/proxy"
)

// instance is an operator with a proxy of its own between it and the API server,
// so that of several instances it is known who did what.
type instance struct {
	*operator.Process
	*proxy.Proxy
}

// startInstance starts an operator, and has it end in order when the spec is
// over. Whatever was done to it, it must not have panicked nor raced.
func startInstance(name string, args ...string) *instance {
	GinkgoHelper()
	between, err := proxy.Start(proxy.Options{Config: controlPlane.Config})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(between.Close()).To(Succeed()) })
	options := operator.Options{
		Binary: binary, Kubeconfig: filepath.Join(folder, name+".kubeconfig"), LogFile: filepath.Join(folder, name+".log"), Args: args,
	}
	Expect(controlPlane.KubeconfigFor(between.Config(), options.Kubeconfig)).To(Succeed())
	process, err := operator.Start(options)
	Expect(err).NotTo(HaveOccurred())
	i := &instance{Process: process, Proxy: between}
	DeferCleanup(i.stop)
	Eventually(i.Ready).Should(Succeed())
	return i
}

// end stops the operator, unless the spec has made it end.
func (i *instance) stop() {
	if CurrentSpecReport().Failed() {
		GinkgoWriter.Printf("\nThe operator's log:\n%s\nIts requests:\n", i.Log())
		for _, request := range i.Requests(0) {
			GinkgoWriter.Printf("  %s %s\n", request.Received.Format("04:05.000"), request)
		}
		_ = i.Resume() // a paused one would not hear that it is to end
	}
	i.Intercept(nil)
	if i.Running() {
		Expect(i.Stop()).To(Succeed())
	}
	Expect(i.PanicsAndRaces()).To(BeEmpty())
}

// errors counts the lines of the log that tell of errors.
func (i *instance) countErrors() int {
	return strings.Count(i.Log(), `"level":"error"`)
}

// writesToCopies are those since the mark, whatever became of them.
func (i *instance) writesToCopies(mark int, keep ...func(proxy.Request) bool) []proxy.Request {
	return i.Requests(mark, append(keep, proxy.Request.Writes, toCopies)...)
}

// toCopies picks requests about the kind of the copies.
func toCopies(r proxy.Request) bool { return r.Resource == "configmaps" }

// twoLooks returns when each source was looked at twice: one pass went from
// beginning to end.
func (i *instance) awaitTwoReconciles(f *fixture) {
	GinkgoHelper()
	begin := i.Mark()
	for _, wish := range f.expectations {
		isLook := func(r proxy.Request) bool {
			return r.Verb == "get" && toCopies(r) && r.Namespace == f.sourceNamespace && r.Name == wish.name
		}
		Eventually(func() int { return len(i.Requests(begin, isLook)) }).WithTimeout(10 * synchronizationTime).
			Should(BeNumerically(">=", 2))
	}
}

// expectRest: passes come and go, and nothing is written.
func (i *instance) expectNoWrites(f *fixture) {
	GinkgoHelper()
	i.awaitTwoReconciles(f) // one that was under way may have something to write
	begin := i.Mark()
	i.awaitTwoReconciles(f)
	ours := func(r proxy.Request) bool { return r.Resource != "events" && r.Resource != "leases" }
	Expect(i.Requests(begin, proxy.Request.Writes, ours)).To(BeEmpty())
	reportCheck("no write in two intervals of rest")
}

// since is the time since then, for people.
func elapsed(then time.Time) time.Duration { return time.Since(then).Round(100 * time.Millisecond) }
