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
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/prosimcorp/replika/controllers/planner"
)

// watch is one watch: a client-go Reflector, and the store that the Reflector fills.
type watch struct {
	watches *Watches
	key     WatchKey
	// firstSyncOrFailure is closed when the watch has synced or was refused for the first time, or a caller's wait timed out.
	firstSyncOrFailure chan struct{}
	// store holds the copies. It is nil for every other type of watch, which keeps only resourceVersions.
	store *CopyStore

	// notify sends an event under the context of the Reflector, and stop ends that context. start sets both.
	notify func(Event)
	stop   context.CancelFunc

	mu sync.Mutex
	// serves has the keys in whose name the watch sends events: its own, unless another watch serves its users, and those of
	// the sources that it serves.
	serves map[WatchKey]struct{}
	// synced is true once the stream was open and a list was stored, until the watch is refused or stale.
	synced, listed bool
	// problem is why the last request failed, until the watch syncs; Synced if none did.
	problem State
	// wasDown is true after a refusal, or when the watch was stale, or after a caller's wait timed out, until the watch syncs.
	// That sync sends an event, unlike the first sync of a new watch.
	wasDown bool
	// reportedDown is true once users may have learned from an event, or from a wait that timed out, that the watch was down.
	reportedDown bool
	// stream is what is known of the stream of events.
	stream stream
	// versions holds what is kept of all watched objects, see keepsVersions. It is nil until the first list.
	versions map[Key]objectVersion
}

func newWatch(watches *Watches, key WatchKey) *watch {
	w := &watch{
		watches:            watches,
		key:                key,
		firstSyncOrFailure: make(chan struct{}),
		problem:            Synced,
		notify:             func(Event) {},
		stop:               func() {},
		serves:             map[WatchKey]struct{}{},
	}
	if key.Type == Copies {
		w.store = newCopyStore(w.copyChanged)
	}
	return w
}

// start starts the Reflector, which ends with the context, or when stop is called. The lock of watches is held.
func (w *watch) start(ctx context.Context, reflectors *sync.WaitGroup) {
	ctx, w.stop = context.WithCancel(ctx)
	context.AfterFunc(ctx, w.endChecks)
	w.notify = func(event Event) { w.watches.sendEvent(ctx, event) }
	backoff := w.watches.backoff
	reflector := cache.NewReflectorWithOptions(w.listWatch(), nil, w, cache.ReflectorOptions{
		Name:            w.key.String(),
		TypeDescription: w.key.Resource.String(),
		Backoff:         &backoff,
	})
	reflectors.Go(func() { reflector.RunWithContext(ctx) })
}

// listWatch makes the requests of the Reflector, and records whether they succeed.
func (w *watch) listWatch() cache.ListerWatcher {
	list, open := w.requests()
	// The Reflector first opens a watch that also lists, and falls back to a list. Where the watch was refused, that list would
	// be of no use, so it fails with the same error and without a request.
	var refusedErr error
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			if err := refusedErr; err != nil {
				refusedErr = nil
				return nil, err
			}
			w.key.applySelectors(&options)
			objects, err := list(ctx, options)
			if err != nil {
				w.failed(err)
			}
			return objects, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (apiwatch.Interface, error) {
			w.key.applySelectors(&options)
			stream, err := open(ctx, options)
			if err != nil {
				if isRefusal(err) && options.SendInitialEvents != nil {
					refusedErr = err
				}
				if isRefusal(err) || options.SendInitialEvents == nil { // else a list follows
					w.failed(err)
				}
				return nil, err
			}
			w.streamOpened()
			return &observedStream{Interface: stream, closed: w.streamClosed}, nil
		},
	}, w.watches.objects)
}

// requests returns the requests that list and watch the objects: whole objects for copies, else their metadata.
func (w *watch) requests() (cache.ListWithContextFunc, cache.WatchFuncWithContext) {
	if w.key.Type == Copies {
		return w.listReduced, w.watches.objects.Resource(w.key.Resource).Watch
	}
	metadata := w.watches.metadata.Resource(w.key.Resource).Namespace(w.key.Namespace)
	list := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return metadata.List(ctx, options)
	}
	return list, metadata.Watch
}

func (w *watch) isSynced() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.synced
}

func (w *watch) hasList() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.listed
}

// apply updates the state of the watch, and sends the events that the update returns. The update runs with the lock held, so
// it must not call out.
func (w *watch) apply(update func() []Event) {
	w.mu.Lock()
	before := w.availability()
	events := update()
	changed := w.availability() != before
	w.mu.Unlock()
	for _, event := range events {
		w.notify(event)
	}
	if changed {
		w.watches.availabilityChanged(w.key)
	}
}

// failed records that a request of the watch failed. Only a refusal matters at once: the Reflector resumes after a broken
// connection without missing an event.
func (w *watch) failed(err error) {
	w.apply(func() []Event {
		w.problem = problemOf(err)
		if !isRefusal(err) {
			return nil
		}
		w.listed, w.stream.open, w.stream.works, w.stream.stale = false, false, false, false
		return w.down()
	})
}

