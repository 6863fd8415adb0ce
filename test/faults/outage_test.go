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
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/test/proxy"
)

// startFanOut creates a Replika, and returns when its first copies are created. The proxy holds the writes of the others until
// the spec calls the function that startFanOut returns: so the fault happens during the fan-out, however slow the machine is.
func startFanOut(i *instance, f *fixture) (release func()) {
	GinkgoHelper()
	const first = 16
	var writes atomic.Int32
	released := make(chan struct{})
	i.Intercept(func(r proxy.Request) *proxy.Fault {
		if r.Writes() && toCopies(r) && writes.Add(1) > first {
			return proxy.Hold(released)
		}
		return nil
	})
	f.replicate(name)
	Eventually(func() int { return len(i.writesToCopies(0, proxy.Request.TookEffect)) }).Should(Equal(first))
	By("during the fan-out")
	release = sync.OnceFunc(func() { close(released) })
	DeferCleanup(release) // also if the spec fails before: the operator waits for its writes when it stops
	return release
}

// expectRecovery expects that edits and drift are reconciled as usual.
func expectRecovery(i *instance, f *fixture) {
	GinkgoHelper()
	start := time.Now()
	f.editSource()
	f.driftCopies()
	f.eventuallyReplicated("edit", start)
	i.expectNoWrites(f)
	f.deleteReplikas()
}

var _ = It("The API server is restarted during a fan-out", func() {
	i := startInstance("restart")
	f := newFixture("restart", 60)
	release := startFanOut(i, f)

	Expect(env.StopAPIServer()).To(Succeed())
	down, mark := time.Now(), i.Mark()
	release()
	restarted := false
	DeferCleanup(func() {
		if !restarted {
			Expect(env.StartAPIServer()).To(Succeed())
		}
	})
	written := len(i.writesToCopies(0, proxy.Request.TookEffect))
	failed := func() int {
		return len(i.Requests(mark, func(r proxy.Request) bool { return r.Status == 0 && r.Received.After(down) }))
	}
	Eventually(failed).Should(BeNumerically(">=", 5))
	Expect(env.StartAPIServer()).To(Succeed())
	restarted = true
	up := time.Now()

	reportFault(1, "SIGKILL of the API server after %d of %d copies, down for %s", written, len(f.TargetNamespaces), elapsed(down))
	Expect(written).To(BeNumerically("<", len(f.TargetNamespaces)))
	reportFault(failed(), "requests failed meanwhile")
	i.Intercept(nil)
	f.eventuallyReplicated("after the restart", up)
	expectRecovery(i, f)
})

var _ = It("etcd hangs for 30 s during a fan-out", Label(heavy), func() {
	const duration = 30 * time.Second
	i := startInstance("etcd")
	f := newFixture("etcd", 60)
	release := startFanOut(i, f)

	Expect(env.PauseEtcd()).To(Succeed())
	DeferCleanup(env.ResumeEtcd)
	release()
	paused := time.Now()
	expectWriteTimeout()
	mark := i.Mark()
	<-time.After(time.Until(paused.Add(duration)))
	Expect(i.writesToCopies(mark, proxy.Request.TookEffect)).To(BeEmpty())
	markResumed, resumed := i.Mark(), time.Now()
	Expect(env.ResumeEtcd()).To(Succeed())
	i.Intercept(nil)
	f.eventuallyReplicated("after etcd is resumed", resumed)

	reportFault(1, "SIGSTOP of etcd for %s", resumed.Sub(paused).Round(100*time.Millisecond))
	reportFault(len(i.Requests(markResumed, func(r proxy.Request) bool { return r.Received.Before(resumed) })), "requests hung meanwhile")
	expectRecovery(i, f)
})

// expectWriteTimeout expects that the API server does not respond to a write.
func expectWriteTimeout() {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", GenerateName: "timeout-"}}
	Expect(env.Admin.Create(ctx, object)).To(MatchError(context.DeadlineExceeded))
}
