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
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// CopyStore holds the copies of one kind, and the foreign objects that conflict with copies. It holds what the watches
// reported, overlaid with the responses to our own newer writes: the next reconcile sees these at once, and the watch
// events that they cause trigger no reconcile of the Replika that wrote.
type CopyStore struct {
	// onChange is called, without a lock held, for every change that a watch reported, and for the result of a write that another
	// Replika must know. The watch will report the same version, which is then no change.
	onChange func(storeEvent)

	mu sync.Mutex
	// objects are indexed by name, then by namespace, because the copies of one source usually share their name.
	objects map[string]map[string]*planner.Observed
	// names counts, for each Replika, the copies that it owns under each name.
	names map[types.NamespacedName]map[string]int
	// writing holds the keys for which one of our writes is in flight.
	writing map[Key]*pendingWrite
	// tombstones hold the last resourceVersions of the copies that we deleted or released. What a watch reports up to that
	// version is stale. A tombstone is pruned when the watch has reported a newer version.
	tombstones map[Key]string
	// removed holds, for each Replika, the copies that others removed and that no reconcile has processed yet. It has no
	// entry for a Replika that never called PopRemovedByOthers: on a standby, it would only grow.
	removed map[types.NamespacedName]map[Key]bool
}

// storeEvent is a change of one object.
type storeEvent struct {
	key Key
	// owners are the Replikas that the marks of the object name, before and after the change. For the result of a write, these are
	// the Replikas that do not know it.
	owners []types.NamespacedName
	// ofWrite is true for the result of a write, and false for a change that a watch reported.
	ofWrite bool
}

// pendingWrite is about one key for which at least one of our writes is in flight.
type pendingWrite struct {
	// writers counts the writes in flight. Two Replikas can write the same object at the same time.
	writers int
	// deferred are the updates from the watches, oldest first. They are applied when the last write has ended.
	deferred []func() *storeEvent
}

func newCopyStore(onChange func(storeEvent)) *CopyStore {
	return &CopyStore{
		onChange:   onChange,
		objects:    map[string]map[string]*planner.Observed{},
		names:      map[types.NamespacedName]map[string]int{},
		writing:    map[Key]*pendingWrite{},
		tombstones: map[Key]string{},
		removed:    map[types.NamespacedName]map[Key]bool{},
	}
}

// ListFor lists the objects that a plan for the Replika needs: all that have the name of its copies, whether it owns them or
// not, and the copies that it owns under other names.
func (s *CopyStore) ListFor(replika types.NamespacedName, name string) []*planner.Observed {
	s.mu.Lock()
	defer s.mu.Unlock()
	objects := make([]*planner.Observed, 0, len(s.objects[name]))
	for _, object := range s.objects[name] {
		objects = append(objects, object)
	}
	for other := range s.names[replika] {
		if other == name {
			continue
		}
		for _, object := range s.objects[other] {
			if object.OwnedBy(replika) {
				objects = append(objects, object)
			}
		}
	}
	return objects
}

// ListNamed lists the objects that have the name, whoever owns them.
func (s *CopyStore) ListNamed(name string) []*planner.Observed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.objects[name]))
}

// ListNamedIn lists the objects of [CopyStore.ListNamed] that are in the namespaces.
func (s *CopyStore) ListNamedIn(name string, namespaces []string) []*planner.Observed {
	s.mu.Lock()
	defer s.mu.Unlock()
	var objects []*planner.Observed
	for _, namespace := range namespaces {
		if object := s.objects[name][namespace]; object != nil {
			objects = append(objects, object)
		}
	}
	return objects
}

// ListUnder lists the copies that the Replika owns under the names that match.
func (s *CopyStore) ListUnder(replika types.NamespacedName, matches func(name string) bool) []*planner.Observed {
	s.mu.Lock()
	defer s.mu.Unlock()
	var objects []*planner.Observed
	for name := range s.names[replika] {
		if !matches(name) {
			continue
		}
		for _, object := range s.objects[name] {
			if object.OwnedBy(replika) {
				objects = append(objects, object)
			}
		}
	}
	return objects
}

