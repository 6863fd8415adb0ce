package tracking

import (
	"context"
	"errors"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"

	"github.com/prosimcorp/replika/controllers/planner"
)

// running is one watch. It is the store that client-go's Reflector fills.
type watch struct {
	watches *Watches
	key     WatchKey
	stop    context.CancelFunc
	// settled is closed when the watch first delivered, was first refused, or somebody gave up waiting for it.
	firstSyncOrFailure chan struct{}
	// view holds copies; known holds the resourceVersions of what any other watch is about.
	store *CopyStore

	// users are guarded by the lock of the set.
	users map[User]struct{}

	mu sync.Mutex
	up bool
	// open is true while the stream of events is there, listed once a list was read.
	open, listed bool
	// missed is true from a refusal, or from when somebody gave up waiting, until the watch delivers, which is news then; that
	// a new watch delivers is none.
	wasDown bool
	// known is nil until the first list.
	known map[types.NamespacedName]string
}

// retry is how long a watch that cannot be had waits before it is tried again.
var watchBackoff = wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.2, Steps: 6, Cap: 30 * time.Second}

// run starts a watch; the lock of the set is held.
func (w *Watches) start(interest WatchKey) *watch {
	ctx, stop := context.WithCancel(w.ctx)
	watch := newWatch(w, interest, stop)
	backoff := watchBackoff
	reflector := cache.NewReflectorWithOptions(w.listWatch(interest, watch.streamOpened, watch.failed), nil, watch, cache.ReflectorOptions{
		Name:            interest.String(),
		TypeDescription: interest.Resource.String(),
		Backoff:         &backoff,
	})
	w.wait.Go(func() { reflector.RunWithContext(ctx) })
	return watch
}

func newWatch(w *Watches, interest WatchKey, stop context.CancelFunc) *watch {
	watch := &watch{
		watches: w, key: interest, stop: stop,
		firstSyncOrFailure: make(chan struct{}),
		users:              map[User]struct{}{},
	}
	if interest.Type == Copies {
		watch.store = newCopyStore(watch.copyChanged)
	}
	return watch
}

func (r *watch) synced() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.up
}

// failed notes that the watch cannot be had. A connection that broke is taken up again without anything being missed, so
// only a refusal counts.
func (r *watch) failed(err error) {
	if !isRefusal(err) {
		return
	}
	r.mu.Lock()
	lost := r.up
	r.up, r.open, r.listed, r.wasDown = false, false, false, true
	r.unblockWaiters()
	r.mu.Unlock()
	if lost {
		r.watches.sendEvent(Event{Watch: r.key})
	}
}

// late notes that somebody waited for the watch in vain. Nobody else waits until it delivers.
func (r *watch) waitTimedOut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.up {
		r.wasDown = true
		r.unblockWaiters()
	}
}

// opened notes that the stream of events is there. That a list could be had is not enough.
func (r *watch) streamOpened() {
	r.mu.Lock()
	r.open = true
	r.mu.Unlock()
	r.maybeSynced()
}

// delivers notes that the watch is up, once it has both listed and opened.
func (r *watch) maybeSynced() {
	r.mu.Lock()
	if !r.open || !r.listed || r.up {
		r.mu.Unlock()
		return
	}
	back := r.wasDown
	r.up, r.wasDown = true, false
	r.unblockWaiters()
	r.mu.Unlock()
	if back {
		r.watches.sendEvent(Event{Watch: r.key})
	}
}

// refused tells whether the API server says that this watch is not to be had: no right, or no such kind.
func isRefusal(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err) ||
		apierrors.IsMethodNotSupported(err)
}

// settle lets those go on who wait for the watch; the lock is held.
func (r *watch) unblockWaiters() {
	select {
	case <-r.firstSyncOrFailure:
	default:
		close(r.firstSyncOrFailure)
	}
}

// Transformer makes the Reflector reduce what it receives before it keeps any of it.
func (r *watch) Transformer() cache.TransformFunc { return r.transform }

// reduce reduces an object, unless it is the echo of our own write, whose answer is known already.
func (r *watch) transform(object any) (any, error) {
	if whole, ok := object.(*unstructured.Unstructured); ok && r.store != nil {
		if known := r.store.getExact(whole); known != nil {
			return newReducedObject(known), nil
		}
	}
	return r.watches.transform(object)
}

// Add implements the store of a Reflector.
func (r *watch) Add(object any) error { return r.Update(object) }

// Update implements the store of a Reflector.
func (r *watch) Update(object any) error {
	observed, err := r.toObserved(object)
	if err != nil {
		return err
	}
	if r.store != nil {
		r.store.set(observed)
		return nil
	}
	r.onObject(observed)
	return nil
}

