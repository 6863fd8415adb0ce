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

	"github.com/prosimcorp/replika/controllers/replication"
)

// running is one watch. It is the store that client-go's Reflector fills.
type running struct {
	watches  *Watches
	interest Interest
	stop     context.CancelFunc
	// settled is closed when the watch first delivered, was first refused, or somebody gave up waiting for it.
	settled chan struct{}
	// view holds copies; known holds the resourceVersions of what any other watch is about.
	view *View

	// users are guarded by the lock of the set.
	users map[User]struct{}

	mu sync.Mutex
	up bool
	// open is true while the stream of events is there, listed once a list was read.
	open, listed bool
	// missed is true from a refusal, or from when somebody gave up waiting, until the watch delivers, which is news then; that
	// a new watch delivers is none.
	missed bool
	// known is nil until the first list.
	known map[types.NamespacedName]string
}

// retry is how long a watch that cannot be had waits before it is tried again.
var retry = wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.2, Steps: 6, Cap: 30 * time.Second}

// run starts a watch; the lock of the set is held.
func (w *Watches) run(interest Interest) *running {
	ctx, stop := context.WithCancel(w.ctx)
	watch := newRunning(w, interest, stop)
	backoff := retry
	reflector := cache.NewReflectorWithOptions(w.listWatch(interest, watch.opened, watch.failed), nil, watch, cache.ReflectorOptions{
		Name:            interest.String(),
		TypeDescription: interest.Resource.String(),
		Backoff:         &backoff,
	})
	w.wait.Go(func() { reflector.RunWithContext(ctx) })
	return watch
}

func newRunning(w *Watches, interest Interest, stop context.CancelFunc) *running {
	watch := &running{
		watches: w, interest: interest, stop: stop,
		settled: make(chan struct{}),
		users:   map[User]struct{}{},
	}
	if interest.Subject == Copies {
		watch.view = newView(watch.copyChanged)
	}
	return watch
}

func (r *running) synced() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.up
}

// failed notes that the watch cannot be had. A connection that broke is taken up again without anything being missed, so
// only a refusal counts.
func (r *running) failed(err error) {
	if !refused(err) {
		return
	}
	r.mu.Lock()
	lost := r.up
	r.up, r.open, r.listed, r.missed = false, false, false, true
	r.settle()
	r.mu.Unlock()
	if lost {
		r.watches.tell(Change{Interest: r.interest})
	}
}

// late notes that somebody waited for the watch in vain. Nobody else waits until it delivers.
func (r *running) late() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.up {
		r.missed = true
		r.settle()
	}
}

// opened notes that the stream of events is there. That a list could be had is not enough.
func (r *running) opened() {
	r.mu.Lock()
	r.open = true
	r.mu.Unlock()
	r.delivers()
}

// delivers notes that the watch is up, once it has both listed and opened.
func (r *running) delivers() {
	r.mu.Lock()
	if !r.open || !r.listed || r.up {
		r.mu.Unlock()
		return
	}
	back := r.missed
	r.up, r.missed = true, false
	r.settle()
	r.mu.Unlock()
	if back {
		r.watches.tell(Change{Interest: r.interest})
	}
}

// refused tells whether the API server says that this watch is not to be had: no right, or no such kind.
func refused(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err) ||
		apierrors.IsMethodNotSupported(err)
}

// settle lets those go on who wait for the watch; the lock is held.
func (r *running) settle() {
	select {
	case <-r.settled:
	default:
		close(r.settled)
	}
}

// Transformer makes the Reflector reduce what it receives before it keeps any of it.
func (r *running) Transformer() cache.TransformFunc { return r.reduce }

// reduce reduces an object, unless it is the echo of our own write, whose answer is known already.
func (r *running) reduce(object any) (any, error) {
	if whole, ok := object.(*unstructured.Unstructured); ok && r.view != nil {
		if known := r.view.exactly(whole); known != nil {
			return newArrival(known), nil
		}
	}
	return r.watches.reduce(object)
}

// Add implements the store of a Reflector.
func (r *running) Add(object any) error { return r.Update(object) }

// Update implements the store of a Reflector.
func (r *running) Update(object any) error {
	observed, err := r.observe(object)
	if err != nil {
		return err
	}
	if r.view != nil {
		r.view.set(observed)
		return nil
	}
	r.seen(observed)
	return nil
}

