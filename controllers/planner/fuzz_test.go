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
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// schemaGlobPattern is the pattern of globs in the CRD schema.
var schemaGlobPattern = regexp.MustCompile(`^[a-z0-9*]([-a-z0-9*]*[a-z0-9*])?$`)

func FuzzPatterns(f *testing.F) {
	for _, seed := range [][2]string{
		{"*", "shop"},
		{"team-*", "team-a"},
		{"*-prod", "shop-prod"},
		{"a*b*c", "aXbXbc"},
		{"shop", "shop"},
		{"**", ""},
		{"[", "["},
		{"a\\", "a"},
		{"?", "x"},
		{"*a*a*a*a*a*a*", "aaaaaaaaaaab"},
		{"", ""},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, glob, name string) {
		// The reference implementation takes exponential time, so longer values than the schema allows are skipped.
		if len(glob) > 63 || len(name) > 63 || strings.Count(glob, "*") > 6 {
			return
		}
		got := NewPatterns([]string{glob}).Match(name)
		if !schemaGlobPattern.MatchString(glob) || strings.Contains(name, "/") {
			return // other globs must not panic
		}
		if want := naiveMatch(glob, name); got != want {
			t.Errorf("%q matches %q: got %v, want %v", glob, name, got, want)
		}
		if twice := NewPatterns([]string{"no such", glob}).Match(name); twice != (got || name == "no such") {
			t.Errorf("%q in a list matches %q: %v", glob, name, twice)
		}
	})
}

var objectSeeds = []string{
	`{}`,
	`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"a","name":"b"},"data":{"x":"1"}}`,
	`{"apiVersion":"v1","kind":"Service","spec":{"clusterIP":"None","clusterIPs":["None"],"ports":[{"nodePort":1},7,null]}}`,
	`{"apiVersion":"v1","kind":"Service","spec":[],"status":{}}`,
	`{"apiVersion":"batch/v1","kind":"Job","spec":{"manualSelector":true,"selector":{},"template":{"metadata":{"labels":{"job-name":"x"}}}}}`,
	`{"apiVersion":"batch/v1","kind":"Job","spec":{"selector":{},"template":{"metadata":{"labels":{"batch.kubernetes.io/job-name":"x"}}}}}`,
	`{"apiVersion":"v1","kind":"ServiceAccount","secrets":[{"name":"t"}],"x":null}`,
	`{"apiVersion":"v1","kind":"Pod","metadata":{"ownerReferences":[1,{"controller":"yes"}],"labels":[],"annotations":{"a":1}},"spec":{"nodeName":{}}}`,
	`{"apiVersion":7,"kind":[],"metadata":"none","*":{"*":1}}`,
	`{"metadata":{"deletionTimestamp":"soon","namespace":1,"name":{},"uid":null,"resourceVersion":[]}}`,
	`{"kind":"PersistentVolumeClaim","apiVersion":"v1","spec":{"volumeName":"None"},"n":1e400,"m":1.5}`,
	`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"namespace":"a","name":"b","annotations":{` +
		`"replika.prosimcorp.com/marks-version":"1","replika.prosimcorp.com/owner":"o/r","replika.prosimcorp.com/source":"s/b",` +
		`"replika.prosimcorp.com/copy":"a/b","replika.prosimcorp.com/applied":"{\"labels\":[\"x\"]}"}}}`,
}

// decodeObject decodes JSON like the client: numbers are int64 or float64.
func decodeObject(text string) (map[string]any, bool) {
	object := &unstructured.Unstructured{}
	if object.UnmarshalJSON([]byte(text)) == nil {
		return object.Object, true
	}
	var fields map[string]any
	if json.Unmarshal([]byte(text), &fields) != nil || fields == nil {
		return nil, false
	}
	return fields, true
}

func FuzzCleanerContent(f *testing.F) {
	for _, seed := range objectSeeds {
		f.Add(seed)
	}
	cleaner := NewCleaner("example.com/*")
	f.Fuzz(func(t *testing.T, text string) {
		object, decoded := decodeObject(text)
		if !decoded {
			return
		}
		before := runtime.DeepCopyJSON(object)
		kinds := slices.Collect(maps.Keys(instanceFields))
		for _, kind := range append(kinds, configMapKind) {
			content := cleaner.Content(kind, object)
			if diff := cmp.Diff(before, object); diff != "" {
				t.Fatalf("%s: the input changed: %s", kind, diff)
			}
			if diff := cmp.Diff(content, cleaner.Content(kind, content)); diff != "" {
				t.Fatalf("%s: cleaning again: %s", kind, diff)
			}
			for field := range content {
				if slices.Contains([]string{"apiVersion", "kind", "metadata", "status"}, field) {
					t.Errorf("%s: %s was not removed", kind, field)
				}
			}
		}
		labels := (&unstructured.Unstructured{Object: object}).GetLabels()
		cleaned := cleaner.Keys(configMapKind, labels)
		if diff := cmp.Diff(cleaned, cleaner.Keys(configMapKind, cleaned)); diff != "" {
			t.Errorf("cleaning keys again: %s", diff)
		}
	})
}