// down marks the watch as not synced. The lock is held.
func (w *watch) down() []Event {
	wasSynced := w.synced
	w.synced, w.wasDown = false, true
	w.unblockWaiters()
	if wasSynced {
		w.reportedDown = true
		return w.eventsOfItself()
	}
	return nil
}

// listStored records that a list was stored. A successful list alone does not make the watch synced.
func (w *watch) listStored() {
	w.apply(func() []Event {
		w.listed = true
		return w.eventReceived()
	})
}

// maybeSynced marks the watch as synced once the stream is open and a list was stored. The lock is held.
func (w *watch) maybeSynced() []Event {
	if !w.stream.open || w.stream.stale || !w.listed || w.synced {
		return nil
	}
	wasDown := w.wasDown
	w.synced, w.wasDown, w.problem = true, false, Synced
	w.unblockWaiters()
	if wasDown {
		return w.eventsOfItself()
	}
	return nil
}

// waitTimedOut records that a caller's wait for the watch timed out. Later callers do not wait.
func (w *watch) waitTimedOut() {
	w.apply(func() []Event {
		if !w.synced {
			w.wasDown, w.reportedDown = true, true
			w.unblockWaiters()
		}
		return nil
	})
}

// unblockWaiters ends all waits for the watch. The lock is held.
func (w *watch) unblockWaiters() {
	select {
	case <-w.firstSyncOrFailure:
	default:
		close(w.firstSyncOrFailure)
	}
}

// Transformer implements cache.TransformingStore: the Reflector reduces what it receives before it stores it.
func (w *watch) Transformer() cache.TransformFunc { return w.transform }

// Add implements cache.ReflectorStore.
func (w *watch) Add(object any) error { return w.Update(object) }

// Update implements cache.ReflectorStore.
func (w *watch) Update(object any) error {
	reduced, err := w.reduce(object)
	if err != nil {
		return err
	}
	w.apply(w.eventReceived)
	switch w.key.Type {
	case Copies:
		w.store.set(reduced.observed)
	case ConflictingObjects:
		if store := w.storeOfCopies(); store != nil {
			store.setForeign(reduced.observed)
		}
	default:
		w.onObject(reduced)
	}
	return nil
}

// Delete implements cache.ReflectorStore.
func (w *watch) Delete(object any) error {
	reduced, err := w.reduce(object)
	if err != nil {
		return err
	}
	w.apply(w.eventReceived)
	switch w.key.Type {
	case Copies:
		w.store.remove(reduced.observed.Key(), reduced.ResourceVersion)
	case ConflictingObjects:
		if store := w.storeOfCopies(); store != nil {
			store.removeForeign(reduced.observed.Key(), reduced.ResourceVersion)
		}
	default:
		w.onDelete(reduced)
	}
	return nil
}

// Replace implements cache.ReflectorStore: it stores a list.
func (w *watch) Replace(objects []any, resourceVersion string) error {
	list := make([]*reducedObject, 0, len(objects))
	for _, object := range objects {
		reduced, err := w.reduce(object)
		if err != nil {
			return err
		}
		list = append(list, reduced)
	}
	switch w.key.Type {
	case Copies:
		w.store.replace(toObserved(list), resourceVersion)
	case ConflictingObjects:
		if store := w.storeOfCopies(); store != nil {
			store.replaceForeign(w.key.Name, toObserved(list), resourceVersion)
		}
	default:
		w.onList(list)
	}
	w.listStored()
	return nil
}

// Bookmark implements cache.ReflectorBookmarkStore: the watch has reported everything up to the resourceVersion.
func (w *watch) Bookmark(resourceVersion string) error {
	w.apply(w.eventReceived)
	if w.store != nil {
		w.store.pruneTombstones(resourceVersion)
	}
	return nil
}

// Resync implements cache.ReflectorStore. Nothing is resynced.
func (*watch) Resync() error { return nil }

// reduce reduces an object that the Reflector stores.
func (w *watch) reduce(object any) (*reducedObject, error) {
	if tombstone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = tombstone.Obj
	}
	reduced, err := w.transform(object)
	if err != nil {
		return nil, err
	}
	typed, ok := reduced.(*reducedObject)
	if !ok {
		return nil, fmt.Errorf("unexpected object of type %T after the transform", reduced)
	}
	return typed, nil
}

func toObserved(list []*reducedObject) []*planner.Observed {
	observed := make([]*planner.Observed, len(list))
	for i, object := range list {
		observed[i] = object.observed
	}
	return observed
}

// storeOfCopies returns the store that foreign objects of the same kind are stored in.
func (w *watch) storeOfCopies() *CopyStore { return w.watches.storeOf(w.key.Resource) }

// copyChanged sends an event for a change of a copy. The first list sends none: nothing was planned by the store before it, and
// who did not wait for it gets the event of the sync.
func (w *watch) copyChanged(change storeEvent) {
	if !w.hasList() {
		return
	}
	w.notify(Event{Watch: w.key, Key: change.key, Owners: change.owners, OfWrite: change.ofWrite})
}

var (
	_ cache.TransformingStore      = (*watch)(nil)
	_ cache.ReflectorBookmarkStore = (*watch)(nil)
)