// Delete implements the store of a Reflector.
func (r *running) Delete(object any) error {
	observed, err := r.observe(object)
	if err != nil {
		return err
	}
	if r.view != nil {
		r.view.remove(observed.Key(), observed.ResourceVersion)
		return nil
	}
	r.vanished(observed)
	return nil
}

// Replace implements the store of a Reflector: a whole list was read.
func (r *running) Replace(objects []any, resourceVersion string) error {
	list := make([]*replication.Observed, 0, len(objects))
	for _, object := range objects {
		observed, err := r.observe(object)
		if err != nil {
			return err
		}
		list = append(list, observed)
	}
	if r.view != nil {
		r.view.replace(list, resourceVersion)
	} else {
		r.replaceKnown(list, resourceVersion)
	}
	r.mu.Lock()
	r.listed = true
	r.mu.Unlock()
	r.delivers()
	return nil
}

// Bookmark implements the store of a Reflector: everything up to the resourceVersion was told.
func (r *running) Bookmark(resourceVersion string) error {
	if r.view != nil {
		r.view.reached(resourceVersion)
	}
	return nil
}

// Resync implements the store of a Reflector; nothing is to be done again.
func (r *running) Resync() error { return nil }

// observe reduces what the Reflector hands over.
func (r *running) observe(object any) (*replication.Observed, error) {
	if tombstone, missed := object.(cache.DeletedFinalStateUnknown); missed {
		object = tombstone.Obj
	}
	reduced, err := r.reduce(object)
	if err != nil {
		return nil, err
	}
	typed, ok := reduced.(*arrival)
	if !ok {
		return nil, errors.New("reduced to something else than an arrival")
	}
	return typed.observed, nil
}

// copyChanged passes on that a copy is not as we left it.
func (r *running) copyChanged(key types.NamespacedName, before, after *replication.Observed) {
	change := Change{Interest: r.interest, Key: key}
	for _, object := range []*replication.Observed{before, after} {
		if object == nil {
			continue
		}
		if owner, marked := object.Owner(); marked {
			change.Owners = append(change.Owners, owner)
		}
	}
	r.watches.tell(change)
}

// seen takes an object of a watch that keeps only resourceVersions.
func (r *running) seen(object *replication.Observed) {
	if r.interest.Subject == Obstacles {
		r.obstacleSeen(object)
		return
	}
	key := object.Key()
	r.mu.Lock()
	same := r.known[key] == object.ResourceVersion
	r.known[key] = object.ResourceVersion
	r.mu.Unlock()
	if !same {
		r.watches.tell(Change{Interest: r.interest, Key: key})
	}
}

func (r *running) vanished(object *replication.Observed) {
	if r.interest.Subject == Obstacles {
		r.obstacleGone(object)
		return
	}
	r.mu.Lock()
	delete(r.known, object.Key())
	r.mu.Unlock()
	r.watches.tell(Change{Interest: r.interest, Key: object.Key()})
}

func (r *running) replaceKnown(list []*replication.Observed, resourceVersion string) {
	if r.interest.Subject == Obstacles {
		r.obstaclesListed(list, resourceVersion)
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
		r.watches.tell(Change{Interest: r.interest, Key: key})
	}
}

// obstacleSeen tells the view of the copies that an object is not as it was met.
func (r *running) obstacleSeen(object *replication.Observed) {
	if view := r.copies(); view != nil {
		view.setForeign(object)
	}
}

func (r *running) obstacleGone(object *replication.Observed) {
	if view := r.copies(); view != nil {
		view.removeForeign(object.Key(), object.ResourceVersion)
	}
}

func (r *running) obstaclesListed(list []*replication.Observed, resourceVersion string) {
	if view := r.copies(); view != nil {
		view.replaceForeign(r.interest.Name, list, resourceVersion)
	}
}

// copies is the view into which foreign objects of the same kind are entered.
func (r *running) copies() *View {
	r.watches.mu.Lock()
	defer r.watches.mu.Unlock()
	if watch := r.watches.running[CopiesOf(r.interest.Resource)]; watch != nil {
		return watch.view
	}
	return nil
}

var (
	_ cache.TransformingStore      = (*running)(nil)
	_ cache.ReflectorBookmarkStore = (*running)(nil)
)
