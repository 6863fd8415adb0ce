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
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prosimcorp/replika/controllers/executor"
)

// acquireAll acquires this number of permits, and never releases them before the test ends.
func acquireAll(t *testing.T, semaphore *executor.FairSemaphore, count int) {
	t.Helper()
	for range count {
		release, err := semaphore.Acquire(t.Context(), replikaName(1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(release)
	}
}

// A request does not wait for those that hang.
func TestFairSemaphore_SlowRequestsKeepNoPermit(t *testing.T) {
	const permits, maxSlow = 4, 10
	synctest.Test(t, func(t *testing.T) {
		semaphore := executor.NewFairSemaphore(permits, maxSlow)
		began := time.Now()
		acquireAll(t, semaphore, permits+maxSlow)
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("the last of %d requests got its permit after %s", permits+maxSlow, waited)
		}
		granted := make(chan struct{})
		go func() {
			release, err := semaphore.Acquire(t.Context(), replikaName(2))
			if err == nil {
				close(granted)
				release()
			}
		}()
		time.Sleep(time.Minute)
		select {
		case <-granted:
			t.Errorf("more than %d requests and %d slow ones at a time", permits, maxSlow)
		default:
		}
	})
}

// When requests usually take long, none of them is slow.
func TestFairSemaphore_SlowIsRelative(t *testing.T) {
	const usually = 200 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		semaphore := executor.NewFairSemaphore(1, 1000)
		for range 100 {
			release, err := semaphore.Acquire(t.Context(), replikaName(1))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(usually)
			release()
		}
		acquireAll(t, semaphore, 1)
		began := time.Now()
		acquireAll(t, semaphore, 1)
		if waited := time.Since(began); waited < 2*usually || waited > time.Second {
			t.Errorf("a request counts as slow after %s; requests usually take %s", waited, usually)
		}
	})
}

// Every permit is free again after slow requests have ended, in whatever order, and a second release has no effect.
func TestFairSemaphore_SlowRequestsEnd(t *testing.T) {
	const permits, maxSlow = 2, 3
	synctest.Test(t, func(t *testing.T) {
		semaphore := executor.NewFairSemaphore(permits, maxSlow)
		var releases []func()
		for range permits + maxSlow {
			release, err := semaphore.Acquire(t.Context(), replikaName(1))
			if err != nil {
				t.Fatal(err)
			}
			releases = append(releases, release)
		}
		for _, release := range releases {
			release()
			release()
		}
		expectFreePermits(t, semaphore, permits)
	})
}

// Otherwise thousands of requests of many Replikas would wait together, each with a goroutine.
func TestFairSemaphore_RequestsThatAreNotSentAreNotSlow(t *testing.T) {
	const outerPermits, outerSlow, permits, requests = 1, 3, 2, 5
	synctest.Test(t, func(t *testing.T) {
		outer := executor.NewFairSemaphore(outerPermits, outerSlow)
		var others []func()
		for range outerPermits + outerSlow {
			release, err := outer.Acquire(t.Context(), replikaName(2))
			if err != nil {
				t.Fatal(err)
			}
			others = append(others, release)
		}
		inner := outer.Within(permits, requests)
		var started atomic.Int32
		for range requests {
			go func() {
				if _, err := inner.Acquire(t.Context(), replikaName(1)); err != nil {
					return
				}
				started.Add(1)
				_, _ = outer.Acquire(t.Context(), replikaName(1)) // sent, and hangs
			}()
		}
		time.Sleep(time.Minute)
		if count := started.Load(); count != permits {
			t.Errorf("%d requests have a permit although none is sent, want %d", count, permits)
		}
		for _, release := range others {
			release()
		}
		time.Sleep(time.Minute)
		if count := started.Load(); count <= permits {
			t.Errorf("%d requests have a permit although those that were sent hang", count)
		}
	})
}
