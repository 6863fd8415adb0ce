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
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

func TestCheckpoint_FullPlanDue(t *testing.T) {
	cases := map[string]struct {
		synchronization, earliest, latest time.Duration
	}{
		"not more often than every ten minutes": {time.Second, 10 * time.Minute, 11 * time.Minute},
		"the default":                           {time.Minute, 10 * time.Minute, 11 * time.Minute},
		"every tenth time":                      {time.Hour, 10 * time.Hour, 11 * time.Hour},
	}
	start := time.Unix(0, 0)
	checkpoint := NewCheckpoint(Basis{}, &Input{Now: start})
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			due := func(after time.Duration, replika string) bool {
				return checkpoint.FullPlanDue(types.NamespacedName{Namespace: "ops", Name: replika}, start.Add(after), tc.synchronization)
			}
			if due(tc.earliest-1, "a") || !due(tc.latest, "a") {
				t.Errorf("due before %s, or not at %s", tc.earliest, tc.latest)
			}
			seen := map[bool]bool{}
			for _, replika := range []string{"a", "b", "c", "d", "e"} {
				seen[due((tc.earliest+tc.latest)/2, replika)] = true
			}
			if !seen[true] || !seen[false] {
				t.Error("all Replikas are due at the same time")
			}
		})
	}
}

func TestCheckpoint_Record(t *testing.T) {
	template := mustTemplate(t, newReplika(), newObject("a", "x"))
	synced := mustObserve(t, newCopy(t, template, "c"))
	mutated := mustObserve(t, newCopy(t, template, "c", withField("theirs", "data", "mode")))
	mutated.AcceptedDigests = template.Digests
	desired := Action{Type: Update, Namespace: "c", Name: "x", Desired: true, Template: template}
	cases := map[string]struct {
		action      Action
		outcome     Outcome
		object      *Observed
		contested   bool
		wantInSync  int
		wantFields  []string
		wantPlanned []string
	}{
		"in sync":            {action: desired, outcome: Done, object: synced, wantInSync: 1},
		"nothing to write":   {action: Action{Type: Keep, Namespace: "c", Desired: true, Template: template}, outcome: Unchanged, object: synced, wantInSync: 1},
		"changed on the way": {action: desired, outcome: Done, object: mutated, wantInSync: 1, wantFields: []string{"data"}},
		"contested before": {
			action: desired, outcome: Done, object: synced, contested: true, wantInSync: 1, wantPlanned: []string{"c"},
		},
		"refused":        {action: desired, outcome: Forbidden, wantPlanned: []string{"c"}},
		"no response":    {action: desired, outcome: Unavailable, wantPlanned: []string{"c"}},
		"namespace gone": {action: desired, outcome: NamespaceGone, wantPlanned: []string{"c"}},
		"conflict":       {action: Action{Type: Conflict, Namespace: "c", Desired: true}, outcome: Unchanged, wantPlanned: []string{"c"}},
		"waiting":        {action: Action{Type: Wait, Namespace: "c", Desired: true}, outcome: Unchanged, wantPlanned: []string{"c"}},
		"pruned":         {action: Action{Type: Delete, Namespace: "c"}, outcome: Done},
		"not pruned":     {action: Action{Type: Delete, Namespace: "c"}, outcome: Rejected, wantPlanned: []string{"c"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			checkpoint := NewCheckpoint(Basis{}, &Input{})
			in := &Input{}
			if tc.contested {
				in.Contests = map[types.NamespacedName]Contest{tc.action.Key(): {Repairs: contestThreshold}}
			}
			for range 2 { // the second time replaces the first
				checkpoint.Begin(in, []string{"c"})
				checkpoint.Record(in, &tc.action, tc.outcome, tc.object)
			}
			copies, fields := checkpoint.Mutated()
			if got := checkpoint.InSync(); got != tc.wantInSync || copies != len(tc.wantFields) {
				t.Errorf("%d in sync, %d of them mutated", got, copies)
			}
			if diff := cmp.Diff(tc.wantFields, fields); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.wantPlanned, checkpoint.ToPlan(Changes{})); diff != "" {
				t.Errorf("planned again (-want +got):\n%s", diff)
			}
		})
	}
}
