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
	"math"
	"runtime/debug"
	"testing"
)

func TestGCPercent(t *testing.T) {
	for name, testCase := range map[string]struct{ live, configured, want uint64 }{
		"before the first collection":    {0, 50, 50},
		"small heap":                     {8 << 20, 50, 50},
		"heap with the most garbage":     {24 << 20, 50, 50},
		"large heap":                     {48 << 20, 50, 25},
		"large heap, default GOGC":       {48 << 20, 100, 25},
		"very large heap":                {1 << 30, 50, minGCPercent},
		"GOGC that is lower than needed": {64 << 20, 10, 10},
		"GOGC=off":                       {64 << 20, math.MaxUint64, math.MaxUint64},
	} {
		if got := gcPercent(testCase.live, testCase.configured); got != testCase.want {
			t.Errorf("%s: got %d, want %d", name, got, testCase.want)
		}
	}
}

// The names of the runtime's metrics are not checked when they are read.
func TestHeapUsage(t *testing.T) {
	usage := newHeapUsage()
	garbage := make([][]byte, 64)
	for i := range garbage {
		garbage[i] = make([]byte, 1<<20)
	}
	before := usage.read()
	if before.gogc == 0 || before.live == 0 || before.objects < 64<<20 || before.allocated < 64<<20 {
		t.Errorf("with 64 MiB in use: %+v", before)
	}
	clear(garbage)
	debug.FreeOSMemory()
	after := usage.read()
	if returned := before.objects - after.objects; returned < 60<<20 || after.unused() > minReturned {
		t.Errorf("%d bytes were returned, %d are unused: %+v", returned, after.unused(), after)
	}
}
