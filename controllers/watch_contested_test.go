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

package controllers_test

import (
	"context"
	"net/http"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// mostRounds limits a contest, so that a defect of the operator does not make it endless.
const mostRounds = 300

// competingWrite is a write of another client to a copy. It reports whether it changed anything.
type competingWrite func(ctx context.Context, now *corev1.ConfigMap) bool

// updating returns a competing update, if the function finds anything to change.
func updating(change func(*corev1.ConfigMap) bool) competingWrite {
	return func(ctx context.Context, now *corev1.ConfigMap) bool {
		return change(now) && api.Update(ctx, now) == nil
	}
}

// deleting is a competing delete.
func deleting(ctx context.Context, now *corev1.ConfigMap) bool { return api.Delete(ctx, now) == nil }

// startContest repeats the competing write as soon as the copy is in sync, until the returned function is called.
func startContest(copy *corev1.ConfigMap, write competingWrite) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var contester sync.WaitGroup
	contester.Go(func() {
		for round := 0; round < mostRounds && ctx.Err() == nil; {
			now := &corev1.ConfigMap{}
			if api.Get(ctx, client.ObjectKeyFromObject(copy), now) == nil && write(ctx, now) {
				round++
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	end = func() {
		cancel()
		contester.Wait()
	}
	DeferCleanup(end)
	return end
}

// repairs lists the times at which the operator changed the object since the mark.
func (f *fixture) repairs(since auditMark, copy client.Object) []time.Time {
	GinkgoHelper()
	var times []time.Time
	for _, event := range f.requests(since, cluster.AuditEvent.Writes) {
		if event.Namespace == copy.GetNamespace() && event.Name == copy.GetName() && event.Code < http.StatusBadRequest && !isDryRun(event) {
			times = append(times, event.Received)
		}
	}
	return times
}

// competingWrites are what a misconfigured tool might keep doing to copies.
var competingWrites = map[string]competingWrite{
	"content": updating(func(copy *corev1.ConfigMap) bool {
		changed := copy.Data["key"] != "theirs"
		copy.Data["key"] = "theirs"
		return changed
	}),
	"label": updating(func(copy *corev1.ConfigMap) bool {
		_, there := copy.Labels["tier"]
		delete(copy.Labels, "tier")
		return there
	}),
	"all-labels": updating(func(copy *corev1.ConfigMap) bool {
		there := len(copy.Labels) > 0
		copy.Labels = nil
		return there
	}),
	"all-annotations": updating(func(copy *corev1.ConfigMap) bool {
		there := len(copy.Annotations) > 0
		copy.Annotations = nil
		return there
	}),
	"owner": updating(func(copy *corev1.ConfigMap) bool {
		forged := copy.Namespace + "/nobody"
		changed := copy.Annotations[v1alpha1.AnnotationOwner] != forged
		copy.Annotations[v1alpha1.AnnotationOwner] = forged
		return changed
	}),
	"existence": deleting,
}

var _ = Describe("A contested copy", func() {
	It("Should be repaired with a backoff, reported, and repaired when the contest ends", func(ctx SpecContext) {
		const interval = 3 * time.Second // the longest backoff
		f := newFixture()
		a, b, home := f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "source")
		sources, replikas := map[string]*corev1.ConfigMap{}, map[string]*v1alpha1.Replika{}
		for name := range competingWrites {
			source := kit.ConfigMap(home, name, "one")
			source.Labels = map[string]string{"tier": "back"}
			sources[name] = create(ctx, source)
			replikas[name] = f.replika(ctx, source, kit.TargetNamespaces(a, b), kit.Interval(interval))
		}
		var ends []func()
		began := markAudit()
		for name, write := range competingWrites {
			expect.Ready(ctx, api, replikas[name], 2)
			ends = append(ends, startContest(kit.CopyIn(a, sources[name]), write))
		}
		for name := range competingWrites {
			By("contesting: " + name)
			copy := kit.CopyIn(a, sources[name])
			expect.Failures(ctx, api, replikas[name], map[string]string{a: v1alpha1.FailureContested})
			// After the creation: three at once, then after 0.5, 1, 2 and 3 seconds, and every 3 seconds from then on. Without a
			// backoff, the competing client would have it repaired many times a second.
			var repairs []time.Time
			Eventually(ctx, func(g Gomega) {
				repairs = f.repairs(began, copy)
				g.Expect(len(repairs)).To(BeNumerically(">", 8))
				g.Expect(shorterOfLastGaps(repairs)).To(BeNumerically(">", interval*9/10), "%v", repairs)
			}).WithPolling(auditPolling).Should(Succeed())
			// One more, because the operator counts from the end of a write.
			Expect(len(repairs)).To(BeNumerically("<=", 9+int(time.Since(repairs[7])/interval)), "%v", repairs)
			expect.Failures(ctx, api, replikas[name], map[string]string{a: v1alpha1.FailureContested})
		}
		for _, end := range ends {
			end()
		}
		for name, source := range sources {
			expect.Ready(ctx, api, replikas[name], 2)
			expect.Copied(ctx, api, source, a, b)
		}
	})

	It("Should get a change of the source promptly", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(time.Hour))
		expect.Ready(ctx, api, replika, 1)
		end := startContest(kit.CopyIn(a, source), updating(func(copy *corev1.ConfigMap) bool {
			changed := copy.Data["key"] == "one"
			copy.Data["key"] = "theirs"
			return changed
		}))
		expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureContested})
		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		expect.Copied(ctx, api, source, a)
		end()
		expect.Ready(ctx, api, replika, 1) // when it ends, whatever the interval
	})

	// No reconcile waits for the repairs.
	It("Should be reported although each repair is slow", func(ctx SpecContext) {
		const interval = 20 * time.Second
		f := newFixture()
		a := f.namespace(ctx, "a")
		installHangingWebhook(ctx, 2*time.Second, a)
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(interval))
		expect.Ready(ctx, api, replika, 1)
		end := startContest(kit.CopyIn(a, source), deleting)
		expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureContested})
		end()
		expect.Ready(ctx, api, replika, 1)
	})

	It("Should stay reported while another client changes it slowly", func(ctx SpecContext) {
		const pause = 2 * time.Second
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(time.Hour))
		expect.Ready(ctx, api, replika, 1)
		began, written := markAudit(), time.Time{}
		startContest(kit.CopyIn(a, source), func(ctx context.Context, now *corev1.ConfigMap) bool {
			if time.Since(written) < pause || !competingWrites["content"](ctx, now) {
				return false
			}
			written = time.Now()
			return true
		})
		reported := expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureContested})
		Consistently(ctx, func() string { return read(ctx, replika, replika.Namespace).GetResourceVersion() }).
			WithTimeout(6 * pause).Should(Equal(reported.ResourceVersion))
		// Three at once, and after 0.5, 1, 2, 4 seconds and so on, or at the next competing write if that is later.
		most, at := 3, time.Duration(0)
		for delay := 500 * time.Millisecond; at < time.Since(began.time); delay *= 2 {
			most++
			at += max(delay, pause)
		}
		Expect(len(f.repairs(began, kit.CopyIn(a, source)))).To(And(BeNumerically(">=", 5), BeNumerically("<=", most)))
	})
})