// FuzzCleanerKeys checks that any label or annotation is either kept with its value or stripped, without effect on others.
func FuzzCleanerKeys(f *testing.F) {
	for _, rule := range strippedKeys {
		f.Add(rule)
		f.Add(strings.ReplaceAll(rule, "*", "x"))
		f.Add("x" + rule)
	}
	cleaner := NewCleaner()
	f.Fuzz(func(t *testing.T, key string) {
		keys := map[string]string{key: "value", "kept": "other"}
		cleaned := cleaner.Keys(configMapKind, keys)
		if len(keys) != len(newKeys(key, "kept")) || keys["kept"] != "other" && key != "kept" {
			t.Errorf("the input changed: %v", keys)
		}
		if cleaned["kept"] != keys["kept"] {
			t.Errorf("another key was stripped: %v", cleaned)
		}
		if value, kept := cleaned[key]; kept && value != keys[key] {
			t.Errorf("the value became %q", value)
		}
		if strings.HasPrefix(key, v1alpha1.KeyPrefix) {
			if _, kept := cleaned[key]; kept {
				t.Errorf("the operator's own key %s is kept", key)
			}
		}
	})
}

// FuzzDigests checks that digests are equal exactly if the JSON values are, regardless of key order and number format.
func FuzzDigests(f *testing.F) {
	f.Add(`{"a":1,"b":{"c":[1,2]}}`, `{"b":{"c":[1,2]},"a":1.0}`)
	f.Add(`{"a":1}`, `{"a":"1"}`)
	f.Add(`{"a":null}`, `{}`)
	f.Add(`{"a":{}}`, `{"a":[]}`)
	f.Add(`{"ab":""}`, `{"a":"b"}`)
	f.Add(`{"a":9007199254740993}`, `{"a":9007199254740992}`)
	f.Fuzz(func(t *testing.T, a, b string) {
		left, leftOK := decodeObject(a)
		right, rightOK := decodeObject(b)
		// NUL terminates a field name: no JSON key of a Kubernetes type contains it.
		if !leftOK || !rightOK || strings.Contains(strings.Join(slices.Collect(maps.Keys(left)), ""), "\x00") ||
			strings.Contains(strings.Join(slices.Collect(maps.Keys(right)), ""), "\x00") {
			return
		}
		leftJSON, leftErr := json.Marshal(left)
		rightJSON, rightErr := json.Marshal(right)
		if leftErr != nil || rightErr != nil {
			return
		}
		leftDigests, rightDigests := digestsOf(t, left), digestsOf(t, right)
		equal := bytes.Equal(leftJSON, rightJSON)
		if got := leftDigests == rightDigests; got != equal {
			t.Errorf("digests equal: %v, JSON equal: %v", got, equal)
		}
		differing := leftDigests.Differing(rightDigests)
		if diff := cmp.Diff(differing, rightDigests.Differing(leftDigests)); diff != "" {
			t.Errorf("reversed: %s", diff)
		}
		if !slices.IsSorted(differing) || (len(differing) == 0) != equal {
			t.Errorf("differing: %v, JSON equal: %v", differing, equal)
		}
		for field := range left {
			_, both := right[field]
			same := both && bytes.Equal(fieldJSON(t, left, field), fieldJSON(t, right, field))
			if slices.Contains(differing, field) == same {
				t.Errorf("%q: differs %v, same %v", field, !same, same)
			}
		}
	})
}

