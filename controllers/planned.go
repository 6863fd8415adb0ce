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
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// plannedActions are what a dry run would do with the copies that are not in sync.
type plannedActions struct {
	counts map[v1alpha1.PlannedActionType]int32
	// actions lacks those in namespaces that the Replika's ServiceAccount cannot know.
	actions []v1alpha1.PlannedAction
	// templates are those of the copies, by their name.
	templates map[string]*planner.Template
}

// add adds the predicted result of an action of the plan that was made of the input.
func (p *plannedActions) add(in *planner.Input, predicted *actionResult) {
	action, result := &predicted.action, &predicted.result
	planned, found := planner.PlannedType(action, result.Outcome)
	if !found {
		return
	}
	if p.counts == nil {
		p.counts = map[v1alpha1.PlannedActionType]int32{}
	}
	p.counts[planned]++
	if action.Template != nil {
		if p.templates == nil {
			p.templates = map[string]*planner.Template{}
		}
		p.templates[action.Name] = action.Template
	}
	reason, message := action.Reason, in.Describe(action)
	if planned == v1alpha1.PlannedFail {
		reason, message = result.Outcome.FailureReason(), failureMessage(result.Outcome, result.Err)
	}
	if in.Reveals(action, reason) {
		p.actions = append(p.actions, v1alpha1.PlannedAction{
			Namespace: action.Namespace, Name: action.Name, Action: planned, Message: truncate(message),
		})
	}
}

// merge adds what is planned for one of many sources.
func (p *plannedActions) merge(one *plannedActions) {
	if p.counts == nil {
		p.counts = map[v1alpha1.PlannedActionType]int32{}
	}
	for action, count := range one.counts {
		p.counts[action] += count
	}
	p.actions = append(p.actions, one.actions...)
	if p.templates == nil {
		p.templates = map[string]*planner.Template{}
	}
	maps.Copy(p.templates, one.templates)
}

// sorted returns the actions by namespace and name.
func (p *plannedActions) sorted() []v1alpha1.PlannedAction {
	return slices.SortedFunc(slices.Values(p.actions), func(a, b v1alpha1.PlannedAction) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Action, b.Action))
	})
}

// status returns what the status says of the plan.
func (p *plannedActions) status() *v1alpha1.PlannedStatus {
	actions := p.sorted()
	status := &v1alpha1.PlannedStatus{Actions: actions[:min(len(actions), v1alpha1.MaxPlannedActions)]}
	for _, action := range slices.Sorted(maps.Keys(p.counts)) {
		status.Counts = append(status.Counts, v1alpha1.PlannedCount{Action: action, Copies: p.counts[action]})
	}
	return status
}

// summary says in one line what is planned.
func (p *plannedActions) summary() string {
	var parts []string
	for _, action := range slices.Sorted(maps.Keys(p.counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", action, p.counts[action]))
	}
	return strings.Join(parts, ", ")
}

// setDryRun reports what is planned. Ready is Unknown: whether the copies could be written is not known.
func (s *scope) setDryRun() {
	s.replika.Status.Planned = s.results.planned.status()
	message := "dry run (spec.mode), no copy is written: "
	switch planned := s.results.planned.summary(); {
	case s.notReady != nil:
		message += fmt.Sprintf("%s (%s)", s.notReady.Message, s.notReady.Reason)
	case planned == "":
		message += fmt.Sprintf("nothing to do, %s in sync", plural(int(s.results.synced), "copy"))
	default:
		message += fmt.Sprintf("planned are %s; %s in sync", planned, plural(int(s.results.synced), "copy"))
	}
	s.setCondition(v1alpha1.ConditionReady, metav1.ConditionUnknown, v1alpha1.ReasonDryRun, message)
	meta.RemoveStatusCondition(&s.replika.Status.Conditions, v1alpha1.ConditionReconciling)
	meta.RemoveStatusCondition(&s.replika.Status.Conditions, v1alpha1.ConditionStalled)
}

// recordPlan emits an event when the plan changed.
func (r *ReplikaReconciler) recordPlan(s *scope) {
	planned := s.replika.Status.Planned
	if planned == nil || equality.Semantic.DeepEqual(planned, s.original.Status.Planned) {
		return
	}
	summary := s.results.planned.summary()
	if summary == "" {
		summary = "nothing"
	}
	r.Recorder.Eventf(s.replika, nil, corev1.EventTypeNormal, v1alpha1.EventReasonPlanned, v1alpha1.EventActionSynchronize,
		"Planned for copies of %s: %s", s.sourceTitle(), truncate(summary))
}
