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

// rewrites are the changes of a copy by a second controller.
type rewrites struct {
	count int
	// pauses counts the times that are so long, because the machine stalled, that the contest may have ended and begun again.
	pauses int
}

// rewriteCopy changes the copy in the namespace every 50 ms until the context ends. Then it sends what it did.
func rewriteCopy(ctx context.Context, f *fixture, namespace string) <-chan rewrites {
	result := make(chan rewrites, 1)
	go func() {
		defer GinkgoRecover()
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		var done rewrites
		for last := time.Now(); ; {
			select {
			case <-ctx.Done():
				result <- done
				return
			case <-ticker.C:
				patch := fmt.Appendf(nil, `{"data":{"rival":"%d"}}`, done.count)
				if err := env.Admin.Patch(ctx, f.copyIn(namespace), client.RawPatch(types.MergePatchType, patch)); err == nil {
					done.count++
					if time.Since(last) > e2e.Interval {
						done.pauses++
					}
					last = time.Now()
				}
			}
		}
	}()
	return result
}

var _ = It("A second controller rewrites two copies every 50 ms", func() {
	const duration = 15 * time.Second
	i := startInstance("contest")
	f := newFixture("contest", 6)
	f.replicate(name)
	Eventually(f.expectReplicated).Should(Succeed())
	mark, start := i.Mark(), time.Now()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	contested, others := f.TargetNamespaces[:2], f.TargetNamespaces[2:]
	changes := []<-chan rewrites{rewriteCopy(ctx, f, contested[0]), rewriteCopy(ctx, f, contested[1])}

	Eventually(f.contestedNamespaces).Should(ConsistOf(contested))
	reportCheck("Contested in exactly these two namespaces after %s", elapsed(start))
	writesIn := func(namespace string) int {
		return len(i.writesToCopies(mark, func(r proxy.Request) bool { return r.Namespace == namespace }))
	}
	for _, namespace := range others {
		Expect(writesIn(namespace)).To(BeZero())
	}
	revision, edited := f.editSource(), time.Now()
	f.eventuallyCopied(ctx, others, revision)
	reportCheck("an edit reaches the other copies within %s", elapsed(edited))
	<-time.After(time.Until(start.Add(duration)))
	stop()
	stopped := time.Now()
	first, second := <-changes[0], <-changes[1]
	reportFault(first.count+second.count, "changes by the second controller in %s", elapsed(start))

	for _, namespace := range contested {
		writes := writesIn(namespace)
		limit := maxRepairs(time.Since(start)) + 1 // the backoff does not delay the edit
		Expect(writes).To(BeNumerically("<=", limit))
		reportCheck("%d writes to one of these copies, of at most %d", writes, limit)
	}
	for _, namespace := range others {
		Expect(writesIn(namespace)).To(Equal(1), "one for the edit")
	}
	reportCheck("1 write to each other copy")
	statuses := len(i.Requests(mark, proxy.Request.Writes, func(r proxy.Request) bool { return r.Subresource == "status" }))
	pauses := first.pauses + second.pauses
	Expect(statuses).To(BeNumerically("<=", 4*(1+pauses)), "the status does not flap, after %d pauses of the second controller", pauses)
	reportCheck("%d status updates", statuses)
	f.eventuallyReplicated("after the second controller has stopped", stopped)
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
