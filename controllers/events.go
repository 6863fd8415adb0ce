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
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// maxMessageLength limits the message of a condition and the note of an event, in bytes. The API server rejects notes of more
// than 1024.
const maxMessageLength = 1000

// recordChanges emits one event about all changes of a reconcile; none when it changed nothing.
func (r *ReplikaReconciler) recordChanges(ctx context.Context, s *scope) {
	var parts []string
	for action, count := range s.results.changes {
		parts = append(parts, fmt.Sprintf("%d %s", count, pastTense[action]))
	}
	if len(parts) == 0 {
		return
	}
	slices.SortFunc(parts, func(a, b string) int {
		return cmp.Compare(strings.TrimLeft(a, "0123456789"), strings.TrimLeft(b, "0123456789"))
	})
	changes := strings.Join(parts, ", ")
	ctrl.LoggerFrom(ctx).Info("Synced copies", "source", s.sourceTitle(), "changes", changes)
	r.Recorder.Eventf(s.replika, nil, corev1.EventTypeNormal, v1alpha1.EventReasonReplicated, v1alpha1.EventActionSynchronize,
		"Synced copies of %s: %s", s.sourceTitle(), changes)
}

// pastTense names each action that changes an object.
var pastTense = map[planner.ActionType]string{
	planner.Create:   "created",
	planner.Update:   "updated",
	planner.Recreate: "recreated",
	planner.Delete:   "deleted",
	planner.Release:  "released",
	planner.HandOver: "ownership transferred",
}

// recordReadyTransition emits an event when the Replika became ready, or is not ready for another reason than before.
func (r *ReplikaReconciler) recordReadyTransition(ctx context.Context, s *scope) {
	before := meta.FindStatusCondition(s.original.Status.Conditions, v1alpha1.ConditionReady)
	now := meta.FindStatusCondition(s.replika.Status.Conditions, v1alpha1.ConditionReady)
	if now == nil || before != nil && before.Status == now.Status && before.Reason == now.Reason {
		return
	}
	eventType := corev1.EventTypeWarning
	if now.Status == metav1.ConditionTrue || now.Reason == v1alpha1.ReasonSuspended || now.Reason == v1alpha1.ReasonDryRun {
		eventType = corev1.EventTypeNormal
	}
	ctrl.LoggerFrom(ctx).Info("Ready condition changed", "ready", now.Status, "reason", now.Reason, "message", now.Message)
	r.Recorder.Eventf(s.replika, nil, eventType, now.Reason, v1alpha1.EventActionSynchronize, "%s", now.Message)
}

// truncate cuts a message that the API server would reject.
func truncate(message string) string {
	if len(message) <= maxMessageLength {
		return message
	}
	return strings.ToValidUTF8(message[:maxMessageLength], "") + "…"
}

// plural renders a count of things.
func plural(count int, thing string) string {
	switch {
	case count == 1:
		return "1 " + thing
	case strings.HasSuffix(thing, "y"):
		return fmt.Sprintf("%d %sies", count, strings.TrimSuffix(thing, "y"))
	default:
		return fmt.Sprintf("%d %ss", count, thing)
	}
}
