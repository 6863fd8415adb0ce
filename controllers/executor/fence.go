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
	"strings"
	"sync"
	"time"
)

// Fence stops a leader from writing when another instance may have become the leader, so that what it is about to write may be
// outdated: its process was paused (by SIGSTOP, CPU starvation or a suspended machine), or its Lease was not renewed for too
// long. A closed fence stays closed, and the process must exit.
type Fence struct {
	limits FenceLimits
	now    func() time.Time

	mu sync.Mutex
	// lastHeartbeat is zero until the process is the leader.
	lastHeartbeat time.Time
	// renewedAt is when the last request was sent that renewed the Lease; zero before the first.
	renewedAt time.Time
	err       error
}

// FenceLimits decide when a fence closes.
type FenceLimits struct {
	// MaxPause is the longest pause of the process.
	MaxPause time.Duration
	// LeaseName is the name of the Lease, and MaxLeaseAge the longest time since it was last renewed.
	LeaseName   string
	MaxLeaseAge time.Duration
}

// NewFence returns a fence that closes when a limit is exceeded.
func NewFence(limits FenceLimits) *Fence {
	return &Fence{limits: limits, now: time.Now}
}

// Start records heartbeats while the process is the leader. When the fence is closed it returns an error, which stops the
// manager.
func (f *Fence) Start(ctx context.Context) error {
	ticker := time.NewTicker(f.limits.MaxPause / 10)
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

// check closes the fence if the last heartbeat or the last renewal is too old. The caller holds the lock. After a pause, the
// next heartbeat or the next request detects it, whichever is first.
func (f *Fence) check() error {
	if f.err != nil || f.lastHeartbeat.IsZero() {
		return f.err
	}
	now := f.now()
	if pause := age(now, f.lastHeartbeat); pause > f.limits.MaxPause {
		f.err = fmt.Errorf("the process was paused for %s and may have lost leadership", pause.Round(time.Millisecond))
	} else if lease := age(now, f.renewedAt); !f.renewedAt.IsZero() && lease > f.limits.MaxLeaseAge {
		f.err = fmt.Errorf("the Lease was not renewed for %s, so leadership may be lost", lease.Round(time.Millisecond))
	}
	return f.err
}

// age returns the time since then. The monotonic clock stops while the machine is suspended, and the wall clock may be set
// back, so the longer one of both counts.
func age(now, then time.Time) time.Duration {
	return max(now.Sub(then), now.Round(0).Sub(then.Round(0)))
}

// allow returns an error if a write must not be sent, else the time at which it is sent.
func (f *Fence) allow() (time.Time, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now(), f.check()
}

// renewed records that a request that was sent then has renewed the Lease.
func (f *Fence) renewed(sentAt time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.renewedAt = sentAt
}

// Wrap returns a transport that rejects every write once the fence is closed. Reads change nothing. The Lease is not written
// either: to release it, client-go reads it again, and would replace the holder that it finds.
func (f *Fence) Wrap(next http.RoundTripper) http.RoundTripper {
	return fenced{fence: f, next: next}
}

type fenced struct {
	fence *Fence
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (f fenced) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method == http.MethodGet || request.Method == http.MethodHead {
		return f.next.RoundTrip(request)
	}
	sentAt, err := f.fence.allow()
	if err != nil {
		if request.Body != nil {
			_ = request.Body.Close() // a RoundTripper closes it, also on errors
		}
		return nil, err
	}
	response, err := f.next.RoundTrip(request)
	if err == nil && response.StatusCode == http.StatusOK && f.fence.updatesLease(request) {
		f.fence.renewed(sentAt)
	}
	return response, err
}

// updatesLease reports whether the request updates the Lease. Only the leader, or an instance that becomes it, does.
func (f *Fence) updatesLease(request *http.Request) bool {
	path := request.URL.Path
	return request.Method == http.MethodPut &&
		strings.Contains(path, "/apis/coordination.k8s.io/") && strings.HasSuffix(path, "/leases/"+f.limits.LeaseName)
}

// WrappedRoundTripper lets client-go unwrap the transport.
func (f fenced) WrappedRoundTripper() http.RoundTripper { return f.next }
