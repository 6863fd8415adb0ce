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
	"net/http"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/proxy"
)

// watchesPerReplika is the number of watches that the operator has for one Replika: of Replikas, namespaces, CRDs, the source
// and the copies.
const watchesPerReplika = 5

// changeEverything changes the source, drifts two copies and adds a namespace.
func (f *fixture) changeEverything() {
	GinkgoHelper()
	f.editSource()
	f.driftCopies()
	f.addTarget()
}

// In these specs, only watches trigger reconciles: the interval is a day.
var _ = It("All connections become half-open: watches hang without an error", Label(heavy), func() {
	i := startInstance("half-open")
	f := newFixture("half-open", 5)
	f.replicate(name, kit.Interval(watchesOnly))
	Eventually(f.expectReplicated).Should(Succeed())

	mark, start := i.Mark(), time.Now()
	reportFault(i.Freeze(), "connections half-open, without a FIN")
	f.changeEverything()
	f.eventuallyReplicated("edit, drift of two copies, new namespace", start)
	reportFault(int(time.Since(start).Seconds()), "seconds without events, ended by the operator")
	watches := func() int { return len(i.Requests(mark, isWatch)) }
	Eventually(watches).Should(BeNumerically(">=", watchesPerReplika))
	reportFault(watches(), "watches lost and re-established")
	f.deleteReplikas()
})

var _ = It("The API server responds to watches with 410 Gone", func() {
	const times = 2
	i := startInstance("gone")
	f := newFixture("gone", 5)
	f.replicate(name, kit.Interval(watchesOnly))
	Eventually(f.expectReplicated).Should(Succeed())

	mark, start := i.Mark(), time.Now()
	targets := respondGone(i, times)
	closed := i.Disconnect()
	f.changeEverything()
	f.eventuallyReplicated("edit, drift of two copies, new namespace", start)
	reportFault(closed, "connections closed, so that watches are re-established")
	// One watch can trigger the reconcile before another one has got its responses. So edit again after all have got them.
	Eventually(targets).Should(BeNumerically(">=", watchesPerReplika))
	start = time.Now()
	f.editSource()
	f.eventuallyReplicated("another edit", start)
	reportFault(i.Injected(proxy.Responded), "watches of %d targets with the response 410", targets())
	isList := func(r proxy.Request) bool {
		return r.Status == http.StatusOK && (r.Verb == "list" || isWatch(r) && strings.Contains(r.URI, "sendInitialEvents=true"))
	}
	lists := func() []proxy.Request { return i.Requests(mark, isList) }
	Eventually(lists).ShouldNot(BeEmpty())
	reportCheck("%d lists", len(lists()))
	f.deleteReplikas()
})

// respondGone responds to the first requests for each watch with 410. It returns a function that returns the number of
// different watches.
func respondGone(i *instance, times int) (targets func() int) {
	var mu sync.Mutex
	counts := map[string]int{}
	i.Intercept(func(r proxy.Request) *proxy.Fault {
		if !isWatch(r) {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		// The source's watch differs from that of the copies by its namespace.
		target := r.Resource + r.Namespace
		if counts[target]++; counts[target] > times {
			return nil
		}
		return proxy.Respond(http.StatusGone)
	})
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(counts)
	}
}
