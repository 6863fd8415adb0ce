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
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/e2e"
	"github.com/prosimcorp/replika/test/proxy"
)

// rewriteCopy changes the copy in the namespace every 50 ms until the context ends. Then it sends the number of changes.
func rewriteCopy(ctx context.Context, f *fixture, namespace string) <-chan int {
	changes := make(chan int, 1)
	go func() {
		defer GinkgoRecover()
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for count := 0; ; {
			select {
			case <-ctx.Done():
				changes <- count
				return
			case <-ticker.C:
				patch := fmt.Appendf(nil, `{"data":{"rival":"%d"}}`, count)
				if err := env.Admin.Patch(ctx, f.copyIn(namespace), client.RawPatch(types.MergePatchType, patch)); err == nil {
					count++
				}
			}
		}
	}()
	return changes
}

var _ = It("A second controller rewrites two copies every 50 ms", func() {
	const (
		duration = 15 * time.Second
		// quietPeriod is the time without a repair after which a copy is no longer contested.
		quietPeriod = 10 * time.Second
	)
	i := startInstance("contest")
	f := newFixture("contest", 6)
	f.replicate(name)
	Eventually(f.expectReplicated).Should(Succeed())
	mark, start := i.Mark(), time.Now()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	contested, others := f.TargetNamespaces[:2], f.TargetNamespaces[2:]
	changes := []<-chan int{rewriteCopy(ctx, f, contested[0]), rewriteCopy(ctx, f, contested[1])}

	Eventually(f.contestedNamespaces).Should(ConsistOf(contested))
	reportCheck("Contested in exactly these two namespaces after %s", elapsed(start))
	writesIn := func(namespace string) int {
		return len(i.writesToCopies(mark, func(r proxy.Request) bool { return r.Namespace == namespace }))
	}
	for _, namespace := range others {
		Expect(writesIn(namespace)).To(BeZero())
	}
	revision, edited := f.editSource(), time.Now()
	f.eventuallyCopied(ctx, others, revision, 5*time.Second)
	reportCheck("an edit reaches the other copies within %s", elapsed(edited))
	<-time.After(time.Until(start.Add(duration)))
	stop()
	stopped := time.Now()
	reportFault(<-changes[0]+<-changes[1], "changes by the second controller in %s", elapsed(start))

	limit := maxRepairs(stopped.Sub(start)) + 1 // the backoff does not delay the edit
	for _, namespace := range contested {
		Expect(writesIn(namespace)).To(BeNumerically("<=", limit))
	}
	for _, namespace := range others {
		Expect(writesIn(namespace)).To(Equal(1), "one for the edit")
	}
	reportCheck("%d and %d writes to these copies, of at most %d; 1 to each other copy", writesIn(contested[0]), writesIn(contested[1]), limit)
	statuses := len(i.Requests(mark, proxy.Request.Writes, func(r proxy.Request) bool { return r.Subresource == "status" }))
	Expect(statuses).To(BeNumerically("<=", 4), "the status does not flap")
	reportCheck("%d status updates", statuses)
	f.eventuallyReplicated("after the second controller has stopped", stopped, quietPeriod+2*e2e.Interval)
	i.expectNoWrites(f)
	f.deleteReplikas()
})

// maxRepairs returns how often the operator repairs a copy that is contested for this duration: three times at once, then with
// a backoff that doubles from 0.5 s to the synchronization time.
func maxRepairs(duration time.Duration) int {
	repairs, backoff := 3, 500*time.Millisecond
	for at := backoff; at < duration; at += backoff {
		repairs++
		backoff = min(2*backoff, e2e.Interval)
	}
	return repairs
}

// contestedNamespaces returns the namespaces for which the status reports Contested. It expects no other failures.
func (f *fixture) contestedNamespaces(g Gomega) []string {
	var namespaces []string
	for _, failure := range f.GetReplika(g, name).Status.Failures {
		g.Expect(failure.Reason).To(Equal(v1alpha1.FailureContested))
		namespaces = append(namespaces, failure.Namespace)
	}
	return namespaces
}
