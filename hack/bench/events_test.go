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
	"slices"
	"testing"
)

func TestEventSizes(t *testing.T) {
	tests := map[string]struct {
		sizes []int
		least int
		want  []int
	}{
		"several":                      {sizes: []int{100, 1000, 10_000}, least: 10, want: []int{100, 1000, 10_000}},
		"one, and a tenth of it":       {sizes: []int{1000}, least: 10, want: []int{100, 1000}},
		"a tenth would be too few":     {sizes: []int{20}, least: 10, want: []int{10, 20}},
		"the one is the least already": {sizes: []int{1}, least: 1, want: []int{1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := eventSizes(test.sizes, test.least); !slices.Equal(got, test.want) {
				t.Errorf("eventSizes(%v, %d) = %v, want %v", test.sizes, test.least, got, test.want)
			}
		})
	}
}
