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
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/prosimcorp/replika/controllers/executor"
)

func replikaName(number int) types.NamespacedName {
	return types.NamespacedName{Namespace: "ops", Name: fmt.Sprint(number)}
}

func TestFairSemaphore_AtLeastOnePermit(t *testing.T) {
	for _, permits := range []int{-1, 0, 1} {
		semaphore := executor.NewFairSemaphore(permits, 0)
		expectFreePermits(t, semaphore, 1)
	}
}

// A Replika with a single request does not wait for thousands of requests of another.
func TestFairSemaphore_Fairness(t *testing.T) {
	const requests = 5000
	synctest.Test(t, func(t *testing.T) {
		semaphore := executor.NewFairSemaphore(1, 0)
		big, small := replikaName(1), replikaName(2)
		releaseFirst, err := semaphore.Acquire(t.Context(), big)
		if err != nil {
			t.Fatal(err)
		}
		var granted []types.NamespacedName // guarded by the only permit
		start := func(replika types.NamespacedName) {
			go func() {
				release, err := semaphore.Acquire(t.Context(), replika)
				if err != nil {
					t.Error(err)
					return
				}
				granted = append(granted, replika)
				release()
			}()
		}
		for range requests {
			start(big)
		}
		synctest.Wait()
		start(small)
		synctest.Wait()
		releaseFirst()
		synctest.Wait()
		if len(granted) != requests+1 {
			t.Fatalf("granted %d permits, want %d", len(granted), requests+1)
		}
		if index := slices.Index(granted, small); index > 1 {
			t.Fatalf("granted %d permits before that of the small Replika, want at most 1", index)
		}
	})
}

// No permit is lost or granted twice when contexts are canceled at any time.
func TestFairSemaphore_Cancellation(t *testing.T) {
	const permits, workers, rounds = 3, 24, 200
	semaphore := executor.NewFairSemaphore(permits, 0)
	var active atomic.Int64
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for range rounds {
				ctx, cancel := context.WithCancel(t.Context())
				canceled := make(chan struct{})
				go func() {
					defer close(canceled)
					if rand.IntN(2) == 0 {
						cancel()
					}
				}()
				release, err := semaphore.Acquire(ctx, replikaName(worker%5))
				switch {
				case err == nil:
					if current := active.Add(1); current > permits {
						t.Errorf("%d permits in use, want at most %d", current, permits)
					}
					active.Add(-1)
					release()
				case !errors.Is(err, context.Canceled):
					t.Error(err)
				}
				<-canceled
				cancel()
			}
		})
	}
	group.Wait()
	expectFreePermits(t, semaphore, permits)
}

// expectFreePermits expects exactly this number of free permits.
func expectFreePermits(t *testing.T, semaphore *executor.FairSemaphore, want int) {
	t.Helper()
	if failure := checkFreePermits(semaphore, want); failure != "" {
		t.Fatal(failure)
	}
}

// checkFreePermits returns a failure unless exactly this number of permits is free.
func checkFreePermits(semaphore *executor.FairSemaphore, want int) string {
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	for free := range want {
		release, err := semaphore.Acquire(canceled, replikaName(0))
		if err != nil {
			return fmt.Sprintf("%d permits are free, want %d", free, want)
		}
		defer release()
	}
	if _, err := semaphore.Acquire(canceled, replikaName(0)); !errors.Is(err, context.Canceled) {
		return fmt.Sprintf("more than %d permits are free: %v", want, err)
	}
	return ""
}

// semaphoreStep is one step of a random sequence.
type semaphoreStep struct {
	kind    stepKind
	replika int
	which   int
}

type stepKind string

const (
	stepAcquire          stepKind = "acquire"
	stepRelease          stepKind = "release"
	stepCancel           stepKind = "cancel"
	stepCancelAndRelease stepKind = "cancel and release" // before the canceled request has noticed
)

var semaphoreSteps = rapid.Custom(func(t *rapid.T) semaphoreStep {
	return semaphoreStep{
		kind:    rapid.SampledFrom([]stepKind{stepAcquire, stepAcquire, stepRelease, stepCancel, stepCancelAndRelease}).Draw(t, "kind"),
		replika: rapid.IntRange(1, 4).Draw(t, "replika"),
		which:   rapid.IntRange(0, 100).Draw(t, "which"),
	}
})

func TestFairSemaphore_Properties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		permits := rapid.IntRange(1, 4).Draw(rt, "permits")
		steps := rapid.SliceOfN(semaphoreSteps, 0, 60).Draw(rt, "steps")
		var failure string
		synctest.Test(t, func(t *testing.T) { failure = runSemaphoreSteps(t.Context(), permits, steps) })
		if failure != "" {
			rt.Fatal(failure)
		}
	})
}

// permitRequest is one call of Acquire. It waits until release or err is set.
type permitRequest struct {
	replika types.NamespacedName
	cancel  context.CancelFunc
	release func()
	err     error
	done    bool // failed or released
	counted bool // its permit is included in grantsSince
}

