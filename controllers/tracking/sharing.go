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

// Each source has a watch of its own as long as there are few. A stream for each of many costs the API server and the operator
// more than one stream of the metadata of all objects in the namespace, so past a number of sources one such watch serves them
// all. It also serves users of [SourcesIn], and then all sources of the namespace, however few.
//
// A switch loses no event. The watch that is to serve a source starts beside the one that does, which goes on until the other has
// synced; see handOver. If the shared watch is refused, fails at the start or becomes stale, each source has its own watch
// again, until the shared one syncs: an operator may be allowed to watch objects of some names only.

const (
	// defaultShareAbove is the number of sources of one resource and namespace above which they share a watch.
	defaultShareAbove = 16
	// defaultShareAtLeast is the number of sources below which they no longer share a watch.
	defaultShareAtLeast = 8
)

// namespaceSources are the sources of one resource in one namespace that have users.
type namespaceSources struct {
	// key is that of the shared watch.
	key  WatchKey
	used map[WatchKey]struct{}
	// many is true from when there were enough sources to share a watch until there are too few.
	many bool
	// share is true while a shared watch should serve the sources.
	share bool
	// moved is closed when another watch serves some of the sources, and replaced.
	moved chan struct{}
}

// sourcesOf returns the sources that the key is one of or stands for; nil if there are none. The lock is held.
func (w *Watches) sourcesOf(key WatchKey) *namespaceSources {
	return w.sources[SourcesIn(key.Resource, key.Namespace)]
}

// addSource has a watch serve the key, which has its first user. The lock is held.
func (w *Watches) addSource(key WatchKey) []func() {
	sources := w.sourcesOf(key)
	if sources == nil {
		sources = &namespaceSources{
			key: SourcesIn(key.Resource, key.Namespace), used: map[WatchKey]struct{}{}, moved: make(chan struct{}),
		}
		w.sources[sources.key] = sources
	}
	if key.Type == Source {
		sources.used[key] = struct{}{}
	}
	return w.arrange(sources, key)
}

// removeSource ends the events of the key, which has lost its last user. The lock is held.
func (w *Watches) removeSource(key WatchKey) []func() {
	sources := w.sourcesOf(key)
	if key.Type == Source {
		delete(sources.used, key)
		w.end(key)
		if shared := w.active[sources.key]; shared != nil {
			shared.setServes(key, false)
		}
	}
	send := w.arrange(sources, key)
	if len(sources.used) == 0 && len(w.needed[sources.key]) == 0 {
		delete(w.sources, sources.key)
	}
	return send
}

// availabilityChanged has other watches serve the sources, if those that do or should have become available or unavailable.
func (w *Watches) availabilityChanged(key WatchKey) {
	if key.Type != Source && key.Type != Sources {
		return
	}
	w.mu.Lock()
	var send []func()
	if sources := w.sourcesOf(key); sources != nil {
		send = w.arrange(sources, key)
	}
	w.mu.Unlock()
	sendAll(send)
}

// arrange starts and stops watches and chooses which one serves each source, after a change of the key: its users, or the
// availability of its watch. It depends on nothing but the present state, so it can be called at any time. It returns what
// must be called without the lock, which is held, to send events.
func (w *Watches) arrange(sources *namespaceSources, changed WatchKey) []func() {
	if w.stopped {
		return nil
	}
	direct := len(w.needed[sources.key]) > 0
	before := sources.share
	sources.share = sources.shouldShare(direct, w.shareAbove, w.shareAtLeast)
	if sources.share && w.active[sources.key] == nil {
		w.run(sources.key)
	}
	if shared := w.active[sources.key]; shared != nil {
		shared.setServes(sources.key, direct)
	}

	// A change of one source concerns all of them only if it is the one by which they are many, or few.
	concerned := sources.used
	if changed.Type == Source && sources.share == before {
		concerned = map[WatchKey]struct{}{changed: {}}
	}
	var send []func()
	for source := range concerned {
		if _, used := sources.used[source]; used {
			send = append(send, w.arrangeSource(sources, source)...)
		}
	}
	if shared := w.active[sources.key]; shared != nil && !sources.share && !shared.servesAny() {
		w.end(sources.key)
	}
	return send
}

func (s *namespaceSources) shouldShare(direct bool, above, atLeast int) bool {
	switch {
	case len(s.used) > above:
		s.many = true
	case len(s.used) < atLeast:
		s.many = false
	}
	return s.many || direct
}

// arrangeSource chooses the watch that serves one source. The lock is held.
func (w *Watches) arrangeSource(sources *namespaceSources, source WatchKey) []func() {
	shared, single := w.active[sources.key], w.active[source]
	usable := unavailable
	if sources.share {
		usable = shared.currentAvailability()
	}
	switch {
	case usable == available && single != nil:
		send := w.move(sources, source, single, shared)
		w.end(source)
		return send
	case usable != unavailable && single == nil:
		shared.setServes(source, true)
		return nil
	case usable != unavailable: // the single watch serves until the shared one has synced
		return nil
	case single == nil:
		single = w.run(source)
	}
	if shared == nil || !shared.isServing(source) {
		single.setServes(source, true)
		return nil
	}
	if single.isSynced() || !shared.isSynced() {
		return w.move(sources, source, shared, single)
	}
	return nil
}

// move hands the source over, and has those that wait for the first watch wait for the other. The lock is held.
func (w *Watches) move(sources *namespaceSources, source WatchKey, from, to *watch) []func() {
	close(sources.moved)
	sources.moved = make(chan struct{})
	var send []func()
	notify := to.notify
	for _, event := range handOver(source, from, to) {
		send = append(send, func() { notify(event) })
	}
	return send
}

func sendAll(send []func()) {
	for _, send := range send {
		send()
	}
}
