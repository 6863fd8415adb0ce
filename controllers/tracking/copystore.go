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

// View is what is known of the copies of one kind, and of foreign objects met in their way: what the watch told, overlaid
// by the answers to our own newer writes, so that the next pass sees them and their echo causes none.
type CopyStore struct {
	mu sync.Mutex
	// objects by name, then namespace: copies of one source mostly share their name.
	objects map[string]map[string]*planner.Observed
	// names counts, by Replika, the copies that it owns under each name.
	names map[types.NamespacedName]map[string]int
	// writing holds the objects that a request of ours is about, with what the watch said of them meanwhile.
	writing map[types.NamespacedName]*pendingWrite
	// gone holds the last resourceVersions of copies that we deleted or released, until the watch has caught up: what is
	// no newer is over.
	tombstones map[types.NamespacedName]string
	// lost holds, by Replika, the copies that somebody else took away and that no pass has looked at yet. Of Replikas that
	// nobody has asked for nothing is noted: on a standby, it would only grow.
	removed map[types.NamespacedName]map[types.NamespacedName]bool

	// changed is called, without a lock held, for every change that was not our own.
	changed func(key types.NamespacedName, before, after *planner.Observed)
}

// news is what the watches said about an object while we were writing it.
type pendingWrite struct {
	// writers are the requests of ours under way; two rivals may write to one place at once.
	writers int
	// heard is to be listened to when the last of them is answered, oldest first.
	deferred []func()
}

func newCopyStore(changed func(key types.NamespacedName, before, after *planner.Observed)) *CopyStore {
	return &CopyStore{
		objects:    map[string]map[string]*planner.Observed{},
		names:      map[types.NamespacedName]map[string]int{},
		writing:    map[types.NamespacedName]*pendingWrite{},
		tombstones: map[types.NamespacedName]string{},
		removed:    map[types.NamespacedName]map[types.NamespacedName]bool{},
		changed:    changed,
	}
}

// Known lists the objects that a plan for the Replika must know: all of the name that its copies bear, whosoever they
// are, and the copies that it owns under other names.
func (v *CopyStore) ListFor(replika types.NamespacedName, name string) []*planner.Observed {
	v.mu.Lock()
	defer v.mu.Unlock()
	known := make([]*planner.Observed, 0, len(v.objects[name]))
	for _, object := range v.objects[name] {
		known = append(known, object)
	}
	for other := range v.names[replika] {
		if other == name {
			continue
		}
		for _, object := range v.objects[other] {
			if object.OwnedBy(replika) {
				known = append(known, object)
			}
		}
	}
	return known
}

// TakeLost tells which copies of the Replika somebody else took away since it was last asked: deleted, or stripped of the
// label or of the marks that make them its copies.
func (v *CopyStore) PopRemovedByOthers(replika types.NamespacedName) map[types.NamespacedName]bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	lost := v.removed[replika]
	v.removed[replika] = map[types.NamespacedName]bool{}
	return lost
}

// forget drops what was noted for a Replika that has no more interest in the copies.
func (v *CopyStore) forget(replika types.NamespacedName) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.removed, replika)
}

// exactly returns what is known of the object in just this state; nil if it is known in another, or not at all.
func (v *CopyStore) getExact(object *unstructured.Unstructured) *planner.Observed {
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.get(types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()})
	if known == nil || known.MetadataOnly || known.UID != object.GetUID() || known.ResourceVersion != object.GetResourceVersion() {
		return nil
	}
	return known
}

// Foreign tells whether objects of the name that are not ours are known to be in the way.
func (v *CopyStore) HasForeign(name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, object := range v.objects[name] {
		if !isManaged(object) {
			return true
		}
	}
	return false
}

// Begin announces a write about the object: what the watch says of it from now on may be its echo, and is held back until
// the function that it returns is told what became of the write: the copy, or whatever else is there, as the API server
// answered last; nil, with known true, when there is none any more. With known false nothing is known, and only the watch
// will tell.
func (v *CopyStore) BeginWrite(key types.NamespacedName) (end func(answer *planner.Observed, known bool)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.writing[key] == nil {
		v.writing[key] = &pendingWrite{}
	}
	v.writing[key].writers++
	before := v.get(key)
	return func(answer *planner.Observed, known bool) { v.endWrite(key, before, answer, known) }
}

