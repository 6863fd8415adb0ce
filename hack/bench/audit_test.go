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
	"maps"
	"testing"

	"github.com/prosimcorp/replika/test/cluster"
)

func TestAuditRecord_PerCopy(t *testing.T) {
	eventsIn := func(namespaces ...string) (r auditRecord) {
		for _, namespace := range namespaces {
			r = append(r, cluster.AuditEvent{Namespace: namespace})
		}
		return r
	}
	tests := map[string]struct {
		record              auditRecord
		wantLeast, wantMost int
	}{
		"one request per copy":      {eventsIn("a", "b", "c"), 1, 1},
		"one copy has two requests": {eventsIn("a", "b", "c", "b"), 1, 2},
		"one copy has no request":   {eventsIn("a", "b"), 0, 1},
		"no requests":               {eventsIn(), 0, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if least, most := test.record.perCopy(3); least != test.wantLeast || most != test.wantMost {
				t.Errorf("perCopy = %d, %d; want %d, %d", least, most, test.wantLeast, test.wantMost)
			}
		})
	}
}

func TestInitialLists(t *testing.T) {
	record := auditRecord{
		{Verb: "list", Resource: "secrets", RequestURI: "/api/v1/secrets?limit=500"},
		{Verb: "list", Resource: "secrets", RequestURI: "/api/v1/secrets?continue=x&limit=500"},
		{Verb: "watch", Resource: "secrets", RequestURI: "/api/v1/secrets?resourceVersion=7&watch=true"},
		{Verb: "watch", Resource: "configmaps", RequestURI: "/api/v1/configmaps?labelSelector=a%3Db&sendInitialEvents=true&watch=true"},
		{Verb: "get", Resource: "configmaps", RequestURI: "/api/v1/namespaces/a/configmaps/b"},
	}
	want := map[string]int{"secrets": 1, "configmaps a=b": 1}
	if got := initialLists(record); !maps.Equal(got, want) {
		t.Errorf("initialLists = %v, want %v", got, want)
	}
}
