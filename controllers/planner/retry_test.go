package planner

import (
	"testing"
	"time"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func TestRetryDelay(t *testing.T) {
	cases := map[string]struct {
		failures        int
		synchronization time.Duration
		want            time.Duration
	}{
		"first":                       {1, time.Minute, 500 * time.Millisecond},
		"second":                      {2, time.Minute, time.Second},
		"third":                       {3, time.Minute, 2 * time.Second},
		"just under the cap":          {7, time.Minute, 32 * time.Second},
		"capped":                      {8, time.Minute, time.Minute},
		"capped for ever":             {1 << 40, time.Minute, time.Minute},
		"a short synchronization":     {1, 100 * time.Millisecond, 100 * time.Millisecond},
		"the shortest":                {2, time.Second, time.Second},
		"the longest":                 {1 << 40, 8760 * time.Hour, 8760 * time.Hour},
		"none failed, by a wrong use": {0, time.Minute, 500 * time.Millisecond},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := RetryDelay(c.failures, c.synchronization); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestRetryDelayDoublesUpToSynchronization(t *testing.T) {
	for _, synchronization := range []time.Duration{time.Second, 20 * time.Second, 8760 * time.Hour} {
		for failures := 2; failures < 60; failures++ {
			before, delay := RetryDelay(failures-1, synchronization), RetryDelay(failures, synchronization)
			if delay > synchronization {
				t.Errorf("%d failures: %v is above %v", failures, delay, synchronization)
			}
			if delay != min(2*before, synchronization) {
				t.Errorf("%d failures: %v does not double %v", failures, delay, before)
			}
		}
	}
}

func TestOutcomes(t *testing.T) {
	cases := map[Outcome]struct {
		wantTransient bool
		wantReason    string
	}{
		Done:          {false, ""},
		Unchanged:     {false, ""},
		NamespaceGone: {false, ""},
		Stale:         {true, v1alpha1.FailureContested},
		Unavailable:   {true, v1alpha1.FailureUnavailable},
		KindGone:      {false, v1alpha1.FailureUnavailable},
		Immutable:     {false, v1alpha1.FailureImmutable},
		Rejected:      {false, v1alpha1.FailureRejected},
		Forbidden:     {false, v1alpha1.FailureForbidden},
		QuotaExceeded: {false, v1alpha1.FailureQuotaExceeded},
	}
	for outcome, c := range cases {
		t.Run(string(outcome), func(t *testing.T) {
			if got := outcome.Transient(); got != c.wantTransient {
				t.Errorf("transient: got %v, want %v", got, c.wantTransient)
			}
			if got := outcome.FailureReason(); got != c.wantReason {
				t.Errorf("reason: got %q, want %q", got, c.wantReason)
			}
		})
	}
}

// An outcome without a reason would be a failure that the status does not tell.
func TestAnOutcomeNobodyNamedIsAMistake(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an unknown outcome has a reason")
		}
	}()
	_ = Outcome("unheard of").FailureReason()
}