// end takes the answer to a write that began when before was there.
func (v *CopyStore) endWrite(key types.NamespacedName, before, answer *planner.Observed, known bool) {
	v.mu.Lock()
	heard := v.writing[key]
	if heard.writers--; heard.writers > 0 {
		heard = nil
	} else {
		delete(v.writing, key)
	}
	switch {
	case known && answer != nil:
		if newer(answer, v.get(key)) && !v.isStale(key, answer.ResourceVersion) {
			v.put(key, answer)
		}
	case known && before != nil:
		// What another writer has put here meanwhile may be newer than what is gone.
		if now := v.get(key); now != nil && !newer(now, before) {
			v.put(key, nil)
			v.tombstones[key] = before.ResourceVersion
		}
	}
	v.mu.Unlock()
	if heard != nil {
		for _, listen := range heard.deferred {
			listen()
		}
	}
}

// held keeps what a watch says until we know what our own write did; the lock is held. It returns false when nothing is
// being written there.
func (v *CopyStore) deferIfWriting(key types.NamespacedName, listen func()) bool {
	pending, writing := v.writing[key]
	if writing {
		pending.deferred = append(pending.deferred, listen)
	}
	return writing
}

// set takes what the watch says of a copy that exists.
func (v *CopyStore) set(object *planner.Observed) {
	v.mu.Lock()
	if v.deferIfWriting(object.Key(), func() { v.set(object) }) {
		v.mu.Unlock()
		return
	}
	over := v.isStale(object.Key(), object.ResourceVersion)
	v.pruneTombstone(object.Key(), object.ResourceVersion)
	if over {
		v.mu.Unlock()
		return
	}
	v.upsert(object)
}

// remove takes it from the watch that no copy stands there any more since the resourceVersion: it is gone, or lost our label.
func (v *CopyStore) remove(key types.NamespacedName, resourceVersion string) {
	v.mu.Lock()
	if v.deferIfWriting(key, func() { v.remove(key, resourceVersion) }) {
		v.mu.Unlock()
		return
	}
	v.pruneTombstone(key, resourceVersion)
	v.drop(key, resourceVersion, isManaged)
}

// replace takes a list of all copies, made at the resourceVersion.
func (v *CopyStore) replace(list []*planner.Observed, resourceVersion string) {
	listed := make(map[types.NamespacedName]bool, len(list))
	for _, object := range list {
		listed[object.Key()] = true
		v.set(object)
	}
	for _, key := range v.keys() {
		if !listed[key] {
			v.remove(key, resourceVersion)
		}
	}
}

// setForeign takes what the other watch says of an object that exists, if it is a foreign one that was met in the way.
func (v *CopyStore) setForeign(object *planner.Observed) {
	v.mu.Lock()
	if v.deferIfWriting(object.Key(), func() { v.setForeign(object) }) {
		v.mu.Unlock()
		return
	}
	if met := v.get(object.Key()); met == nil || isManaged(met) || isManaged(object) {
		v.mu.Unlock()
		return
	}
	v.upsert(object)
}

// removeForeign takes it from the other watch that no foreign object stands there any more since the resourceVersion.
func (v *CopyStore) removeForeign(key types.NamespacedName, resourceVersion string) {
	v.mu.Lock()
	if v.deferIfWriting(key, func() { v.removeForeign(key, resourceVersion) }) {
		v.mu.Unlock()
		return
	}
	v.drop(key, resourceVersion, isUnmanaged)
}

// replaceForeign takes a list of all objects of the name, made at the resourceVersion.
func (v *CopyStore) replaceForeign(name string, list []*planner.Observed, resourceVersion string) {
	listed := make(map[types.NamespacedName]bool, len(list))
	for _, object := range list {
		listed[object.Key()] = true
		v.setForeign(object)
	}
	for _, key := range v.keys() {
		if key.Name == name && !listed[key] {
			v.removeForeign(key, resourceVersion)
		}
	}
}

// reached notes that the watch of the copies has told everything up to the resourceVersion.
func (v *CopyStore) pruneTombstones(resourceVersion string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for key := range v.tombstones {
		if v.writing[key] == nil {
			v.pruneTombstone(key, resourceVersion)
		}
	}
}

