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

package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	mergepatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/controllers/planner"
)

// merge updates an object of which more must be known than what was observed, as [planner.Action.NeedsLiveObject] reports: a
// copy of a kind with fields inside its content that the API server sets for each object (the cluster IP of a Service, the
// volume of a PersistentVolumeClaim), or with thousands of keys. It reads the object and sends only the difference between its
// cleaned content and the template, with the resourceVersion that was read.
func (t target) merge(ctx context.Context, action *planner.Action) Result {
	live, err := t.read(ctx)
	if err != nil {
		return readFailed(err)
	}
	if live == nil {
		return Result{Outcome: planner.Stale}
	}
	current, err := t.executor.cleaner.Observe(t.resource.GroupResource(), live)
	if err != nil {
		return Result{Outcome: planner.Unavailable, Err: err}
	}
	if !isUnchanged(current, action.Observed) {
		return Result{Outcome: planner.Stale, Object: current, Err: errors.New("the object was modified concurrently")}
	}
	body, err := t.mergePatch(live, current, action)
	if err != nil {
		return Result{Outcome: planner.Unavailable, Err: err}
	}
	response, err := t.request(ctx, t.executor.client.Patch(types.MergePatchType).Body(body), t.name)
	if err != nil {
		return t.handleError(ctx, err, action)
	}
	return t.detectKept(ctx, action, current, response, t.handleResponse(response, action.Template))
}

// isUnchanged reports whether the guard of a JSON Patch would succeed: for an object with our marks when the marks are the
// same, for any other object when nothing in it has changed.
func isUnchanged(current, observed *planner.Observed) bool {
	if current.UID != observed.UID || current.Marks != observed.Marks {
		return false
	}
	owner, marked := observed.Owner()
	if marked {
		return current.OwnedBy(owner)
	}
	return current.ResourceVersion == observed.ResourceVersion
}

// mergePatch renders the difference between the live object, cleaned, and the template as a JSON Merge Patch (RFC 7386).
func (t target) mergePatch(live *unstructured.Unstructured, current *planner.Observed, action *planner.Action) ([]byte, error) {
	template := action.Template
	liveContent, content, err := t.executor.cleaner.MergeContent(action, live)
	if err != nil {
		return nil, fmt.Errorf("merge the template into the object: %w", err)
	}
	before, err := json.Marshal(liveContent)
	if err != nil {
		return nil, fmt.Errorf("render the object: %w", err)
	}
	after, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("render the template: %w", err)
	}
	difference, err := mergepatch.CreateMergePatch(before, after)
	if err != nil {
		return nil, fmt.Errorf("compare the object with the template: %w", err)
	}
	patch := map[string]any{}
	if err := json.Unmarshal(difference, &patch); err != nil {
		return nil, fmt.Errorf("compare the object with the template: %w", err)
	}
	stale := t.executor.cleaner.StaleKeys(action, live)
	patch["metadata"] = map[string]any{
		"uid":             current.UID,
		"resourceVersion": current.ResourceVersion,
		"labels":          mergeKeys(template.CopyLabels(), stale.Labels),
		"annotations": mergeKeys(
			template.CopyAnnotations(action.Namespace, action.Adopt || current.Adopted), stale.Annotations),
	}
	return json.Marshal(patch)
}

// mergeKeys returns the keys to set, and null for the stale ones, which removes them.
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
