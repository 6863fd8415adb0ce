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
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// TestCheckpoint_EqualsFullPlan searches for changes after which a plan of the changed namespaces, together with the checkpoint,
// differs from a plan of all namespaces.
func TestCheckpoint_EqualsFullPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pick := func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(t, what) }
		if difference := simulateIncremental(t, pick, ""); difference != "" {
			t.Fatal(difference)
		}
	})
}

// TestCheckpoint_EachEventMatters shows that the test above finds the difference if the events of one kind change nothing.
func TestCheckpoint_EachEventMatters(t *testing.T) {
	for _, ignored := range []string{
		eventSpec, eventTemplate, eventConsent, eventCopy, eventNamespace, eventNamespaceLabels,
	} {
		t.Run(ignored, func(t *testing.T) {
			for seed := range uint64(2000) {
				random := rand.New(rand.NewPCG(seed, 1))
				if simulateIncremental(t, func(n int, _ string) int { return random.IntN(n) }, ignored) != "" {
					return
				}
			}
			t.Errorf("no difference was found without the events of the kind %q", ignored)
		})
	}
}

// The kinds of events.
const (
	eventSpec            = "spec"
	eventTemplate        = "template"
	eventConsent         = "consent"
	eventCopy            = "copy"
	eventNamespace       = "namespace created or deleted"
	eventNamespaceLabels = "namespace updated"
)

// incremental is what the operator keeps of one Replika from one reconcile to the next.
type incremental struct {
	checkpoint *Checkpoint
	changes    Changes
	spec       v1alpha1.ReplikaSpec
	basis      Basis
	allowed    []string
}

// simulateIncremental changes a simulated cluster, and reconciles its Replikas incrementally. It returns how the result differs
// from that of a full plan; empty if it does not. Events of the ignored kind are not processed.
func simulateIncremental(t testingT, pick func(n int, what string) int, ignored string) string {
	c := newCluster(t, false, pick, map[string]int{})
	c.recovering = true // requests fail only below
	kept := map[types.NamespacedName]*incremental{}
	for range 2 * disruptionSteps {
		if c.chance(2, "change") {
			before := c.clone()
			c.mutateFor(ignored)
			c.sendEvents(before, kept, ignored)
			continue
		}
		names := sortedKeys(c.replikas)
		if len(names) == 0 {
			continue
		}
		name := names[c.pick(len(names), "replika")]
		if kept[name] == nil {
			kept[name] = &incremental{}
		}
		if difference := c.reconcileIncrementally(name, kept[name], ignored); difference != "" {
			return difference
		}
	}
	return ""
}

// mutateFor makes a random change, often one that causes events of the kind.
func (c *cluster) mutateFor(event string) {
	mutation, found := map[string]func(){
		eventSpec: c.mutateReplika, eventConsent: c.mutateSource, eventTemplate: c.mutateSource,
		eventNamespace: c.mutateNamespace, eventNamespaceLabels: c.mutateNamespace,
	}[event]
	if found && c.chance(2, "likely change") {
		mutation()
		return
	}
	c.mutate()
}

// sendEvents marks the namespaces in which something changed, for the Replikas that an event about it concerns.
func (c *cluster) sendEvents(before snapshot, kept map[types.NamespacedName]*incremental, ignored string) {
	for name, state := range kept {
		replika := c.replikas[name]
		if replika == nil {
			delete(kept, name)
			continue
		}
		for _, namespace := range namespaceNames {
			if c.namespaceChanged(before, replika, namespace, ignored) || ignored != eventCopy && c.copyChanged(before, replika, namespace) {
				state.changes.Add(namespace)
			}
		}
	}
}

func (c *cluster) namespaceChanged(before snapshot, replika *v1alpha1.Replika, name, ignored string) bool {
	selection, err := NewSelection(replika)
	if err != nil {
		c.fatalf("selection: %v", err)
	}
	was, existed := before.namespaces[name]
	is, exists := c.namespaces[name]
	switch {
	case existed && exists:
		return ignored != eventNamespaceLabels && selection.ChangedBy(was, is)
	case existed:
		return ignored != eventNamespace && selection.CouldSelect(was)
	case exists:
		return ignored != eventNamespace && selection.CouldSelect(is)
	default:
		return false
	}
}

func (c *cluster) copyChanged(before snapshot, replika *v1alpha1.Replika, namespace string) bool {
	name := types.NamespacedName{Namespace: replika.Namespace, Name: replika.Name}
	for _, key := range []types.NamespacedName{{Namespace: namespace, Name: "x"}, {Namespace: namespace, Name: "y"}} {
		was, is := c.observe(before.objects[key]), c.observe(c.objects[key])
		if was == is || cmp.Equal(was, is, cmp.Exporter(func(reflect.Type) bool { return true })) {
			continue
		}
		if key.Name == replika.TargetName() || was != nil && was.OwnedBy(name) || is != nil && is.OwnedBy(name) {
			return true
		}
	}
	return false
}

