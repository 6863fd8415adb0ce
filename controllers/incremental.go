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
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// copyPlan is a plan for copies of the source: of all namespaces, or of those in which something changed.
type copyPlan struct {
	// in is the input of the whole plan.
	in    *planner.Input
	parts *parts
	// checkpoint has what is known of the namespaces that are not planned.
	checkpoint *planner.Checkpoint
	// store is that of the copies; nil if they are not watched.
	store *tracking.CopyStore
	// missed are the namespaces in which a full plan found a change that no event had reported.
	missed []string
}

// planCopies plans the copies of the source. The cost follows what changed: as long as the spec, the template and the consent
// stay the same, only the namespaces with an event, and those that are not in sync, are planned.
func (r *ReplikaReconciler) planCopies(ctx context.Context, s *scope, mapping tracking.Mapping, src source) (*copyPlan, error) {
	in := r.newInput(s, mapping)
	in.Template, in.TemplateUnchanged, in.KeysWithdrawn = src.Template, src.Unchanged, src.KeysWithdrawn
	if !src.NoneDesired {
		var err error
		if in.Selection, err = r.selection(s); err != nil {
			return nil, err
		}
	}
	plan, basis := &copyPlan{in: in, store: r.copyStore(ctx, mapping)}, basisOf(s, in)
	// Before anything else is read: what changes from now on is for the next reconcile.
	last, changes := s.state.popCheckpoint(plan.store, basis)
	if last != nil && !s.anew && !changes.All() && !last.FullPlanDue(s.name, in.Now, in.Synchronization) {
		namespaces := last.ToPlan(changes)
		if s.many != nil || last.InSync()+len(namespaces) <= r.Policy.MaxCopies {
			return plan, r.planChanged(ctx, s, mapping, plan, last, namespaces)
		}
	}
	if err := r.planAll(ctx, s, mapping, plan, basis, last, changes); err != nil {
		return nil, err
	}
	if copies := plan.parts.desired; s.many == nil && copies > r.Policy.MaxCopies {
		return nil, r.Policy.tooManyCopies(copies)
	}
	return plan, nil
}

// upToDateCheckpoint returns the checkpoint if there is nothing to plan and the source still has the version that it was made from. A read
// of the metadata shows it, or that of another Replika, with the same permissions, within the synchronization time, or that of the last
// reconcile if this one only reports its results. Otherwise it returns nil.
func (r *ReplikaReconciler) upToDateCheckpoint(ctx context.Context, s *scope, mapping tracking.Mapping) *planner.Checkpoint {
	if same, _ := s.state.statusIsOf(sourceIdentityOf(s.replika)); !same || s.watchState != tracking.Synced {
		return nil
	}
	checkpoint, version := r.lastCheckpoint(s, r.copyStore(ctx, mapping))
	if checkpoint == nil || s.state.reportPostponed() { // the last reconcile has just read the source
		return checkpoint
	}
	since := r.Clock.Now().Add(-s.replika.Spec.Synchronization.Time.Duration)
	if !r.sourceReads.confirmsSince(ctx, since, s.name, sourceObjectOf(s.replika, mapping), s.identity, version) &&
		r.readSourceVersion(ctx, s, mapping) != version {
		return nil
	}
	return checkpoint
}

// lastCheckpoint returns the checkpoint if nothing is to be planned unless the source has another version than this one, else nil.
func (r *ReplikaReconciler) lastCheckpoint(s *scope, store *tracking.CopyStore) (checkpoint *planner.Checkpoint, version string) {
	selection, err := r.selection(s)
	if err != nil || s.anew {
		return nil, ""
	}
	basis := planner.Basis{UID: s.replika.UID, Generation: s.replika.Generation, Selection: selection}
	checkpoint, version = s.state.upToDateCheckpoint(store, basis)
	if checkpoint == nil || checkpoint.FullPlanDue(s.name, r.Clock.Now(), s.replika.Spec.Synchronization.Time.Duration) {
		return nil, ""
	}
	return checkpoint, version
}

// selection returns the compiled selectors of the Replika, and what its source allows.
func (r *ReplikaReconciler) selection(s *scope) (*planner.Selection, error) {
	if s.many != nil {
		return s.memory.restrict(s.many.selection, s.replika.Status.Source), nil
	}
	selection, err := r.selections.compile(s.replika)
	if err != nil {
		return nil, invalidSelector(err)
	}
	return selection, nil
}

// basisOf returns the basis of a plan with the input.
func basisOf(s *scope, in *planner.Input) planner.Basis {
	basis := planner.Basis{UID: s.replika.UID, Generation: in.Generation, Selection: in.Selection}
	if in.Template != nil {
		basis.Template = in.Template.Digests
	}
	return basis
}

// planAll plans all namespaces, and compares that with the last checkpoint, if there is one.
func (r *ReplikaReconciler) planAll(
	ctx context.Context, s *scope, mapping tracking.Mapping, plan *copyPlan, basis planner.Basis, last *planner.Checkpoint, changes planner.Changes,
) error {
	if plan.store != nil {
		plan.in.RemovedByOthers = s.popRemovedByOthers(plan.store)
	}
	if err := r.readAll(ctx, s, mapping, plan.store, plan.in); err != nil {
		return r.copiesNotReady(mapping, err)
	}
	plan.checkpoint = planner.NewCheckpoint(basis, plan.in)
	if last == nil {
		plan.parts = newParts(plan.in, planner.Plan)
		return nil
	}
	comparison := last.Compare(changes)
	plan.parts = newParts(plan.in, planner.Plan, comparison.Add)
	plan.missed = comparison.Missed()
	return nil
}

// popRemovedByOthers returns the copies that other clients removed since the last reconcile.
func (s *scope) popRemovedByOthers(store *tracking.CopyStore) map[types.NamespacedName]bool {
	if s.many != nil {
		return s.many.removed
	}
	return store.PopRemovedByOthers(s.name)
}

// planChanged plans the namespaces, and continues from the checkpoint in all others.
func (r *ReplikaReconciler) planChanged(
	ctx context.Context, s *scope, mapping tracking.Mapping, plan *copyPlan, checkpoint *planner.Checkpoint, namespaces []string,
) error {
	in := plan.in
	plan.checkpoint = checkpoint
	if len(namespaces) == 0 {
		plan.parts = newParts(in, planner.Plan)
		return nil
	}
	in.RemovedByOthers = s.popRemovedByOthers(plan.store)
	in.Observed = r.listCopiesIn(ctx, s, mapping, plan.store, namespaces)
	var err error
	if in.Namespaces, err = r.getNamespaces(ctx, namespaces); err != nil {
		return err
	}
	if in.Claimants, err = r.listClaimants(ctx, mapping.Group, in.Name, in.Observed); err != nil {
		return err
	}
	checkpoint.Begin(in, namespaces)
	plan.parts = newParts(in, planner.Plan)
	return nil
}

// recordMissed counts the namespaces in which a full plan found a change that no event had reported. An event can arrive after
// what it is about was read.
func (r *ReplikaReconciler) recordMissed(ctx context.Context, s *scope, plan *copyPlan) {
	for _, namespace := range plan.missed {
		if s.state.hasChanged(namespace) {
			continue
		}
		r.metrics.recordMissed(s.name)
		ctrl.LoggerFrom(ctx).Info("Found a change that no event had reported", "namespace", namespace)
	}
}
