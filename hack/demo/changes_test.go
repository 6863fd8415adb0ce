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
	"strings"
	"testing"
	"time"
)

func TestTimeline_LogChanges(t *testing.T) {
	before := snapshot{
		copies: map[string]data{"team-blue": {"k": "1"}, "team-green": {"k": "1", "old": ""}, "team-red": {"k": "1"}},
		ready:  "True",
	}
	now := snapshot{
		copies: map[string]data{"team-blue": {"k": "1"}, "team-green": {"k": "2"}, "team-yellow": {"k": "2"}},
		ready:  "True",
	}
	want := `
The copy in team-green was updated: k is "2", old was removed.
The copy in team-red was deleted.
The copy in team-yellow was created: k is "2".
`
	var out strings.Builder
	timeline := &timeline{out: &out, start: time.Now()}
	timeline.logChanges(before, now)

	got := "\n" + strings.ReplaceAll(out.String(), "    0.00s  ", "")
	if got != want {
		t.Errorf("logChanges printed %s\nwant %s", got, want)
	}
}

func TestSnapshot_InSync(t *testing.T) {
	source := data{"k": "1"}
	tests := map[string]struct {
		snapshot snapshot
		want     bool
	}{
		"every namespace has its copy": {
			snapshot: snapshot{source: source, copies: map[string]data{"a": {"k": "1"}, "b": {"k": "1"}}, ready: "True (Synced): 2"},
			want:     true,
		},
		"a copy is missing": {
			snapshot: snapshot{source: source, copies: map[string]data{"a": {"k": "1"}}, ready: "True (Synced): 2"},
		},
		"a copy differs": {
			snapshot: snapshot{source: source, copies: map[string]data{"a": {"k": "1"}, "b": {"k": "2"}}, ready: "True (Synced): 2"},
		},
		"another namespace has a copy": {
			snapshot: snapshot{source: source, copies: map[string]data{"a": {"k": "1"}, "b": {"k": "1"}, "c": {"k": "1"}}, ready: "True (Synced): 2"},
		},
		"the Replika is not ready": {
			snapshot: snapshot{source: source, copies: map[string]data{"a": {"k": "1"}, "b": {"k": "1"}}, ready: "False (CopiesFailed): 2"},
		},
		"the source does not exist": {
			snapshot: snapshot{copies: map[string]data{"a": nil, "b": nil}, ready: "True (Synced): 2"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := test.snapshot.inSync("a", "b"); got != test.want {
				t.Errorf("inSync is %t, want %t: %s", got, test.want, test.snapshot)
			}
		})
	}
}
