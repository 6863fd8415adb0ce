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
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// The properties of plans are tested on a simulated cluster, in two phases. In the first, random disruptions happen: changes
// by users and other controllers, interrupted reconciles and stale caches. In the second, recovery, all Replikas are
// reconciled without disruptions until no reconcile changes anything.

// TestPlan_Converges searches for disruptions after which the cluster does not recover, and shrinks those that it finds.
func TestPlan_Converges(t *testing.T) {
	rapid.Check(t, checkConvergence)
}

// FuzzPlan lets the fuzzer choose the disruptions.
func FuzzPlan(f *testing.F) {
	f.Add([]byte("any disruptions"))
	f.Fuzz(rapid.MakeFuzz(checkConvergence))
}

func checkConvergence(t *rapid.T) {
	simulate(t, false, func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(t, what) }, map[string]int{})
}

// TestPlan_ManySources_Converges is TestPlan_Converges with Replikas that have many sources, beside some with one.
func TestPlan_ManySources_Converges(t *testing.T) {
	rapid.Check(t, checkManySources)
}

// FuzzPlan_ManySources lets the fuzzer choose the disruptions.
func FuzzPlan_ManySources(f *testing.F) {
	f.Add([]byte("any disruptions"))
	f.Fuzz(rapid.MakeFuzz(checkManySources))
}

func checkManySources(t *rapid.T) {
	simulate(t, true, func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(t, what) }, map[string]int{})
}

// TestPlan_ManySources_SimulationCoversAllStates is TestPlan_SimulationCoversAllStates for the states that only many sources have.
func TestPlan_ManySources_SimulationCoversAllStates(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(simulations) {
		random := rand.New(rand.NewPCG(seed, 1))
		simulate(t, true, func(n int, _ string) int { return random.IntN(n) }, seen)
	}
	for _, state := range []string{
		"another source", "former source", "prune a renamed copy", "no longer a source", "conflict: could be a source", "conflict: named as a source", "take over", "hand over", "adopt",
		"copy in the source's namespace", "consent withdrawn", "consent to keys withdrawn",
	} {
		if seen[state] == 0 {
			t.Errorf("the state %q occurs in no simulation", state)
		}
	}
	t.Log(seen)
}

// TestPlan_SimulationCoversAllStates runs many simulations with fixed seeds. A property does not cover states that never
// occur, so the occurrences of each relevant state are counted.
func TestPlan_SimulationCoversAllStates(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(simulations) {
		random := rand.New(rand.NewPCG(seed, 0))
		simulate(t, false, func(n int, _ string) int { return random.IntN(n) }, seen)
	}
	for _, state := range []string{
		"create", "update", "recreate", "delete", "release", "hand over", "keep", "wait", "conflict",
		"adopt", "take over", "mark a legacy copy", "repair removed labels", "remove a stale key",
		"conflict: foreign", "conflict: controller", "conflict: newer marks", "conflict: other owner", "conflict: source's namespace",
		"stale", "immutable", "immutable, not recreated", "recreate interrupted", "failed before the request", "failed after the request", "namespace gone",
		"release an adopted object", "hand over an adopted object", "source deleted", "source not allowed", "orphaned copy",
		"copy in the source's namespace", "pruned in the source's namespace", "consent to keys withdrawn", "keys: KeyNotFound", "keys: SourceNotAllowed", "claimant skipped", "duplicated marks", "Replika deleted", "consent withdrawn",
	} {
		if seen[state] == 0 {
			t.Errorf("the state %q occurs in no simulation", state)
		}
	}
	t.Log(seen)
}

const (
	simulations     = 800
	disruptionSteps = 25
	// maxRecoveryRounds is more than any state needs: an object is handed over, updated and recreated, or deleted and created again.
	maxRecoveryRounds = 8
	// otherKeys is the prefix of the keys that other clients set.
	otherKeys = "other.example/"
	// targetKeys is the prefix of the keys that only specs set on copies.
	targetKeys = "target.example/"
)

func simulate(t testingT, many bool, pick func(n int, what string) int, seen map[string]int) {
	t.Helper()
	c := newCluster(t, many, pick, seen)
	for range disruptionSteps {
		c.disrupt()
	}
	c.recovering = true
	c.recoverCluster()
	c.checkStable()
}

// testingT is implemented by [testing.T] and [rapid.T].
type testingT interface {
	Helper()
	Fatalf(format string, args ...any)
}
