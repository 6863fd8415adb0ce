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
	"fmt"
	"slices"
	"strconv"
	"testing"
	"unique"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// The tests use two Replikas, ops/sync and its rival dev/sync. Both copy a ConfigMap named settings.
var (
	configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	replika    = types.NamespacedName{Namespace: "ops", Name: "sync"}
	rival      = types.NamespacedName{Namespace: "dev", Name: "sync"}
	shop       = types.NamespacedName{Namespace: "shop", Name: "settings"}
	web        = types.NamespacedName{Namespace: "web", Name: "settings"}
)

// copyAt is a copy of the Replika, with the UID and the resourceVersion.
func copyAt(key types.NamespacedName, uid types.UID, version int, changes ...func(*planner.Observed)) *planner.Observed {
	object := &planner.Observed{
		Namespace: key.Namespace, Name: key.Name, UID: uid, ResourceVersion: strconv.Itoa(version),
		Origin:  unique.Make(planner.Origin{Owner: replika, CreatedBy: v1alpha1.CreatedByValue}),
		Digests: "one", Marks: planner.MarksValid,
	}
	for _, change := range changes {
		change(object)
	}
	return object
}

// foreignAt is an object without our labels and marks.
func foreignAt(key types.NamespacedName, uid types.UID, version int, changes ...func(*planner.Observed)) *planner.Observed {
	return copyAt(key, uid, version, append([]func(*planner.Observed){foreign}, changes...)...)
}

func foreign(object *planner.Observed) {
	object.Origin, object.Marks = unique.Make(planner.Origin{}), planner.MarksAbsent
}

func digests(digests planner.Digests) func(*planner.Observed) {
	return func(object *planner.Observed) { object.Digests = digests }
}

func accepted(template planner.Digests) func(*planner.Observed) {
	return func(object *planner.Observed) { object.AcceptedDigests = template }
}

func ownedBy(owner types.NamespacedName) func(*planner.Observed) {
	return func(object *planner.Observed) {
		origin := object.Origin.Value()
		origin.Owner = owner
		object.Origin = unique.Make(origin)
	}
}

func withoutLabel(object *planner.Observed) {
	origin := object.Origin.Value()
	origin.CreatedBy = ""
	object.Origin = unique.Make(origin)
}

func withoutMarks(object *planner.Observed) {
	origin := object.Origin.Value()
	origin.Owner = types.NamespacedName{}
	object.Origin, object.Marks = unique.Make(origin), planner.MarksAbsent
}

// env has two watches without an API server: tests report to the watches what an API server would send.
type env struct {
	*Watches
	// copies is the watch of the copies, conflicting that of all objects named settings.
	copies, conflicting *watch
	// events are those that were sent and not checked yet, oldest first.
	events []Event
}

// newEnv returns an env whose watch of the copies has stored its first list.
func newEnv(t interface{ Context() context.Context }) *env {
	e := newEnvWithoutList(t)
	e.copies.listed = true
	return e
}

func newEnvWithoutList(t interface{ Context() context.Context }) *env {
	e := &env{}
	e.Watches = NewWatches(nil, nil, nil, planner.NewCleaner(), func(_ context.Context, event Event, _ []types.NamespacedName) {
		e.events = append(e.events, event)
	})
	e.startWatch = func(watch *watch) {
		watch.notify = func(event Event) { e.sendEvent(t.Context(), event) }
	}
	e.copies = e.addWatch(CopiesOf(configMaps))
	e.conflicting = e.addWatch(ConflictingObjectsNamed(configMaps, shop.Name))
	return e
}

// addWatch adds a watch that the env uses.
func (e *env) addWatch(key WatchKey) *watch {
	e.Set(userOf(key), key)
	return e.active[key]
}

// userOf is the user that the env has for a watch.
func userOf(key WatchKey) User { return User{Replika: replika, Purpose: key.String()} }

func (e *env) store() *CopyStore { return e.copies.store }

// report has the watch of the copies report that the objects exist.
func (e *env) report(objects ...*planner.Observed) {
	report(e.copies, objects...)
}

// report has the watch report that the objects exist. It receives clones, as if they were decoded.
func report(watch *watch, objects ...*planner.Observed) {
	for _, object := range objects {
		if err := watch.Update(newReducedObject(clone(object))); err != nil {
			panic(err)
		}
	}
}

// reportDeleted has the watch report that the object was deleted, or is no longer selected, since the version.
func reportDeleted(watch *watch, object *planner.Observed, version int) {
	last := clone(object)
	last.ResourceVersion = strconv.Itoa(version)
	if err := watch.Delete(newReducedObject(last)); err != nil {
		panic(err)
	}
}

// reportList has the watch report a list, read at the version.
func reportList(watch *watch, version int, objects ...*planner.Observed) {
	items := make([]any, len(objects))
	for i, object := range objects {
		items[i] = newReducedObject(clone(object))
	}
	if err := watch.Replace(items, strconv.Itoa(version)); err != nil {
		panic(err)
	}
}

func clone(object *planner.Observed) *planner.Observed {
	cloned := *object
	return &cloned
}

// expectStored checks which objects a plan for the Replika gets.
func (e *env) expectStored(t testing.TB, want ...*planner.Observed) {
	t.Helper()
	stored := e.store().ListFor(replika, shop.Name)
	slices.SortFunc(stored, func(a, b *planner.Observed) int { return compareKeys(a.Key(), b.Key()) })
	if diff := cmp.Diff(describe(want), describe(stored)); diff != "" {
		t.Errorf("stored objects (-want +got):\n%s", diff)
	}
}

// expectEvents checks about which objects events were sent since the last check.
func (e *env) expectEvents(t testing.TB, want ...types.NamespacedName) {
	t.Helper()
	var keys []types.NamespacedName
	for _, event := range e.events {
		if event.Key != (Key{}) {
			keys = append(keys, event.Key)
		}
	}
	e.events = nil
	slices.SortFunc(keys, compareKeys)
	if diff := cmp.Diff(want, keys); diff != "" {
		t.Errorf("keys of events (-want +got):\n%s", diff)
	}
}

func compareKeys(a, b types.NamespacedName) int {
	return slices.Compare([]string{a.Name, a.Namespace}, []string{b.Name, b.Namespace})
}

func describe(objects []*planner.Observed) []string {
	described := make([]string, len(objects))
	for i, object := range objects {
		if object == nil {
			described[i] = "nothing"
			continue
		}
		described[i] = fmt.Sprintf("%s uid=%s version=%s digests=%s accepted=%s owner=%s marks=%d label=%q", object.Key(), object.UID,
			object.ResourceVersion, object.Digests, object.AcceptedDigests, object.Origin.Value().Owner, object.Marks, object.Origin.Value().CreatedBy)
	}
	return described
}
