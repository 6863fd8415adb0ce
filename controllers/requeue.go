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
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// requeue decides when the Replika is reconciled again although no event arrives: after the synchronization time, or sooner
// after a transient failure or a first refusal. An err is logged and counted, and not returned: the delays of the controller's queue know
// nothing of the synchronization time, which caps every retry.
func (r *ReplikaReconciler) requeue(ctx context.Context, s *scope, err error) (ctrl.Result, error) {
	if ctx.Err() != nil {
		return ctrl.Result{}, ctx.Err()
	}
	after := r.requeueAfter(s, err)
	if err != nil {
		r.metrics.recordError(s.name)
		ctrl.LoggerFrom(ctx).Error(err, "Reconcile failed, will retry", "after", after)
	}
	r.metrics.recordNextReconcile(s.name, r.Clock.Now(), after)
	return ctrl.Result{RequeueAfter: after}, nil
}

// requeueAfter returns the delay before the next reconcile; zero for none.
func (r *ReplikaReconciler) requeueAfter(s *scope, err error) time.Duration {
	synchronization := s.replika.Spec.Synchronization.Time.Duration
	failed := err != nil || s.results.transient || s.notReady != nil && s.notReady.Transient
	switch {
	case s.replika.DeletionTimestamp != nil:
		return planner.RetryDelay(s.state.recordFailure(), min(synchronization, r.Timeouts.CleanupRetryInterval))
	case failed:
		return planner.RetryDelay(s.state.recordFailure(), synchronization)
	case s.replika.Spec.Suspend:
		return 0 // only a change of the spec ends it
	default:
		s.state.resetFailures()
		next := r.nextBackoffExpiry(s, synchronization)
		if early, retry := planner.EarlyRetryDelay(s.state.recordRefusals(s.refused()), synchronization); retry {
			next = min(next, early)
		}
		return next
	}
}

// refused returns what the API server refuses; the zero key stands for the source.
func (s *scope) refused() []types.NamespacedName {
	if s.notReady != nil && s.notReady.Reason == v1alpha1.ReasonForbidden {
		return append(s.results.refused, types.NamespacedName{})
	}
	return s.results.refused
}

// nextBackoffExpiry returns the synchronization time or, if that is sooner, the time until a contested copy is repaired
// again, or until a contest expires.
func (r *ReplikaReconciler) nextBackoffExpiry(s *scope, synchronization time.Duration) time.Duration {
	next, now := synchronization, r.Clock.Now()
	for _, until := range s.results.backoffUntil {
		next = min(next, max(until.Sub(now), time.Millisecond))
	}
	for _, contest := range s.state.currentContests(now, synchronization) {
		if expiry := contest.ExpiresIn(now, synchronization); contest.Contested() && expiry > 0 {
			next = min(next, expiry)
		}
	}
	return next
}