// reach notes the same for one place; the lock is held. The very resourceVersion of what is gone may be told of again, by
// a list.
func (v *CopyStore) pruneTombstone(key types.NamespacedName, resourceVersion string) {
	if version, gone := v.tombstones[key]; gone && compare(resourceVersion, version) > 0 {
		delete(v.tombstones, key)
	}
}

// take stores what a watch says of an object, if it is newer than what is known, and unlocks.
func (v *CopyStore) upsert(object *planner.Observed) {
	key := object.Key()
	before := v.get(key)
	if !newer(object, before) {
		v.mu.Unlock()
		return
	}
	if before != nil && before.UID == object.UID && before.Digests == object.Digests {
		object.AcceptedDigests = before.AcceptedDigests
	}
	v.put(key, object)
	if before != nil && before.Origin.Value().Owner != object.Origin.Value().Owner {
		v.recordRemoval(before)
	}
	v.mu.Unlock()
	if !equivalent(before, object) {
		v.changed(key, before, object)
	}
}

// drop drops what is there, if it is of those that a watch says to be gone and not newer than that, and unlocks.
func (v *CopyStore) drop(key types.NamespacedName, resourceVersion string, watched func(*planner.Observed) bool) {
	before := v.get(key)
	if before == nil || !watched(before) || compare(resourceVersion, before.ResourceVersion) < 0 {
		v.mu.Unlock()
		return
	}
	v.put(key, nil)
	v.recordRemoval(before)
	v.mu.Unlock()
	v.changed(key, before, nil)
}

// keys are all places of which something is known, or about to be.
func (v *CopyStore) keys() []types.NamespacedName {
	v.mu.Lock()
	defer v.mu.Unlock()
	keys := slices.AppendSeq(slices.Collect(maps.Keys(v.writing)), maps.Keys(v.tombstones))
	for name, byNamespace := range v.objects {
		for namespace := range byNamespace {
			keys = append(keys, types.NamespacedName{Namespace: namespace, Name: name})
		}
	}
	return keys
}

// isOver tells whether the resourceVersion is of before we deleted or released what stood there.
func (v *CopyStore) isStale(key types.NamespacedName, resourceVersion string) bool {
	version, gone := v.tombstones[key]
	return gone && compare(resourceVersion, version) <= 0
}

func (v *CopyStore) get(key types.NamespacedName) *planner.Observed {
	return v.objects[key.Name][key.Namespace]
}

// put stores the object at the key, or nothing.
func (v *CopyStore) put(key types.NamespacedName, object *planner.Observed) {
	if before := v.get(key); before != nil {
		v.count(before, -1)
		delete(v.objects[key.Name], key.Namespace)
		if len(v.objects[key.Name]) == 0 {
			delete(v.objects, key.Name)
		}
	}
	if object == nil {
		return
	}
	if v.objects[key.Name] == nil {
		v.objects[key.Name] = map[string]*planner.Observed{}
	}
	v.objects[key.Name][key.Namespace] = object
	v.count(object, 1)
}

// lose notes that somebody else took a copy away from its Replika.
func (v *CopyStore) recordRemoval(object *planner.Observed) {
	owner, _ := object.Owner()
	if lost := v.removed[owner]; lost != nil {
		lost[object.Key()] = true
	}
}

// count keeps track of the names under which Replikas own copies.
func (v *CopyStore) count(object *planner.Observed, change int) {
	owner, marked := object.Owner()
	if !marked {
		return
	}
	if v.names[owner] == nil {
		v.names[owner] = map[string]int{}
	}
	v.names[owner][object.Name] += change
	maps.DeleteFunc(v.names[owner], func(_ string, copies int) bool { return copies == 0 })
	if len(v.names[owner]) == 0 {
		delete(v.names, owner)
	}
}

// labelled tells whether the object bears the label by which copies are watched.
func isManaged(object *planner.Observed) bool {
	return object.Origin.Value().CreatedBy == v1alpha1.CreatedByValue
}

func isUnmanaged(object *planner.Observed) bool { return !isManaged(object) }

// alike tells whether a plan would take both for the same. What others change on a copy, and our own echo, is no news.
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

// compare orders two resourceVersions of the same resource. An API server whose versions do not compare is taken at its
// word: what comes later is newer.
func compare(a, b string) int {
	order, err := resourceversion.CompareResourceVersion(a, b)
	if err != nil {
		return 1
	}
	return order
}
