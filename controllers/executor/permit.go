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
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// A request is slow when it takes slowFactor times as long as requests usually take, within these limits.
const (
	slowFactor   = 4
	minSlowAfter = 50 * time.Millisecond
	maxSlowAfter = time.Second
	// typicalWeight is the weight of the moving average against one more request.
	typicalWeight = 8
)

// permit is the permission to send one request. Its fields are guarded by the lock of the semaphore.
type permit struct {
	semaphore *FairSemaphore
	replika   types.NamespacedName
	grantedAt time.Time
	timer     *time.Timer
	slow      bool
	released  bool
}

func (s *FairSemaphore) newPermit(replika types.NamespacedName) *permit {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &permit{semaphore: s, replika: replika, grantedAt: time.Now()}
	p.timer = time.AfterFunc(s.slowAfter(), p.expire)
	return p
}

// slowAfter returns how long a request keeps its permit. The lock is held.
func (s *FairSemaphore) slowAfter() time.Duration {
	return min(max(slowFactor*s.typical, minSlowAfter), maxSlowAfter)
}

// expire grants the permit of a request that takes long to the next one, or tries again later: when there are too many slow
// requests, or when requests of the Replika have not been sent, because those of many others are.
func (p *permit) expire() {
	s := p.semaphore
	notSent := s.outer != nil && s.outer.Waits(p.replika)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case p.released:
	case notSent, s.slow >= s.maxSlow:
		p.timer.Reset(s.slowAfter())
	default:
		p.slow = true
		s.slow++
		s.grantNext()
	}
}

// release ends the request. Only the first call has an effect.
func (p *permit) release() {
	s := p.semaphore
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.released {
		return
	}
	p.released = true
	p.timer.Stop()
	// A few requests that hang do not say how long others take, but many slow ones do.
	took := min(time.Since(p.grantedAt), s.slowAfter())
	s.typical += (took - s.typical) / typicalWeight
	if p.slow {
		s.slow--
		return
	}
	s.grantNext()
}
