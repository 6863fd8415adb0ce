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
		tracking.CopiesOf(mapping.Resource), tracking.SourceAt(mapping.Resource, sourceKey(replika)))
}

// releaseWatches ends the watches of a Replika, unless another one needs them.
func (r *ReplikaReconciler) releaseWatches(replika types.NamespacedName) {
	r.Watches.Set(tracking.User{Replika: replika, Purpose: watchPurposeCopies})
	r.Watches.Set(tracking.User{Replika: replika, Purpose: watchPurposeConflicts})
}

// forget drops everything about a Replika that no longer exists.
func (r *ReplikaReconciler) forget(replika types.NamespacedName) {
	r.states.delete(replika)
	r.selections.delete(replika)
	r.metrics.delete(replika)
	r.releaseWatches(replika)
}

// watchConflictingObjects watches the objects with the name of the copies while some of them are foreign.
func (r *ReplikaReconciler) watchConflictingObjects(ctx context.Context, s *scope, mapping tracking.Mapping) {
	var keys []tracking.WatchKey
	if store := r.copyStore(ctx, mapping); store != nil && store.HasForeign(s.replika.TargetName()) {
		keys = append(keys, tracking.ConflictingObjectsNamed(mapping.Resource, s.replika.TargetName()))
	}
	r.Watches.Set(tracking.User{Replika: s.name, Purpose: watchPurposeConflicts}, keys...)
}

// waitForWatchSync waits until the watches of source and copies have synced: what is read later is not missed. It reports
// whether both are available.
func (r *ReplikaReconciler) waitForWatchSync(ctx context.Context, s *scope, mapping tracking.Mapping) bool {
	ctx, cancel := context.WithTimeout(ctx, r.Timeouts.WatchSyncTimeout)
	defer cancel()
	return r.Watches.WaitForSync(ctx, tracking.SourceAt(mapping.Resource, sourceKey(s.replika))) &&
		r.Watches.WaitForSync(ctx, tracking.CopiesOf(mapping.Resource))
}
