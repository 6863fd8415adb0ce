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
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/prosimcorp/replika/controllers/planner"
)

// The property test runs the watches of sources against a simulated API server. Objects of one namespace change at once, and each
// watch that runs lists and reports the changes in order and at any later time, or is refused. Four Replikas begin and cease to
// use single sources and all of them by a label, so that the sources share a watch and cease to. A Replika reads what it uses
// after its wait for the watch, as reconciles do, and then only what events are about.

// TestWatches_EveryChangeOfASourceIsReported checks that in the end, each Replika has read the last state of all that it uses, and
// that switches alone cause no event.
func TestWatches_EveryChangeOfASourceIsReported(t *testing.T) {
	for range rounds / 4 {
		rapid.Check(t, simulateSharing)
	}
}

func simulateSharing(t *rapid.T) {
	s := newSharingSimulation(t)
	actions := map[string]func(*rapid.T){
		"a Replika uses other sources": s.setUser,
		"an object is written":         s.writeObject,
		"an object is deleted":         s.deleteObject,
		"a watch lists":                func(*rapid.T) { s.drawStream().list(s) },
		"a watch opens its stream":     func(*rapid.T) { s.drawStream().open() },
		"a watch reports":              func(*rapid.T) { s.drawStream().report(s) },
		"":                             func(*rapid.T) { s.endWaits() },
	}
	if s.faults {
		actions["a watch is refused"] = func(*rapid.T) { s.drawStream().refuse() }
		actions["a request fails"] = func(*rapid.T) { s.drawStream().watch.failed(apierrors.NewInternalError(errors.New("no"))) }
		actions["a wait times out"] = s.timeOut
	}
	t.Repeat(actions)
	s.catchUp()
	s.checkWatches()
	s.checkKnown()
	for replika := range s.replikas {
		s.Set(simulatedUser(replika))
	}
	if len(s.active)+len(s.sources)+len(s.needed)+len(s.users) != 0 {
		t.Errorf("left: %v, %v, %v, %v", s.active, s.sources, s.needed, s.users)
	}
}

// sharingSimulation is a simulated API server with ConfigMaps of one namespace, and Replikas that use them.
type sharingSimulation struct {
	*rapid.T
	*Watches
	// faults is whether requests fail at times.
	faults bool
	// history has all states of objects, oldest first: the version of each is its index plus one.
	history []simulatedChange
	// streams are those of watches that run, and of some that were stopped.
	streams  []*simulatedStream
	replikas map[types.NamespacedName]*simulatedReplika
}

// simulatedChange is a state of an object from a version on.
type simulatedChange struct {
	name   string
	exists bool
	labels map[string]string
}

// simulatedStream is the connection of a watch.
type simulatedStream struct {
	watch *watch
	// at is the version up to which it has reported.
	at      int
	listed  bool
	stopped bool
}

// simulatedReplika is what a Replika has read of the keys that it uses.
type simulatedReplika struct {
	keys    []WatchKey
	waiting map[WatchKey]bool
	// known has, of a source, its version by its name and, of all sources, the versions of those that the Replika selects.
	known map[WatchKey]map[string]int
}

// initialObjects is the number of objects that exist at first, of the first names.
const initialObjects = 2

var (
	sourceNames = []string{"a", "b", "c", "d", "e", "f"}
	allSources  = SourcesIn(configMaps, "shop")
	// selected is how Replikas select among all sources.
	selected = labels.SelectorFromSet(labels.Set{"team": "a"})
)

func simulatedUser(replika types.NamespacedName) User {
	return User{Replika: replika, Purpose: "copies"}
}

func newSharingSimulation(t *rapid.T) *sharingSimulation {
	s := &sharingSimulation{T: t, faults: rapid.Bool().Draw(t, "faults"), replikas: map[types.NamespacedName]*simulatedReplika{}}
	s.Watches = NewWatches(nil, nil, nil, planner.NewCleaner(), func(_ context.Context, event Event, users []types.NamespacedName) {
		s.handle(event, users)
	})
	s.shareAbove, s.shareAtLeast = 3, 2
	s.startWatch = func(watch *watch) {
		stream := &simulatedStream{watch: watch}
		watch.notify = func(event Event) { s.sendEvent(t.Context(), event) }
		watch.stop = func() { stream.stopped = true }
		s.streams = append(s.streams, stream)
	}
	for i := range 4 {
		s.replikas[types.NamespacedName{Namespace: "ops", Name: fmt.Sprint(i)}] = &simulatedReplika{waiting: map[WatchKey]bool{}}
	}
	for _, name := range sourceNames[:initialObjects] {
		s.history = append(s.history, simulatedChange{name: name, exists: true, labels: map[string]string{"team": "a"}})
	}
	return s
}

