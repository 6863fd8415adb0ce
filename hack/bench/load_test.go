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

import "testing"

func TestAnalyze(t *testing.T) {
	tests := map[string]struct {
		history                         []versionWrite
		wantFanOuts, wantLag, wantBacks int
	}{
		"sequential fan-outs": {
			history:     []versionWrite{{"a", 0}, {"b", 0}, {"a", 4}, {"b", 4}, {"b", 9}, {"a", 9}},
			wantFanOuts: 2, wantLag: 1,
		},
		"one copy skips a fan-out": {
			history:     []versionWrite{{"a", 0}, {"b", 0}, {"a", 4}, {"a", 9}, {"b", 9}},
			wantFanOuts: 2, wantLag: 2,
		},
		"one copy returns to an older version": {
			history:     []versionWrite{{"a", 0}, {"b", 0}, {"a", 4}, {"b", 4}, {"a", 0}, {"a", 4}},
			wantFanOuts: 1, wantLag: 1, wantBacks: 1,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			fanOuts, lag, backwards := analyze(test.history)
			if fanOuts != test.wantFanOuts || lag != test.wantLag || backwards != test.wantBacks {
				t.Errorf("fan-outs, lag, backwards = %d, %d, %d; want %d, %d, %d",
					fanOuts, lag, backwards, test.wantFanOuts, test.wantLag, test.wantBacks)
			}
		})
	}
}
