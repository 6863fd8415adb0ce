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

// Package soak lets the operator live through a while of everything that
// happens to it: edits, drift, and namespaces, Replikas and kinds that come and
// go. In the end the cluster must agree in every detail with a plan that is
// computed from nothing but what is there.
package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/operator"
)

const (
	// durationVariable says how long the unrest lasts, as in `10m`.
	durationVariable = "REPLIKA_SOAK"
	// seedVariable repeats the unrest of an earlier run, as far as chance had its
	// hand in it.
	seedVariable = "REPLIKA_SOAK_SEED"

	defaultDuration = 30 * time.Second
	// pace is the time from one thing that happens to the next.
	pace = 40 * time.Millisecond
	// patience is how long the operator may take to put everything right. A copy
	// that was spoilt often is left alone for a while.
	patience = 3 * time.Minute
)

func TestSoak(t *testing.T) {
	duration, seed := parameters(t)
	t.Logf("%s=%s %s=%d", durationVariable, duration, seedVariable, seed)
	w := newWorld(t, rand.New(rand.NewPCG(seed, 0)))
	w.furnish()
	w.startOperator()

	unrest := time.NewTicker(pace)
	defer unrest.Stop()
	over := time.After(duration)
	for happening := true; happening; {
		select {
		case <-unrest.C:
			w.happen()
		case <-over:
			happening = false
		}
	}
	w.settle()
	w.awaitAgreement()
	t.Logf("what happened: %v", w.happened)
}

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

// startCluster starts a control plane that ends with the test.
func startCluster(t *testing.T) *cluster.Cluster {
	t.Helper()
	controlPlane, err := cluster.Start(t.Context(), cluster.Options{CRDs: []string{filepath.Join("..", "..", "config", "crd", "bases")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := controlPlane.Stop(); err != nil {
			t.Error(err)
		}
	})
	return controlPlane
}

// startOperator starts the operator, which must never complain and must end
// when it is told to.
func (w *world) startOperator() {
	w.Helper()
	dir := w.TempDir()
	binary, err := operator.Build(w.Context(), dir)
	if err != nil {
		w.Fatal(err)
	}
	w.options = operator.Options{Binary: binary, Kubeconfig: w.cluster.Kubeconfig, LogFile: filepath.Join(dir, "operator.log")}
	if w.operator, err = operator.Start(w.options); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if w.operator.Running() {
			if err := w.operator.Stop(); err != nil {
				w.Error(err)
			}
		}
		if complaints := w.operator.Complaints(); len(complaints) > 0 {
			w.Errorf("the operator complained: %s", strings.Join(complaints, "\n"))
		}
		if w.Failed() {
			w.keepLog()
		}
	})
}

// keepLog puts the operator's log where it outlives the test.
func (w *world) keepLog() {
	file, err := os.CreateTemp("", "replika-soak-*.log")
	if err != nil {
		w.Error(err)
		return
	}
	_, err = file.WriteString(w.operator.Log())
	w.Logf("the operator's log: %s (%v, %v)", file.Name(), err, file.Close())
}

// awaitAgreement waits until nothing is left to be done, and tells what is.
func (w *world) awaitAgreement() {
	w.Helper()
	deadline := time.Now().Add(patience)
	for {
		began := time.Now()
		wrong := w.disagreements(w.Context())
		if len(wrong) == 0 {
			w.Logf("in agreement %s before it had to be", time.Until(deadline).Round(time.Second))
			return
		}
		if began.After(deadline) {
			w.Fatalf("%s after the end of the unrest:\n%s", patience, strings.Join(wrong, "\n"))
		}
		if !w.operator.Running() {
			w.Fatalf("the operator has ended:\n%s", w.operator.Log())
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-w.Context().Done():
			w.Fatal(context.Cause(w.Context()))
		}
	}
}

// count notes what happened, so that a run says what it has tried.
func (w *world) count(format string, args ...any) {
	w.happened[fmt.Sprintf(format, args...)]++
}
