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
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/prosimcorp/replika/controllers/planner"
)

// The property test runs the store against a simulated API server. Objects change at once, but the two watches (of the copies by
// label, and of all objects of the name) report each change in order and at any later time, or by a list after they broke. Two
// Replikas and other clients write in between, in any order that rapid draws.

// rounds of a hundred simulations each: the rarest defects that they found took thousands.
const rounds = 40

// TestCopyStore_ConvergesToAPIServer checks that the store has what the API server has once everything was reported, that every
// Replika learns what the store has of its copies, and that a Replika gets no event of what it wrote alone.
func TestCopyStore_ConvergesToAPIServer(t *testing.T) {
	for range rounds {
		rapid.Check(t, simulate)
	}
}

func simulate(t *rapid.T) {
	s := &simulation{
		T: t, env: newEnv(t), version: 1, objects: map[types.NamespacedName]*planner.Observed{},
		changedByOthers: map[types.NamespacedName]bool{}, writers: map[types.NamespacedName]map[types.NamespacedName]bool{},
		views: map[types.NamespacedName]map[types.NamespacedName]view{replika: {}, rival: {}},
	}
	s.copyChanges = s.connect(s.copies, IsWatched)
	s.allChanges = s.connect(s.conflicting, func(*planner.Observed) bool { return true })
	t.Repeat(map[string]func(*rapid.T){
		"others create":                    s.othersCreate,
		"others edit content":              s.othersEditContent,
		"others edit metadata":             s.othersEditMetadata,
		"others delete":                    s.othersDelete,
		"a write begins":                   s.begin,
		"a write is executed":              s.executeAny,
		"a write ends":                     s.endAny,
		"the watch of copies reports":      func(*rapid.T) { s.reportNext(&s.copyChanges) },
		"the watch of all objects reports": func(*rapid.T) { s.reportNext(&s.allChanges) },
		"the watch of copies relists":      func(*rapid.T) { s.relist(&s.copyChanges) },
		"the watch of all objects relists": func(*rapid.T) { s.relist(&s.allChanges) },
		"":                                 func(*rapid.T) { s.checkEvents() },
	})
	for len(s.writes) > 0 {
		write := s.writes[0]
		if !write.executed {
			s.execute(write)
		}
		s.end(write)
	}
	for len(s.copyChanges.changes) > 0 {
		s.reportNext(&s.copyChanges)
	}
	for len(s.allChanges.changes) > 0 {
		s.reportNext(&s.allChanges)
	}
	if err := s.copies.Bookmark(strconv.Itoa(s.version + 1)); err != nil {
		t.Fatal(err)
	}
	s.checkEvents()
	s.checkStore()
}

// simulation is a simulated API server with objects of one name, and the watches and writes that use it.
type simulation struct {
	*rapid.T
	*env
	version int
	objects map[types.NamespacedName]*planner.Observed
	// changedByOthers are the keys that other clients changed, or where the result of a write is not known.
	changedByOthers map[types.NamespacedName]bool
	// writers are the Replikas that wrote a key.
	writers map[types.NamespacedName]map[types.NamespacedName]bool
	// views has what each Replika knows of each key.
	views map[types.NamespacedName]map[types.NamespacedName]view
	// copyChanges and allChanges are not reported yet.
	copyChanges, allChanges changeQueue
	// writes are in flight.
	writes []*write
}

// view is what a Replika knows of an object: its state when the Replika last planned or wrote it. After a write that failed, the
// Replika plans the object every time.
type view struct {
	object        *planner.Observed
	plannedAlways bool
}

// changeQueue holds the changes that a watch has not reported yet.
type changeQueue struct {
	watch   *watch
	selects func(*planner.Observed) bool
	changes []change
	// reported is the version up to which the watch has reported.
	reported int
}

// change is one change of an object. before and after are nil where the watch does not select the object.
type change struct {
	version       int
	before, after *planner.Observed
}

