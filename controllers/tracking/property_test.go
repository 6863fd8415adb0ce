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

// The view is tried on a simulated API server: it changes at once, and its two watches (the label-selected one of the copies,
// and the one of all objects of the name) tell of every change in order, but as late as they like, or by a list after a
// break. Two writers of ours and somebody else act in between, in every order that rapid can think of.

// rounds of a hundred simulations each: the rarest defects that they found took thousands.
const rounds = 40

// TestViewEndsEqualToTheTruth checks that once everything was told, the view is what the API server has, and that nobody was
// ever told of what we alone did.
func TestViewEndsEqualToTheTruth(t *testing.T) {
	for range rounds {
		rapid.Check(t, simulate)
	}
}

func simulate(t *rapid.T) {
	w := &world{
		T: t, stage: newStage(t), version: 1, objects: map[types.NamespacedName]*planner.Observed{},
		touched: map[types.NamespacedName]bool{},
	}
	w.copyEvents = w.connect(w.copies, isManaged)
	w.obstacleEvents = w.connect(w.obstacles, func(*planner.Observed) bool { return true })
	t.Repeat(map[string]func(*rapid.T){
		"others create":       w.othersCreate,
		"others edit":         w.othersEdit,
		"others strip":        w.othersStrip,
		"others delete":       w.othersDelete,
		"a write begins":      w.begin,
		"a write happens":     w.happen,
		"a write is answered": w.answer,
		"copies are told of":  func(*rapid.T) { w.deliver(&w.copyEvents) },
		"obstacles likewise":  func(*rapid.T) { w.deliver(&w.obstacleEvents) },
		"copies relisted":     func(*rapid.T) { w.relist(&w.copyEvents) },
		"obstacles relisted":  func(*rapid.T) { w.relist(&w.obstacleEvents) },
		"":                    func(*rapid.T) { w.checkNews() },
	})
	for len(w.writes) > 0 {
		write := w.writes[0]
		if !write.happened {
			w.carryOut(write)
		}
		w.finish(write)
	}
	for len(w.copyEvents.queue) > 0 {
		w.deliver(&w.copyEvents)
	}
	for len(w.obstacleEvents.queue) > 0 {
		w.deliver(&w.obstacleEvents)
	}
	if err := w.copies.Bookmark(strconv.Itoa(w.version + 1)); err != nil {
		t.Fatal(err)
	}
	w.checkNews()
	w.checkTruth()
}

// world is the simulated API server, with the objects of one name.
type world struct {
	*rapid.T
	*stage
	version int
	objects map[types.NamespacedName]*planner.Observed
	// touched are the places where somebody else did something, or where a write of ours was not answered.
	touched                    map[types.NamespacedName]bool
	copyEvents, obstacleEvents events
	writes                     []*write
}

// events are what a watch has not told yet.
type events struct {
	watch   *watch
	selects func(*planner.Observed) bool
	queue   []happening
	// told is the version up to which it has.
	told int
}

// happening is one change: before and after are as the watch selects them, nil for none.
type happening struct {
	version       int
	before, after *planner.Observed
}

// write is one of ours, under way.
type write struct {
	key     types.NamespacedName
	replika types.NamespacedName
	// assumed is what the plan saw.
	assumed  *planner.Observed
	action   planner.ActionType
	end      func(*planner.Observed, bool)
	happened bool
	answer   *planner.Observed
	known    bool
}

// connect opens a watch of the objects that it selects.
func (w *world) connect(watch *watch, selects func(*planner.Observed) bool) events {
	list(watch, w.version)
	return events{watch: watch, selects: selects, told: w.version}
}

// place draws where something happens. Few places make for many meetings.
func (w *world) place() types.NamespacedName {
	return rapid.SampledFrom([]types.NamespacedName{shop, web}).Draw(w.T, "place")
}

// put makes the object what is at the key, nil for nothing, and has the watches hear of it, some time.
func (w *world) put(key types.NamespacedName, object *planner.Observed) *planner.Observed {
	w.version++
	before := w.objects[key]
	delete(w.objects, key)
	if object != nil {
		object = clone(object)
		object.ResourceVersion = strconv.Itoa(w.version)
		w.objects[key] = object
	}
	for _, events := range []*events{&w.copyEvents, &w.obstacleEvents} {
		happened := happening{version: w.version}
		if before != nil && events.selects(before) {
			happened.before = before
		}
		if object != nil && events.selects(object) {
			happened.after = object
		}
		if happened.before != nil || happened.after != nil {
			events.queue = append(events.queue, happened)
		}
	}
	return object
}

