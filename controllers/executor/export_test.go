package executor

import "time"

// NewFenceWithClock is NewFence with another clock.
func NewFenceWithClock(patience time.Duration, now func() time.Time) *Fence {
	fence := NewFence(patience)
	fence.now = now
	return fence
}

// Pulse is what Start does again and again.
func (f *Fence) Pulse() error { return f.heartbeat() }
