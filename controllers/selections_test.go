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
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func TestSelectionCache_Compile(t *testing.T) {
	cases := map[string]struct {
		change   func(*v1alpha1.Replika)
		wantSame bool
	}{
		"nothing changed":    {change: func(*v1alpha1.Replika) {}, wantSame: true},
		"status changed":     {change: func(r *v1alpha1.Replika) { r.Status.ObservedGeneration = 1 }, wantSame: true},
		"spec changed":       {change: func(r *v1alpha1.Replika) { r.Generation++ }},
		"consent changed":    {change: func(r *v1alpha1.Replika) { r.Status.Source.AllowedNamespaces = []string{"web"} }},
		"consent was lifted": {change: func(r *v1alpha1.Replika) { r.Status.Source = nil }},
		"re-created":         {change: func(r *v1alpha1.Replika) { r.UID = "uid-2" }},
		"another Replika":    {change: func(r *v1alpha1.Replika) { r.Name = "other" }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			replika := &v1alpha1.Replika{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "settings", UID: "uid-1", Generation: 1}}
			replika.Status.Source = &v1alpha1.SourceStatus{AllowedNamespaces: []string{"shop"}}
			var cache selectionCache
			before, err := cache.compile(replika)
			if err != nil {
				t.Fatal(err)
			}
			changed := replika.DeepCopy()
			tc.change(changed)
			after, err := cache.compile(changed)
			if err != nil {
				t.Fatal(err)
			}
			if same := before == after; same != tc.wantSame {
				t.Errorf("compiled again: %t", !same)
			}
		})
	}
}