// reconcileIncrementally plans what changed, compares that with a full plan, and executes it.
func (c *cluster) reconcileIncrementally(name types.NamespacedName, state *incremental, ignored string) string {
	replika, view := c.replikas[name].DeepCopy(), c.clone()
	in, _ := c.input(replika, view)
	basis := state.nextBasis(replika, in, ignored)
	checkpoint, changes := state.checkpoint, state.changes
	state.checkpoint, state.changes = nil, Changes{}
	if in.Template == nil || in.Selection == nil {
		for _, action := range Plan(in) {
			c.executeIncrementally(in, view, action)
		}
		return ""
	}
	plan := Plan(in)
	if checkpoint == nil || checkpoint.Basis != basis {
		checkpoint = NewCheckpoint(basis, in)
	} else {
		comparison := checkpoint.Compare(changes)
		comparison.Add(plan)
		if missed := comparison.Missed(); len(missed) > 0 {
			return "the plan missed " + missed[0]
		}
		namespaces := checkpoint.ToPlan(changes)
		restricted := restrict(in, namespaces)
		checkpoint.Begin(restricted, namespaces)
		want := slices.DeleteFunc(plan, func(action Action) bool { return !slices.Contains(namespaces, action.Namespace) })
		in, plan = restricted, Plan(restricted)
		if diff := cmp.Diff(summaries(want), summaries(plan)); diff != "" {
			return "the plan of the changed namespaces differs: " + diff
		}
	}
	for _, action := range plan {
		last, outcome, object := action, Unavailable, action.Observed
		if !c.chance(8, "failure") {
			last, outcome, object = c.executeIncrementally(in, view, action)
		}
		checkpoint.Record(in, &last, outcome, object)
	}
	state.checkpoint = checkpoint
	if got, want := checkpoint.Missing(), in.Selection.MissingNames(c.listNamespaces()); !slices.Equal(got, want) {
		return cmp.Diff(want, got)
	}
	return ""
}

// nextBasis returns the basis of the input. Where the spec and the consent are as before, it has the same selection.
func (i *incremental) nextBasis(replika *v1alpha1.Replika, in *Input, ignored string) Basis {
	before := i.basis
	sameSpec := cmp.Equal(i.spec, replika.Spec)
	var allowed []string
	if replika.Status.Source != nil {
		allowed = replika.Status.Source.AllowedNamespaces
	}
	sameConsent := slices.Equal(i.allowed, allowed)
	i.spec, i.allowed = replika.Spec, allowed

	basis := Basis{Generation: before.Generation, Template: before.Template, Selection: before.Selection}
	if !sameSpec && ignored != eventSpec {
		basis.Generation++
		basis.Selection = in.Selection
	}
	if !sameConsent && ignored != eventConsent {
		basis.Selection = in.Selection
	}
	if in.Template != nil && ignored != eventTemplate {
		basis.Template = in.Template.Digests
	}
	i.basis = basis
	return basis
}

// executeIncrementally executes an action. No event reports the operator's own writes, not even to other Replikas.
func (c *cluster) executeIncrementally(in *Input, view snapshot, action Action) (Action, Outcome, *Observed) {
	last, outcome := c.execute(in, view, action)
	return last, outcome, c.observe(c.objects[last.Key()])
}

// restrict returns the input for a plan of the namespaces.
func restrict(in *Input, namespaces []string) *Input {
	restricted := *in
	restricted.Namespaces = slices.DeleteFunc(slices.Clone(in.Namespaces), func(namespace Namespace) bool {
		return !slices.Contains(namespaces, namespace.Name)
	})
	restricted.Observed = slices.DeleteFunc(slices.Clone(in.Observed), func(object *Observed) bool {
		return !slices.Contains(namespaces, object.Namespace)
	})
	return &restricted
}

func (c *cluster) listNamespaces() []Namespace {
	var namespaces []Namespace
	for _, name := range slices.Sorted(maps.Keys(c.namespaces)) {
		namespaces = append(namespaces, c.namespaces[name])
	}
	return namespaces
}

// summaries describe actions in a way that can be compared.
func summaries(plan []Action) []string {
	var lines []string
	for _, action := range plan {
		lines = append(lines, string(action.Type)+" "+action.Key().String()+" "+action.Reason+" "+action.NewOwner.String())
	}
	return lines
}
