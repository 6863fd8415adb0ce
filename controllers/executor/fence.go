package executor

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Fence keeps an operator from writing that stood still (paused, starved, on a machine that slept) for so long that another
// may lead by now: what it was about to write is out of date, and it does not know. A fence that has come down stays down;
// the process has to end.
type Fence struct {
	maxPause time.Duration
	now      func() time.Time

	mu            sync.Mutex
	lastHeartbeat time.Time
	err           error
}

// NewFence returns a fence that comes down when the process stood still for longer than patience.
func NewFence(patience time.Duration) *Fence {
	return &Fence{maxPause: patience, now: time.Now}
}

// Start feels the process's pulse for as long as it leads. It returns an error, which ends the manager, when the fence has
// come down.
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

// pulse says that the process goes on.
func (f *Fence) heartbeat() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.check()
	f.lastHeartbeat = f.now()
	return err
}

// check brings the fence down if the last pulse was too long ago; the lock is held. Whoever is the first to run after a
// standstill finds that out, be it the pulse or a request.
func (f *Fence) check() error {
	now := f.now()
	// The monotonic clock stops while the machine sleeps, and the other one may be set back.
	still := max(now.Sub(f.lastHeartbeat), now.Round(0).Sub(f.lastHeartbeat.Round(0)))
	if f.err == nil && !f.lastHeartbeat.IsZero() && still > f.maxPause {
		f.err = fmt.Errorf("the operator stood still for %s: another one may lead by now", still.Round(time.Millisecond))
	}
	return f.err
}

// Wrap refuses writes while the fence is down. Reads do no harm, and neither does a PUT, which is how leases are written: it
// names the resourceVersion that it replaces.
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
				_ = request.Body.Close() // it was not read
			}
			return nil, err
		}
	default:
	}
	return f.next.RoundTrip(request)
}

// WrappedRoundTripper lets client-go find the transport below.
func (f fenced) WrappedRoundTripper() http.RoundTripper { return f.next }