// ListForIn lists the objects of [CopyStore.ListFor] that are in the namespaces.
func (s *CopyStore) ListForIn(replika types.NamespacedName, name string, namespaces []string) []*planner.Observed {
	s.mu.Lock()
	defer s.mu.Unlock()
	var objects []*planner.Observed
	for _, namespace := range namespaces {
		if object := s.objects[name][namespace]; object != nil {
			objects = append(objects, object)
		}
		for other := range s.names[replika] {
			if object := s.objects[other][namespace]; other != name && object != nil && object.OwnedBy(replika) {
				objects = append(objects, object)
			}
		}
	}
	return objects
}

// PopRemovedByOthers returns the copies of the Replika that others removed since the last call: they deleted the object, or
// removed its label or the marks that make it a copy of this Replika.
func (s *CopyStore) PopRemovedByOthers(replika types.NamespacedName) map[Key]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	removed := s.removed[replika]
	s.removed[replika] = map[Key]bool{}
	return removed
}

// forget deletes what is recorded for a Replika that no longer uses the store.
func (s *CopyStore) forget(replika types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.removed, replika)
}

// getExact returns the stored object if it has the UID and the resourceVersion of the given one, else nil.
func (s *CopyStore) getExact(object *unstructured.Unstructured) *planner.Observed {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored := s.get(Key{Namespace: object.GetNamespace(), Name: object.GetName()})
	if stored == nil || stored.MetadataOnly || stored.UID != object.GetUID() || stored.ResourceVersion != object.GetResourceVersion() {
		return nil
	}
	return stored
}

// keepAccepted adds the accepted digests of the stored copies to those of a list.
func (s *CopyStore) keepAccepted(copies []*planner.Observed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, copied := range copies {
		keepAccepted(copied, s.get(copied.Key()))
	}
}

// forgetForeign drops the foreign objects of the name: no watch reports any more when they change.
func (s *CopyStore) forgetForeign(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, object := range s.objects[name] {
		if !IsWatched(object) {
			s.put(object.Key(), nil)
		}
	}
}

// BeginWrite announces a write of the object by the Replika. From now on, what the watches report about it may be caused by this write, so
// it is deferred until the caller calls end with the result:
//   - an object: the copy, or any other object that exists there, as the API server returned it last;
//   - nil, known: no object exists there, or no longer one of ours;
//   - nil, not known: the request failed, and only the watch will report its effect.
func (s *CopyStore) BeginWrite(writer types.NamespacedName, key Key) (end func(result *planner.Observed, known bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing[key] == nil {
		s.writing[key] = &pendingWrite{}
	}
	s.writing[key].writers++
	before := s.get(key)
	return func(result *planner.Observed, known bool) {
		for _, event := range s.endWrite(writer, key, before, result, known) {
			s.onChange(event)
		}
	}
}

// endWrite stores the result of a write, then applies what was deferred if no other write of the key is in flight. It
// returns the changes that the writer does not know of.
func (s *CopyStore) endWrite(writer types.NamespacedName, key Key, before, result *planner.Observed, known bool) []storeEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	var events []storeEvent
	if known {
		stored := s.get(key)
		s.storeResult(key, before, result)
		if uninformed := uninformedOwners(writer, stored, s.get(key), result); len(uninformed) > 0 {
			events = append(events, storeEvent{key: key, owners: uninformed, ofWrite: true})
		}
	}
	pending := s.writing[key]
	if pending.writers--; pending.writers > 0 {
		return events
	}
	delete(s.writing, key)
	for _, update := range pending.deferred {
		if event := update(); event != nil {
			events = append(events, *event)
		}
	}
	return events
}

// uninformedOwners returns the Replikas that must learn what is stored after a write: the others that own the object before or
// after the write, if it changed, and the writer itself, if another result is newer than its own.
func uninformedOwners(writer types.NamespacedName, before, after, result *planner.Observed) []types.NamespacedName {
	var uninformed []types.NamespacedName
	if !equivalent(before, after) {
		uninformed = slices.DeleteFunc(owners(before, after), func(owner types.NamespacedName) bool { return owner == writer })
	}
	if (result != nil || after != nil && after.OwnedBy(writer)) && !equivalent(after, result) {
		uninformed = append(uninformed, writer)
	}
	return uninformed
}

// owners returns the Replikas that the marks of the objects name. An object can be nil.
func owners(objects ...*planner.Observed) []types.NamespacedName {
	var owners []types.NamespacedName
	for _, object := range objects {
		if object == nil {
			continue
		}
		if owner, marked := object.Owner(); marked {
			owners = append(owners, owner)
		}
	}
	return owners
}

