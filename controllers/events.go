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

// longestMessage is how many bytes a condition's message or an event's note may have; the API server refuses notes past
// 1024.
const longestMessage = 1000

// tellChanges says in one event what a pass changed; a pass that changed nothing is not worth one.
func (p *pass) tellChanges(ctx context.Context) {
	var parts []string
	for action, count := range p.report.changes {
		parts = append(parts, fmt.Sprintf("%d %s", count, done[action]))
	}
	if len(parts) == 0 {
		return
	}
	slices.SortFunc(parts, func(a, b string) int {
		return cmp.Compare(strings.TrimLeft(a, "0123456789"), strings.TrimLeft(b, "0123456789"))
	})
	summary := strings.Join(parts, ", ")
	ctrl.LoggerFrom(ctx).Info("changed copies", "source", p.sourceTitle(), "changes", summary)
	p.Recorder.Eventf(p.replika, nil, corev1.EventTypeNormal, "Replicated", "Synchronize",
		"copies of %s: %s", p.sourceTitle(), summary)
}

// done says of each action that it is over.
var done = map[planner.ActionType]string{
	planner.Create:   "created",
	planner.Update:   "updated",
	planner.Recreate: "recreated",
	planner.Delete:   "deleted",
	planner.Release:  "released",
	planner.HandOver: "handed over",
}

// tellReadiness says in an event that the Replika became ready, or is not ready for another reason than before.
func (p *pass) tellReadiness(ctx context.Context) {
	before := meta.FindStatusCondition(p.before.Status.Conditions, v1alpha1.ConditionReady)
	now := meta.FindStatusCondition(p.replika.Status.Conditions, v1alpha1.ConditionReady)
	if now == nil || (before != nil && before.Status == now.Status && before.Reason == now.Reason) {
		return
	}
	eventType := corev1.EventTypeWarning
	if now.Status == metav1.ConditionTrue || now.Reason == v1alpha1.ReasonSuspended {
		eventType = corev1.EventTypeNormal
	}
	ctrl.LoggerFrom(ctx).Info("readiness changed", "ready", now.Status, "reason", now.Reason, "message", now.Message)
	p.Recorder.Eventf(p.replika, nil, eventType, now.Reason, "Synchronize", "%s", now.Message)
}

// shorten cuts a message that the API server would refuse.
func shorten(message string) string {
	if len(message) <= longestMessage {
		return message
	}
	return strings.ToValidUTF8(message[:longestMessage], "") + "…"
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
