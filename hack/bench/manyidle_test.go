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
	"testing"

	"github.com/prosimcorp/replika/test/cluster"
)

func TestAuditRecord_ReadsPerSource(t *testing.T) {
	reads := func(names ...string) (r auditRecord) {
		for _, name := range names {
			r = append(r, cluster.AuditEvent{Verb: "get", Resource: "configmaps", Namespace: sourceNamespace, Name: name})
		}
		return r
	}
	copied := cluster.AuditEvent{Verb: "get", Resource: "configmaps", Namespace: targetName(0), Name: "a"}
	tests := map[string]struct {
		record              auditRecord
		wantLeast, wantMost int
	}{
		"each twice":              {reads("a", "b", "b", "a"), 2, 2},
		"one of them once":        {reads("a", "b", "b"), 1, 2},
		"one of them never":       {reads("b"), 0, 1},
		"reads of copies":         {append(reads("a", "b"), copied), 1, 1},
		"reads of something else": {reads("a", "b", "c", "c"), 1, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			workloads := []*workload{{name: "a"}, {name: "b"}}
			if least, most := test.record.readsPerSource(workloads); least != test.wantLeast || most != test.wantMost {
				t.Errorf("readsPerSource = %d, %d; want %d, %d", least, most, test.wantLeast, test.wantMost)
			}
		})
	}
}