func (w *world) deliver(events *events) {
	if len(events.queue) == 0 {
		w.Skip("everything was told")
	}
	next := events.queue[0]
	events.queue = events.queue[1:]
	events.told = next.version
	if next.after != nil {
		tell(events.watch, next.after)
		return
	}
	// As the API server does it: the last state that was selected, at the version that ended it.
	tellGone(events.watch, next.before, next.version)
}

// relist breaks the watch and reads a list, which is as old as what was told at most. All later changes are told after it.
func (w *world) relist(events *events) {
	at := rapid.IntRange(events.told, w.version).Draw(w.T, "version of the list")
	// What was there then: what is there now, with everything since undone.
	then := maps.Clone(w.objects)
	maps.DeleteFunc(then, func(_ types.NamespacedName, object *planner.Observed) bool { return !events.selects(object) })
	for _, happened := range slices.Backward(events.queue) {
		if happened.version <= at {
			break
		}
		if happened.before != nil {
			then[happened.before.Key()] = happened.before
		} else {
			delete(then, happened.after.Key())
		}
	}
	events.queue = slices.DeleteFunc(events.queue, func(happened happening) bool { return happened.version <= at })
	events.told = at
	list(events.watch, at, slices.Collect(maps.Values(then))...)
}

func (w *world) othersCreate(*rapid.T) {
	key := w.place()
	if w.objects[key] != nil {
		w.Skip("something is there")
	}
	w.touched[key] = true
	w.put(key, rapid.SampledFrom([]*planner.Observed{
		foreignAt(key, w.newUID(), 0), copyAt(key, w.newUID(), 0, withoutMarks), copyAt(key, w.newUID(), 0),
	}).Draw(w.T, "object"))
}

func (w *world) newUID() types.UID { return types.UID(fmt.Sprint("uid-", w.version+1)) }

// some is an object that is there.
func (w *world) some() *planner.Observed {
	object := w.objects[w.place()]
	if object == nil {
		w.Skip("nothing is there")
	}
	return object
}

func (w *world) othersEdit(*rapid.T) {
	object := clone(w.some())
	w.touched[object.Key()] = true
	digests(rapid.SampledFrom([]planner.Digests{"edited", "edited again", object.Digests}).Draw(w.T, "digests"))(object)
	w.put(object.Key(), object)
}

func (w *world) othersStrip(*rapid.T) {
	object := clone(w.some())
	w.touched[object.Key()] = true
	rapid.SampledFrom([]func(*planner.Observed){withoutLabel, withoutMarks, foreign, ownedBy(theirs)}).Draw(w.T, "what")(object)
	w.put(object.Key(), object)
}

func (w *world) othersDelete(*rapid.T) {
	key := w.some().Key()
	w.touched[key] = true
	w.put(key, nil)
}

// begin has one of our Replikas begin what a plan might want, given what the view says now.
func (w *world) begin(*rapid.T) {
	if len(w.writes) == 3 {
		w.Skip("enough writes are under way")
	}
	next := &write{
		key:     w.place(),
		replika: rapid.SampledFrom([]types.NamespacedName{ours, theirs}).Draw(w.T, "replika"),
	}
	if slices.ContainsFunc(w.writes, func(other *write) bool { return other.key == next.key && other.replika == next.replika }) {
		w.Skip("a Replika writes to one place one write after the other")
	}
	for _, object := range w.view().ListFor(next.replika, next.key.Name) {
		if object.Key() == next.key {
			next.assumed = clone(object)
		}
	}
	choices := []planner.ActionType{planner.Update}
	switch {
	case next.assumed == nil:
		choices = []planner.ActionType{planner.Create}
	case next.assumed.OwnedBy(next.replika):
		choices = append(choices, planner.Delete, planner.Recreate, planner.Release, planner.HandOver)
	}
	next.action = rapid.SampledFrom(choices).Draw(w.T, "action")
	next.end = w.view().BeginWrite(next.key)
	w.writes = append(w.writes, next)
}

// happen has the API server carry a write out.
func (w *world) happen(*rapid.T) {
	w.carryOut(w.one(func(write *write) bool { return !write.happened }))
}

