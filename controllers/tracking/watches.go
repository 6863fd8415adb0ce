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
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/prosimcorp/replika/controllers/planner"
)

// Key identifies an object within its resource.
type Key = types.NamespacedName

// User is a Replika that needs watches for one purpose. The watches of each user are replaced as a whole.
type User struct {
	Replika types.NamespacedName
	Purpose string
}

// Event is a change that a watch reports: of an object or, with an empty Key, of the watch itself, which has synced, or is
// no longer synced.
type Event struct {
	Watch WatchKey
	Key   Key
	// Owners are the Replikas that the object's marks name, before and after the change. If OfWrite is true, the change is the
	// result of a write, and Owners are the Replikas that do not know it.
	Owners  []types.NamespacedName
	OfWrite bool
	// Labels are the object's labels before and after the change, without duplicates. Only watches of [Sources] report them.
	Labels []labels.Set
}

// Watches runs one watch for each key that at least one user needs; many sources of a namespace share one, see sharing.go.
type Watches struct {
	objects  dynamic.Interface
	lists    objectStream
	metadata metadata.Interface
	cleaner  *planner.Cleaner
	notify   func(ctx context.Context, event Event, users []types.NamespacedName)
	// backoff is the delay before a failed watch is retried.
	backoff wait.Backoff
	// staleAfter is how long a watch that has synced may be without a working stream. The Reflector's backoff is shorter.
	staleAfter time.Duration
	// trustAfter is how long a stream without an event must be open before it counts as working.
	trustAfter time.Duration
	// shareAbove and shareAtLeast are the numbers of sources in a namespace past which they begin and cease to share a watch.
	shareAbove, shareAtLeast int

	reflectors sync.WaitGroup

	mu sync.Mutex
	// users has the keys that each user needs, and needed the users of each key.
	users  map[User][]WatchKey
	needed map[WatchKey]map[User]struct{}
	// sources are those that have users, by the key of the watch that they share or could share.
	sources map[WatchKey]*namespaceSources
	// active are the watches that run. The users of a key may be served by the watch of another one, see serving.
	active map[WatchKey]*watch
	// startWatch starts a watch under the context of Start. Before Start, it does nothing.
	startWatch func(*watch)
	stopped    bool
}

// NewWatches returns an empty set. It watches whole objects through objects, lists them through lists, and does both with metadata
// alone through metadata. notify is called, from many goroutines and without a lock held, with every event and the
// Replikas that use the watch. Its context ends when the watch stops. The users of a copy's event are not listed: a few of
// the many that share the watch of a kind's copies are concerned, and the event's key and owners identify them.
func NewWatches(
	objects dynamic.Interface, lists rest.Interface, metadata metadata.Interface, cleaner *planner.Cleaner,
	notify func(ctx context.Context, event Event, users []types.NamespacedName),
) *Watches {
	return &Watches{
		objects:    objects,
		lists:      objectStream{client: lists},
		metadata:   metadata,
		cleaner:    cleaner,
		notify:     notify,
		backoff:    wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.2, Steps: 6, Cap: 30 * time.Second},
		staleAfter: time.Minute,
		trustAfter: 5 * time.Second,
		shareAbove: defaultShareAbove, shareAtLeast: defaultShareAtLeast,
		users:      map[User][]WatchKey{},
		needed:     map[WatchKey]map[User]struct{}{},
		sources:    map[WatchKey]*namespaceSources{},
		active:     map[WatchKey]*watch{},
		startWatch: func(*watch) {},
	}
}

// Start starts the watches that were set, and all that are set from now on. It returns when the context has ended and every
// watch has stopped.
func (w *Watches) Start(ctx context.Context) error {
	w.mu.Lock()
	w.startWatch = func(watch *watch) { watch.start(ctx, &w.reflectors) }
	for _, watch := range w.active {
		w.startWatch(watch)
	}
	w.mu.Unlock()

	<-ctx.Done()

	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	w.reflectors.Wait()
	return nil
}

// NeedLeaderElection makes the manager start the watches on the standby too, so that a takeover needs no list.
func (*Watches) NeedLeaderElection() bool { return false }

// Set replaces the watches that the user needs. New ones start at once, or with Start; those without a user stop. Set does
// not wait for either, and does nothing after the context of Start has ended.
func (w *Watches) Set(user User, keys ...WatchKey) { sendAll(w.set(user, keys)) }

// set returns what must be called without the lock to send events.
func (w *Watches) set(user User, keys []WatchKey) (send []func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return nil
	}
	before := w.users[user]
	w.users[user] = keys
	if len(keys) == 0 {
		delete(w.users, user)
	}
	for _, key := range keys {
		send = append(send, w.acquire(key, user)...)
	}
	for _, key := range before {
		if !slices.Contains(keys, key) {
			send = append(send, w.release(key, user)...)
		}
	}
	return send
}

// acquire adds the user to those of the key, and starts a watch for its first user. The lock is held.
func (w *Watches) acquire(key WatchKey, user User) []func() {
	if users := w.needed[key]; users != nil {
		users[user] = struct{}{}
		return nil
	}
	w.needed[key] = map[User]struct{}{user: {}}
	if key.Type == Source || key.Type == Sources {
		return w.addSource(key)
	}
	w.run(key).setServes(key, true)
	return nil
}

