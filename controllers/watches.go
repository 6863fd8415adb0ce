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

package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// The purposes for which watches are used.
const (
	watchPurposeCopies    = "copies"    // the source and the copies of a Replika
	watchPurposeConflicts = "conflicts" // foreign objects with the name of copies
	watchPurposeKinds     = "kinds"     // CustomResourceDefinitions, for no Replika in particular
)

// ensureWatches watches the source and the copies of its kind. It does not wait for the watches.
func (r *ReplikaReconciler) ensureWatches(replika *v1alpha1.Replika, mapping tracking.Mapping) {
	r.Watches.Set(tracking.User{Replika: client.ObjectKeyFromObject(replika), Purpose: watchPurposeCopies},
		tracking.CopiesOf(mapping.Resource), sourceWatch(replika, mapping))
}

// sourceWatch is the watch of the source, or of all objects that can be one of many.
func sourceWatch(replika *v1alpha1.Replika, mapping tracking.Mapping) tracking.WatchKey {
	if replika.HasManySources() {
		return tracking.SourcesIn(mapping.Resource, replika.SourceNamespace())
	}
	return tracking.SourceAt(mapping.Resource, sourceKey(replika))
}

// releaseWatches ends the watches of a Replika, unless another one needs them.
func (r *ReplikaReconciler) releaseWatches(replika types.NamespacedName) {
	r.Watches.Set(tracking.User{Replika: replika, Purpose: watchPurposeCopies})
	r.Watches.Set(tracking.User{Replika: replika, Purpose: watchPurposeConflicts})
}

// forget drops everything about a Replika that no longer exists.
func (r *ReplikaReconciler) forget(replika types.NamespacedName) {
	r.sourceReads.forget(replika)
	r.states.delete(replika)
	r.Lister.Forget(replika)
	r.selections.delete(replika)
	r.metrics.delete(replika)
	r.releaseWatches(replika)
}

// maxConflictWatches is the maximum number of names whose conflicting objects are watched for one Replika. Those of other names
// are looked for in each reconcile.
const maxConflictWatches = 50

// watchConflictingObjects watches the objects with the name of the copies while some of them are foreign. Each scope has copies of
// another name. Without a watch of the copies they are not stored, and each reconcile looks anew.
func (r *ReplikaReconciler) watchConflictingObjects(replika types.NamespacedName, mapping tracking.Mapping, scopes ...*scope) {
	var keys []tracking.WatchKey
	synced := r.copiesWatched(mapping)
	for _, s := range scopes {
		if s.conflicts && synced && len(keys) < maxConflictWatches {
			keys = append(keys, tracking.ConflictingObjectsNamed(mapping.Resource, s.replika.TargetName()))
		}
	}
	r.Watches.Set(tracking.User{Replika: replika, Purpose: watchPurposeConflicts}, keys...)
}

// copiesWatched reports whether the watch of the kind's copies is available now.
func (r *ReplikaReconciler) copiesWatched(mapping tracking.Mapping) bool {
	return r.Watches.State(tracking.CopiesOf(mapping.Resource)) == tracking.Synced
}

// conflictingObjectsWatched reports whether the watch of the objects with the name of the copies is available.
func (r *ReplikaReconciler) conflictingObjectsWatched(ctx context.Context, s *scope, mapping tracking.Mapping) bool {
	ctx, cancel := context.WithTimeout(ctx, r.Timeouts.WatchSyncTimeout)
	defer cancel()
	return r.Watches.WaitForSync(ctx, tracking.ConflictingObjectsNamed(mapping.Resource, s.replika.TargetName()))
}

// waitForWatchSync waits until the watches of source and copies have synced: what is read later is not missed. It returns the
// state of the first that is not available, else Synced.
func (r *ReplikaReconciler) waitForWatchSync(ctx context.Context, s *scope, mapping tracking.Mapping) tracking.State {
	ctx, cancel := context.WithTimeout(ctx, r.Timeouts.WatchSyncTimeout)
	defer cancel()
	for _, key := range []tracking.WatchKey{
		sourceWatch(s.replika, mapping), tracking.CopiesOf(mapping.Resource),
	} {
		if !r.Watches.WaitForSync(ctx, key) {
			return r.Watches.State(key)
		}
	}
	return tracking.Synced
}

// pollingReason returns why changes are detected only by polling; empty while the watches have synced.
func (s *scope) pollingReason() string {
	switch s.watchState {
	case tracking.NotAllowed:
		return "the operator is not allowed to watch this kind"
	case tracking.NotSupported:
		return "the API server does not support watches of this kind"
	case tracking.Syncing:
		return "the first list of this kind has not completed yet"
	case tracking.Failing:
		return "watches of this kind fail or get no response"
	default:
		return ""
	}
}
