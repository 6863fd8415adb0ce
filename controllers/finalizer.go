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
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// cleanUp prunes every copy of a Replika that is being deleted: those of the kinds in its inventory, and those of the kind
// that its spec names.
func (r *ReplikaReconciler) cleanUp(ctx context.Context, s *scope) error {
	err := r.pruneUntrackedKind(ctx, s)
	resolver := r.Mapper.NewResolver()
	for _, resource := range inventory(s.replika) {
		mapping, resolveErr := resolver.Resolve(ctx, resource)
		switch {
		case errors.Is(resolveErr, tracking.ErrKindNotFound):
			// The copies were deleted with their kind.
		case resolveErr != nil:
			err = firstError(err, r.copiesNotReady(mapping, resolveErr))
		default:
			err = firstError(err, r.pruneKindByName(ctx, s, mapping))
		}
	}
	return err
}

// pruneUntrackedKind prunes the copies of the spec's kind if the inventory does not have it: the Replika may have inherited
// copies while it was suspended, or a user removed the annotation, and then the spec is all that is left.
func (r *ReplikaReconciler) pruneUntrackedKind(ctx context.Context, s *scope) error {
	resources := inventory(s.replika)
	if len(resources) == 0 {
		mapping, err := r.resolveKind(ctx, s)
		if err != nil {
			return err
		}
		return r.pruneKindByName(ctx, s, mapping)
	}
	mapping, err := r.Mapper.Resolve(ctx, sourceGVK(s.replika))
	if err == nil && mapping.Namespaced && !slices.Contains(resources, mapping.Resource.GroupResource()) {
		return r.pruneKindByName(ctx, s, mapping)
	}
	return nil
}

// pruneKindByName prunes all copies of the kind, including those that lost the operator's labels, but not its marks.
func (r *ReplikaReconciler) pruneKindByName(ctx context.Context, s *scope, mapping tracking.Mapping) error {
	in, err := r.planInput(ctx, s, mapping)
	if err != nil {
		return r.copiesNotReady(mapping, err)
	}
	var named []*planner.Observed
	if !s.replika.HasManySources() { // the names of the copies of many are known only from the copies
		named, err = r.Lister.ListByName(ctx, mapping.Resource, in.Name)
	}
	if err != nil {
		err = r.copiesNotReady(mapping, err) // those that are known are pruned all the same
	}
	known := make(map[tracking.Key]bool, len(in.Observed))
	for _, object := range in.Observed {
		known[object.Key()] = true
	}
	for _, object := range named {
		if !known[object.Key()] {
			in.Observed = append(in.Observed, object)
		}
	}
	r.executeAndRecord(ctx, s, mapping, newParts(in, planner.Plan))
	return err
}

// cleanupTimedOut reports whether the finalizer is removed although copies are left, so that neither the Replika nor its
// namespace hangs forever. While a retry may succeed it is not. The time counts from the first attempt of this process: an
// operator that was down when the Replika was deleted has not tried yet.
func (r *ReplikaReconciler) cleanupTimedOut(s *scope, err error) bool {
	now := r.Clock.Now()
	waited := now.Sub(s.state.startCleanup(now))
	return waited >= r.Timeouts.CleanupTimeout && !s.results.transient && len(s.results.pending) == 0 && !isTransient(err)
}

// recordOrphanedCopies emits an event that lists the copies that could not be cleaned up. In a namespace that is being deleted
// no event can be created; then the event is about that namespace, and created where those of the cluster are.
func (r *ReplikaReconciler) recordOrphanedCopies(ctx context.Context, s *scope, err error) {
	var orphaned []string
	if s.results.failed > 0 {
		orphaned = append(orphaned, s.results.failedNamespaces())
	}
	if notReady, ok := errors.AsType[*notReadyError](err); ok {
		orphaned = append(orphaned, notReady.Message)
	}
	var regarding client.Object = s.replika
	if namespace := r.terminatingNamespace(ctx, s); namespace != nil {
		regarding = namespace
	}
	r.Recorder.Eventf(regarding, s.replika, corev1.EventTypeWarning, v1alpha1.EventReasonCopiesLeftBehind, v1alpha1.EventActionFinalize,
		"%s", truncate(fmt.Sprintf("Replika %s was deleted, but these copies could not be cleaned up: %s", s.name, strings.Join(orphaned, "; "))))
}

// patchMetadata changes the Replika's metadata, provided that no other client changed the Replika meanwhile. Of
// the response only the metadata is read back: the status is written at the end.
func (r *ReplikaReconciler) patchMetadata(ctx context.Context, s *scope, change func(*v1alpha1.Replika)) error {
	current := s.state.latest(s.replika).DeepCopy()
	base := current.DeepCopy()
	change(current)
	if err := r.Patch(ctx, current, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("updating metadata: %w", err)
	}
	ctrl.LoggerFrom(ctx).V(1).Info("Updated metadata",
		"finalizers", current.Finalizers, "inventory", current.Annotations[v1alpha1.AnnotationKinds])
	s.state.recordWrite(current)
	generation := s.replika.Generation // the response may have a newer spec, which this reconcile did not see
	s.replika.ObjectMeta = current.ObjectMeta
	s.replika.Generation = generation
	return nil
}
