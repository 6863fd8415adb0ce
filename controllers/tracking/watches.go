package tracking

import (
	"context"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"

	"github.com/prosimcorp/replika/controllers/planner"
)

// Key names an object within its resource.
type Key = types.NamespacedName

// User is on whose behalf something is watched: a Replika, for one purpose. Each purpose has a set of interests that is
// replaced as a whole.
type User struct {
	Replika types.NamespacedName
	Purpose string
}

// Change is news that a watch brought: about an object, or, with an empty Key, about the watch itself, which can be had
// now, or no longer.
type Event struct {
	Watch WatchKey
	Key   Key
	// Owners are the Replikas that the object's marks name, before or after.
	Owners []types.NamespacedName
}

// Watches is the watched set: one watch for each interest that somebody has, none for any other.
type Watches struct {
	objects  dynamic.Interface
	metadata metadata.Interface
	cleaner  *planner.Cleaner
	notify   func(Event, []types.NamespacedName)

	ctx  context.Context //nolint:containedctx // the watches' own life, which Start ends; they outlive whoever asks for them
	stop context.CancelFunc
	wait sync.WaitGroup

	mu     sync.Mutex
	ended  bool
	users  map[User][]WatchKey
	active map[WatchKey]*watch
}

// NewWatches returns an empty set. notify is called, from many goroutines and without a lock held, with every change and
// the Replikas that have an interest in it.
func NewWatches(
	objects dynamic.Interface, metadata metadata.Interface, cleaner *planner.Cleaner,
	notify func(Event, []types.NamespacedName),
) *Watches {
	ctx, stop := context.WithCancel(context.Background())
	return &Watches{
		objects:  objects,
		metadata: metadata,
		cleaner:  cleaner,
		notify:   notify,
		ctx:      ctx,
		stop:     stop,
		users:    map[User][]WatchKey{},
		active:   map[WatchKey]*watch{},
	}
}

// Start owns the watches: it returns when the context has ended and the last of them has stopped.
func (w *Watches) Start(ctx context.Context) error {
	<-ctx.Done()
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.stop()
	w.wait.Wait()
	return nil
}

// NeedLeaderElection tells the manager to run the watches on the standby too, so that a takeover needs no list.
func (*Watches) NeedLeaderElection() bool { return false }

// Set replaces what the user is interested in. Watches that nobody is interested in any more end; it waits for none.
func (w *Watches) Set(user User, interests ...WatchKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	before := w.users[user]
	w.users[user] = interests
	if len(interests) == 0 {
		delete(w.users, user)
	}
	for _, interest := range interests {
		if w.active[interest] == nil {
			w.active[interest] = w.start(interest)
		}
		w.active[interest].users[user] = struct{}{}
	}
	for _, interest := range before {
		if !slices.Contains(interests, interest) {
			w.release(interest, user)
		}
	}
}

// drop ends the user's interest and, if it was the last, the watch; the lock is held.
func (w *Watches) release(interest WatchKey, user User) {
	watch := w.active[interest]
	delete(watch.users, user)
	if watch.store != nil {
		watch.store.forget(user.Replika)
	}
	if len(watch.users) == 0 {
		watch.stop()
		delete(w.active, interest)
	}
}

// Copies returns the view of a kind's copies once its watch has delivered them. When it cannot be had, or takes until the
// context ends, it returns false, and the copies must be read instead.
func (w *Watches) Copies(ctx context.Context, resource schema.GroupVersionResource) (*CopyStore, bool) {
	watch := w.waitForSync(ctx, CopiesOf(resource))
	if watch == nil || !watch.synced() {
		return nil, false
	}
	return watch.store, true
}

// Up waits until the watch for the interest has delivered or was refused, or the context ends, and tells whether it is up.
// A watch that somebody waited for in vain is not waited for again.
func (w *Watches) WaitForSync(ctx context.Context, interest WatchKey) bool {
	watch := w.waitForSync(ctx, interest)
	return watch != nil && watch.synced()
}

func (w *Watches) waitForSync(ctx context.Context, interest WatchKey) *watch {
	w.mu.Lock()
	watch := w.active[interest]
	w.mu.Unlock()
	if watch == nil {
		return nil
	}
	select {
	case <-watch.firstSyncOrFailure:
	case <-ctx.Done():
		watch.waitTimedOut()
	}
	return watch
}

// Running counts the watches that are up, by resource.
func (w *Watches) ActiveWatches() map[schema.GroupResource]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	counts := map[schema.GroupResource]int{}
	for interest, watch := range w.active {
		if watch.synced() {
			counts[interest.Resource.GroupResource()]++
		}
	}
	return counts
}

// tell passes a change on, with the Replikas that have the interest. Of the many that share the watch of a kind's copies,
// a change of one copy concerns but a few, which are found by its marks and name instead.
func (w *Watches) sendEvent(change Event) {
	var users []types.NamespacedName
	if change.Watch.Type != Copies || change.Key == (Key{}) {
		w.mu.Lock()
		if watch := w.active[change.Watch]; watch != nil {
			for user := range watch.users {
				users = append(users, user.Replika)
			}
		}
		w.mu.Unlock()
	}
	w.notify(change, users)
}
