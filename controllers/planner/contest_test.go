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

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var testTime = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func TestContest_Backoff(t *testing.T) {
	cases := map[string]struct {
		repairs int
		after   time.Duration
		want    time.Duration
	}{
		"never repaired":                         {0, 0, 0},
		"repaired once":                          {1, 0, 0},
		"below the threshold":                    {2, 0, 0},
		"contested":                              {3, 0, 500 * time.Millisecond},
		"contested, part of the backoff elapsed": {3, 400 * time.Millisecond, 100 * time.Millisecond},
		"contested, backoff elapsed":             {3, 500 * time.Millisecond, 0},
		"contested an hour ago":                  {3, time.Hour, 0},
		"backoff doubles":                        {4, 0, time.Second},
		"backoff is capped":                      {50, 0, time.Minute},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			contest := Contest{Repairs: testCase.repairs, Last: testTime}
			if got := contest.Backoff(testTime.Add(testCase.after), time.Minute); got != testCase.want {
				t.Errorf("got %v, want %v", got, testCase.want)
			}
			if got := contest.Contested(); got != (testCase.repairs >= contestThreshold) {
				t.Errorf("contested: %v", got)
			}
		})
	}
}

func TestContest_Expired(t *testing.T) {
	cases := map[string]struct {
		repairs int
		after   time.Duration
		want    bool
	}{
		"repaired just now":                  {1, 0, false},
		"repaired one window ago":            {1, contestWindow, true},
		"contested":                          {3, 0, false},
		"contested, backoff elapsed":         {3, 500 * time.Millisecond, false},
		"contested, in sync for one backoff": {3, time.Second, false},
		"contested, in sync for the window":  {3, contestWindow, true},
		"longest backoff elapsed":            {50, time.Minute, false},
		"longest backoff elapsed twice":      {50, 2 * time.Minute, true},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			if got := (Contest{Repairs: testCase.repairs, Last: testTime}).Expired(testTime.Add(testCase.after), time.Minute); got != testCase.want {
				t.Errorf("got %v, want %v", got, testCase.want)
			}
		})
	}
}

// If another controller undoes every repair for an hour, the copy is written about once per synchronization time. The
// history must not expire with the backoff, no matter how fast the other controller is, so that the copy stays reported as
// contested all the time.
func TestContest_LimitsWrites(t *testing.T) {
	const synchronization = time.Minute
	for _, every := range []time.Duration{10 * time.Millisecond, 700 * time.Millisecond, 2 * time.Second, 9 * time.Second} {
		t.Run(every.String(), func(t *testing.T) {
			writes, expirations := 0, 0
			var contest Contest
			for now, nextChange := testTime, testTime; now.Before(testTime.Add(time.Hour)); {
				if contest.Contested() && contest.Expired(now, synchronization) {
					contest = Contest{}
					expirations++
				}
				if backoff := contest.Backoff(now, synchronization); backoff > 0 {
					now = now.Add(backoff)
					continue
				}
				// The other controller changes the copy at its own interval, and only after a repair.
				if now.Before(nextChange) {
					now = nextChange
					continue
				}
				contest = contest.Repaired(now)
				writes++
				for !now.Before(nextChange) {
					nextChange = nextChange.Add(every)
				}
			}
			// The repairs below the threshold, those while the backoff doubles, and one per minute.
			if limit := contestThreshold + 8 + 60; writes > limit || writes < 30 {
				t.Errorf("%d writes in an hour, want at most %d", writes, limit)
			}
			if expirations > 0 {
				t.Errorf("the history expired %d times", expirations)
			}
		})
	}
}

