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
}

// Watches runs one watch for each key that at least one user needs.
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

	reflectors sync.WaitGroup

	mu     sync.Mutex
	users  map[User][]WatchKey
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
		lists:      objectStream{lists},
		metadata:   metadata,
		cleaner:    cleaner,
		notify:     notify,
		backoff:    wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.2, Steps: 6, Cap: 30 * time.Second},
		staleAfter: time.Minute,
		trustAfter: 5 * time.Second,
		users:      map[User][]WatchKey{},
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
func (w *Watches) Set(user User, keys ...WatchKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	before := w.users[user]
	w.users[user] = keys
	if len(keys) == 0 {
		delete(w.users, user)
	}
	for _, key := range keys {
		w.acquire(key, user)
	}
	for _, key := range before {
		if !slices.Contains(keys, key) {
			w.release(key, user)
		}
	}
}

// acquire adds the user to the watch, and starts the watch for its first user. The lock is held.
func (w *Watches) acquire(key WatchKey, user User) {
	if w.active[key] == nil {
		w.active[key] = newWatch(w, key)
		w.startWatch(w.active[key])
	}
	w.active[key].users[user] = struct{}{}
}

// release removes the user from the watch, and stops the watch after its last user. The lock is held.
func (w *Watches) release(key WatchKey, user User) {
	watch := w.active[key]
	delete(watch.users, user)
	if watch.store != nil {
		watch.store.forget(user.Replika)
	}
	if len(watch.users) == 0 {
		watch.stop()
		delete(w.active, key)
		if copies := w.active[CopiesOf(key.Resource)]; key.Type == ConflictingObjects && copies != nil {
			copies.store.forgetForeign(key.Name)
		}
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
	w.mu.Lock()
	watch := w.active[key]
	w.mu.Unlock()
	if watch == nil {
		return Syncing
	}
	return watch.state()
}

func (w *Watches) waitForSync(ctx context.Context, key WatchKey) *watch {
	w.mu.Lock()
	watch := w.active[key]
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

// Unavailable counts the watches that are not synced, by resource and state.
func (w *Watches) Unavailable() map[schema.GroupResource]map[State]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	counts := map[schema.GroupResource]map[State]int{}
	for key, watch := range w.active {
		resource, state := key.Resource.GroupResource(), watch.state()
		if state == Synced {
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
	if watch := w.active[key]; watch != nil {
		for user := range watch.users {
			users = append(users, user.Replika)
		}
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