// stateAt returns the objects that exist at the version, with their own versions.
func (s *sharingSimulation) stateAt(version int) map[string]int {
	state := map[string]int{}
	for i, change := range s.history[:version] {
		delete(state, change.name)
		if change.exists {
			state[change.name] = i + 1
		}
	}
	return state
}

// object returns an object as the watch receives it.
func (s *sharingSimulation) object(version int) *metav1.PartialObjectMetadata {
	change := s.history[version-1]
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: change.name, ResourceVersion: strconv.Itoa(version), Labels: change.labels,
	}}
}

func (s *sharingSimulation) writeObject(*rapid.T) {
	s.history = append(s.history, simulatedChange{
		name: rapid.SampledFrom(sourceNames).Draw(s.T, "name"), exists: true,
		labels: rapid.SampledFrom([]map[string]string{nil, {"team": "a"}, {"team": "b", "x": ""}}).Draw(s.T, "labels"),
	})
}

func (s *sharingSimulation) deleteObject(*rapid.T) {
	existing := slices.Sorted(maps.Keys(s.stateAt(len(s.history))))
	if len(existing) == 0 {
		s.Skip("nothing exists")
	}
	name := rapid.SampledFrom(existing).Draw(s.T, "name")
	s.history = append(s.history, simulatedChange{name: name, labels: s.history[s.stateAt(len(s.history))[name]-1].labels})
}

func (s *sharingSimulation) setUser(*rapid.T) {
	name := rapid.SampledFrom(slices.SortedFunc(maps.Keys(s.replikas), compareKeys)).Draw(s.T, "replika")
	var keys []WatchKey
	for _, source := range rapid.SliceOfNDistinct(rapid.SampledFrom(sourceNames), 0, 3, rapid.ID).Draw(s.T, "sources") {
		keys = append(keys, SourceAt(configMaps, Key{Namespace: "shop", Name: source}))
	}
	if rapid.IntRange(0, 9).Draw(s.T, "all") == 0 {
		keys = append(keys, allSources)
	}
	replika := s.replikas[name]
	before := replika.keys
	replika.keys = keys
	known := map[WatchKey]map[string]int{}
	waiting := map[WatchKey]bool{}
	for _, key := range keys {
		known[key], waiting[key] = replika.known[key], replika.waiting[key] || !slices.Contains(before, key)
	}
	replika.known, replika.waiting = known, waiting
	s.Set(simulatedUser(name), keys...)
}

// endWaits has the Replikas whose wait for a watch has ended read what they waited for.
func (s *sharingSimulation) endWaits() {
	for _, replika := range s.replikas {
		for key := range replika.waiting {
			watch, _ := s.serving(key)
			select {
			case <-watch.firstSyncOrFailure:
				delete(replika.waiting, key)
				s.read(replika, key)
			default:
			}
		}
	}
}

func (s *sharingSimulation) timeOut(*rapid.T) {
	for _, name := range slices.SortedFunc(maps.Keys(s.replikas), compareKeys) {
		replika := s.replikas[name]
		for _, key := range replika.keys {
			if !replika.waiting[key] {
				continue
			}
			delete(replika.waiting, key)
			s.read(replika, key)
			watch, _ := s.serving(key)
			watch.waitTimedOut()
			return
		}
	}
	s.Skip("no Replika waits")
}

// read has the Replika read the present state.
func (s *sharingSimulation) read(replika *simulatedReplika, key WatchKey) {
	replika.known[key] = s.selectedBy(key)
}

// selectedBy returns the versions of the objects that a user of the key needs.
func (s *sharingSimulation) selectedBy(key WatchKey) map[string]int {
	state := s.stateAt(len(s.history))
	maps.DeleteFunc(state, func(name string, version int) bool {
		if key.Type == Source {
			return name != key.Name
		}
		return !s.isSelected(s.history[version-1])
	})
	return state
}

// handle has the Replikas that an event is for read what it is about.
func (s *sharingSimulation) handle(event Event, users []types.NamespacedName) {
	if !s.faults && event.Key == (Key{}) {
		s.Errorf("an event about a watch that was never down: %v", event)
	}
	if event.Watch.Type == Source && !s.faults && s.isUnchanged(event.Key.Name) {
		s.Errorf("an event about an object that never changed: %v", event)
	}
	if event.Watch.Type == Sources && event.Key != (Key{}) && !slices.ContainsFunc(event.Labels, func(set labels.Set) bool { return selected.Matches(set) }) {
		return
	}
	for _, user := range users {
		s.read(s.replikas[user], event.Watch)
	}
}

