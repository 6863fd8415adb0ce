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
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// listRetryDelay is the least delay of a Replika that waits for its turn to list its copies, and half of the longest.
const listRetryDelay = time.Second

// requeue decides when the Replika is reconciled again although no event arrives: after the synchronization time, or sooner
// after a transient failure or a first refusal. An err is logged and counted, and not returned: the delays of the controller's queue know
// nothing of the synchronization time, which caps every retry.
func (r *ReplikaReconciler) requeue(ctx context.Context, s *scope, err error) (ctrl.Result, error) {
	if ctx.Err() != nil {
		return ctrl.Result{}, ctx.Err()
	}
	if s.postponed {
		return ctrl.Result{RequeueAfter: time.Nanosecond}, nil // at the end of the queue
	}
	if errors.Is(err, errListsBusy) {
		after := wait.Jitter(listRetryDelay, 1)
		r.metrics.recordNextReconcile(s.name, r.Clock.Now(), after)
		return ctrl.Result{RequeueAfter: after}, nil
	}
	after := r.requeueAfter(s, err)
	if err != nil {
		r.metrics.recordError(s.name)
		ctrl.LoggerFrom(ctx).Error(err, "Reconcile failed, will retry", "after", after)
	}
	if s.suspended() {
		r.metrics.recordNextReconcile(s.name, r.Clock.Now(), 0) // the copies are not synced
	} else {
		r.metrics.recordNextReconcile(s.name, r.Clock.Now(), after)
	}
	return ctrl.Result{RequeueAfter: after}, nil
}

// requeueAfter returns the delay before the next reconcile. A suspended Replika is reconciled, too: consent can be withdrawn
// without an event, when a watch is not available.
func (r *ReplikaReconciler) requeueAfter(s *scope, err error) time.Duration {
	synchronization := s.replika.Spec.Synchronization.Time.Duration
	refusals := s.state.recordSourceRefusal(s.notReady != nil && s.notReady.Reason == v1alpha1.ReasonForbidden)
	failed := err != nil || s.results.transient || s.notReady != nil && s.notReady.Transient
	switch {
	case s.replika.DeletionTimestamp != nil:
		return planner.RetryDelay(s.state.recordFailure(), min(synchronization, r.Timeouts.CleanupRetryInterval))
	case failed:
		next := planner.RetryDelay(s.state.recordFailure(), synchronization)
		return min(next, r.nextEarlyRetry(s, synchronization))
	default:
		s.state.resetFailures()
		next := r.nextBackoffExpiry(s, synchronization)
		if refusals > 0 {
			next = min(next, planner.RetryDelay(refusals, synchronization))
		}
		return min(next, r.nextEarlyRetry(s, synchronization), s.state.nextSourceList(r.Clock.Now(), synchronization))
	}
}

// nextEarlyRetry returns the time until a refused copy is requested again, if that is before the synchronization time.
func (r *ReplikaReconciler) nextEarlyRetry(s *scope, synchronization time.Duration) time.Duration {
	next := synchronization
	for _, state := range s.state.withSources() {
		next = min(next, state.nextEarlyRetry(r.Clock.Now(), synchronization))
	}
	return next
}

// nextBackoffExpiry returns the synchronization time or, if that is sooner, the time until a contested copy is repaired
// again, or until a contest expires.
func (r *ReplikaReconciler) nextBackoffExpiry(s *scope, synchronization time.Duration) time.Duration {
	next, now := synchronization, r.Clock.Now()
	for _, until := range s.results.backoffUntil {
		next = min(next, max(until.Sub(now), time.Millisecond))
	}
	for _, state := range s.state.withSources() {
		for _, contest := range state.currentContests(now, synchronization) {
			if expiry := contest.ExpiresIn(now, synchronization); contest.Contested() && expiry > 0 {
				next = min(next, expiry)
			}
		}
	}
	return next
}