// release removes the user from those of the key, and stops the watch after its last user. The lock is held.
func (w *Watches) release(key WatchKey, user User) []func() {
	users := w.needed[key]
	delete(users, user)
	if watch := w.active[key]; watch != nil && watch.store != nil {
		watch.store.forget(user.Replika)
	}
	if len(users) > 0 {
		return nil
	}
	delete(w.needed, key)
	if key.Type == Source || key.Type == Sources {
		return w.removeSource(key)
	}
	w.end(key)
	if copies := w.active[CopiesOf(key.Resource)]; key.Type == ConflictingObjects && copies != nil {
		copies.store.forgetForeign(key.Name)
	}
	return nil
}

// run starts a watch that serves nothing yet. The lock is held.
func (w *Watches) run(key WatchKey) *watch {
	watch := newWatch(w, key)
	w.active[key] = watch
	w.startWatch(watch)
	return watch
}

// end stops a watch, if it runs. The lock is held.
func (w *Watches) end(key WatchKey) {
	if watch := w.active[key]; watch != nil {
		watch.stop()
		delete(w.active, key)
	}
}

// Copies waits like WaitForSync, and returns the store of a kind's copies if their watch has synced. Otherwise it returns
// false, and the copies must be listed instead.
func (w *Watches) Copies(ctx context.Context, resource schema.GroupVersionResource) (*CopyStore, bool) {
	watch := w.waitForSync(ctx, CopiesOf(resource))
	if watch == nil || !watch.isSynced() {
		return nil, false
	}
	return watch.store, true
}

// WaitForSync waits until the watch has synced or was refused, or the context ends, and reports whether the watch has synced.
// It returns at once if the watch has no user. After a wait that timed out, later callers do not wait for that watch.
func (w *Watches) WaitForSync(ctx context.Context, key WatchKey) bool {
	watch := w.waitForSync(ctx, key)
	return watch != nil && watch.isSynced()
}

// State returns whether the watch has synced and, if not, why.
func (w *Watches) State(key WatchKey) State {
	watch, _ := w.serving(key)
	if watch == nil {
		return Syncing
	}
	return watch.state()
}

// serving returns the watch that serves the users of the key, nil if it has none, and a channel that is closed when another watch
// may serve them.
func (w *Watches) serving(key WatchKey) (*watch, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.needed[key]) == 0 {
		return nil, nil
	}
	if key.Type != Source {
		return w.active[key], nil
	}
	sources := w.sourcesOf(key)
	if single := w.active[key]; single != nil && single.isServing(key) {
		return single, sources.moved
	}
	return w.active[sources.key], sources.moved
}

func (w *Watches) waitForSync(ctx context.Context, key WatchKey) *watch {
	for {
		watch, moved := w.serving(key)
		if watch == nil {
			return nil
		}
		select {
		case <-watch.firstSyncOrFailure:
			if watch.key == key || watch.isSynced() {
				return watch
			}
			w.availabilityChanged(watch.key) // a watch that others share failed: this source gets its own
		case <-moved:
			continue
		case <-ctx.Done():
			watch.waitTimedOut()
		}
		if now, _ := w.serving(key); now == watch {
			return watch
		}
	}
}

// ActiveWatches counts the watches that are synced, by resource.
func (w *Watches) ActiveWatches() map[schema.GroupResource]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	counts := map[schema.GroupResource]int{}
	for key, watch := range w.active {
		if watch.isSynced() {
			counts[key.Resource.GroupResource()]++
		}
	}
	return counts
}

// Unavailable counts the watches that are not synced, by resource and state, without those that serve nobody because each source has
// a watch of its own meanwhile.
func (w *Watches) Unavailable() map[schema.GroupResource]map[State]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	counts := map[schema.GroupResource]map[State]int{}
	for key, watch := range w.active {
		resource, state := key.Resource.GroupResource(), watch.state()
		if state == Synced || !watch.servesAny() {
			continue
		}
		if counts[resource] == nil {
			counts[resource] = map[State]int{}
		}
		counts[resource][state]++
	}
	return counts
}

// sendEvent calls notify with the event and the Replikas that use the watch, see NewWatches.
func (w *Watches) sendEvent(ctx context.Context, event Event) {
	var users []types.NamespacedName
	if event.Watch.Type != Copies || event.Key == (Key{}) {
		users = w.usersOf(event.Watch)
	}
	w.notify(ctx, event, users)
}

func (w *Watches) usersOf(key WatchKey) []types.NamespacedName {
	w.mu.Lock()
	defer w.mu.Unlock()
	var users []types.NamespacedName
	for user := range w.needed[key] {
		users = append(users, user.Replika)
	}
	return users
}

// storeOf returns the store of a resource's copies, nil if they are not watched.
func (w *Watches) storeOf(resource schema.GroupVersionResource) *CopyStore {
	w.mu.Lock()
	defer w.mu.Unlock()
	if watch := w.active[CopiesOf(resource)]; watch != nil {
		return watch.store
	}
	return nil
}
