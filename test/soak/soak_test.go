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

// Package soak runs the operator under random changes for a while: edits, drift, and namespaces, Replikas and kinds that are
// created and deleted. At the end, the cluster must match in every detail a plan that is computed from the cluster's objects
// alone.
package soak

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prosimcorp/replika/test/operator"
)

const (
	// durationVariable sets the duration of the random changes, as in `10m`.
	durationVariable = "REPLIKA_SOAK"
	// seedVariable repeats the changes of an earlier run, as far as they do not depend on timing.
	seedVariable = "REPLIKA_SOAK_SEED"

	defaultDuration = 30 * time.Second
	// changeInterval is the time between two changes.
	changeInterval = 40 * time.Millisecond
	// convergenceTimeout limits how long the operator takes to reconcile everything. Contested copies have a backoff.
	convergenceTimeout = 3 * time.Minute
)

func TestSoak(t *testing.T) {
	duration, seed := parameters(t)
	t.Logf("%s=%s %s=%d", durationVariable, duration, seedVariable, seed)
	w := newWorkload(t, rand.New(rand.NewPCG(seed, 0)))
	w.createInitialObjects()
	w.startOperator()

	ticker := time.NewTicker(changeInterval)
	defer ticker.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	for ctx.Err() == nil {
		select {
		case <-ticker.C:
			w.applyRandomChange()
		case <-ctx.Done():
		}
	}
	w.restorePreconditions()
	w.awaitConvergence()
	t.Logf("changes: %v", w.counts)
}

// parameters returns the duration and the seed.
func parameters(t *testing.T) (time.Duration, uint64) {
	t.Helper()
	duration, seed := defaultDuration, uint64(time.Now().UnixNano())
	var err error
	if text := os.Getenv(durationVariable); text != "" {
		if duration, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s: %s", durationVariable, err)
		}
	}
	if text := os.Getenv(seedVariable); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %s", seedVariable, err)
		}
	}
	return duration, seed
}

// startOperator starts the operator. At the end it must stop gracefully, without a panic or data race before.
func (w *workload) startOperator() {
	w.Helper()
	var err error
	if w.options, err = w.env.Options("operator", w.env.Config); err != nil {
		w.Fatal(err)
	}
	if w.operator, err = operator.Start(w.options); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if w.operator.Running() {
			if err := w.operator.Stop(); err != nil {
				w.Error(err)
			}
		}
		if found := w.operator.PanicsAndRaces(); len(found) > 0 {
			w.Errorf("panics or data races: %s", strings.Join(found, "\n"))
		}
		if w.Failed() {
			w.keepLog()
		}
	})
}

// keepLog copies the operator's log to a file that the test does not remove.
func (w *workload) keepLog() {
	file, err := os.CreateTemp("", "replika-soak-*.log")
	if err != nil {
		w.Error(err)
		return
	}
	_, err = file.WriteString(w.operator.Log())
	w.Logf("the operator's log: %s (%v, %v)", file.Name(), err, file.Close())
}

// awaitConvergence waits until there is no mismatch, and fails with the list of mismatches.
func (w *workload) awaitConvergence() {
	w.Helper()
	deadline := time.Now().Add(convergenceTimeout)
	for {
		start := time.Now()
		mismatches := w.mismatches(w.Context())
		if len(mismatches) == 0 {
			w.Logf("converged %s before the timeout", time.Until(deadline).Round(time.Second))
			return
		}
		if start.After(deadline) {
			w.Fatalf("%s after the last change:\n%s", convergenceTimeout, strings.Join(mismatches, "\n"))
		}
		if !w.operator.Running() {
			w.Fatalf("the operator has exited:\n%s", w.operator.Log())
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-w.Context().Done():
			w.Fatal(context.Cause(w.Context()))
		}
	}
}
