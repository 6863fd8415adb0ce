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
	"github.com/prosimcorp/replika/controllers/replication"
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
func copyAt(key types.NamespacedName, uid types.UID, version int, changes ...func(*replication.Observed)) *replication.Observed {
	object := &replication.Observed{
		Namespace: key.Namespace, Name: key.Name, UID: uid, ResourceVersion: strconv.Itoa(version),
		Origin:  unique.Make(replication.Origin{Owner: ours, CreatedBy: v1alpha1.CreatedByValue}),
		Digests: "one", Marks: replication.MarksValid,
	}
	for _, change := range changes {
		change(object)
	}
	return object
}

// foreignAt is an object without our labels and marks.
func foreignAt(key types.NamespacedName, uid types.UID, version int, changes ...func(*replication.Observed)) *replication.Observed {
	return copyAt(key, uid, version, append([]func(*replication.Observed){foreign}, changes...)...)
}

func foreign(object *replication.Observed) {
	object.Origin, object.Marks = unique.Make(replication.Origin{}), replication.MarksAbsent
}

func digests(digests replication.Digests) func(*replication.Observed) {
	return func(object *replication.Observed) { object.Digests = digests }
}

func answering(template replication.Digests) func(*replication.Observed) {
	return func(object *replication.Observed) { object.Answers = template }
}

func ownedBy(owner types.NamespacedName) func(*replication.Observed) {
	return func(object *replication.Observed) {
		origin := object.Origin.Value()
		origin.Owner = owner
		object.Origin = unique.Make(origin)
	}
}

func withoutLabel(object *replication.Observed) {
	origin := object.Origin.Value()
	origin.CreatedBy = ""
	object.Origin = unique.Make(origin)
}

func withoutMarks(object *replication.Observed) {
	origin := object.Origin.Value()
	origin.Owner = types.NamespacedName{}
	object.Origin, object.Marks = unique.Make(origin), replication.MarksAbsent
}

// stage is a set of watches without any API server: the test tells what the watches bring.
type stage struct {
	*Watches
	copies, obstacles *running
	// news are the changes that somebody was told of, oldest first.
	news []Change
}

func newStage(t interface{ Cleanup(end func()) }) *stage {
	s := &stage{}
	s.Watches = NewWatches(nil, nil, replication.NewCleaner(), func(change Change, _ []types.NamespacedName) {
		s.news = append(s.news, change)
	})
	t.Cleanup(s.stop)
	s.copies = newRunning(s.Watches, CopiesOf(configMaps), s.stop)
	s.obstacles = newRunning(s.Watches, ObstaclesNamed(configMaps, shop.Name), s.stop)
	for _, watch := range []*running{s.copies, s.obstacles} {
		s.running[watch.interest] = watch
	}
	return s
}

func (s *stage) view() *View { return s.copies.view }

// tells has the watch of the copies tell that the objects exist.
func (s *stage) tells(objects ...*replication.Observed) {
	tell(s.copies, objects...)
}

// tell has the watch tell that the objects exist. What it brings is its own, as it is when it was decoded.
func tell(watch *running, objects ...*replication.Observed) {
	for _, object := range objects {
		if err := watch.Update(newArrival(clone(object))); err != nil {
			panic(err)
		}
	}
}

// tellGone has the watch tell that the object is gone, or no longer of those that it watches, since the version.
func tellGone(watch *running, object *replication.Observed, version int) {
	last := clone(object)
	last.ResourceVersion = strconv.Itoa(version)
	if err := watch.Delete(newArrival(last)); err != nil {
		panic(err)
	}
}

// list has the watch bring a whole list.
func list(watch *running, version int, objects ...*replication.Observed) {
	arrivals := make([]any, len(objects))
	for i, object := range objects {
		arrivals[i] = newArrival(clone(object))
	}
	if err := watch.Replace(arrivals, strconv.Itoa(version)); err != nil {
		panic(err)
	}
}

func clone(object *replication.Observed) *replication.Observed {
	cloned := *object
	return &cloned
}

// wants checks what a plan for our Replika would be told.
func (s *stage) wants(t testing.TB, wanted ...*replication.Observed) {
	t.Helper()
	known := s.view().Known(ours, shop.Name)
	slices.SortFunc(known, func(a, b *replication.Observed) int { return compareKeys(a.Key(), b.Key()) })
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

func describe(objects []*replication.Observed) []string {
	described := make([]string, len(objects))
	for i, object := range objects {
		described[i] = fmt.Sprintf("%s uid=%s version=%s digests=%s answers=%s owner=%s marks=%d label=%q", object.Key(), object.UID,
			object.ResourceVersion, object.Digests, object.Answers, object.Origin.Value().Owner, object.Marks, object.Origin.Value().CreatedBy)
	}
	return described
}
