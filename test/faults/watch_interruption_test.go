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

	"github.com/prosimcorp/replika/test/proxy"
)

func isWatch(r proxy.Request) bool { return r.Verb == "watch" }

// watched is how many things the operator watches for one Replika: Replikas,
// namespaces, definitions of kinds, the source and the copies.
const watchesPerReplika = 5

// What follows is healed by watches alone: the synchronization time is a day.
var _ = It("all connections go half-open: watches hang and nobody is told", Label(heavy), func() {
	i := startInstance("half-open")
	f := newFixture("half-open", 5)
	f.replicate(replikaName, withInterval(watchesOnly))
	Eventually(f.expectReplicated).Should(Succeed())

	begin, then := i.Mark(), time.Now()
	reportFault(i.Freeze(), "connections half-open, without a FIN")
	f.editSource()
	f.changeCopies()
	f.addTarget()
	f.eventuallyReplicated("edit, two copies changed by hand, new namespace", then, time.Minute)
	reportFault(int(time.Since(then).Seconds()), "seconds of silence, ended by the operator")
	anew := func() int { return len(i.Requests(begin, isWatch)) }
	Eventually(anew).Should(BeNumerically(">=", watchesPerReplika))
	reportFault(anew(), "watches lost and opened anew")
	f.deleteReplikas()
})

var _ = It("watches are answered 410 Gone", func() {
	const times = 2
	i := startInstance("gone")
	f := newFixture("gone", 5)
	f.replicate(replikaName, withInterval(watchesOnly))
	Eventually(f.expectReplicated).Should(Succeed())

	begin, then := i.Mark(), time.Now()
	things := respondGone(i, times)
	cut := i.Disconnect()
	f.editSource()
	f.changeCopies()
	f.addTarget()
	f.eventuallyReplicated("edit, two copies changed by hand, new namespace", then, time.Minute)
	reportFault(cut, "connections cut, so that watches are opened anew")
	// What one watch had not asked for again yet, another one told. So there is an edit more once all of them were answered so.
	Eventually(things).Should(BeNumerically(">=", watchesPerReplika))
	then = time.Now()
	f.editSource()
	f.eventuallyReplicated("another edit", then, time.Minute)
	reportFault(i.Injected(proxy.Responded), "watches of %d kinds of things answered 410", things())
	fresh := func(r proxy.Request) bool {
		return r.Status == http.StatusOK && (r.Verb == "list" || isWatch(r) && strings.Contains(r.URI, "sendInitialEvents=true"))
	}
	Eventually(func() []proxy.Request { return i.Requests(begin, fresh) }).ShouldNot(BeEmpty())
	reportCheck("%d lists read anew", len(i.Requests(begin, fresh)))
	f.deleteReplikas()
})

// goneFor answers so many requests to watch the same thing with 410, and tells
// how many things that happened to.
func respondGone(i *instance, times int) (things func() int) {
	var mu sync.Mutex
	asked := map[string]int{}
	i.Intercept(func(r proxy.Request) *proxy.Fault {
		if !isWatch(r) {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		// The source's watch is told from that of the copies by its namespace.
		thing := r.Resource + r.Namespace
		if asked[thing]++; asked[thing] > times {
			return nil
		}
		return proxy.Respond(http.StatusGone)
	})
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(asked)
	}
}
