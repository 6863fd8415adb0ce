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
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Fence stops a leader from writing after its process was paused (by SIGSTOP, CPU starvation or a suspended machine) for so
// long that another instance may have become the leader: what it is about to write may be outdated. A closed fence stays
// closed, and the process must exit.
type Fence struct {
	maxPause time.Duration
	now      func() time.Time

	mu            sync.Mutex
	lastHeartbeat time.Time
	err           error
}

// NewFence returns a fence that closes when the process was paused for longer than maxPause.
func NewFence(maxPause time.Duration) *Fence {
	return &Fence{maxPause: maxPause, now: time.Now}
}

// Start records heartbeats while the process is the leader. When the fence is closed it returns an error, which stops the
// manager.
func (f *Fence) Start(ctx context.Context) error {
	ticker := time.NewTicker(f.maxPause / 10)
	defer ticker.Stop()
	for {
		if err := f.heartbeat(); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// heartbeat records that the process is not paused.
func (f *Fence) heartbeat() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.check()
	f.lastHeartbeat = f.now()
	return err
}

// check closes the fence if the last heartbeat is too old. The caller holds the lock. After a pause, the next heartbeat or the
// next request detects it, whichever is first.
func (f *Fence) check() error {
	now := f.now()
	// The monotonic clock stops while the machine is suspended, and the wall clock may be set back.
	pause := max(now.Sub(f.lastHeartbeat), now.Round(0).Sub(f.lastHeartbeat.Round(0)))
	if f.err == nil && !f.lastHeartbeat.IsZero() && pause > f.maxPause {
		f.err = fmt.Errorf("the process was paused for %s and may have lost leadership", pause.Round(time.Millisecond))
	}
	return f.err
}

// Wrap returns a transport that rejects POST, PATCH and DELETE requests once the fence is closed. Reads change nothing. A PUT,
// which updates the Lease, contains the resourceVersion that it replaces, so an outdated one fails with a conflict.
func (f *Fence) Wrap(next http.RoundTripper) http.RoundTripper {
	return fenced{fence: f, next: next}
}

type fenced struct {
	fence *Fence
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (f fenced) RoundTrip(request *http.Request) (*http.Response, error) {
	switch request.Method {
	case http.MethodPost, http.MethodPatch, http.MethodDelete:
		f.fence.mu.Lock()
		err := f.fence.check()
		f.fence.mu.Unlock()
		if err != nil {
			if request.Body != nil {
				_ = request.Body.Close() // a RoundTripper closes it, also on errors
			}
			return nil, err
		}
	default:
	}
	return f.next.RoundTrip(request)
}

// WrappedRoundTripper lets client-go unwrap the transport.
func (f fenced) WrappedRoundTripper() http.RoundTripper { return f.next }
