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

package v1alpha1

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"
)

func TestPartOf(t *testing.T) {
	a := func(n int) string { return strings.Repeat("a", n) }

	cases := map[string]struct {
		name string
		want string
	}{
		"short":                                {name: "sample", want: "sample"},
		"dots":                                 {name: "sample.v1.example.com", want: "sample.v1.example.com"},
		"one character":                        {name: "a", want: "a"},
		"maximum length of a label value":      {name: a(63), want: a(63)},
		"one character too long":               {name: a(64), want: a(52) + "-ffe054fe7a"},
		"maximum length of a name":             {name: a(253), want: a(52) + "-32859a3ab6"},
		"too long, different end":              {name: a(252) + "b", want: a(52) + "-7376f2b410"},
		"too long, cut after a dot":            {name: a(51) + "." + a(201), want: a(51) + "-9df0b63df3"},
		"too long, cut within a separator":     {name: a(50) + "---" + a(200), want: a(50) + "-711614990d"},
		"empty":                                {name: "", want: "e3b0c44298"},
		"no valid character":                   {name: "---", want: "cb3f91d54e"},
		"characters that names cannot contain": {name: "é/ñ", want: "76ae2fe4f0"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := PartOf(tc.name); got != tc.want {
				t.Errorf("PartOf(%q) = %q, want %q", tc.name, got, tc.want)
			}
		})
	}
}

// The result is a valid label value for every input, and two names never have
// the same one.
func TestPartOf_ValidAndUnique(t *testing.T) {
	name := rapid.OneOf(
		rapid.StringMatching(`[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?`),
		rapid.StringN(0, 80, 253),
	)
	rapid.Check(t, func(t *rapid.T) {
		a, b := name.Draw(t, "a"), name.Draw(t, "b")
		got := PartOf(a)
		if got == "" || len(validation.IsValidLabelValue(got)) > 0 {
			t.Fatalf("PartOf(%q) = %q: %v", a, got, validation.IsValidLabelValue(got))
		}
		if a != b && got == PartOf(b) {
			t.Fatalf("PartOf(%q) and PartOf(%q) are both %q", a, b, got)
		}
	})
}
