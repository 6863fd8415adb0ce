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
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func TestCleaner_Assess(t *testing.T) {
	allow := func(list string) func(*unstructured.Unstructured) {
		return withAnnotations(map[string]string{v1alpha1.AnnotationAllowedNamespaces: list})
	}
	isCopy := withLabels(map[string]string{v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue})
	wantsKey := func(r *v1alpha1.Replika) { r.Spec.Source.Keys = []string{"absent"} }
	cases := map[string]struct {
		replika      *v1alpha1.Replika
		source       *unstructured.Unstructured
		required     bool // consent
		wantReason   string
		wantMessage  string // part of it
		wantTemplate bool
		wantAllowed  []string
		wantUnknown  bool // consent
		wantNone     bool // allowed
	}{
		"copied":                             {source: newObject("vault", "settings"), wantTemplate: true},
		"copied to some":                     {source: newObject("vault", "settings", allow("web,shop")), wantTemplate: true, wantAllowed: []string{"shop", "web"}},
		"consent required":                   {source: newObject("vault", "settings"), required: true, wantTemplate: true, wantNone: true, wantReason: v1alpha1.ReasonSourceNotAllowed, wantMessage: "does not have the annotation"},
		"consent required and given":         {source: newObject("vault", "settings", allow("shop")), required: true, wantTemplate: true, wantAllowed: []string{"shop"}},
		"no namespace is allowed":            {source: newObject("vault", "settings", allow("")), wantTemplate: true, wantNone: true, wantAllowed: []string{}, wantReason: v1alpha1.ReasonSourceNotAllowed, wantMessage: "allows no namespaces"},
		"consent cannot be read":             {source: newObject("vault", "settings", allow("sh?p")), wantUnknown: true, wantReason: v1alpha1.ReasonSourceNotAllowed, wantMessage: "cannot be read"},
		"the source is a copy":               {source: newObject("vault", "settings", isCopy), wantUnknown: true, wantReason: v1alpha1.ReasonSourceNotAllowed, wantMessage: "of a copy"},
		"a key is missing":                   {replika: newReplika(wantsKey), source: newObject("vault", "settings", allow("shop")), wantAllowed: []string{"shop"}, wantReason: v1alpha1.ReasonKeyNotFound, wantMessage: "absent"},
		"a key is missing, none is allowed":  {replika: newReplika(wantsKey), source: newObject("vault", "settings", allow("")), wantAllowed: []string{}, wantNone: true, wantReason: v1alpha1.ReasonSourceNotAllowed, wantMessage: "allows no namespaces"},
		"a copy, and consent cannot be read": {source: newObject("vault", "settings", isCopy, allow("sh?p")), wantUnknown: true, wantReason: v1alpha1.ReasonSourceNotAllowed, wantMessage: "of a copy"},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			replika := testCase.replika
			if replika == nil {
				replika = newReplika()
			}
			got := NewCleaner().Assess(resourceOf(testCase.source), replika, testCase.source, testCase.required)
			if (got.Template != nil) != testCase.wantTemplate || got.NoneAllowed != testCase.wantNone || got.ConsentKnown == testCase.wantUnknown ||
				!slices.Equal(got.Allowed, testCase.wantAllowed) || (got.Allowed == nil) != (testCase.wantAllowed == nil) {
				t.Errorf("got %+v", got)
			}
			reason, message := "", ""
			if got.Problem != nil {
				reason, message = got.Problem.Reason, got.Problem.Message
			}
			if reason != testCase.wantReason || !strings.Contains(message, testCase.wantMessage) {
				t.Errorf("got %s: %q, want %s: %q", reason, message, testCase.wantReason, testCase.wantMessage)
			}
		})
	}
}
