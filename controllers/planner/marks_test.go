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
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var configMaps = schema.GroupResource{Resource: "configmaps"}

var copyKey = types.NamespacedName{Namespace: "shop", Name: "settings"}

func newMarks(change func(*Marks)) Marks {
	marks := Marks{
		Owner:    replikaKey,
		Source:   types.NamespacedName{Namespace: "vault", Name: "settings"},
		Self:     copyKey,
		Resource: configMaps,
		Applied:  Applied{Labels: []string{"app"}, Annotations: []string{"a", "example.com/b"}},
	}
	if change != nil {
		change(&marks)
	}
	return marks
}

func TestReadMarks_RoundTrip(t *testing.T) {
	for name, marks := range map[string]Marks{
		"not adopted":     newMarks(nil),
		"adopted":         newMarks(func(m *Marks) { m.Adopted = true }),
		"no applied keys": newMarks(func(m *Marks) { m.Applied = Applied{} }),
	} {
		t.Run(name, func(t *testing.T) {
			got, state := readMarks(configMaps, copyKey, marks.Annotations())
			if state != MarksValid {
				t.Fatalf("state %v", state)
			}
			if diff := cmp.Diff(marks, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadMarks(t *testing.T) {
	cases := map[string]struct {
		change func(map[string]string)
		want   MarkState
	}{
		"unchanged":              {func(map[string]string) {}, MarksValid},
		"additional annotations": {func(a map[string]string) { a["example.com/note"] = "x" }, MarksValid},
		"adopted is not true": {
			func(a map[string]string) { a[v1alpha1.AnnotationAdopted] = "false" }, MarksValid,
		},
		"no version":                          {func(a map[string]string) { delete(a, v1alpha1.AnnotationMarksVersion) }, MarksAbsent},
		"a newer version":                     {func(a map[string]string) { a[v1alpha1.AnnotationMarksVersion] = "2" }, MarksNewer},
		"an unknown version":                  {func(a map[string]string) { a[v1alpha1.AnnotationMarksVersion] = "" }, MarksNewer},
		"another namespace":                   {func(a map[string]string) { a[v1alpha1.AnnotationSelf] = "web/settings" }, MarksAbsent},
		"another name":                        {func(a map[string]string) { a[v1alpha1.AnnotationSelf] = "shop/settings-2" }, MarksAbsent},
		"another resource":                    {func(a map[string]string) { a[v1alpha1.AnnotationResource] = "externalsecrets.external-secrets.io" }, MarksAbsent},
		"empty resource":                      {func(a map[string]string) { a[v1alpha1.AnnotationResource] = "" }, MarksAbsent},
		"no resource, as in earlier versions": {func(a map[string]string) { delete(a, v1alpha1.AnnotationResource) }, MarksValid},
		"owner too long":                      {func(a map[string]string) { a[v1alpha1.AnnotationOwner] = "ops/" + strings.Repeat("x", 2000) }, MarksAbsent},
		"truncated hashes":                    {func(a map[string]string) { a[v1alpha1.AnnotationApplied] = `{"hashes":"AAA="}` }, MarksAbsent},
		"no copy name":                        {func(a map[string]string) { delete(a, v1alpha1.AnnotationSelf) }, MarksAbsent},
		"no owner":                            {func(a map[string]string) { delete(a, v1alpha1.AnnotationOwner) }, MarksAbsent},
		"owner without name":                  {func(a map[string]string) { a[v1alpha1.AnnotationOwner] = "ops/" }, MarksAbsent},
		"owner without namespace":             {func(a map[string]string) { a[v1alpha1.AnnotationOwner] = "/sync" }, MarksAbsent},
		"owner with one part":                 {func(a map[string]string) { a[v1alpha1.AnnotationOwner] = "sync" }, MarksAbsent},
		"owner with three parts":              {func(a map[string]string) { a[v1alpha1.AnnotationOwner] = "ops/sync/x" }, MarksAbsent},
		"no source":                           {func(a map[string]string) { delete(a, v1alpha1.AnnotationSource) }, MarksAbsent},
		"malformed source":                    {func(a map[string]string) { a[v1alpha1.AnnotationSource] = "?" }, MarksAbsent},
		"no applied":                          {func(a map[string]string) { delete(a, v1alpha1.AnnotationApplied) }, MarksAbsent},
		"applied is not JSON":                 {func(a map[string]string) { a[v1alpha1.AnnotationApplied] = "{" }, MarksAbsent},
		"applied is a JSON list":              {func(a map[string]string) { a[v1alpha1.AnnotationApplied] = "[]" }, MarksAbsent},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			annotations := newMarks(nil).Annotations()
			testCase.change(annotations)
			marks, state := readMarks(configMaps, copyKey, annotations)
			if state != testCase.want {
				t.Fatalf("state: got %v, want %v", state, testCase.want)
			}
			if marks.Adopted {
				t.Error("read as adopted")
			}
			if state != MarksValid && !cmp.Equal(marks, Marks{}) {
				t.Errorf("invalid marks were read as %v", marks)
			}
		})
	}
	if _, state := readMarks(configMaps, copyKey, nil); state != MarksAbsent {
		t.Errorf("no annotations: %v", state)
	}
}

// A release removes exactly the annotations of the marks.
func TestMarkKeys(t *testing.T) {
	all := slices.Sorted(maps.Keys(newMarks(func(m *Marks) { m.Adopted = true }).Annotations()))
	if diff := cmp.Diff(all, slices.Sorted(slices.Values(MarkKeys()))); diff != "" {
		t.Error(diff)
	}
	for _, key := range MarkKeys() {
		if !strings.HasPrefix(key, v1alpha1.KeyPrefix) {
			t.Errorf("%s is not under %s", key, v1alpha1.KeyPrefix)
		}
	}
}
