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
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// postponedReport is what a reconcile leaves to the next one to report, about the copies of one source.
type postponedReport struct {
	source  sourceIdentity
	changes map[planner.ActionType]int
	copies  *v1alpha1.CopiesStatus
}

func newPostponedReport(s *scope, changes map[planner.ActionType]int) *postponedReport {
	return &postponedReport{source: sourceIdentityOf(s.replika), changes: changes, copies: s.replika.Status.Copies}
}

// addTo adds the report to that of the scope's reconcile, unless that one is about another source. The counts stay only if it does not
// count the copies itself, because the Replika has been suspended, for example.
func (p *postponedReport) addTo(s *scope) {
	if p == nil || p.source != sourceIdentityOf(s.replika) {
		return
	}
	for action, count := range p.changes {
		s.results.recordChanges(action, count)
	}
	s.replika.Status.Copies = p.copies
}

// postponeReport reports whether status and event are left to the next reconcile of the Replika, which is added to the end of the queue.
// Otherwise the copies of the last of many Replikas that select a new namespace would wait for the status of all others. It is done
// at most once in a row, see [ReplikaReconciler.finish], and only if other Replikas wait for a worker, and if nothing changes for the Replika but the number of its copies.
// A Replika with many sources would list them once more.
func (r *ReplikaReconciler) postponeReport(s *scope) bool {
	if len(s.results.changes) == 0 || s.replika.HasManySources() || r.enqueuer.waiting() == 0 ||
		!onlyCountsChanged(&s.original.Status, &s.replika.Status) {
		return false
	}
	s.state.postponeReport(newPostponedReport(s, s.results.changes))
	s.postponed = true
	return true
}

// onlyCountsChanged reports whether the Replika stays ready, and the status differs in the number of copies and in what mentions it.
func onlyCountsChanged(before, after *v1alpha1.ReplikaStatus) bool {
	if !meta.IsStatusConditionTrue(before.Conditions, v1alpha1.ConditionReady) || equality.Semantic.DeepEqual(before.Copies, after.Copies) {
		return false
	}
	other := after.DeepCopy()
	other.Copies = before.Copies
	if ready := meta.FindStatusCondition(other.Conditions, v1alpha1.ConditionReady); ready != nil {
		ready.Message = meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionReady).Message
	}
	return equality.Semantic.DeepEqual(before, other)
}
