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

package planner

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func managed(manager, subresource, fields string) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{
		Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1", Subresource: subresource,
		FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
	}
}

func TestNewTemplate_KeysOfControllers(t *testing.T) {
	const id, team = "cloud.example.com/load-balancer-id", "team"
	const (
		setsID     = `{"f:metadata":{"f:annotations":{".":{},"f:cloud.example.com/load-balancer-id":{}}}}`
		setsTeam   = `{"f:metadata":{"f:labels":{"f:team":{}}}}`
		setsSpec   = `{"f:spec":{"f:type":{}},"f:metadata":{"f:labels":{"f:team":{}}}}`
		setsStatus = `{"f:status":{"f:loadBalancer":{}}}`
	)
	cases := map[string]struct {
		managers        []metav1.ManagedFieldsEntry
		wantID, wantTag bool
	}{
		"no managed fields": {nil, true, true},
		"controller that writes the status": {
			[]metav1.ManagedFieldsEntry{managed("kubectl-create", "", setsSpec), managed("cloud", "", setsID), managed("cloud", "status", setsStatus)},
			false, true,
		},
		"controller of a kind without status subresource": {
			[]metav1.ManagedFieldsEntry{managed("argocd", "", setsSpec), managed("cloud", "", setsID), managed("cloud", "", setsStatus)},
			false, true,
		},
		"client that does not write the status": {
			[]metav1.ManagedFieldsEntry{managed("argocd", "", setsSpec), managed("terraform", "", setsID), managed("cloud", "status", setsStatus)},
			true, true,
		},
		"controller that created the object": {
			[]metav1.ManagedFieldsEntry{managed("operator", "", setsSpec), managed("operator", "", setsID), managed("operator", "status", setsStatus)},
			true, true,
		},
		"also set by a user": {
			[]metav1.ManagedFieldsEntry{managed("helm", "", setsID), managed("cloud", "", setsID), managed("cloud", "status", setsStatus)},
			true, true,
		},
		"two controllers": {
			[]metav1.ManagedFieldsEntry{
				managed("cloud", "", setsID), managed("cloud", "status", setsStatus), managed("node", "", setsID), managed("node", "status", setsStatus),
			},
			false, true,
		},
		"label": {
			[]metav1.ManagedFieldsEntry{managed("cloud", "", setsTeam), managed("cloud", "status", setsStatus)},
			true, false,
		},
		"kubectl edits the status, too": {
			[]metav1.ManagedFieldsEntry{managed("kubectl-edit", "", setsID), managed("kubectl-edit", "status", setsStatus)},
			true, true,
		},
		"scale of an autoscaler is no content": {
			[]metav1.ManagedFieldsEntry{
				managed("cloud", "", setsID), managed("cloud", "status", setsStatus), managed("cloud", "scale", `{"f:spec":{"f:replicas":{}}}`),
			},
			false, true,
		},
		"malformed": {[]metav1.ManagedFieldsEntry{managed("cloud", "", setsID), managed("cloud", "status", setsStatus), managed("cloud", "", `[]`)}, true, true},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			source := newObject("vault", "settings", withAnnotations(map[string]string{id: "lb-1"}), withLabels(map[string]string{team: "red"}),
				func(o *unstructured.Unstructured) { o.SetManagedFields(testCase.managers) })
			before := source.DeepCopy()
			template := mustTemplate(t, newReplika(), source)
			if _, found := template.Annotations[id]; found != testCase.wantID {
				t.Errorf("annotation is copied: %v", found)
			}
			if _, found := template.Labels[team]; found != testCase.wantTag {
				t.Errorf("label is copied: %v", found)
			}
			if diff := cmp.Diff(before, source); diff != "" {
				t.Errorf("the source changed: %s", diff)
			}
		})
	}
}
