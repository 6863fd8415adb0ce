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

package executor_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/test/kit"
)

// leaseOf is a Lease that a client-go elector has acquired through a fence.
type leaseOf struct {
	key client.ObjectKey
	// resign ends the elector, which then releases the Lease, and returns when it has.
	resign func()
}

// acquireLease starts an elector that renews the Lease more rarely than a spec takes.
func acquireLease(ctx SpecContext, fence *executor.Fence, name string) leaseOf {
	GinkgoHelper()
	config := rest.CopyConfig(controlPlane.Config)
	config.Wrap(fence.Wrap)
	leases, err := coordinationclient.NewForConfig(config)
	Expect(err).NotTo(HaveOccurred())
	leads := make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name},
			Client:     leases,
			LockConfig: resourcelock.ResourceLockConfig{Identity: "former leader"},
		},
		LeaseDuration: 5 * time.Minute, RenewDeadline: 4 * time.Minute, RetryPeriod: 3 * time.Minute,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(leads) }, OnStoppedLeading: func() {},
		},
	})
	Expect(err).NotTo(HaveOccurred())
	electorCtx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		elector.Run(electorCtx)
	}()
	Eventually(ctx, leads).Should(BeClosed())
	return leaseOf{
		key:    client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: name},
		resign: func() { cancel(); Eventually(ctx, ended).Should(BeClosed()) },
	}
}

// acquireByOther makes another instance the holder of the Lease.
func (l leaseOf) acquireByOther(ctx context.Context) {
	GinkgoHelper()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: l.key.Namespace, Name: l.key.Name}}
	Expect(kit.Update(ctx, api, lease, func(lease *coordinationv1.Lease) { lease.Spec.HolderIdentity = new("new leader") })).To(Succeed())
}

func (l leaseOf) holder(ctx context.Context) string {
	GinkgoHelper()
	lease := &coordinationv1.Lease{}
	Expect(api.Get(ctx, l.key, lease)).To(Succeed())
	return *lease.Spec.HolderIdentity
}

var _ = Describe("The Lease of a leader with a fence", func() {
	const maxPause, maxLeaseAge = 5 * time.Second, 10 * time.Second
	var (
		name  string
		now   time.Time
		fence *executor.Fence
	)

	BeforeEach(func() {
		name, now = "fence-"+rand.String(6), time.Now()
		limits := executor.FenceLimits{MaxPause: maxPause, LeaseName: name, MaxLeaseAge: maxLeaseAge}
		fence = executor.NewFenceWithClock(limits, func() time.Time { return now })
	})

	It("is released when the leader ends", func(ctx SpecContext) {
		lease := acquireLease(ctx, fence, name)
		Expect(fence.Heartbeat()).To(Succeed())
		lease.resign()
		Expect(lease.holder(ctx)).To(BeEmpty())
	})

	DescribeTable("stays with the instance that acquired it meanwhile", func(ctx SpecContext, wait func(), reason string) {
		before := acquireLease(ctx, fence, name) // creates it, which is not a renewal
		before.resign()
		lease := acquireLease(ctx, fence, name)
		Expect(fence.Heartbeat()).To(Succeed())
		wait()
		lease.acquireByOther(ctx)
		lease.resign()
		Expect(lease.holder(ctx)).To(Equal("new leader"))
		Expect(fence.Heartbeat()).To(MatchError(ContainSubstring(reason)))
	},
		Entry("while the process was paused", func() { now = now.Add(maxPause + time.Millisecond) }, "paused"),
		Entry("while every renewal failed", func() {
			for range 5 {
				now = now.Add(maxLeaseAge/5 + time.Millisecond)
				_ = fence.Heartbeat() // the process is not paused
			}
		}, "not renewed"),
	)
})
