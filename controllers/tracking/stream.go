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

package tracking

import (
	"sync"
	"time"

	apiwatch "k8s.io/apimachinery/pkg/watch"
)

// stream is the state of the stream of events of a watch. A watch that has synced survives a broken stream, because the
// Reflector opens the next one where it ended. Without a working stream for [Watches.staleAfter], the watch is stale. A stream
// works once it has delivered an event, or was open for [Watches.trustAfter]: an API server or a proxy under load can open
// streams and end them at once.
type stream struct {
	open, works, stale bool
	openedAt           time.Time
	// workedAt is when the last working stream ended.
	workedAt time.Time
	// timer calls checkStream, until the watch has ended.
	timer *time.Timer
	ended bool
}

// observedStream calls closed when the Reflector has stopped reading the stream.
type observedStream struct {
	apiwatch.Interface
	once   sync.Once
	closed func()
}

// Stop implements apiwatch.Interface. The Reflector calls it when a stream has ended, too.
func (s *observedStream) Stop() {
	s.Interface.Stop()
	s.once.Do(s.closed)
}

// streamOpened records that a stream of events is open.
func (w *watch) streamOpened() {
	w.apply(func() []Event {
		w.stream.open, w.stream.openedAt = true, time.Now()
		if w.synced || w.stream.stale {
			w.checkAfter(w.watches.trustAfter)
			return nil
		}
		w.stream.works = true // a new watch does not wait
		return w.maybeSynced()
	})
}

// streamClosed records that the stream has ended.
func (w *watch) streamClosed() {
	w.apply(func() []Event {
		if w.stream.works {
			w.stream.workedAt = time.Now()
		}
		w.stream.open, w.stream.works = false, false
		if w.synced {
			w.checkAfter(w.watches.staleAfter - time.Since(w.stream.workedAt))
		}
		return nil
	})
}

// eventReceived records that the open stream works. The lock is held.
func (w *watch) eventReceived() []Event {
	if !w.stream.open {
		return nil
	}
	w.stream.works, w.stream.stale = true, false
	return w.maybeSynced()
}

// checkStream marks the watch as stale, or as synced again, when it is time to.
func (w *watch) checkStream() {
	w.apply(func() []Event {
		untrusted, unwatched := time.Since(w.stream.openedAt), time.Since(w.stream.workedAt)
		switch {
		case w.stream.works:
		case w.stream.open && untrusted >= w.watches.trustAfter:
			return w.eventReceived()
		case w.stream.open:
			w.checkAfter(w.watches.trustAfter - untrusted)
		case !w.synced:
		case unwatched >= w.watches.staleAfter:
			w.stream.stale, w.problem = true, Failing
			return w.down()
		default:
			w.checkAfter(w.watches.staleAfter - unwatched)
		}
		return nil
	})
}

// checkAfter lets checkStream run after the delay, and not at the time that was set before. The lock is held.
func (w *watch) checkAfter(delay time.Duration) {
	switch {
	case w.stream.ended:
	case w.stream.timer == nil:
		w.stream.timer = time.AfterFunc(delay, w.checkStream)
	default:
		w.stream.timer.Reset(delay)
	}
}

// endChecks stops the timer of a watch that has ended.
func (w *watch) endChecks() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stream.ended = true
	if w.stream.timer != nil {
		w.stream.timer.Stop()
	}
}
