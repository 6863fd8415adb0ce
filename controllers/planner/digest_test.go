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
)

func digestsOf(t testing.TB, content map[string]any) Digests {
	t.Helper()
	fields, err := encodeFields(content)
	if err != nil {
		t.Fatal(err)
	}
	return newDigests(fields)
}

func TestDigests_Equality(t *testing.T) {
	cases := map[string]struct {
		a, b map[string]any
		want bool
	}{
		"key order is ignored": {
			map[string]any{"data": map[string]any{"a": "1", "b": "2"}, "kind": "x"},
			map[string]any{"kind": "x", "data": map[string]any{"b": "2", "a": "1"}},
			true,
		},
		"equal numbers of different types":  {map[string]any{"n": int64(3)}, map[string]any{"n": float64(3)}, true},
		"different numbers":                 {map[string]any{"n": int64(3)}, map[string]any{"n": int64(4)}, false},
		"number and string differ":          {map[string]any{"n": int64(3)}, map[string]any{"n": "3"}, false},
		"large numbers are exact":           {map[string]any{"n": int64(9007199254740993)}, map[string]any{"n": int64(9007199254740992)}, false},
		"list order matters":                {map[string]any{"l": []any{"a", "b"}}, map[string]any{"l": []any{"b", "a"}}, false},
		"empty map and absent field differ": {map[string]any{"data": map[string]any{}}, map[string]any{}, false},
		"field name matters":                {map[string]any{"data": "x"}, map[string]any{"info": "x"}, false},
		"both empty":                        {map[string]any{}, nil, true},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			if got := digestsOf(t, testCase.a) == digestsOf(t, testCase.b); got != testCase.want {
				t.Errorf("got equal %v, want %v", got, testCase.want)
			}
		})
	}
}

func TestDigests_Differing(t *testing.T) {
	base := map[string]any{"data": "1", "spec": "2", "type": "3"}
	cases := map[string]struct {
		other map[string]any
		want  []string
	}{
		"same":                      {map[string]any{"type": "3", "spec": "2", "data": "1"}, nil},
		"changed fields are sorted": {map[string]any{"data": "x", "spec": "2", "type": "y"}, []string{"data", "type"}},
		"added field":               {map[string]any{"data": "1", "spec": "2", "type": "3", "extra": "4"}, []string{"extra"}},
		"removed field":             {map[string]any{"data": "1", "type": "3"}, []string{"spec"}},
		"renamed field":             {map[string]any{"data": "1", "type": "3", "speck": "2"}, []string{"spec", "speck"}},
		"empty":                     {nil, []string{"data", "spec", "type"}},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			a, b := digestsOf(t, base), digestsOf(t, testCase.other)
			if diff := cmp.Diff(testCase.want, a.Differing(b)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(testCase.want, b.Differing(a)); diff != "" {
				t.Errorf("reversed: %s", diff)
			}
		})
	}
}

// A hash can contain the byte that terminates a name: decoding relies on the length of the hash.
func TestDigests_DecodesAnyHash(t *testing.T) {
	content := map[string]any{}
	for i := range 1000 {
		content[string(rune('a'+i%26))+string(rune('0'+i%10))] = i
	}
	digests := digestsOf(t, content)
	if got := len(digests.fields()); got != len(content) {
		t.Errorf("got %d fields, want %d", got, len(content))
	}
}

func TestCanonicalJSON(t *testing.T) {
	if _, err := canonicalJSON(map[string]any{"f": func() {}}); err == nil {
		t.Error("canonicalJSON encoded a function")
	}
	if _, err := encodeFields(map[string]any{"f": func() {}}); err == nil {
		t.Error("encodeFields encoded a function")
	}
	got, err := canonicalJSON(map[string]any{"b": 1, "a": []any{"x"}})
	if err != nil || string(got) != `{"a":["x"],"b":1}` {
		t.Errorf("got %s, %v", got, err)
	}
}
