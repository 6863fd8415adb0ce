package planner

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func TestHold(t *testing.T) {
	cases := map[string]struct {
		repairs int
		after   time.Duration
		want    time.Duration
	}{
		"never repaired":          {0, 0, 0},
		"repaired by a person":    {1, 0, 0},
		"still tolerated":         {2, 0, 0},
		"contested":               {3, 0, 500 * time.Millisecond},
		"contested, some later":   {3, 400 * time.Millisecond, 100 * time.Millisecond},
		"contested, the hold off": {3, 500 * time.Millisecond, 0},
		"contested, long ago":     {3, time.Hour, 0},
		"contested once more":     {4, 0, time.Second},
		"contested for long":      {50, 0, time.Minute},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			contest := Contest{Repairs: c.repairs, Last: noon}
			if got := contest.Backoff(noon.Add(c.after), time.Minute); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if got := contest.Contested(); got != (c.repairs >= contestThreshold) {
				t.Errorf("contested: %v", got)
			}
		})
	}
}

func TestOver(t *testing.T) {
	cases := map[string]struct {
		repairs int
		after   time.Duration
		want    bool
	}{
		"repaired just now":                   {1, 0, false},
		"repaired a while ago":                {1, contestWindow, true},
		"contested":                           {3, 0, false},
		"contested, and the hold is just off": {3, 500 * time.Millisecond, false},
		"contested, and in peace as long":     {3, time.Second, false},
		"contested, and in peace for a while": {3, contestWindow, true},
		"contested for long, the hold is off": {50, time.Minute, false},
		"contested for long, and in peace":    {50, 2 * time.Minute, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := (Contest{Repairs: c.repairs, Last: noon}).Expired(noon.Add(c.after), time.Minute); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// Another controller that undoes every repair, for an hour, is written against about once in a synchronization time: the
// history of a contest must not be forgotten just because its hold is off, be the other one as fast as we are or just
// looking at the copy every few seconds. It is told once that the copy is contested, and not that it is well in between.
func TestAContestIsNoWriteStorm(t *testing.T) {
	const synchronization = time.Minute
	for _, every := range []time.Duration{10 * time.Millisecond, 700 * time.Millisecond, 2 * time.Second, 9 * time.Second} {
		t.Run(every.String(), func(t *testing.T) {
			writes, peaces := 0, 0
			var contest Contest
			for now, struck := noon, noon; now.Before(noon.Add(time.Hour)); {
				if contest.Contested() && contest.Expired(now, synchronization) {
					contest = Contest{}
					peaces++
				}
				if hold := contest.Backoff(now, synchronization); hold > 0 {
					now = now.Add(hold)
					continue
				}
				// The other one strikes at its own pace, and again only what was repaired.
				if now.Before(struck) {
					now = struck
					continue
				}
				contest = contest.Repaired(now)
				writes++
				for !now.Before(struck) {
					struck = struck.Add(every)
				}
			}
			// Those tolerated, those on the way up to a minute, and one a minute.
			if limit := contestThreshold + 8 + 60; writes > limit || writes < 30 {
				t.Errorf("%d writes in an hour, want at most %d", writes, limit)
			}
			if peaces > 0 {
				t.Errorf("%d times it was taken for over", peaces)
			}
		})
	}
}

func TestContestedCopiesAreHeld(t *testing.T) {
	template := newInput(t).Template
	key := types.NamespacedName{Namespace: "shop", Name: "settings"}
	contested := func(in *Input) {
		in.Contests = map[types.NamespacedName]Contest{key: {Repairs: contestThreshold, Last: noon}}
		in.Now, in.Synchronization, in.TemplateUnchanged = noon, time.Minute, true
	}
	drifted := copyOf(t, template, "shop", withField("slow", "data", "mode"))
	cases := map[string]struct {
		change   []func(*Input)
		object   *unstructured.Unstructured
		want     ActionType
		wantHold time.Duration
	}{
		"drifted":           {object: drifted, want: Wait, wantHold: 500 * time.Millisecond},
		"gone":              {want: Wait, wantHold: 500 * time.Millisecond},
		"in sync, just now": {object: copyOf(t, template, "shop"), want: Wait, wantHold: 500 * time.Millisecond},
		"being deleted":     {object: copyOf(t, template, "shop", terminating), want: Wait},
		"a foreign object":  {object: newObject("shop", "settings"), want: Conflict},
		"in sync, the hold is off": {
			change: []func(*Input){func(in *Input) { in.Now = noon.Add(time.Second) }}, object: copyOf(t, template, "shop"), want: Wait,
		},
		"in sync, tolerated": {
			change: []func(*Input){func(in *Input) { in.Contests[key] = Contest{Repairs: contestThreshold - 1, Last: noon} }},
			object: copyOf(t, template, "shop"), want: Keep,
		},
		"the hold is off": {change: []func(*Input){func(in *Input) { in.Now = noon.Add(time.Second) }}, object: drifted, want: Update},
		"the template is new": {
			change: []func(*Input){func(in *Input) { in.TemplateUnchanged = false }}, object: drifted, want: Update,
		},
		"another copy is contested": {
			change: []func(*Input){func(in *Input) {
				in.Contests = map[types.NamespacedName]Contest{{Namespace: "web", Name: "settings"}: in.Contests[key]}
			}}, object: drifted, want: Update,
		},
		"tolerated": {
			change: []func(*Input){func(in *Input) { in.Contests[key] = Contest{Repairs: contestThreshold - 1, Last: noon} }},
			object: drifted, want: Update,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInput(t, append([]func(*Input){contested}, c.change...)...)
			var observed *Observed
			if c.object != nil {
				observed = mustObserve(t, c.object)
			}
			got := in.Decide(Namespace{Name: "shop"}, observed)
			if got.Type != c.want || got.RetryAfter != c.wantHold {
				t.Errorf("got %s for %v, want %s for %v", got.Type, got.RetryAfter, c.want, c.wantHold)
			}
			if held := c.want == Wait && name != "being deleted"; held != (got.Reason == v1alpha1.FailureContested) || held != (got.Message == ContestedMessage) {
				t.Errorf("reason %q, message %q", got.Reason, got.Message)
			}
		})
	}

	// What is given up is given up, contested or not.
	in := newInput(t, contested, deselected)
	in.Observed = []*Observed{mustObserve(t, drifted)}
	if plan := Plan(in); len(plan) != 1 || plan[0].Type != Delete {
		t.Errorf("a contested copy that is not wanted: %+v", plan)
	}
}

func TestWrites(t *testing.T) {
	for action, want := range map[ActionType]bool{
		Create: true, Update: true, Recreate: true, Delete: true, Release: true, HandOver: true,
		Keep: false, Wait: false, Conflict: false,
	} {
		if got := action.Writes(); got != want {
			t.Errorf("%s: got %v", action, got)
		}
	}
}