// apply makes the update that a watch reported for the key, and calls onChange with the event that it returns. While one of
// our writes of the key is in flight, the update is deferred. It runs with the lock held, so it must not call out.
func (s *CopyStore) apply(key Key, update func() *storeEvent) {
	var event *storeEvent
	s.mu.Lock()
	if pending := s.writing[key]; pending != nil {
		pending.deferred = append(pending.deferred, update)
	} else {
		event = update()
	}
	s.mu.Unlock()
	if event != nil {
		s.onChange(*event)
	}
}

// set stores a copy that the watch of the copies reported.
func (s *CopyStore) set(object *planner.Observed) {
	key := object.Key()
	s.apply(key, func() *storeEvent {
		stale := s.isStale(key, object.ResourceVersion)
		s.pruneTombstone(key, object.ResourceVersion)
		if stale {
			return nil
		}
		return s.upsert(object)
	})
}

// remove removes a copy: the watch of the copies reported that it was deleted, or lost our label, at the resourceVersion.
func (s *CopyStore) remove(key Key, resourceVersion string) {
	s.apply(key, func() *storeEvent {
		s.pruneTombstone(key, resourceVersion)
		return s.removeIf(IsWatched, key, resourceVersion)
	})
}

// replace stores a list of all copies, read at the resourceVersion.
func (s *CopyStore) replace(list []*planner.Observed, resourceVersion string) {
	for _, object := range list {
		s.set(object)
	}
	for _, key := range s.keysNotIn(list) {
		s.remove(key, resourceVersion)
	}
}

// setForeign stores an object that the watch of conflicting objects reported, if it is a known foreign one. Objects with our
// label are left to the watch of the copies.
func (s *CopyStore) setForeign(object *planner.Observed) {
	key := object.Key()
	s.apply(key, func() *storeEvent {
		if stored := s.get(key); stored == nil || IsWatched(stored) || IsWatched(object) {
			return nil
		}
		return s.upsert(object)
	})
}

// removeForeign removes a foreign object: the watch of conflicting objects reported its deletion at the resourceVersion.
func (s *CopyStore) removeForeign(key Key, resourceVersion string) {
	s.apply(key, func() *storeEvent {
		return s.removeIf(isNotWatched, key, resourceVersion)
	})
}

// replaceForeign stores a list of all objects of the name, read at the resourceVersion.
func (s *CopyStore) replaceForeign(name string, list []*planner.Observed, resourceVersion string) {
	for _, object := range list {
		s.setForeign(object)
	}
	for _, key := range s.keysNotIn(list) {
		if key.Name == name {
			s.removeForeign(key, resourceVersion)
		}
	}
}

