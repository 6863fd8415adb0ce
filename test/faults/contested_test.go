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
	"github.com/prosimcorp/replika/test/proxy"
)

// rewrite changes the copy in the namespace every 50 ms until the context ends,
// and then tells how often it did.
func rewriteCopy(ctx context.Context, f *fixture, namespace string) <-chan int {
	done := make(chan int, 1)
	go func() {
		defer GinkgoRecover()
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for count := 0; ; {
			select {
			case <-ctx.Done():
				done <- count
				return
			case <-ticker.C:
				patch := fmt.Appendf(nil, `{"data":{"rival":"%d"}}`, count)
				if err := admin.Patch(ctx, f.copyIn(namespace), client.RawPatch(types.MergePatchType, patch)); err == nil {
					count++
				}
			}
		}
	}()
	return done
}

var _ = It("a second controller rewrites two copies every 50 ms", func() {
	const (
		contest = 15 * time.Second
		// peace is how long a copy must need no repair before its contest is taken for over.
		peace = 10 * time.Second
	)
	i := startInstance("contest")
	f := newFixture("contest", 6)
	f.replicate(replikaName)
	Eventually(f.expectReplicated).Should(Succeed())
	begin, then := i.Mark(), time.Now()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	contested, others := f.targetNamespaces[:2], f.targetNamespaces[2:]
	rivals := []<-chan int{rewriteCopy(ctx, f, contested[0]), rewriteCopy(ctx, f, contested[1])}

	Eventually(f.contestedNamespaces).Should(ConsistOf(contested))
	reportCheck("Contested in exactly these two namespaces after %s", elapsed(then))
	writesIn := func(namespace string) int {
		return len(i.writesToCopies(begin, func(r proxy.Request) bool { return r.Namespace == namespace }))
	}
	for _, namespace := range others {
		Expect(writesIn(namespace)).To(BeZero())
	}
	edited, now := f.editSource(), time.Now()
	Eventually(func(g Gomega) {
		for _, namespace := range others {
			object := f.copyIn(namespace)
			g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
			g.Expect(object.Data).To(HaveKeyWithValue(revision, edited))
		}
	}).WithTimeout(5 * time.Second).Should(Succeed())
	reportCheck("an edit reaches the others within %s", elapsed(now))
	<-time.After(time.Until(then.Add(contest)))
	stop()
	stopped := time.Now()
	reportFault(<-rivals[0]+<-rivals[1], "changes by the second controller in %s", elapsed(then))

	limit := maxRepairs(stopped.Sub(then)) + 1 // the edit goes through at once
	for _, namespace := range contested {
		Expect(writesIn(namespace)).To(BeNumerically("<=", limit))
	}
	for _, namespace := range others {
		Expect(writesIn(namespace)).To(Equal(1), "one for the edit")
	}
	reportCheck("%d and %d writes there, of at most %d; one each elsewhere", writesIn(contested[0]), writesIn(contested[1]), limit)
	statuses := len(i.Requests(begin, proxy.Request.Writes, func(r proxy.Request) bool { return r.Subresource == "status" }))
	Expect(statuses).To(BeNumerically("<=", 4), "the status does not flap")
	reportCheck("%d writes of status", statuses)
	f.eventuallyReplicated("after the second controller has stopped", stopped, peace+2*synchronizationTime)
	i.expectNoWrites(f)
	f.deleteReplikas()
})

// mostRepairs is how often a copy may be repaired in so long a contest: three
// times at once, then after delays that double from 0.5 s to the synchronization
// time.
func maxRepairs(contest time.Duration) int {
	repairs, delay := 3, 500*time.Millisecond
	for at := delay; at < contest; at += delay {
		repairs++
		delay = min(2*delay, synchronizationTime)
	}
	return repairs
}

// contested lists the namespaces that the status tells a contest of.
func (f *fixture) contestedNamespaces(g Gomega) []string {
	replika := f.replika(replikaName)
	g.Expect(admin.Get(context.Background(), client.ObjectKeyFromObject(replika), replika)).To(Succeed())
	var namespaces []string
	for _, failure := range replika.Status.Failures {
		g.Expect(failure.Reason).To(Equal(v1alpha1.FailureContested))
		namespaces = append(namespaces, failure.Namespace)
	}
	return namespaces
}