// Delete implements the store of a Reflector.
func (r *watch) Delete(object any) error {
	observed, err := r.toObserved(object)
	if err != nil {
		return err
	}
	if r.store != nil {
		r.store.remove(observed.Key(), observed.ResourceVersion)
		return nil
	}
	r.onDelete(observed)
	return nil
}

// Replace implements the store of a Reflector: a whole list was read.
func (r *watch) Replace(objects []any, resourceVersion string) error {
	list := make([]*planner.Observed, 0, len(objects))
	for _, object := range objects {
		observed, err := r.toObserved(object)
		if err != nil {
			return err
		}
		list = append(list, observed)
	}
	if r.store != nil {
		r.store.replace(list, resourceVersion)
	} else {
		r.replaceKnown(list, resourceVersion)
	}
	r.mu.Lock()
	r.listed = true
	r.mu.Unlock()
	r.maybeSynced()
	return nil
}

// Bookmark implements the store of a Reflector: everything up to the resourceVersion was told.
func (r *watch) Bookmark(resourceVersion string) error {
	if r.store != nil {
		r.store.pruneTombstones(resourceVersion)
	}
	return nil
}

// Resync implements the store of a Reflector; nothing is to be done again.
func (r *watch) Resync() error { return nil }

// observe reduces what the Reflector hands over.
func (r *watch) toObserved(object any) (*planner.Observed, error) {
	if tombstone, missed := object.(cache.DeletedFinalStateUnknown); missed {
		object = tombstone.Obj
	}
	reduced, err := r.transform(object)
	if err != nil {
		return nil, err
	}
	typed, ok := reduced.(*reducedObject)
	if !ok {
		return nil, errors.New("reduced to something else than an arrival")
	}
	return typed.observed, nil
}

// copyChanged passes on that a copy is not as we left it.
func (r *watch) copyChanged(key types.NamespacedName, before, after *planner.Observed) {
	change := Event{Watch: r.key, Key: key}
	for _, object := range []*planner.Observed{before, after} {
		if object == nil {
			continue
		}
		if owner, marked := object.Owner(); marked {
			change.Owners = append(change.Owners, owner)
		}
	}
	r.watches.sendEvent(change)
}

// seen takes an object of a watch that keeps only resourceVersions.
func (r *watch) onObject(object *planner.Observed) {
	if r.key.Type == ConflictingObjects {
		r.onConflictingObject(object)
		return
	}
	key := object.Key()
	r.mu.Lock()
	same := r.known[key] == object.ResourceVersion
	r.known[key] = object.ResourceVersion
	r.mu.Unlock()
	if !same {
		r.watches.sendEvent(Event{Watch: r.key, Key: key})
	}
}

func (r *watch) onDelete(object *planner.Observed) {
	if r.key.Type == ConflictingObjects {
		r.onConflictingObjectDeleted(object)
		return
	}
	r.mu.Lock()
	delete(r.known, object.Key())
	r.mu.Unlock()
	r.watches.sendEvent(Event{Watch: r.key, Key: object.Key()})
}

func (r *watch) replaceKnown(list []*planner.Observed, resourceVersion string) {
	if r.key.Type == ConflictingObjects {
		r.onConflictingObjectsListed(list, resourceVersion)
		return
	}
	r.mu.Lock()
	before, first := r.known, r.known == nil
	r.known = make(map[types.NamespacedName]string, len(list))
	var changed []types.NamespacedName
	for _, object := range list {
		r.known[object.Key()] = object.ResourceVersion
		if !first && before[object.Key()] != object.ResourceVersion {
			changed = append(changed, object.Key())
		}
		delete(before, object.Key())
	}
	for key := range before {
		changed = append(changed, key)
	}
	r.mu.Unlock()
	for _, key := range changed {
		r.watches.sendEvent(Event{Watch: r.key, Key: key})
	}
}

// obstacleSeen tells the view of the copies that an object is not as it was met.
func (r *watch) onConflictingObject(object *planner.Observed) {
	if view := r.copyStore(); view != nil {
		view.setForeign(object)
	}
}

func (r *watch) onConflictingObjectDeleted(object *planner.Observed) {
	if view := r.copyStore(); view != nil {
		view.removeForeign(object.Key(), object.ResourceVersion)
	}
}

func (r *watch) onConflictingObjectsListed(list []*planner.Observed, resourceVersion string) {
	if view := r.copyStore(); view != nil {
		view.replaceForeign(r.key.Name, list, resourceVersion)
	}
}

// copies is the view into which foreign objects of the same kind are entered.
func (r *watch) copyStore() *CopyStore {
	r.watches.mu.Lock()
	defer r.watches.mu.Unlock()
	if watch := r.watches.active[CopiesOf(r.key.Resource)]; watch != nil {
		return watch.store
	}
	return nil
}

var (
	_ cache.TransformingStore      = (*watch)(nil)
	_ cache.ReflectorBookmarkStore = (*watch)(nil)
)
