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

package executor

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// FairSemaphore limits the number of concurrent requests. It is fair in two ways. It grants permits to the waiting Replikas
// round robin, no matter how many requests of each are waiting. And a request that takes much longer than the others, because a
// webhook hangs for example, does not keep its permit from them: it becomes a slow request, of which there can be more.
type FairSemaphore struct {
	// outer is the semaphore of which each request needs a permit, too; nil if there is none.
	outer *FairSemaphore

	mu   sync.Mutex
	free int
	// slow is the number of slow requests, maxSlow its limit. At the limit, requests keep their permits to the end.
	slow, maxSlow int
	// typical is the moving average of how long requests take; see slowAfter.
	typical time.Duration
	// queue contains each waiting Replika once, in the order in which they get permits.
	queue []types.NamespacedName
	// waiters contains, for each waiting Replika, a channel per request, which is closed to grant it a permit.
	waiters map[types.NamespacedName][]chan struct{}
}

// NewFairSemaphore returns a semaphore with this number of permits, at least one, and at most maxSlow slow requests beside them.
func NewFairSemaphore(permits, maxSlow int) *FairSemaphore {
	return &FairSemaphore{free: max(permits, 1), maxSlow: maxSlow, waiters: map[types.NamespacedName][]chan struct{}{}}
}

// Within returns a semaphore for requests that each wait for a permit of s as well, after the one of the new semaphore. That wait does not
// make them slow.
func (s *FairSemaphore) Within(permits, maxSlow int) *FairSemaphore {
	inner := NewFairSemaphore(permits, maxSlow)
	inner.outer = s
	return inner
}

// Acquire waits for a permit on behalf of the Replika and returns the function that releases it. It returns an error if the
// context ends before.
func (s *FairSemaphore) Acquire(ctx context.Context, replika types.NamespacedName) (release func(), err error) {
	granted, wait := s.takeOrEnqueue(replika)
	if !wait {
		return s.newPermit(replika).release, nil
	}
	select {
	case <-granted:
		return s.newPermit(replika).release, nil
	case <-ctx.Done():
		s.cancel(replika, granted)
		return nil, ctx.Err()
	}
}

// Waits reports whether a request of the Replika waits for a permit.
func (s *FairSemaphore) Waits(replika types.NamespacedName) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiters[replika]) > 0
}

// takeOrEnqueue takes a free permit, or adds a request to the queue.
func (s *FairSemaphore) takeOrEnqueue(replika types.NamespacedName) (granted chan struct{}, wait bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free > 0 {
		s.free--
		return nil, false
	}
	granted = make(chan struct{})
	if len(s.waiters[replika]) == 0 {
		s.queue = append(s.queue, replika)
	}
	s.waiters[replika] = append(s.waiters[replika], granted)
	return granted, true
}

// cancel removes a request from the queue, or releases its permit if that was granted concurrently.
func (s *FairSemaphore) cancel(replika types.NamespacedName, granted chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	index := slices.Index(s.waiters[replika], granted)
	if index < 0 {
		s.grantNext()
		return
	}
	s.waiters[replika] = slices.Delete(s.waiters[replika], index, index+1)
	if len(s.waiters[replika]) == 0 {
		delete(s.waiters, replika)
		s.queue = slices.DeleteFunc(s.queue, func(name types.NamespacedName) bool { return name == replika })
	}
}

// grantNext grants a permit to the next Replika in the queue, or keeps it free. The caller holds the lock.
func (s *FairSemaphore) grantNext() {
	if len(s.queue) == 0 {
		s.free++
		return
	}
	next := s.queue[0]
	s.queue = s.queue[1:]
	waiters := s.waiters[next]
	close(waiters[0])
	if len(waiters) == 1 {
		delete(s.waiters, next)
		return
	}
	s.waiters[next] = waiters[1:]
	s.queue = append(s.queue, next)
}
