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
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func TestInventory(t *testing.T) {
	many := make([]string, 500)
	for i := range many {
		many[i] = fmt.Sprintf("things%03d.example.com", i)
	}
	cases := map[string]struct {
		status     []string
		annotation string
		want       []string
	}{
		"none":                         {want: []string{}},
		"annotation":                   {annotation: "configmaps,deployments.apps", want: []string{"configmaps", "deployments.apps"}},
		"status, replaced annotation":  {status: []string{"configmaps"}, want: []string{"configmaps"}},
		"status and annotation":        {status: []string{"configmaps"}, annotation: "secrets,configmaps", want: []string{"configmaps", "secrets"}},
		"duplicates":                   {annotation: "secrets,secrets,secrets", want: []string{"secrets"}},
		"names that no resource has":   {annotation: "Secrets, configmaps,,a/b," + strings.Repeat("x", 300) + ",jobs.batch", want: []string{"jobs.batch"}},
		"too many":                     {annotation: strings.Join(many, ","), want: many[:maxInventory]},
		"too many, beside those known": {status: []string{"configmaps"}, annotation: strings.Join(many, ","), want: append([]string{"configmaps"}, many[:maxInventory-1]...)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			replika := &v1alpha1.Replika{
				ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.AnnotationKinds: tc.annotation}},
				Status:     v1alpha1.ReplikaStatus{Inventory: tc.status},
			}
			if got := resourceNames(inventory(replika)); !slices.Equal(got, tc.want) {
				t.Errorf("inventory() = %v, want %v", got, tc.want)
			}
		})
	}
}

func TestReplikaState_RecordCurrent(t *testing.T) {
	state := &replikaState{}
	for i := range 100 {
		state.recordInventory(schema.GroupResource{Resource: fmt.Sprintf("things%d", i)})
	}
	current := schema.GroupResource{Resource: "configmaps"}
	state.recordCurrent(current)
	state.recordInventory(schema.GroupResource{Resource: "things99"})
	got := state.currentInventory()
	if len(got) != maxInventory || !slices.Contains(got, current) {
		t.Errorf("inventory has %d resources: %v", len(got), got)
	}
}
