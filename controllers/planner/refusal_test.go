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

	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func TestRefusalDelay(t *testing.T) {
	copied := types.NamespacedName{Namespace: "shop", Name: "settings"}
	cases := map[string]struct {
		reason          string
		attempts        int
		synchronization time.Duration
		wantMin         time.Duration
		wantMax         time.Duration
	}{
		"first":                         {v1alpha1.FailureRejected, 1, time.Minute, 500 * time.Millisecond, 500 * time.Millisecond},
		"third":                         {v1alpha1.FailureForbidden, 3, time.Minute, 2 * time.Second, 2 * time.Second},
		"last before the interval":      {v1alpha1.FailureRejected, 7, time.Minute, 32 * time.Second, 32 * time.Second},
		"longer than the interval":      {v1alpha1.FailureRejected, 9, time.Minute, 96 * time.Second, 128 * time.Second},
		"ten intervals":                 {v1alpha1.FailureQuotaExceeded, 1 << 40, time.Minute, 450 * time.Second, 10 * time.Minute},
		"an hour":                       {v1alpha1.FailureRejected, 1 << 40, 10 * time.Minute, 45 * time.Minute, time.Hour},
		"never less than the interval":  {v1alpha1.FailureRejected, 1 << 40, 8760 * time.Hour, 8760 * time.Hour, 8760 * time.Hour},
		"first, of an immutable field":  {v1alpha1.FailureImmutable, 1, time.Minute, time.Minute, time.Minute},
		"second, of an immutable field": {v1alpha1.FailureImmutable, 2, time.Minute, 90 * time.Second, 2 * time.Minute},
		"long, of an immutable field":   {v1alpha1.FailureImmutable, 1 << 40, time.Minute, 450 * time.Second, 10 * time.Minute},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			got := refusalDelay(testCase.reason, testCase.attempts, testCase.synchronization, copied)
			if got < testCase.wantMin || got > testCase.wantMax {
				t.Errorf("got %v, want %v to %v", got, testCase.wantMin, testCase.wantMax)
			}
		})
	}
}

func TestRefusalDelay_Spreads(t *testing.T) {
	delays := map[time.Duration]bool{}
	for _, namespace := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		delays[refusalDelay(v1alpha1.FailureRejected, 20, time.Minute, types.NamespacedName{Namespace: namespace, Name: "settings"})] = true
	}
	if len(delays) < 4 {
		t.Errorf("8 copies have only %d delays: %v", len(delays), delays)
	}
}

// refusedInput returns the input of the reconcile after the one in which the planned action was refused.
func refusedInput(t testing.TB, observed *Observed) *Input {
	in := newInput(t)
	in.Now, in.Synchronization, in.Generation = testTime, time.Minute, 1
	namespace := Namespace{Name: "shop", UID: "uid-shop", Labels: map[string]string{"team": "shop"}}
	planned := in.Decide(namespace, observed)
	refusal, refused := in.RefusalAfter(&planned, &planned, namespace, Rejected, "no", testTime, false)
	if !refused {
		t.Fatal("not recorded")
	}
	in.Refusals = map[types.NamespacedName]Refusal{planned.Key(): refusal}
	return in
}

func TestDecide_Refused(t *testing.T) {
	template := newInput(t).Template
	drifted := mustObserve(t, newCopy(t, template, "shop", withField("slow", "data", "mode")))
	busy, edited := *drifted, *drifted
	busy.ResourceVersion, edited.Digests = "2", template.Digests+"x"
	namespace := Namespace{Name: "shop", UID: "uid-shop", Labels: map[string]string{"team": "shop"}}
	labeled, recreated := namespace, namespace
	labeled.Labels, recreated.UID = map[string]string{"team": "web"}, "uid-new"

	cases := map[string]struct {
		refused   *Observed
		change    func(*Input)
		observed  *Observed
		namespace Namespace
		want      ActionType
	}{
		"create, again":            {want: Wait},
		"update, again":            {refused: drifted, observed: drifted, want: Wait},
		"delay is over":            {change: func(in *Input) { in.Now = testTime.Add(time.Second) }, want: Create},
		"another status of a copy": {refused: drifted, observed: &busy, want: Wait},
		"another content":          {refused: drifted, observed: &edited, want: Update},
		"copy exists":              {observed: drifted, want: Update},
		"copy is deleted":          {refused: drifted, want: Create},
		"labels of the namespace":  {namespace: labeled, want: Create},
		"another namespace":        {namespace: recreated, want: Create},
		"another spec":             {change: func(in *Input) { in.Generation++ }, want: Create},
		"requested":                {change: func(in *Input) { in.RetryRefused = true }, want: Create},
		"another source": {change: func(in *Input) {
			in.Template = mustTemplate(t, newReplika(), newObject("vault", "settings", withField("new", "data", "mode")))
		}, want: Create},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			in := refusedInput(t, testCase.refused)
			if testCase.change != nil {
				testCase.change(in)
			}
			if testCase.namespace.Name == "" {
				testCase.namespace = namespace
			}
			got := in.Decide(testCase.namespace, testCase.observed)
			if got.Type != testCase.want {
				t.Fatalf("got %s, want %s", got.Type, testCase.want)
			}
			if got.Refused != (testCase.want == Wait) || got.Refused && (got.Reason != v1alpha1.FailureRejected || got.Message != "no") {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestRefusalAfter(t *testing.T) {
	namespace := Namespace{Name: "shop", UID: "uid-shop", Labels: map[string]string{"team": "shop"}}
	later := testTime.Add(time.Second)
	cases := map[string]struct {
		change       func(*Input)
		outcome      Outcome
		wantNone     bool
		wantAttempts int
		wantLast     time.Time
	}{
		"not requested":           {outcome: Unchanged, wantAttempts: 1, wantLast: testTime},
		"no source":               {change: withoutTemplate, outcome: Unchanged, wantAttempts: 1, wantLast: testTime},
		"refused again":           {change: func(in *Input) { in.Now = later }, outcome: Forbidden, wantAttempts: 2, wantLast: later},
		"refused with a new spec": {change: func(in *Input) { in.Generation++ }, outcome: Immutable, wantAttempts: 1, wantLast: later},
		"accepted":                {change: func(in *Input) { in.Now = later }, outcome: Done, wantNone: true},
		"unavailable":             {change: func(in *Input) { in.Now = later }, outcome: Unavailable, wantNone: true},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			in := refusedInput(t, nil)
			if testCase.change != nil {
				testCase.change(in)
			}
			planned := in.Decide(namespace, nil)
			got, refused := in.RefusalAfter(&planned, &planned, namespace, testCase.outcome, "no", later, false)
			if refused == testCase.wantNone || got.Attempts != testCase.wantAttempts || !got.Last.Equal(testCase.wantLast) {
				t.Errorf("got %+v, %t", got, refused)
			}
		})
	}
}