// write is a write of one of the Replikas, in flight.
type write struct {
	key     types.NamespacedName
	replika types.NamespacedName
	// planned is the object as the plan got it from the store.
	planned  *planner.Observed
	action   planner.ActionType
	end      func(*planner.Observed, bool)
	executed bool
	result   *planner.Observed
	known    bool
}

// connect starts a watch of the objects that it selects.
func (s *simulation) connect(watch *watch, selects func(*planner.Observed) bool) changeQueue {
	reportList(watch, s.version)
	return changeQueue{watch: watch, selects: selects, reported: s.version}
}

// drawKey draws one of few keys, so that changes meet often.
func (s *simulation) drawKey() types.NamespacedName {
	return rapid.SampledFrom([]types.NamespacedName{shop, web}).Draw(s.T, "key")
}

// put stores the object at the key, or deletes it if nil, and queues the change for the watches.
func (s *simulation) put(key types.NamespacedName, object *planner.Observed) *planner.Observed {
	s.version++
	before := s.objects[key]
	delete(s.objects, key)
	if object != nil {
		object = clone(object)
		object.ResourceVersion = strconv.Itoa(s.version)
		s.objects[key] = object
	}
	for _, queue := range []*changeQueue{&s.copyChanges, &s.allChanges} {
		change := change{version: s.version}
		if before != nil && queue.selects(before) {
			change.before = before
		}
		if object != nil && queue.selects(object) {
			change.after = object
		}
		if change.before != nil || change.after != nil {
			queue.changes = append(queue.changes, change)
		}
	}
	return object
}

// reportNext has the watch report its next change.
func (s *simulation) reportNext(queue *changeQueue) {
	if len(queue.changes) == 0 {
		s.Skip("everything was reported")
	}
	next := queue.changes[0]
	queue.changes = queue.changes[1:]
	queue.reported = next.version
	if next.after != nil {
		report(queue.watch, next.after)
		return
	}
	// Like the API server: the last selected state, with the version of the deletion.
	reportDeleted(queue.watch, next.before, next.version)
}

// relist breaks the watch and reports a list that is not older than what was reported. The watch then reports all later changes.
func (s *simulation) relist(queue *changeQueue) {
	at := rapid.IntRange(queue.reported, s.version).Draw(s.T, "version of the list")
	// The objects at that version: those of now, with all later changes undone.
	then := maps.Clone(s.objects)
	maps.DeleteFunc(then, func(_ types.NamespacedName, object *planner.Observed) bool { return !queue.selects(object) })
	for _, change := range slices.Backward(queue.changes) {
		if change.version <= at {
			break
		}
		if change.before != nil {
			then[change.before.Key()] = change.before
		} else {
			delete(then, change.after.Key())
		}
	}
	queue.changes = slices.DeleteFunc(queue.changes, func(change change) bool { return change.version <= at })
	queue.reported = at
	reportList(queue.watch, at, slices.Collect(maps.Values(then))...)
}

func (s *simulation) othersCreate(*rapid.T) {
	key := s.drawKey()
	if s.objects[key] != nil {
		s.Skip("an object exists")
	}
	s.changedByOthers[key] = true
	s.put(key, rapid.SampledFrom([]*planner.Observed{
		foreignAt(key, s.newUID(), 0), copyAt(key, s.newUID(), 0, withoutMarks), copyAt(key, s.newUID(), 0),
	}).Draw(s.T, "object"))
}

func (s *simulation) newUID() types.UID { return types.UID(fmt.Sprint("uid-", s.version+1)) }

// drawObject draws an object that exists.
func (s *simulation) drawObject() *planner.Observed {
	object := s.objects[s.drawKey()]
	if object == nil {
		s.Skip("no object exists")
	}
	return object
}

func (s *simulation) othersEditContent(*rapid.T) {
	object := clone(s.drawObject())
	s.changedByOthers[object.Key()] = true
	digests(rapid.SampledFrom([]planner.Digests{"edited", "edited again", object.Digests}).Draw(s.T, "digests"))(object)
	s.put(object.Key(), object)
}

