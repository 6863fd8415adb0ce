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
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/controllers/planner"
)

// maxKeptFields is the number of fields that an error names.
const maxKeptFields = 5

// detectKept finds out whether the API server kept the former value of a field that a successful update changed: it does so for
// the cluster IP of a headless Service, and other APIs for fields of their own. Such a field is immutable, although no error
// says so. A field whose value admission changed is not, nor is one with a default: a dry-run create of the template, under
// another name, has the same value there. The field counts as changed on admission if that create is rejected.
func (t target) detectKept(ctx context.Context, action *planner.Action, before *planner.Observed, response []byte, result Result) Result {
	if action.Type != planner.Update || result.Outcome != planner.Done || !action.Template.MayKeepFields(before, result.Object) {
		return result
	}
	created, err := t.probe(ctx, action.Template)
	if err != nil && classify(err, t) == planner.Unavailable {
		return Result{Outcome: planner.Unavailable, Err: fmt.Errorf("compare the copy with a new one: %w", err)}
	}
	if err != nil {
		return result
	}
	updated, err := decode(response)
	if err != nil {
		return Result{Outcome: planner.Unavailable, Err: err}
	}
	kept, err := t.executor.cleaner.KeptFields(action.Template, updated, created)
	if err != nil {
		return Result{Outcome: planner.Unavailable, Err: err}
	}
	if len(kept) == 0 {
		return result
	}
	result.Object.AcceptedDigests = ""
	return Result{Outcome: planner.Immutable, Object: result.Object, Err: fmt.Errorf(
		"field is immutable: the API server accepts the update, but keeps the former value of %s",
		strings.Join(kept[:min(len(kept), maxKeptFields)], ", "))}
}

// probe returns what the API server would make of a new copy.
func (t target) probe(ctx context.Context, template *planner.Template) (*unstructured.Unstructured, error) {
	body, err := template.RenderProbe(t.namespace)
	if err != nil {
		return nil, err
	}
	response, err := t.postBody(ctx, body, metav1.DryRunAll)
	if err != nil {
		return nil, err
	}
	return decode(response)
}
