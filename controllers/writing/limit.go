package writing

import (
	"context"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Limit bounds how many requests are under way at once, over all Replikas, and shares the places fairly: when one is
// free, the Replikas that wait take turns, however many requests each of them has waiting.
type Limit struct {
	mu    sync.Mutex
	free  int
	turns []types.NamespacedName
	lines map[types.NamespacedName][]chan struct{}
}

// NewLimit allows so many requests at once; at least one.
func NewLimit(places int) *Limit {
	return &Limit{free: max(places, 1), lines: map[types.NamespacedName][]chan struct{}{}}
}

// Acquire waits for a place on behalf of the Replika and returns what gives the place back. It fails when the context ends.
func (l *Limit) Acquire(ctx context.Context, replika types.NamespacedName) (release func(), err error) {
	l.mu.Lock()
	if l.free > 0 {
		l.free--
		l.mu.Unlock()
		return l.release, nil
	}
	turn := make(chan struct{})
	if _, waiting := l.lines[replika]; !waiting {
		l.turns = append(l.turns, replika)
	}
	l.lines[replika] = append(l.lines[replika], turn)
	l.mu.Unlock()

	select {
	case <-turn:
		return l.release, nil
	case <-ctx.Done():
		l.leave(replika, turn)
		return nil, ctx.Err()
	}
}

// release hands the place to the next Replika in turn, or keeps it free.
func (l *Limit) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.turns) == 0 {
		l.free++
		return
	}
	next := l.turns[0]
	l.turns = l.turns[1:]
	line := l.lines[next]
	close(line[0])
	if len(line) == 1 {
		delete(l.lines, next)
		return
	}
	l.lines[next] = line[1:]
	l.turns = append(l.turns, next)
}

// leave gives up a place in the line, or passes on the place that was given in the same moment.
func (l *Limit) leave(replika types.NamespacedName, turn chan struct{}) {
	l.mu.Lock()
	at := slices.Index(l.lines[replika], turn)
	if at < 0 {
		l.mu.Unlock()
		l.release()
		return
	}
	l.lines[replika] = slices.Delete(l.lines[replika], at, at+1)
	if len(l.lines[replika]) == 0 {
		delete(l.lines, replika)
		l.turns = slices.DeleteFunc(l.turns, func(name types.NamespacedName) bool { return name == replika })
	}
	l.mu.Unlock()
}