// one draws one of the writes under way.
func (w *world) one(matches func(*write) bool) *write {
	candidates := slices.DeleteFunc(slices.Clone(w.writes), func(write *write) bool { return !matches(write) })
	if len(candidates) == 0 {
		w.Skip("there is no such write")
	}
	return rapid.SampledFrom(candidates).Draw(w.T, "write")
}

func (w *world) carryOut(write *write) {
	write.happened, write.known = true, true
	fate := rapid.IntRange(0, 9).Draw(w.T, "fate")
	if fate == 0 {
		// It never arrived, and nobody knows.
		w.touched[write.key], write.known = true, false
		return
	}
	now := w.objects[write.key]
	switch {
	case write.action == planner.Create && now == nil:
		write.answer = w.put(write.key, copyAt(write.key, w.newUID(), 0, ownedBy(write.replika)))
	case !w.guarded(write, now):
		write.answer = now
	default:
		write.answer = w.change(write, now)
	}
	if fate == 1 {
		// It took effect, but the answer was lost.
		w.touched[write.key], write.known = true, false
	}
}

// guarded tells whether the object is what the write assumes.
func (w *world) guarded(write *write, now *planner.Observed) bool {
	if now == nil || write.assumed == nil || now.UID != write.assumed.UID {
		return false
	}
	if owner, marked := write.assumed.Owner(); marked && write.action != planner.Delete && write.action != planner.Recreate {
		return now.OwnedBy(owner)
	}
	return now.ResourceVersion == write.assumed.ResourceVersion
}

// change is what the write does to the object, and what is answered.
func (w *world) change(write *write, now *planner.Observed) *planner.Observed {
	switch write.action {
	case planner.Delete:
		return w.put(write.key, nil)
	case planner.Recreate:
		w.put(write.key, nil)
		return w.put(write.key, copyAt(write.key, w.newUID(), 0, ownedBy(write.replika)))
	case planner.Release:
		w.put(write.key, foreignAt(write.key, now.UID, 0, digests(now.Digests)))
		return nil // so does whoever lays the answer over the view
	case planner.HandOver:
		heir := ours
		if write.replika == ours {
			heir = theirs
		}
		return w.put(write.key, copyAt(write.key, now.UID, 0, ownedBy(heir), digests(now.Digests)))
	default:
		wanted := copyAt(write.key, now.UID, 0, ownedBy(write.replika), digests(planner.Digests("of "+write.replika.Namespace)))
		if wanted.Digests == now.Digests && now.OwnedBy(write.replika) && isManaged(now) {
			return now // the API server writes nothing when nothing changes
		}
		return w.put(write.key, wanted)
	}
}

func (w *world) answer(*rapid.T) {
	w.finish(w.one(func(write *write) bool { return write.happened }))
}

func (w *world) finish(over *write) {
	w.writes = slices.DeleteFunc(w.writes, func(write *write) bool { return write == over })
	answer := over.answer
	if answer != nil {
		answer = clone(answer)
	}
	over.end(answer, over.known)
}

// checkNews checks that whoever was told of a place was told of what somebody else did there.
func (w *world) checkNews() {
	for _, change := range w.news {
		if change.Key != (Key{}) && !w.touched[change.Key] {
			w.Fatalf("told of %s, where only we wrote", change.Key)
		}
	}
	w.news = nil
}

// checkTruth compares the view with what is there.
func (w *world) checkTruth() {
	for _, key := range []types.NamespacedName{shop, web} {
		seen, truth := w.view().get(key), w.objects[key]
		if truth != nil && !isManaged(truth) && seen == nil {
			continue // a foreign object that nobody met
		}
		switch {
		case truth == nil && seen != nil:
			w.Fatalf("the view has what is gone: %s", describe([]*planner.Observed{seen}))
		case truth != nil && seen == nil:
			w.Fatalf("the view lacks %s", describe([]*planner.Observed{truth}))
		case truth != nil && *seen != *truth:
			w.Fatalf("the view differs (want, got): %q", describe([]*planner.Observed{truth, seen}))
		}
	}
	if len(w.view().writing) > 0 || len(w.view().tombstones) > 0 {
		w.Fatalf("left behind: %v, %v", w.view().writing, w.view().tombstones)
	}
}
