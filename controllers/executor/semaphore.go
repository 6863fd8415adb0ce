package executor

import (
	"context"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Limit bounds how many requests are under way at once, over all Replikas, and shares the places fairly: when one is
// free, the Replikas that wait take turns, however many requests each of them has waiting.
type FairSemaphore struct {
	mu      sync.Mutex
	free    int
	queue   []types.NamespacedName
	waiters map[types.NamespacedName][]chan struct{}
}

// NewLimit allows so many requests at once; at least one.
func NewFairSemaphore(places int) *FairSemaphore {
	return &FairSemaphore{free: max(places, 1), waiters: map[types.NamespacedName][]chan struct{}{}}
}

// Acquire waits for a place on behalf of the Replika and returns what gives the place back. It fails when the context ends.
func (l *FairSemaphore) Acquire(ctx context.Context, replika types.NamespacedName) (release func(), err error) {
	l.mu.Lock()
	if l.free > 0 {
		l.free--
		l.mu.Unlock()
		return l.release, nil
	}
	turn := make(chan struct{})
	if _, waiting := l.waiters[replika]; !waiting {
		l.queue = append(l.queue, replika)
	}
	l.waiters[replika] = append(l.waiters[replika], turn)
	l.mu.Unlock()

	select {
	case <-turn:
		return l.release, nil
	case <-ctx.Done():
		l.cancel(replika, turn)
		return nil, ctx.Err()
	}
}

// release hands the place to the next Replika in turn, or keeps it free.
func (l *FairSemaphore) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		l.free++
		return
	}
	next := l.queue[0]
	l.queue = l.queue[1:]
	line := l.waiters[next]
	close(line[0])
	if len(line) == 1 {
		delete(l.waiters, next)
		return
	}
	l.waiters[next] = line[1:]
	l.queue = append(l.queue, next)
}

// leave gives up a place in the line, or passes on the place that was given in the same moment.
func (l *FairSemaphore) cancel(replika types.NamespacedName, turn chan struct{}) {
	l.mu.Lock()
	at := slices.Index(l.waiters[replika], turn)
	if at < 0 {
		l.mu.Unlock()
		l.release()
		return
	}
	l.waiters[replika] = slices.Delete(l.waiters[replika], at, at+1)
	if len(l.waiters[replika]) == 0 {
		delete(l.waiters, replika)
		l.queue = slices.DeleteFunc(l.queue, func(name types.NamespacedName) bool { return name == replika })
	}
	l.mu.Unlock()
}
