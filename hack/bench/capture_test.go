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

package main

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/controllers/planner"
)

func TestCaptureRequests(t *testing.T) {
	w := newWorkload("captured", 1<<10, noResync, []string{"target-*"})
	server := &baselineServer{cleaner: planner.NewCleaner()}
	former, err := server.template(w.replika, w.source)
	if err != nil {
		t.Fatal(err)
	}
	body, err := former.Render(targetName(0))
	if err != nil {
		t.Fatal(err)
	}
	copied := &unstructured.Unstructured{}
	if err := copied.UnmarshalJSON(body); err != nil {
		t.Fatal(err)
	}
	copied.SetUID("7e0c")
	observed, err := server.cleaner.Observe(configMaps, copied)
	if err != nil {
		t.Fatal(err)
	}
	w.source.Data[versionKey] = "1"
	template, err := server.template(w.replika, w.source)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		action     planner.Action
		wantMethod string
	}{
		"create": {planner.Action{Type: planner.Create}, "POST"},
		"update": {planner.Action{Type: planner.Update, Observed: observed}, "PATCH"},
		"delete": {planner.Action{Type: planner.Delete, Observed: observed}, "DELETE"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.action.Namespace, test.action.Name, test.action.Template = targetName(0), w.name, template
			requests, err := captureRequests(t.Context(), server.cleaner, []planner.Action{test.action})
			if err != nil || len(requests) != 1 || requests[0].method != test.wantMethod {
				t.Errorf("captureRequests = %d requests, %v; want one %s", len(requests), err, test.wantMethod)
			}
		})
	}
}
