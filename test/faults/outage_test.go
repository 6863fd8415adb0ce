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
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/test/proxy"
)

// slowWrite is how long each write to a copy is held up, so that a fan-out has a
// middle.
const slowWrite = 500 * time.Millisecond

// midFanOut makes a Replika with many copies, and returns when some of them, not
// all, are written.
func startFanOut(i *instance, f *fixture) {
	GinkgoHelper()
	i.Intercept(func(r proxy.Request) *proxy.Fault {
		if r.Writes() && toCopies(r) {
			return proxy.Delay(slowWrite)
		}
		return nil
	})
	f.replicate(replikaName)
	Eventually(func() int { return len(i.writesToCopies(0, proxy.Request.TookEffect)) }).Should(BeNumerically(">=", 5))
	written := len(i.writesToCopies(0, proxy.Request.TookEffect))
	Expect(written).To(BeNumerically("<", len(f.targetNamespaces)))
	By("in the middle of the fan-out")
}

var _ = It("the API server is restarted in the middle of a fan-out", func() {
	i := startInstance("restart")
	f := newFixture("restart", 60)
	startFanOut(i, f)

	Expect(controlPlane.StopAPIServer()).To(Succeed())
	down, begin := time.Now(), i.Mark()
	restarted := false
	DeferCleanup(func() {
		if !restarted {
			Expect(controlPlane.StartAPIServer()).To(Succeed())
		}
	})
	written := len(i.writesToCopies(0, proxy.Request.TookEffect))
	unanswered := func() int {
		return len(i.Requests(begin, func(r proxy.Request) bool { return r.Status == 0 && r.Received.After(down) }))
	}
	Eventually(unanswered).Should(BeNumerically(">=", 5))
	restarted = true
	Expect(controlPlane.StartAPIServer()).To(Succeed())
	up := time.Now()

	reportFault(1, "SIGKILL of the API server after %d of %d copies, down for %s", written, len(f.targetNamespaces), elapsed(down))
	Expect(written).To(BeNumerically("<", len(f.targetNamespaces)))
	reportFault(unanswered(), "requests failed meanwhile")
	i.Intercept(nil)
	f.eventuallyReplicated("after it is up again", up, time.Minute)
	then := time.Now()
	f.editSource()
	f.changeCopies()
	f.eventuallyReplicated("edit", then, 10*time.Second)
	i.expectNoWrites(f)
	f.deleteReplikas()
})

var _ = It("etcd hangs for 30 s in the middle of a fan-out", Label(heavy), func() {
	const pause = 30 * time.Second
	i := startInstance("etcd")
	f := newFixture("etcd", 60)
	startFanOut(i, f)

	Expect(controlPlane.PauseEtcd()).To(Succeed())
	DeferCleanup(controlPlane.ResumeEtcd)
	begin := time.Now()
	expectWriteTimeout()
	silent := i.Mark()
	<-time.After(time.Until(begin.Add(pause)))
	Expect(i.writesToCopies(silent, proxy.Request.TookEffect)).To(BeEmpty())
	answered := i.Mark()
	resumed := time.Now()
	Expect(controlPlane.ResumeEtcd()).To(Succeed())
	i.Intercept(nil)
	f.eventuallyReplicated("after it goes on", resumed, time.Minute)

	reportFault(1, "SIGSTOP of etcd for %s", resumed.Sub(begin).Round(100*time.Millisecond))
	reportFault(len(i.Requests(answered, func(r proxy.Request) bool { return r.Received.Before(resumed) })), "requests hung meanwhile")
	then := time.Now()
	f.editSource()
	f.changeCopies()
	f.eventuallyReplicated("edit", then, 10*time.Second)
	i.expectNoWrites(f)
	f.deleteReplikas()
})

// expectNoWrite: the API server takes a write, and does not answer.
func expectWriteTimeout() {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", GenerateName: "unheard-"}}
	Expect(admin.Create(ctx, object)).To(MatchError(context.DeadlineExceeded))
}