// isUnchanged reports whether the object existed from the start and was never changed.
func (s *sharingSimulation) isUnchanged(name string) bool {
	return slices.Contains(sourceNames[:initialObjects], name) &&
		!slices.ContainsFunc(s.history[initialObjects:], func(change simulatedChange) bool { return change.name == name })
}

// drawStream draws a stream. One that was stopped can be drawn once: a Reflector may be at work while it is stopped.
func (s *sharingSimulation) drawStream() *simulatedStream {
	if len(s.streams) == 0 {
		s.Skip("no watch runs")
	}
	i := rapid.IntRange(0, len(s.streams)-1).Draw(s.T, "stream")
	stream := s.streams[i]
	if stream.stopped {
		s.streams = slices.Delete(s.streams, i, i+1)
	}
	return stream
}

// list has the watch receive a list, of a version that may be old.
func (r *simulatedStream) list(s *sharingSimulation) {
	at := rapid.IntRange(max(r.at, initialObjects), len(s.history)).Draw(s.T, "version of the list")
	for r.watch.versions != nil && s.hides(r.at, at) {
		at--
	}
	r.at = at
	var items []any
	for name, version := range s.stateAt(r.at) {
		if r.watch.key.Type == Sources || name == r.watch.key.Name {
			items = append(items, s.object(version))
		}
	}
	r.listed = true
	if err := r.watch.Replace(items, strconv.Itoa(r.at)); err != nil {
		s.Fatal(err)
	}
}

// hides reports whether a list at the later version, after one at the earlier, does not show that an object existed, or that the
// Replikas selected it, in between. No watch learns that: the Replikas read what they use at the next interval.
func (s *sharingSimulation) hides(from, to int) bool {
	before, after := s.stateAt(from), s.stateAt(to)
	return slices.ContainsFunc(s.history[from:to], func(change simulatedChange) bool {
		versions := []int{before[change.name], after[change.name]}
		return !slices.ContainsFunc(versions, func(version int) bool { return version != 0 }) ||
			s.isSelected(change) && !slices.ContainsFunc(versions, func(version int) bool {
				return version != 0 && s.isSelected(s.history[version-1])
			})
	})
}

func (s *sharingSimulation) isSelected(change simulatedChange) bool {
	return selected.Matches(labels.Set(change.labels))
}

func (r *simulatedStream) open() { r.watch.streamOpened() }

// report has the watch receive the next change, if its stream is open.
func (r *simulatedStream) report(s *sharingSimulation) {
	if !r.listed || !r.watch.stream.open {
		return
	}
	for r.at < len(s.history) {
		r.at++
		change := s.history[r.at-1]
		if r.watch.key.Type != Sources && change.name != r.watch.key.Name {
			continue
		}
		receive := r.watch.Update
		if !change.exists {
			receive = r.watch.Delete
		}
		if err := receive(s.object(r.at)); err != nil {
			s.Fatal(err)
		}
		return
	}
}

func (r *simulatedStream) refuse() {
	r.listed = false
	r.watch.failed(apierrors.NewForbidden(schema.GroupResource{}, "", nil))
}

// catchUp has all watches work and report everything, those too that this starts.
func (s *sharingSimulation) catchUp() {
	for i := 0; i < len(s.streams); i++ {
		stream := s.streams[i]
		if stream.stopped {
			continue
		}
		if !stream.watch.isSynced() || !stream.listed {
			stream.list(s)
			stream.open()
		}
		for stream.at < len(s.history) {
			stream.report(s)
		}
	}
	s.endWaits()
}

// checkWatches checks that the sources share a watch if they are many or all are used, and do not if they are few.
func (s *sharingSimulation) checkWatches() {
	used := map[WatchKey]bool{}
	for _, replika := range s.replikas {
		for _, key := range replika.keys {
			used[key] = true
		}
	}
	_, shared := s.active[allSources]
	switch {
	case used[allSources] || len(used) > s.shareAbove:
		if len(s.active) != 1 || !shared {
			s.Errorf("%d sources do not share a watch: %v", len(used), s.active)
		}
	case len(used) < s.shareAtLeast:
		if len(s.active) != len(used) || shared {
			s.Errorf("%d sources have the watches %v", len(used), s.active)
		}
	}
}

// checkKnown checks that each Replika has read the last state of what it uses.
func (s *sharingSimulation) checkKnown() {
	for name, replika := range s.replikas {
		if len(replika.waiting) != 0 {
			s.Errorf("%s still waits for %v", name, replika.waiting)
		}
		for _, key := range replika.keys {
			if diff := cmp.Diff(s.selectedBy(key), replika.known[key]); diff != "" {
				s.Errorf("%s has read, of %s (-want +got):\n%s", name, key, diff)
			}
			if state := s.State(key); state != Synced {
				s.Errorf("the state of %s is %s", key, state)
			}
		}
	}
}
