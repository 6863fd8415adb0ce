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
	"fmt"
	"sync"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// dryRun makes a reconcile predict the results of its writes. It reads what a write would find: the objects with the name of the
// copies, and the permissions of the account that would write.
type dryRun struct {
	allowed accessReview

	mu sync.Mutex
	// named holds the objects that have the name of the copies, for each name.
	named map[resourceAndName]map[types.NamespacedName]*planner.Observed
	// reviewed holds the answers of allowed.
	reviewed map[access]bool
}

type resourceAndName struct {
	resource schema.GroupResource
	name     string
}

// access is a permission of an account: for one verb on a resource, in a namespace or, if it is empty, in all.
type access struct {
	as        identity
	verb      string
	resource  schema.GroupResource
	namespace string
}

// accessReview asks the API server for a permission.
type accessReview func(ctx context.Context, asked access) (bool, error)

func newDryRun(allowed accessReview) *dryRun {
	return &dryRun{
		allowed:  allowed,
		named:    map[resourceAndName]map[types.NamespacedName]*planner.Observed{},
		reviewed: map[access]bool{},
	}
}

// reconcileDryRun plans what a reconcile of the Replika would do if its mode were Enforce, by the same steps. It writes no copy and no
// metadata, and leaves no state that the reconcile in another mode would see.
func (r *ReplikaReconciler) reconcileDryRun(ctx context.Context, s *scope) error {
	if err := r.restoreInventory(ctx, s); err != nil { // of the copies that it made before
		return err
	}
	s.state.popSourceChangedAt()
	s.state.forgetSources()
	return r.predict(ctx, s, newDryRun(r.reviewOwnAccess))
}

// predict runs the steps of a reconcile without a write.
func (r *ReplikaReconciler) predict(ctx context.Context, s *scope, dryRun *dryRun) error {
	s.dryRun, s.results = dryRun, newResults(dryRun)
	state := s.state
	defer func() { s.state = state }()
	s.state = &replikaState{}
	switch {
	case s.replika.DeletionTimestamp != nil:
		return r.cleanUp(ctx, s)
	case s.replika.Spec.Suspend:
		return r.reconcileSuspended(ctx, s)
	default:
		return r.reconcileNormal(ctx, s)
	}
}

// predictPlan calls record with the result that each action of a plan would have.
func (r *ReplikaReconciler) predictPlan(
	ctx context.Context, s *scope, mapping tracking.Mapping, plan *parts, record func(*planner.Input, *actionResult),
) {
	plan.log(ctx, mapping)
	for in, actions := range plan.each() {
		results := r.predictPart(ctx, s, mapping, in, actions)
		for i := range results {
			record(in, &results[i])
		}
	}
}

// predictPart returns the results that the actions of a part would have.
func (r *ReplikaReconciler) predictPart(
	ctx context.Context, s *scope, mapping tracking.Mapping, in *planner.Input, actions []planner.Action,
) []actionResult {
	namespaces := in.NamespacesByName()
	results := make([]actionResult, len(actions))
	limit := make(chan struct{}, max(r.MaxConcurrentWrites, 1))
	var predictions sync.WaitGroup
	for i := range actions {
		limit <- struct{}{}
		predictions.Go(func() {
			defer func() { <-limit }()
			results[i] = r.executeAction(ctx, s, mapping, nil, in, namespaces[actions[i].Namespace], actions[i])
		})
	}
	predictions.Wait()
	return results
}

// predictAction returns the result that an action would have, as far as it is known without a request that writes.
func (r *ReplikaReconciler) predictAction(
	ctx context.Context, s *scope, mapping tracking.Mapping, in *planner.Input, action *planner.Action,
) executor.Result {
	if result, denied := r.predictDenial(ctx, s, mapping, action); denied {
		return result
	}
	var existing *planner.Observed
	if action.Type == planner.Create || action.Type == planner.LookUp {
		named, err := r.namedObjects(ctx, s, mapping, action.Name)
		if err != nil {
			return executor.Result{Outcome: planner.Unavailable, Err: err}
		}
		existing = named[action.Key()]
	}
	result := executor.Result{}
	result.Outcome, result.Object = in.Predict(action, existing)
	if result.Outcome == planner.Immutable {
		result.Err = fmt.Errorf("a field of %s %s that differs from the source is immutable", mapping.Resource.GroupResource(), action.Key())
	}
	return result
}

