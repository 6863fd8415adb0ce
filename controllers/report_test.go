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
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// newReportOfTwoCopies returns the report of a reconcile that created the second of two copies.
func newReportOfTwoCopies() *postponedReport {
	s := &scope{replika: &v1alpha1.Replika{Status: v1alpha1.ReplikaStatus{Copies: &v1alpha1.CopiesStatus{Desired: 2, Synced: 2}}}}
	return newPostponedReport(s, map[planner.ActionType]int{planner.Create: 1})
}

// What was done for another source is not what is known of the new one.
func TestPostponedReport_AnotherSource(t *testing.T) {
	report := newReportOfTwoCopies()
	s := &scope{replika: &v1alpha1.Replika{}, state: &replikaState{}}
	s.replika.Spec.Source.Name = "other"
	report.addTo(s)
	if s.replika.Status.Copies != nil || len(s.results.changes) > 0 {
		t.Errorf("got %+v, changes %v", s.replika.Status.Copies, s.results.changes)
	}
}

func TestPostponedReport_CountsStayUnlessCountedAgain(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*scope)
		want   v1alpha1.CopiesStatus
	}{
		"suspended":       {func(s *scope) { s.replika.Spec.Suspend = true }, v1alpha1.CopiesStatus{Desired: 2, Synced: 2}},
		"no source":       {func(s *scope) { s.notReady = &notReadyError{Reason: v1alpha1.ReasonSourceNotFound} }, v1alpha1.CopiesStatus{Desired: 2, Synced: 2}},
		"counted again":   {func(s *scope) { s.results.desired, s.results.synced = 3, 3 }, v1alpha1.CopiesStatus{Desired: 3, Synced: 3}},
		"nothing desired": {func(*scope) {}, v1alpha1.CopiesStatus{}},
	} {
		replika := &v1alpha1.Replika{Status: v1alpha1.ReplikaStatus{Copies: &v1alpha1.CopiesStatus{Desired: 1, Synced: 1}}}
		s := &scope{replika: replika, state: &replikaState{}}
		s.state.postponeReport(newReportOfTwoCopies())
		test.change(s)
		s.state.popPostponed().addTo(s)
		(&ReplikaReconciler{}).setStatus(s)
		if got := *replika.Status.Copies; got != test.want {
			t.Errorf("%s: got %+v, want %+v", name, got, test.want)
		}
		if s.state.reportPostponed() || s.results.changes[planner.Create] != 1 {
			t.Errorf("%s: the changes are not reported once", name)
		}
	}
}

func TestOnlyCountsChanged(t *testing.T) {
	setReady := func(status metav1.ConditionStatus, reason, message string) func(*v1alpha1.ReplikaStatus) {
		return func(s *v1alpha1.ReplikaStatus) {
			s.Conditions[0].Status, s.Conditions[0].Reason, s.Conditions[0].Message = status, reason, message
		}
	}
	counts := func(s *v1alpha1.ReplikaStatus) {
		s.Copies = &v1alpha1.CopiesStatus{Desired: 2, Synced: 2}
		s.Conditions[0].Message = "in sync in 2 namespaces"
	}
	for name, test := range map[string]struct {
		before, after []func(*v1alpha1.ReplikaStatus)
		want          bool
	}{
		"nothing":         {},
		"counts":          {after: []func(*v1alpha1.ReplikaStatus){counts}, want: true},
		"only a message":  {after: []func(*v1alpha1.ReplikaStatus){setReady(metav1.ConditionTrue, v1alpha1.ReasonSynced, "polling")}},
		"another reason":  {after: []func(*v1alpha1.ReplikaStatus){counts, setReady(metav1.ConditionTrue, v1alpha1.ReasonSuspended, "")}},
		"no longer ready": {after: []func(*v1alpha1.ReplikaStatus){counts, setReady(metav1.ConditionFalse, v1alpha1.ReasonCopiesFailed, "")}},
		"becomes ready": {
			before: []func(*v1alpha1.ReplikaStatus){setReady(metav1.ConditionUnknown, v1alpha1.ReasonProgressing, "")},
			after:  []func(*v1alpha1.ReplikaStatus){counts, setReady(metav1.ConditionTrue, v1alpha1.ReasonSynced, "")},
		},
		"not ready": {
			before: []func(*v1alpha1.ReplikaStatus){setReady(metav1.ConditionFalse, v1alpha1.ReasonCopiesFailed, "")},
			after:  []func(*v1alpha1.ReplikaStatus){counts, setReady(metav1.ConditionFalse, v1alpha1.ReasonCopiesFailed, "")},
		},
		"no conditions before": {
			before: []func(*v1alpha1.ReplikaStatus){func(s *v1alpha1.ReplikaStatus) { s.Conditions = nil }},
			after:  []func(*v1alpha1.ReplikaStatus){func(s *v1alpha1.ReplikaStatus) { s.Copies.Desired = 2 }},
		},
		"source too":     {after: []func(*v1alpha1.ReplikaStatus){counts, func(s *v1alpha1.ReplikaStatus) { s.Source.ResourceVersion = "2" }}},
		"generation too": {after: []func(*v1alpha1.ReplikaStatus){counts, func(s *v1alpha1.ReplikaStatus) { s.ObservedGeneration = 2 }}},
		"request too":    {after: []func(*v1alpha1.ReplikaStatus){counts, func(s *v1alpha1.ReplikaStatus) { s.LastHandledRequest = "now" }}},
	} {
		before := &v1alpha1.ReplikaStatus{
			ObservedGeneration: 1,
			Copies:             &v1alpha1.CopiesStatus{Desired: 1, Synced: 1},
			Source:             &v1alpha1.SourceStatus{ResourceVersion: "1"},
			Conditions: []metav1.Condition{{
				Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonSynced, Message: "in sync in 1 namespace",
			}},
		}
		for _, change := range test.before {
			change(before)
		}
		after := before.DeepCopy()
		for _, change := range test.after {
			change(after)
		}
		if got := onlyCountsChanged(before, after); got != test.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}
