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
	"fmt"
	"testing"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func TestPatterns_Match(t *testing.T) {
	cases := map[string]struct {
		patterns []string
		name     string
		want     bool
	}{
		"none":                     {name: "shop"},
		"name":                     {patterns: []string{"web", "shop"}, name: "shop", want: true},
		"part of a name":           {patterns: []string{"shop"}, name: "shops"},
		"everything":               {patterns: []string{"*"}, name: "shop", want: true},
		"prefix":                   {patterns: []string{"team-*"}, name: "team-a", want: true},
		"prefix alone":             {patterns: []string{"team-*"}, name: "team-", want: true},
		"suffix":                   {patterns: []string{"*-prod"}, name: "shop-prod", want: true},
		"prefix and suffix":        {patterns: []string{"a*c"}, name: "abc", want: true},
		"overlapping":              {patterns: []string{"ab*ba"}, name: "aba"},
		"between":                  {patterns: []string{"a*b*c"}, name: "a-b-c", want: true},
		"between, missing":         {patterns: []string{"a*b*c"}, name: "a-c"},
		"between, within a suffix": {patterns: []string{"*b*b"}, name: "ab"},
		"several stars":            {patterns: []string{"a**c"}, name: "ac", want: true},
		"second pattern":           {patterns: []string{"x*", "x*", "s*"}, name: "shop", want: true},
		"no other special signs":   {patterns: []string{"sho?", "[s]hop"}, name: "shop"},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			if got := NewPatterns(testCase.patterns).Match(testCase.name); got != testCase.want {
				t.Errorf("got %t, want %t", got, testCase.want)
			}
		})
	}
}

func TestPatterns_Nil(t *testing.T) {
	var none *Patterns
	if none.Match("shop") {
		t.Error("nil matches")
	}
}

// BenchmarkSelection_Selects matches the longest lists that the schema allows against the namespaces of a large cluster.
func BenchmarkSelection_Selects(b *testing.B) {
	var include, exclude []string
	for i := range 500 {
		include = append(include, fmt.Sprintf("name-%d", i), fmt.Sprintf("team-*-%d-*-x", i))
		exclude = append(exclude, fmt.Sprintf("other-%d", i), fmt.Sprintf("*-%d-archive", i))
	}
	replika := newReplika(func(r *v1alpha1.Replika) {
		r.Spec.Target.Namespaces = v1alpha1.TargetNamespaces{ReplicateIn: include, ExcludeFrom: exclude}
	})
	namespaces := make([]Namespace, 10_000)
	for i := range namespaces {
		namespaces[i].Name = fmt.Sprintf("team-%d-%d-y", i%100, i)
	}
	for b.Loop() {
		selection, err := NewSelection(replika)
		if err != nil {
			b.Fatal(err)
		}
		for _, namespace := range namespaces {
			if selection.Selects(namespace) {
				b.Fatal(namespace.Name)
			}
		}
		selection.MissingNames(namespaces)
	}
}
