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
	"path"
	"testing"
)

func TestFirstTargets(t *testing.T) {
	for _, count := range []int{1, 9, 10, 25, 100, 250, 1000, 1999, 10_000} {
		globs := targetGlobs(count)
		for number := range 2*count + 20 {
			matched := false
			for _, glob := range globs {
				ok, err := path.Match(glob, targetName(number))
				if err != nil {
					t.Fatal(err)
				}
				matched = matched || ok
			}
			if matched != (number < count) {
				t.Errorf("the globs for %d namespaces match %s: %t", count, targetName(number), matched)
			}
		}
	}
}
