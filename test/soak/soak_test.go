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
	changeInterval = 40 * time.Millisecond
	// patience is how long the operator may take to put everything right. A copy
	// that was spoilt often is left alone for a while.
	convergenceTimeout = 3 * time.Minute
)

func TestSoak(t *testing.T) {
	duration, seed := parameters(t)
	t.Logf("%s=%s %s=%d", durationVariable, duration, seedVariable, seed)
	e := newEnvironment(t, rand.New(rand.NewPCG(seed, 0)))
	e.createInitialObjects()
	e.startOperator()

	unrest := time.NewTicker(changeInterval)
	defer unrest.Stop()
	over := time.After(duration)
	for happening := true; happening; {
		select {
		case <-unrest.C:
			e.applyRandomChange()
		case <-over:
			happening = false
		}
	}
	e.restorePreconditions()
	e.awaitConvergence()
	t.Logf("what happened: %v", e.counts)
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
func (e *environment) startOperator() {
	e.Helper()
	dir := e.TempDir()
	binary, err := operator.Build(e.Context(), dir)
	if err != nil {
		e.Fatal(err)
	}
	e.options = operator.Options{Binary: binary, Kubeconfig: e.cluster.Kubeconfig, LogFile: filepath.Join(dir, "operator.log")}
	if e.operator, err = operator.Start(e.options); err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() {
		if e.operator.Running() {
			if err := e.operator.Stop(); err != nil {
				e.Error(err)
			}
		}
		if complaints := e.operator.PanicsAndRaces(); len(complaints) > 0 {
			e.Errorf("the operator complained: %s", strings.Join(complaints, "\n"))
		}
		if e.Failed() {
			e.keepLog()
		}
	})
}

// keepLog puts the operator's log where it outlives the test.
func (e *environment) keepLog() {
	file, err := os.CreateTemp("", "replika-soak-*.log")
	if err != nil {
		e.Error(err)
		return
	}
	_, err = file.WriteString(e.operator.Log())
	e.Logf("the operator's log: %s (%v, %v)", file.Name(), err, file.Close())
}

// awaitAgreement waits until nothing is left to be done, and tells what is.
func (e *environment) awaitConvergence() {
	e.Helper()
	deadline := time.Now().Add(convergenceTimeout)
	for {
		began := time.Now()
		wrong := e.mismatches(e.Context())
		if len(wrong) == 0 {
			e.Logf("in agreement %s before it had to be", time.Until(deadline).Round(time.Second))
			return
		}
		if began.After(deadline) {
			e.Fatalf("%s after the end of the unrest:\n%s", convergenceTimeout, strings.Join(wrong, "\n"))
		}
		if !e.operator.Running() {
			e.Fatalf("the operator has ended:\n%s", e.operator.Log())
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-e.Context().Done():
			e.Fatal(context.Cause(e.Context()))
		}
	}
}

// count notes what happened, so that a run says what it has tried.
func (e *environment) count(format string, args ...any) {
	e.counts[fmt.Sprintf(format, args...)]++
}