func (s *simulation) othersEditMetadata(*rapid.T) {
	object := clone(s.drawObject())
	s.changedByOthers[object.Key()] = true
	rapid.SampledFrom([]func(*planner.Observed){withoutLabel, withoutMarks, foreign, ownedBy(rival)}).Draw(s.T, "what")(object)
	s.put(object.Key(), object)
}

func (s *simulation) othersDelete(*rapid.T) {
	key := s.drawObject().Key()
	s.changedByOthers[key] = true
	s.put(key, nil)
}

// begin has one of the Replikas begin a write that a plan could contain, given what the store has now.
func (s *simulation) begin(*rapid.T) {
	if len(s.writes) == 3 {
		s.Skip("enough writes are in flight")
	}
	next := &write{
		key:     s.drawKey(),
		replika: rapid.SampledFrom([]types.NamespacedName{replika, rival}).Draw(s.T, "replika"),
	}
	if slices.ContainsFunc(s.writes, func(other *write) bool { return other.key == next.key && other.replika == next.replika }) {
		s.Skip("a Replika has one write per object in flight")
	}
	for _, object := range s.store().ListFor(next.replika, next.key.Name) {
		if object.Key() == next.key {
			next.planned = clone(object)
		}
	}
	choices := []planner.ActionType{planner.Update}
	switch {
	case next.planned == nil:
		choices = []planner.ActionType{planner.Create}
	case next.planned.OwnedBy(next.replika):
		choices = append(choices, planner.Delete, planner.Recreate, planner.Release, planner.HandOver)
	}
	next.action = rapid.SampledFrom(choices).Draw(s.T, "action")
	if s.writers[next.key] == nil {
		s.writers[next.key] = map[types.NamespacedName]bool{}
	}
	s.writers[next.key][next.replika] = true
	next.end = s.store().BeginWrite(next.replika, next.key)
	s.writes = append(s.writes, next)
}

// executeAny has the API server execute a write.
func (s *simulation) executeAny(*rapid.T) {
	s.execute(s.drawWrite(func(write *write) bool { return !write.executed }))
}

// drawWrite draws one of the writes in flight.
func (s *simulation) drawWrite(matches func(*write) bool) *write {
	candidates := slices.DeleteFunc(slices.Clone(s.writes), func(write *write) bool { return !matches(write) })
	if len(candidates) == 0 {
		s.Skip("no write matches")
	}
	return rapid.SampledFrom(candidates).Draw(s.T, "write")
}

func (s *simulation) execute(write *write) {
	write.executed, write.known = true, true
	outcome := rapid.IntRange(0, 9).Draw(s.T, "outcome")
	if outcome == 0 {
		// The request was lost.
		s.changedByOthers[write.key], write.known = true, false
		return
	}
	now := s.objects[write.key]
	switch {
	case write.action == planner.Create && now == nil:
		write.result = s.put(write.key, copyAt(write.key, s.newUID(), 0, ownedBy(write.replika)))
	case !s.guardHolds(write, now):
		write.result = now
	default:
		write.result = s.update(write, now)
	}
	if outcome == 1 {
		// The response was lost.
		s.changedByOthers[write.key], write.known = true, false
	}
}

// guardHolds reports whether the object is still as the write requires it.
func (s *simulation) guardHolds(write *write, now *planner.Observed) bool {
	if now == nil || write.planned == nil || now.UID != write.planned.UID {
		return false
	}
	if owner, marked := write.planned.Owner(); marked && write.action != planner.Delete && write.action != planner.Recreate {
		return now.OwnedBy(owner)
	}
	return now.ResourceVersion == write.planned.ResourceVersion
}