// semaphoreModel executes steps on a semaphore and checks its properties after each.
type semaphoreModel struct {
	semaphore *executor.FairSemaphore
	permits   int
	requests  []*permitRequest
	// grantsSince contains, for each waiting Replika, the number of permits granted to each other Replika since its own last
	// permit, or since it began to wait.
	grantsSince map[types.NamespacedName]map[types.NamespacedName]int
}

// runSemaphoreSteps executes the steps one after another and returns the first failure.
func runSemaphoreSteps(ctx context.Context, permits int, steps []semaphoreStep) string {
	m := &semaphoreModel{
		semaphore: executor.NewFairSemaphore(permits, 0), permits: permits,
		grantsSince: map[types.NamespacedName]map[types.NamespacedName]int{},
	}
	for i, step := range steps {
		m.execute(ctx, step)
		if failure := m.check(); failure != "" {
			return fmt.Sprintf("after step %d, %v: %s", i, step, failure)
		}
	}
	for len(m.waiting()) > 0 {
		m.execute(ctx, semaphoreStep{kind: stepCancel})
		if failure := m.check(); failure != "" {
			return failure
		}
	}
	for len(m.active()) > 0 {
		m.execute(ctx, semaphoreStep{kind: stepRelease})
	}
	return checkFreePermits(m.semaphore, permits)
}

func (m *semaphoreModel) active() []*permitRequest {
	return m.filter(func(r *permitRequest) bool { return r.release != nil })
}

func (m *semaphoreModel) waiting() []*permitRequest {
	return m.filter(func(r *permitRequest) bool { return r.release == nil })
}

func (m *semaphoreModel) filter(matches func(*permitRequest) bool) []*permitRequest {
	return slices.DeleteFunc(slices.Clone(m.requests), func(r *permitRequest) bool { return r.done || !matches(r) })
}

func (m *semaphoreModel) execute(ctx context.Context, step semaphoreStep) {
	active, waiting := m.active(), m.waiting()
	if step.kind == stepAcquire {
		requestCtx, cancel := context.WithCancel(ctx)
		request := &permitRequest{replika: replikaName(step.replika), cancel: cancel}
		m.requests = append(m.requests, request)
		go func() { request.release, request.err = m.semaphore.Acquire(requestCtx, request.replika) }()
	}
	if (step.kind == stepCancel || step.kind == stepCancelAndRelease) && len(waiting) > 0 {
		// One of the first two, because the next permit is likely theirs.
		waiting[step.which%2%len(waiting)].cancel()
	}
	if (step.kind == stepRelease || step.kind == stepCancelAndRelease) && len(active) > 0 {
		request := active[step.which%len(active)]
		request.done = true
		request.release()
		request.cancel()
	}
	synctest.Wait()
}

func (m *semaphoreModel) check() string {
	for _, request := range m.requests {
		if request.err != nil && !request.done {
			request.done = true
			// A permit that was granted to a canceled request counts.
			delete(m.grantsSince, request.replika)
		}
	}
	if failure := m.checkFairness(); failure != "" {
		return failure
	}
	active, waiting := m.active(), m.waiting()
	if len(active) > m.permits {
		return fmt.Sprintf("%d of %d permits are in use", len(active), m.permits)
	}
	if len(waiting) > 0 && len(active) < m.permits {
		return fmt.Sprintf("%d requests wait although only %d of %d permits are in use", len(waiting), len(active), m.permits)
	}
	stillWaiting := map[types.NamespacedName]bool{}
	for _, request := range waiting {
		stillWaiting[request.replika] = true
		if m.grantsSince[request.replika] == nil {
			m.grantsSince[request.replika] = map[types.NamespacedName]int{}
		}
	}
	for replika := range m.grantsSince {
		if !stillWaiting[replika] {
			delete(m.grantsSince, replika)
		}
	}
	return ""
}

// checkFairness checks that no Replika is granted two permits while another waits.
func (m *semaphoreModel) checkFairness() string {
	for _, request := range m.requests {
		if request.release == nil || request.counted {
			continue
		}
		request.counted = true
		delete(m.grantsSince, request.replika)
		for other, grants := range m.grantsSince {
			if grants[request.replika]++; grants[request.replika] > 1 {
				return fmt.Sprintf("%s was granted two permits while %s waited", request.replika, other)
			}
		}
	}
	return ""
}

func TestFairSemaphore_Waits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		semaphore := executor.NewFairSemaphore(1, 0)
		first, second := replikaName(1), replikaName(2)
		releaseFirst, err := semaphore.Acquire(t.Context(), first)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			release, err := semaphore.Acquire(t.Context(), second)
			if err != nil {
				t.Error(err)
				return
			}
			release()
		}()
		synctest.Wait()
		if semaphore.Waits(first) || !semaphore.Waits(second) {
			t.Error("a Replika waits only while a request of it has no permit")
		}
		releaseFirst()
		synctest.Wait()
		if semaphore.Waits(second) {
			t.Error("the permit was granted")
		}
	})
}
