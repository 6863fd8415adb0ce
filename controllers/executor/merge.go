package executor

import (
	"context"
	"encoding/json"
	"fmt"

	mergepatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/controllers/planner"
)

// merge updates a copy of a kind that keeps values of its own inside content (a Service's cluster IP, a claim's volume).
// These must survive, so the object is read, and only what differs between its cleaned content and the template's is sent,
// guarded by resourceVersion.
func (t target) merge(ctx context.Context, action *planner.Action) Result {
	live, err := t.read(ctx)
	if err != nil {
		return readFailed(err)
	}
	if live == nil {
		return Result{Outcome: planner.Stale}
	}
	now, err := t.writer.cleaner.Observe(live)
	if err != nil {
		return Result{Outcome: planner.Unavailable, Err: err}
	}
	if !sameObject(now, action.Observed) {
		return Result{Outcome: planner.Stale, Object: now, Err: fmt.Errorf("%s is no longer as it was observed", t)}
	}
	current := *action
	current.Observed = now
	body, err := t.mergePatch(live, &current)
	if err != nil {
		return Result{Outcome: planner.Unavailable, Err: err}
	}
	answer, err := t.request(ctx, t.writer.client.Patch(types.MergePatchType).Body(body), t.name)
	if err != nil {
		result := t.handleError(ctx, err, action)
		if result.Outcome == planner.Rejected {
			return t.detectImmutable(ctx, action, result)
		}
		return result
	}
	return t.handleResponse(answer, action.Template)
}

// sameObject tells what the guard of a JSON Patch tests: an object with our marks is the same while they say so, any other
// only as long as nothing of it has changed.
func sameObject(now, observed *planner.Observed) bool {
	if now.UID != observed.UID || now.Marks != observed.Marks {
		return false
	}
	owner, marked := observed.Owner()
	if marked {
		return now.OwnedBy(owner)
	}
	return now.ResourceVersion == observed.ResourceVersion
}

// mergePatch renders the difference between the cleaned object and the template as a JSON Merge Patch (RFC 7386).
func (t target) mergePatch(live *unstructured.Unstructured, action *planner.Action) ([]byte, error) {
	observed, template := action.Observed, action.Template
	before, err := json.Marshal(t.writer.cleaner.Content(template.Kind.GroupKind(), live.Object))
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", t, err)
	}
	after, err := json.Marshal(template.Content)
	if err != nil {
		return nil, fmt.Errorf("render the template: %w", err)
	}
	difference, err := mergepatch.CreateMergePatch(before, after)
	if err != nil {
		return nil, fmt.Errorf("compare %s with the template: %w", t, err)
	}
	patch := map[string]any{}
	if err := json.Unmarshal(difference, &patch); err != nil {
		return nil, fmt.Errorf("compare %s with the template: %w", t, err)
	}
	stale := observed.Applied().Without(template.Applied())
	patch["metadata"] = map[string]any{
		"uid":             observed.UID,
		"resourceVersion": observed.ResourceVersion,
		"labels":          mergeKeys(template.CopyLabels(), stale.Labels),
		"annotations": mergeKeys(
			template.CopyAnnotations(action.Namespace, action.Adopt || observed.Adopted), stale.Annotations),
	}
	return json.Marshal(patch)
}

// mergeKeys sets the keys and, by null, drops the stale ones.
func mergeKeys(keys map[string]string, stale []string) map[string]any {
	merged := make(map[string]any, len(keys)+len(stale))
	for _, key := range stale {
		merged[key] = nil
	}
	for key, value := range keys {
		merged[key] = value
	}
	return merged
}
