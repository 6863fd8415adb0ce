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
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

func TestRequeueAfter(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	copied := types.NamespacedName{Namespace: "a", Name: "settings"}
	cases := map[string]struct {
		spec     v1alpha1.ReplikaSpec
		deleting bool
		notReady *notReadyError
		results  results
		err      error
		failures int // reconciles before this one
		refusals int // of the source, before this one
		refused  map[types.NamespacedName]planner.Refusal
		want     time.Duration
	}{
		"ready":     {want: time.Minute},
		"suspended": {spec: v1alpha1.ReplikaSpec{Suspend: true}, want: time.Minute},
		"stalled":   {notReady: &notReadyError{Stalled: true}, want: time.Minute},
		"waiting":   {notReady: &notReadyError{}, want: time.Minute},
		"transient": {notReady: &notReadyError{Transient: true}, want: 500 * time.Millisecond},
		"transient failure of a copy, again": {
			results: results{transient: true}, failures: 2, want: 2 * time.Second,
		},
		"aborted":                    {err: errors.New("conflict"), want: 500 * time.Millisecond},
		"backoff is capped":          {err: errors.New("conflict"), failures: 20, want: time.Minute},
		"deletion is retried sooner": {deleting: true, failures: 20, want: 5 * time.Second},
		"refused copy": {
			refused: map[types.NamespacedName]planner.Refusal{copied: {Last: now, Delay: 4 * time.Second}}, want: 4 * time.Second,
		},
		"refused copies, together": {
			refused: map[types.NamespacedName]planner.Refusal{
				copied: {Last: now, Delay: 4 * time.Second}, {Namespace: "b", Name: "settings"}: {Last: now.Add(-7 * time.Second), Delay: 8 * time.Second},
			},
			want: time.Second,
		},
		"refused copy that is due": {
			refused: map[types.NamespacedName]planner.Refusal{copied: {Last: now.Add(-5 * time.Second), Delay: 4 * time.Second}}, want: time.Millisecond,
		},
		"refused copy that waits for longer than the interval": {
			refused: map[types.NamespacedName]planner.Refusal{copied: {Last: now.Add(-119 * time.Second), Delay: 2 * time.Minute}}, want: time.Minute,
		},
		"refused copy beside a transient failure": {
			results: results{transient: true}, failures: 20,
			refused: map[types.NamespacedName]planner.Refusal{copied: {Last: now, Delay: 4 * time.Second}}, want: 4 * time.Second,
		},
		"source is forbidden":            {notReady: &notReadyError{Reason: v1alpha1.ReasonForbidden}, want: 500 * time.Millisecond},
		"source is forbidden, again":     {notReady: &notReadyError{Reason: v1alpha1.ReasonForbidden}, refusals: 3, want: 4 * time.Second},
		"source is forbidden for longer": {notReady: &notReadyError{Reason: v1alpha1.ReasonForbidden}, refusals: 20, want: time.Minute},
		"contested copy": {
			results: results{backoffUntil: map[types.NamespacedName]time.Time{copied: now.Add(4 * time.Second)}}, want: 4 * time.Second,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := &ReplikaReconciler{Clock: testingclock.NewFakeClock(now), Timeouts: Timeouts{}.withDefaults()}
			replika := &v1alpha1.Replika{Spec: tc.spec}
			replika.Spec.Synchronization.Time = v1alpha1.Duration{Duration: time.Minute}
			if tc.deleting {
				replika.DeletionTimestamp = &metav1.Time{Time: now}
			}
			s := &scope{replika: replika, state: &replikaState{}, notReady: tc.notReady, results: tc.results}
			for range tc.failures {
				s.state.recordFailure()
			}
			for range tc.refusals {
				s.state.recordSourceRefusal(true)
			}
			s.state.setRefusals(schema.GroupResource{Resource: "configmaps"}, tc.refused, nil)
			if got := r.requeueAfter(s, tc.err); got != tc.want {
				t.Errorf("requeueAfter() = %s, want %s", got, tc.want)
			}
		})
	}
}