// keysNotIn lists the keys of all stored objects, tombstones and writes in flight that the list does not have.
func (s *CopyStore) keysNotIn(list []*planner.Observed) []Key {
	listed := make(map[Key]bool, len(list))
	for _, object := range list {
		listed[object.Key()] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := slices.AppendSeq(slices.Collect(maps.Keys(s.writing)), maps.Keys(s.tombstones))
	for name, byNamespace := range s.objects {
		for namespace := range byNamespace {
			keys = append(keys, Key{Namespace: namespace, Name: name})
		}
	}
	return slices.DeleteFunc(keys, func(key Key) bool { return listed[key] })
}

// pruneTombstones records that the watch of the copies has reported everything up to the resourceVersion.
func (s *CopyStore) pruneTombstones(resourceVersion string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.tombstones {
		if s.writing[key] == nil {
			s.pruneTombstone(key, resourceVersion)
		}
	}
}

// The methods below are called with the lock held.

// storeResult stores the result of a write that began when before was stored.
func (s *CopyStore) storeResult(key Key, before, result *planner.Observed) {
	stored := s.get(key)
	switch {
	case result != nil:
		// The response to a write that changed nothing has the stored resourceVersion, and the digests that it accepted.
		accepted := stored != nil && result.AcceptedDigests != "" && compare(result.ResourceVersion, stored.ResourceVersion) == 0
		if (newer(result, stored) || accepted) && !s.isStale(key, result.ResourceVersion) {
			s.put(key, result)
		}
	case before != nil && stored != nil:
		// An object that another write has created meanwhile is newer than the one that was deleted.
		if !newer(stored, before) {
			s.put(key, nil)
			s.tombstones[key] = before.ResourceVersion
		}
	}
}

// upsert stores an object that a watch reported, if it is newer than the stored one.
func (s *CopyStore) upsert(object *planner.Observed) *storeEvent {
	key := object.Key()
	before := s.get(key)
	if !newer(object, before) {
		return nil
	}
	keepAccepted(object, before)
	s.put(key, object)
	if before != nil && before.Origin.Value().Owner != object.Origin.Value().Owner {
		s.recordRemoval(before)
	}
	if equivalent(before, object) {
		return nil
	}
	return &storeEvent{key: key, owners: owners(before, object)}
}

// removeIf removes the object if it matches and is not newer than the resourceVersion. Only the watch that selects an object
// can report its removal, hence the match.
func (s *CopyStore) removeIf(matches func(*planner.Observed) bool, key Key, resourceVersion string) *storeEvent {
	before := s.get(key)
	if before == nil || !matches(before) || compare(resourceVersion, before.ResourceVersion) < 0 {
		return nil
	}
	s.put(key, nil)
	s.recordRemoval(before)
	return &storeEvent{key: key, owners: owners(before)}
}

// recordRemoval records that others removed a copy of its Replika.
func (s *CopyStore) recordRemoval(object *planner.Observed) {
	owner, _ := object.Owner()
	if removed := s.removed[owner]; removed != nil {
		removed[object.Key()] = true
	}
}

// isStale reports whether the resourceVersion is from before we deleted or released the object.
func (s *CopyStore) isStale(key Key, resourceVersion string) bool {
	version, found := s.tombstones[key]
	return found && compare(resourceVersion, version) <= 0
}

// pruneTombstone prunes the tombstone of the key if the resourceVersion is newer. An equal one is not enough: a list can
// still report the deleted object at exactly that version.
func (s *CopyStore) pruneTombstone(key Key, resourceVersion string) {
	if version, found := s.tombstones[key]; found && compare(resourceVersion, version) > 0 {
		delete(s.tombstones, key)
	}
}

func (s *CopyStore) get(key Key) *planner.Observed {
	return s.objects[key.Name][key.Namespace]
}

// put replaces the object at the key. A nil object deletes it.
func (s *CopyStore) put(key Key, object *planner.Observed) {
	if before := s.get(key); before != nil {
		s.count(before, -1)
		delete(s.objects[key.Name], key.Namespace)
		if len(s.objects[key.Name]) == 0 {
			delete(s.objects, key.Name)
		}
	}
	if object == nil {
		return
	}
	if s.objects[key.Name] == nil {
		s.objects[key.Name] = map[string]*planner.Observed{}
	}
	s.objects[key.Name][key.Namespace] = object
	s.count(object, 1)
}

// count adds delta to the number of copies that the owner of the object has under the object's name.
func (s *CopyStore) count(object *planner.Observed, delta int) {
	owner, marked := object.Owner()
	if !marked {
		return
	}
	if s.names[owner] == nil {
		s.names[owner] = map[string]int{}
	}
	s.names[owner][object.Name] += delta
	maps.DeleteFunc(s.names[owner], func(_ string, copies int) bool { return copies == 0 })
	if len(s.names[owner]) == 0 {
		delete(s.names, owner)
	}
}

// IsWatched reports whether the object has the label by which copies are watched. Any other object is foreign to that watch:
// only a watch of conflicting objects reports when it changes.
func IsWatched(object *planner.Observed) bool {
	return object.Origin.Value().CreatedBy == v1alpha1.CreatedByValue
}

func isNotWatched(object *planner.Observed) bool { return !IsWatched(object) }

// equivalent reports whether a plan would treat both objects alike. Changes of other fields trigger no reconcile.
func equivalent(before, after *planner.Observed) bool {
	if before == nil || after == nil {
		return before == after
	}
	a, b := *before, *after
	a.ResourceVersion, b.ResourceVersion = "", ""
	return a == b
}

func newer(a, b *planner.Observed) bool {
	return b == nil || compare(a.ResourceVersion, b.ResourceVersion) > 0
}

// compare orders two resourceVersions of one resource. Where an API server's versions cannot be compared, what is received
// later counts as newer.
func compare(a, b string) int {
	order, err := resourceversion.CompareResourceVersion(a, b)
	if err != nil {
		return 1
	}
	return order
}