func TestDecide_Contested(t *testing.T) {
	template := newInput(t).Template
	key := types.NamespacedName{Namespace: "shop", Name: "settings"}
	withContest := func(in *Input) {
		in.Contests = map[types.NamespacedName]Contest{key: {Repairs: contestThreshold, Last: testTime}}
		in.Now, in.Synchronization, in.TemplateUnchanged = testTime, time.Minute, true
	}
	drifted := newCopy(t, template, "shop", withField("slow", "data", "mode"))
	cases := map[string]struct {
		change         []func(*Input)
		object         *unstructured.Unstructured
		want           ActionType
		wantRetryAfter time.Duration
		wantReason     string
	}{
		"drifted": {object: drifted, want: Wait, wantRetryAfter: 500 * time.Millisecond, wantReason: v1alpha1.FailureContested},
		"deleted": {want: Wait, wantRetryAfter: 500 * time.Millisecond, wantReason: v1alpha1.FailureContested},
		"in sync": {
			object: newCopy(t, template, "shop"), want: Wait, wantRetryAfter: 500 * time.Millisecond, wantReason: v1alpha1.FailureContested,
		},
		"terminating":    {object: newCopy(t, template, "shop", withTerminating), want: Wait, wantReason: v1alpha1.FailureUnavailable},
		"foreign object": {object: newObject("shop", "settings"), want: Conflict, wantReason: v1alpha1.FailureConflict},
		"in sync, backoff elapsed": {
			change: []func(*Input){func(in *Input) { in.Now = testTime.Add(time.Second) }},
			object: newCopy(t, template, "shop"), want: Wait, wantReason: v1alpha1.FailureContested,
		},
		"in sync, below the threshold": {
			change: []func(*Input){func(in *Input) { in.Contests[key] = Contest{Repairs: contestThreshold - 1, Last: testTime} }},
			object: newCopy(t, template, "shop"), want: Keep,
		},
		"drifted, backoff elapsed": {change: []func(*Input){func(in *Input) { in.Now = testTime.Add(time.Second) }}, object: drifted, want: Update},
		"drifted, template changed": {
			change: []func(*Input){func(in *Input) { in.TemplateUnchanged = false }}, object: drifted, want: Update,
		},
		"drifted, another copy is contested": {
			change: []func(*Input){func(in *Input) {
				in.Contests = map[types.NamespacedName]Contest{{Namespace: "web", Name: "settings"}: in.Contests[key]}
			}}, object: drifted, want: Update,
		},
		"drifted, below the threshold": {
			change: []func(*Input){func(in *Input) { in.Contests[key] = Contest{Repairs: contestThreshold - 1, Last: testTime} }},
			object: drifted, want: Update,
		},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInput(t, append([]func(*Input){withContest}, testCase.change...)...)
			var observed *Observed
			if testCase.object != nil {
				observed = mustObserve(t, testCase.object)
			}
			got := in.Decide(Namespace{Name: "shop"}, observed)
			if got.Type != testCase.want || got.RetryAfter != testCase.wantRetryAfter {
				t.Errorf("got %s for %v, want %s for %v", got.Type, got.RetryAfter, testCase.want, testCase.wantRetryAfter)
			}
			contested := testCase.wantReason == v1alpha1.FailureContested
			if got.Reason != testCase.wantReason || contested != (got.Message == ContestedMessage) {
				t.Errorf("reason %q, message %q", got.Reason, got.Message)
			}
		})
	}

	t.Run("prune is not backed off", func(t *testing.T) {
		in := newInput(t, withContest, withoutSelection)
		in.Observed = []*Observed{mustObserve(t, drifted)}
		if plan := Plan(in); len(plan) != 1 || plan[0].Type != Delete {
			t.Errorf("got %+v, want one delete", plan)
		}
	})
}

func TestActionType_Writes(t *testing.T) {
	for actionType, want := range map[ActionType]bool{
		Create: true, Update: true, Recreate: true, Delete: true, Release: true, HandOver: true,
		Keep: false, Wait: false, Conflict: false,
	} {
		if got := actionType.Writes(); got != want {
			t.Errorf("%s: got %v", actionType, got)
		}
	}
}
