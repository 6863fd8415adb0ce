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

// The cast: Replika ops/sync, and its rival dev/sync, copy a ConfigMap named settings.
var (
	configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	ours       = types.NamespacedName{Namespace: "ops", Name: "sync"}
	theirs     = types.NamespacedName{Namespace: "dev", Name: "sync"}
	shop       = types.NamespacedName{Namespace: "shop", Name: "settings"}
	web        = types.NamespacedName{Namespace: "web", Name: "settings"}
)

// copyAt is a copy of ours as it is at the resourceVersion. Its UID is uid.
func copyAt(key types.NamespacedName, uid types.UID, version int, changes ...func(*planner.Observed)) *planner.Observed {
	object := &planner.Observed{
		Namespace: key.Namespace, Name: key.Name, UID: uid, ResourceVersion: strconv.Itoa(version),
		Origin:  unique.Make(planner.Origin{Owner: ours, CreatedBy: v1alpha1.CreatedByValue}),
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

func answering(template planner.Digests) func(*planner.Observed) {
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

// stage is a set of watches without any API server: the test tells what the watches bring.
type stage struct {
	*Watches
	copies, obstacles *watch
	// news are the changes that somebody was told of, oldest first.
	news []Event
}

func newStage(t interface{ Cleanup(end func()) }) *stage {
	s := &stage{}
	s.Watches = NewWatches(nil, nil, planner.NewCleaner(), func(change Event, _ []types.NamespacedName) {
		s.news = append(s.news, change)
	})
	t.Cleanup(s.stop)
	s.copies = newWatch(s.Watches, CopiesOf(configMaps), s.stop)
	s.obstacles = newWatch(s.Watches, ConflictingObjectsNamed(configMaps, shop.Name), s.stop)
	for _, watch := range []*watch{s.copies, s.obstacles} {
		s.active[watch.key] = watch
	}
	return s
}

func (s *stage) view() *CopyStore { return s.copies.store }

// tells has the watch of the copies tell that the objects exist.
func (s *stage) tells(objects ...*planner.Observed) {
	tell(s.copies, objects...)
}

// tell has the watch tell that the objects exist. What it brings is its own, as it is when it was decoded.
func tell(watch *watch, objects ...*planner.Observed) {
	for _, object := range objects {
		if err := watch.Update(newReducedObject(clone(object))); err != nil {
			panic(err)
		}
	}
}

// tellGone has the watch tell that the object is gone, or no longer of those that it watches, since the version.
func tellGone(watch *watch, object *planner.Observed, version int) {
	last := clone(object)
	last.ResourceVersion = strconv.Itoa(version)
	if err := watch.Delete(newReducedObject(last)); err != nil {
		panic(err)
	}
}

// list has the watch bring a whole list.
func list(watch *watch, version int, objects ...*planner.Observed) {
	arrivals := make([]any, len(objects))
	for i, object := range objects {
		arrivals[i] = newReducedObject(clone(object))
	}
	if err := watch.Replace(arrivals, strconv.Itoa(version)); err != nil {
		panic(err)
	}
}

func clone(object *planner.Observed) *planner.Observed {
	cloned := *object
	return &cloned
}

// wants checks what a plan for our Replika would be told.
func (s *stage) wants(t testing.TB, wanted ...*planner.Observed) {
	t.Helper()
	known := s.view().ListFor(ours, shop.Name)
	slices.SortFunc(known, func(a, b *planner.Observed) int { return compareKeys(a.Key(), b.Key()) })
	if diff := cmp.Diff(describe(wanted), describe(known)); diff != "" {
		t.Errorf("known (-want +got):\n%s", diff)
	}
}

// wantsNews checks of which objects somebody was told since the last look.
func (s *stage) wantsNews(t testing.TB, wanted ...types.NamespacedName) {
	t.Helper()
	var told []types.NamespacedName
	for _, change := range s.news {
		if change.Key != (Key{}) {
			told = append(told, change.Key)
		}
	}
	s.news = nil
	slices.SortFunc(told, compareKeys)
	if diff := cmp.Diff(wanted, told); diff != "" {
		t.Errorf("told of (-want +got):\n%s", diff)
	}
}

func compareKeys(a, b types.NamespacedName) int {
	return slices.Compare([]string{a.Name, a.Namespace}, []string{b.Name, b.Namespace})
}

func describe(objects []*planner.Observed) []string {
	described := make([]string, len(objects))
	for i, object := range objects {
		described[i] = fmt.Sprintf("%s uid=%s version=%s digests=%s answers=%s owner=%s marks=%d label=%q", object.Key(), object.UID,
			object.ResourceVersion, object.Digests, object.AcceptedDigests, object.Origin.Value().Owner, object.Marks, object.Origin.Value().CreatedBy)
	}
	return described
}