// update makes the change of the write, and returns its result.
func (s *simulation) update(write *write, now *planner.Observed) *planner.Observed {
	switch write.action {
	case planner.Delete:
		return s.put(write.key, nil)
	case planner.Recreate:
		s.put(write.key, nil)
		return s.put(write.key, copyAt(write.key, s.newUID(), 0, ownedBy(write.replika)))
	case planner.Release:
		s.put(write.key, foreignAt(write.key, now.UID, 0, digests(now.Digests)))
		return nil // a released object is no longer a copy
	case planner.HandOver:
		newOwner := replika
		if write.replika == replika {
			newOwner = rival
		}
		return s.put(write.key, copyAt(write.key, now.UID, 0, ownedBy(newOwner), digests(now.Digests)))
	default:
		updated := copyAt(write.key, now.UID, 0, ownedBy(write.replika), digests(planner.Digests("of "+write.replika.Namespace)))
		if updated.Digests == now.Digests && now.OwnedBy(write.replika) && IsWatched(now) {
			return now // the API server writes nothing when nothing changes
		}
		return s.put(write.key, updated)
	}
}

func (s *simulation) endAny(*rapid.T) {
	s.end(s.drawWrite(func(write *write) bool { return write.executed }))
}

func (s *simulation) end(ended *write) {
	s.writes = slices.DeleteFunc(s.writes, func(write *write) bool { return write == ended })
	result := ended.result
	if result != nil {
		result = clone(result)
	}
	ended.end(result, ended.known)
	// First the events that this sent: a Replika that gets one while it writes plans the object again.
	succeeded := ended.known && (result == nil || result.OwnedBy(ended.replika) || ended.action == planner.HandOver)
	informed := slices.ContainsFunc(s.events, func(event Event) bool {
		return event.Key == ended.key && slices.Contains(event.Owners, ended.replika)
	})
	if !informed {
		s.views[ended.replika][ended.key] = view{object: result, plannedAlways: !succeeded}
	}
	s.checkEvents()
}

// checkEvents checks that events were sent only for objects that other clients, or other Replikas, changed, and that no Replika
// misses what the store has of its copies.
func (s *simulation) checkEvents() {
	for _, event := range s.events {
		if event.Key == (Key{}) {
			continue
		}
		for _, owner := range event.Owners {
			if writers := s.writers[event.Key]; !s.changedByOthers[event.Key] && len(writers) == 1 && writers[owner] {
				s.Fatalf("event to %s for %s, which nobody else wrote", owner, event.Key)
			}
			s.views[owner][event.Key] = view{object: s.store().get(event.Key)} // it plans what the store has
		}
	}
	s.events = nil
	for owner, views := range s.views {
		for _, key := range []types.NamespacedName{shop, web} {
			writing := slices.ContainsFunc(s.writes, func(write *write) bool { return write.key == key && write.replika == owner })
			known, stored := views[key], s.store().get(key)
			if !writing && !known.plannedAlways && !equivalent(ownedOnly(owner, known.object), ownedOnly(owner, stored)) {
				s.Fatalf("%s does not know that the store has %s, and not %s",
					owner, describe([]*planner.Observed{stored}), describe([]*planner.Observed{known.object}))
			}
		}
	}
}

// ownedOnly returns the object if the Replika owns it, else nil.
func ownedOnly(replika types.NamespacedName, object *planner.Observed) *planner.Observed {
	if object == nil || !object.OwnedBy(replika) {
		return nil
	}
	return object
}

// checkStore compares the store with the API server.
func (s *simulation) checkStore() {
	for _, key := range []types.NamespacedName{shop, web} {
		stored, actual := s.store().get(key), s.objects[key]
		if actual != nil && !IsWatched(actual) && stored == nil {
			continue // a foreign object that no write met
		}
		switch {
		case actual == nil && stored != nil:
			s.Fatalf("the store has a deleted object: %s", describe([]*planner.Observed{stored}))
		case actual != nil && stored == nil:
			s.Fatalf("the store lacks %s", describe([]*planner.Observed{actual}))
		case actual != nil && *stored != *actual:
			s.Fatalf("the store differs (want, got): %q", describe([]*planner.Observed{actual, stored}))
		}
	}
	if len(s.store().writing) > 0 || len(s.store().tombstones) > 0 {
		s.Fatalf("left in the store: %v, %v", s.store().writing, s.store().tombstones)
	}
}
