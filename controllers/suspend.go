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

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// reconcileSuspended prunes the copies of a suspended Replika that are no longer allowed: their namespace opted out or is
// excluded, or the source's owner withdrew consent. Nothing else is written. The source is read live, once per reconcile, as
// for any other Replika.
func (r *ReplikaReconciler) reconcileSuspended(ctx context.Context, s *scope) error {
	if r.Policy.requireServiceAccount(s.identity) != nil {
		r.releaseWatches(s.name)
		return nil //nolint:nilerr // existing copies are left untouched
	}
	if _, err := r.selections.compile(s.replika); err != nil { // events of namespaces are mapped by it
		ctrl.LoggerFrom(ctx).V(1).Info("Failed to compile the selection", "error", err.Error())
	}
	s.state.popSourceChangedAt() // not propagated, so it is not measured
	if err := r.restoreInventory(ctx, s); err != nil {
		return err
	}
	mapping, err := r.resolveKind(ctx, s)
	switch {
	case err == nil:
		r.ensureWatches(s.replika, mapping)
		r.waitForWatchSync(ctx, s, mapping)
		err = r.pruneDeniedCopies(ctx, s, mapping)
	case !isTransient(err):
		r.releaseWatches(s.name)
	}
	resolver := r.Mapper.NewResolver()
	for _, resource := range inventory(s.replika) {
		if resource == mapping.Resource.GroupResource() {
			continue
		}
		// The spec no longer names the source of these copies. Only the namespaces can deny them.
		former, resolveErr := resolver.Resolve(ctx, resource)
		switch {
		case errors.Is(resolveErr, tracking.ErrKindNotFound):
			// The copies were deleted with their kind.
		case resolveErr != nil:
			err = firstError(err, r.copiesNotReady(former, resolveErr))
		default:
			err = firstError(err, r.pruneDenied(ctx, s, former, nil))
		}
	}
	return firstError(ctx.Err(), err)
}

// pruneDeniedCopies prunes the copies of the source, or of many sources, that are not allowed.
func (r *ReplikaReconciler) pruneDeniedCopies(ctx context.Context, s *scope, mapping tracking.Mapping) error {
	if s.replika.HasManySources() {
		return r.pruneDeniedSources(ctx, s, mapping)
	}
	consent, err := r.readConsent(ctx, s, mapping)
	return firstError(err, r.pruneDenied(ctx, s, mapping, consent))
}

// readConsent reads the consent of the source's owner, live, and records it in the status. It is nil when the source does not
// exist or its annotation cannot be read: neither withdraws consent.
func (r *ReplikaReconciler) readConsent(ctx context.Context, s *scope, mapping tracking.Mapping) (*planner.Consent, error) {
	key := sourceKey(s.replika)
	object, err := s.client.objects.Resource(mapping.Resource).Namespace(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
	if err != nil {
		_, err = r.handleSourceError(s, mapping, err)
		return nil, err
	}
	if s.many != nil && !s.many.selector.Matches(object) {
		return nil, nil
	}
	allowed, err := planner.AllowedNamespaces(object)
	if err != nil {
		return nil, nil //nolint:nilerr // a list that cannot be read withdraws no consent
	}
	if s.replika.Status.Source == nil && allowed != nil {
		s.replika.Status.Source = &v1alpha1.SourceStatus{}
	}
	if s.replika.Status.Source != nil {
		// Other Replikas with the same targets read it. The version is that of the content that was last copied.
		s.replika.Status.Source.AllowedNamespaces = allowed
	}
	template, templateErr := r.Cleaner.NewTemplate(mapping.Resource.GroupResource(), s.replika, object)
	problem, _ := errors.AsType[*planner.TemplateError](templateErr)
	consent := &planner.Consent{
		Source: key, Allowed: allowed, Template: template, KeysWithdrawn: planner.KeysWithdrawn(s.replika, object, problem),
	}
	switch {
	case planner.ConsentProblem(allowed, r.Policy.RequireSourceConsent) != "":
		consent.Allowed = nil
	case allowed == nil:
		consent.Allowed = []string{"*"}
	}
	return consent, nil
}

// pruneDenied prunes the copies of the kind that are not allowed.
func (r *ReplikaReconciler) pruneDenied(ctx context.Context, s *scope, mapping tracking.Mapping, consent *planner.Consent) error {
	in, err := r.planInput(ctx, s, mapping)
	if err != nil {
		return r.copiesNotReady(mapping, err)
	}
	r.executeAndRecord(ctx, s, mapping, newParts(in, func(in *planner.Input) []planner.Action { return planner.PlanSuspended(in, consent) }))
	return nil
}