func fieldJSON(t *testing.T, object map[string]any, field string) []byte {
	t.Helper()
	encoded, err := json.Marshal(object[field])
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// FuzzObserve checks that any object of an API server is observed without panic and with a stable result, and that a plan
// never prunes an object without our marks.
func FuzzObserve(f *testing.F) {
	for _, seed := range objectSeeds {
		f.Add(seed)
	}
	cleaner := NewCleaner()
	f.Fuzz(func(t *testing.T, text string) {
		fields, decoded := decodeObject(text)
		if !decoded {
			return
		}
		object := &unstructured.Unstructured{Object: fields}
		before := object.DeepCopy()
		observed, err := cleaner.Observe(resourceOf(object), object)
		if diff := cmp.Diff(before, object); diff != "" {
			t.Fatalf("the input changed: %s", diff)
		}
		if err != nil {
			return
		}
		again, err := cleaner.Observe(resourceOf(object), object)
		if err != nil || *again != *observed {
			t.Errorf("observed again: %+v, %v, first %+v", again, err, observed)
		}
		in := newInput(t)
		in.Observed = []*Observed{observed}
		in.Selection = nil
		for _, action := range Plan(in) {
			if object.GetAnnotations()[v1alpha1.AnnotationOwner] != replikaKey.String() {
				t.Errorf("%s of an object of another owner", action.Type)
			}
		}
		if object.GetKind() == "" {
			return
		}
		if template, err := cleaner.NewTemplate(resourceOf(object), newReplika(), object); err == nil && template.Digests == "" {
			t.Error("a template without digests")
		}
	})
}

func FuzzMarksRoundTrip(f *testing.F) {
	f.Add("ops", "sync", "vault", "settings", "shop", "settings", "app", "note", true)
	f.Add("a", "b/c", "d", "", "e/f", "g", "\"", "{}", false)
	f.Add("", "/", "é", "\x00", "\xff", "x", "", ",", true)
	f.Add("ops", "sync", "vault", strings.Repeat("s", maxNameLength), "shop", "settings", "app", "note", false)
	f.Fuzz(func(t *testing.T, ownerNamespace, owner, sourceNamespace, source, selfNamespace, selfName, label, annotation string, adopted bool) {
		marks := Marks{
			Owner:    types.NamespacedName{Namespace: ownerNamespace, Name: owner},
			Source:   types.NamespacedName{Namespace: sourceNamespace, Name: source},
			Self:     types.NamespacedName{Namespace: selfNamespace, Name: selfName},
			Resource: configMaps,
			Adopted:  adopted,
			Applied:  Applied{Labels: []string{label}, Annotations: []string{annotation}},
		}
		annotations := marks.Annotations()
		got, state := readMarks(configMaps, marks.Self, annotations)
		valid := true
		for _, name := range []types.NamespacedName{marks.Owner, marks.Source, marks.Self} {
			for _, part := range []string{name.Namespace, name.Name} {
				valid = valid && part != "" && !strings.Contains(part, "/")
			}
			valid = valid && len(name.String()) <= maxNameLength
		}
		// JSON contains valid UTF-8 only, and so do keys.
		valid = valid && utf8.ValidString(label) && utf8.ValidString(annotation)
		if valid && (state != MarksValid || !cmp.Equal(got, marks)) {
			t.Errorf("got %v, state %v, want %v", got, state, marks)
		}
		if state == MarksValid && (got.Owner != marks.Owner || got.Source != marks.Source || got.Self != marks.Self || got.Adopted != adopted) {
			t.Errorf("got %v, want %v", got, marks)
		}
		elsewhere := types.NamespacedName{Namespace: selfNamespace, Name: selfName + "-2"}
		if _, state := readMarks(configMaps, elsewhere, annotations); state != MarksAbsent {
			t.Errorf("the marks of %s are valid for %s", marks.Self, elsewhere)
		}
	})
}

// FuzzReadMarks checks that marks with arbitrary values are valid only if they name the object itself.
func FuzzReadMarks(f *testing.F) {
	for _, version := range []string{"1", "2", ""} {
		f.Add(version, "ops/sync", "vault/settings", "shop/settings", `{"labels":["a"]}`, "true")
		f.Add(version, "ops", "/", "//", `{`, "")
	}
	f.Fuzz(func(t *testing.T, version, owner, source, copied, applied, adopted string) {
		marks, state := readMarks(configMaps, copyKey, map[string]string{
			v1alpha1.AnnotationMarksVersion: version,
			v1alpha1.AnnotationOwner:        owner,
			v1alpha1.AnnotationSource:       source,
			v1alpha1.AnnotationSelf:         copied,
			v1alpha1.AnnotationApplied:      applied,
			v1alpha1.AnnotationAdopted:      adopted,
		})
		switch {
		case version != v1alpha1.MarksVersion:
			if state != MarksNewer {
				t.Errorf("version %q: state %v", version, state)
			}
		case state == MarksValid:
			if copied != copyKey.String() || marks.Owner.String() != owner || marks.Source.String() != source || marks.Adopted != (adopted == "true") {
				t.Errorf("got %v", marks)
			}
		default:
			if state != MarksAbsent || !cmp.Equal(marks, Marks{}) {
				t.Errorf("state %v, %v", state, marks)
			}
		}
	})
}