// namedObjects returns the objects of this name in all namespaces, which are listed once.
func (r *ReplikaReconciler) namedObjects(
	ctx context.Context, s *scope, mapping tracking.Mapping, name string,
) (map[types.NamespacedName]*planner.Observed, error) {
	s.dryRun.mu.Lock()
	defer s.dryRun.mu.Unlock()
	key := resourceAndName{mapping.Resource.GroupResource(), name}
	if named, found := s.dryRun.named[key]; found {
		return named, nil
	}
	objects, err := r.Lister.ListNamed(ctx, mapping.Resource, name)
	if err != nil {
		return nil, err
	}
	named := make(map[types.NamespacedName]*planner.Observed, len(objects))
	for _, object := range objects {
		named[object.Key()] = object
	}
	s.dryRun.named[key] = named
	return named, nil
}

// verbs are those that an action needs on the resource of the copy.
var verbs = map[planner.ActionType][]string{
	planner.Create:   {"create"},
	planner.LookUp:   {"get"},
	planner.Update:   {"patch"},
	planner.Recreate: {"delete", "create"},
	planner.Delete:   {"delete"},
	planner.Release:  {"patch"},
	planner.HandOver: {"patch"},
}

// predictDenial returns the result of an action that the account is not allowed to execute. A copy that another Replika takes over is
// written by the account of that one.
func (r *ReplikaReconciler) predictDenial(
	ctx context.Context, s *scope, mapping tracking.Mapping, action *planner.Action,
) (result executor.Result, denied bool) {
	as := s.identity
	if action.Type == planner.HandOver {
		owner := &v1alpha1.Replika{}
		if err := r.Get(ctx, action.NewOwner, owner); err != nil {
			return executor.Result{Outcome: planner.Unavailable, Err: fmt.Errorf("reading Replika %s: %w", action.NewOwner, err)}, true
		}
		as = identityOf(owner, r.Policy.DefaultServiceAccount)
	}
	for _, verb := range verbs[action.Type] {
		asked := access{as: as, verb: verb, resource: mapping.Resource.GroupResource(), namespace: action.Namespace}
		allowed, err := s.dryRun.review(ctx, asked)
		switch {
		case err != nil:
			return executor.Result{Outcome: planner.Unavailable, Err: err}, true
		case !allowed:
			return executor.Result{Outcome: planner.Forbidden, Err: fmt.Errorf("%s is not allowed to %s %s in namespace %s",
				as, verb, asked.resource, action.Namespace)}, true
		}
	}
	return executor.Result{}, false
}

// review reports whether the permission is granted, in all namespaces or in this one.
func (d *dryRun) review(ctx context.Context, asked access) (bool, error) {
	everywhere := asked
	everywhere.namespace = ""
	allowed, err := d.reviewOnce(ctx, everywhere)
	if err != nil || allowed {
		return allowed, err
	}
	return d.reviewOnce(ctx, asked)
}

func (d *dryRun) reviewOnce(ctx context.Context, asked access) (bool, error) {
	d.mu.Lock()
	allowed, found := d.reviewed[asked]
	d.mu.Unlock()
	if found {
		return allowed, nil
	}
	allowed, err := d.allowed(ctx, asked)
	if err != nil {
		return false, fmt.Errorf("reviewing the permissions of %s: %w", asked.as, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reviewed[asked] = allowed
	return allowed, nil
}

// reviewOwnAccess asks as the account itself.
func (r *ReplikaReconciler) reviewOwnAccess(ctx context.Context, asked access) (bool, error) {
	client, err := r.Clients.clientFor(asked.as)
	if err != nil {
		return false, err
	}
	review, err := client.reviews.SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: asked.attributes()},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}

func (a access) attributes() *authorizationv1.ResourceAttributes {
	return &authorizationv1.ResourceAttributes{
		Namespace: a.namespace, Verb: a.verb, Group: a.resource.Group, Resource: a.resource.Resource,
	}
}
