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
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Checkpoint is what a reconcile found in each namespace. The next one plans only the namespaces that it must, and continues
// from the checkpoint in all others. What is kept this way equals what a plan of all namespaces would find.
type Checkpoint struct {
	// Basis is that of every plan since the last full one.
	Basis Basis
	// PlannedAt is when all namespaces were planned.
	PlannedAt time.Time

	// inSync holds the namespaces whose copy is in sync.
	inSync map[string]struct{}
	// mutated holds the fields that the API server stores with other content, for those namespaces in which there are any. mutations
	// counts the namespaces by these fields.
	mutated   map[string]string
	mutations map[string]int
	// outOfSync holds the namespaces that must be planned again although nothing changes in them: the copy is not in sync, or
	// what is known of the namespace is incomplete.
	outOfSync map[string]bool
	// missing holds the namespaces that the spec names and that do not exist.
	missing map[string]bool
}

// NewCheckpoint returns the checkpoint for a plan of all namespaces, which are in the input. Then the results of its actions
// are recorded.
func NewCheckpoint(basis Basis, in *Input) *Checkpoint {
	checkpoint := &Checkpoint{
		Basis: basis, PlannedAt: in.Now,
		inSync: map[string]struct{}{}, mutated: map[string]string{}, mutations: map[string]int{},
		outOfSync: map[string]bool{}, missing: map[string]bool{},
	}
	var missing []string
	if in.Selection != nil {
		missing = in.Selection.MissingNames(in.Namespaces)
	}
	checkpoint.Begin(in, missing)
	return checkpoint
}

const (
	// Every tenth reconcile at the synchronization time is a full one, but no more than one in ten minutes.
	fullPlanIntervals = 10
	minFullPlanDelay  = 10 * time.Minute
)

// FullPlanDue reports whether all namespaces are to be planned, although no event says so. Replikas that were planned together
// are not all due together.
func (c *Checkpoint) FullPlanDue(replika types.NamespacedName, now time.Time, synchronization time.Duration) bool {
	return FullPlanDue(c.PlannedAt, replika, now, synchronization)
}

// FullPlanDue reports whether a Replika that was planned at the time is to be planned anew, see [Checkpoint.FullPlanDue].
func FullPlanDue(plannedAt time.Time, replika types.NamespacedName, now time.Time, synchronization time.Duration) bool {
	delay := max(fullPlanIntervals*synchronization, minFullPlanDelay)
	return now.Sub(plannedAt) >= delay+spread(replika.String(), delay/fullPlanIntervals)
}

// ToPlan returns the namespaces that the next plan must include, sorted.
func (c *Checkpoint) ToPlan(changes Changes) []string {
	namespaces := maps.Clone(c.outOfSync)
	maps.Copy(namespaces, changes.namespaces)
	return slices.Sorted(maps.Keys(namespaces))
}

// Begin replaces what is known of the namespaces by what the input of their next plan says. names are all namespaces that the
// plan includes, whether they exist or not. Then the results of its actions are recorded.
func (c *Checkpoint) Begin(in *Input, names []string) {
	exists := make(map[string]bool, len(in.Namespaces))
	for _, namespace := range in.Namespaces {
		exists[namespace.Name] = true
	}
	for _, name := range names {
		c.removeInSync(name)
		delete(c.outOfSync, name)
		delete(c.missing, name)
		if !exists[name] && in.Selection != nil && in.Selection.requires(name) {
			c.missing[name] = true
		}
	}
	for _, namespace := range in.Namespaces {
		if in.Selection != nil && in.Selection.DenialReason(namespace) != "" {
			c.outOfSync[namespace.Name] = true
		}
	}
	for _, object := range in.Observed {
		// Whether the namespace is a target is not known before it is listed, and no event may say when it is.
		if !exists[object.Namespace] && object.OwnedBy(in.Replika) {
			c.outOfSync[object.Namespace] = true
		}
	}
}

// Record records the result of an action of the input's plan: the last one for its copy, and the object that was then there.
func (c *Checkpoint) Record(in *Input, action *Action, outcome Outcome, object *Observed) {
	succeeded := outcome == Done || outcome == Unchanged
	switch {
	case !succeeded || action.Type == Conflict || action.Type == Wait:
		c.outOfSync[action.Namespace] = true
	case action.Desired:
		c.inSync[action.Namespace] = struct{}{}
		if fields := MutatedFields(action.Template, object); fields != "" {
			c.mutated[action.Namespace] = fields
			c.mutations[fields]++
		}
		if in.Contests[action.Key()].Contested() { // it was written because of a change of the template, and counts as contested again
			c.outOfSync[action.Namespace] = true
		}
	default: // pruned, so that nothing is left to know
	}
}

// RecordContested records that a copy was repaired that another client keeps changing.
func (c *Checkpoint) RecordContested(namespace string) {
	c.removeInSync(namespace)
	c.outOfSync[namespace] = true
}

func (c *Checkpoint) removeInSync(namespace string) {
	delete(c.inSync, namespace)
	fields, found := c.mutated[namespace]
	if !found {
		return
	}
	delete(c.mutated, namespace)
	if c.mutations[fields]--; c.mutations[fields] == 0 {
		delete(c.mutations, fields)
	}
}

// InSync returns the number of copies that are in sync.
func (c *Checkpoint) InSync() int { return len(c.inSync) }

// Mutated returns the number of copies in sync that the API server stores with other content, and the fields that differ in any
// of them, sorted.
func (c *Checkpoint) Mutated() (copies int, fields []string) {
	for joined, count := range c.mutations {
		copies += count
		fields = append(fields, strings.Split(joined, ",")...)
	}
	slices.Sort(fields)
	return copies, slices.Compact(fields)
}

// Missing returns the namespaces that the spec names and that do not exist, sorted.
func (c *Checkpoint) Missing() []string { return slices.Sorted(maps.Keys(c.missing)) }

// MutatedFields names the top-level fields that the API server stores with other content than the template, although the
// copy is in sync with it; sorted and separated by commas.
func MutatedFields(template *Template, object *Observed) string {
	if template == nil || object == nil || object.AcceptedDigests != template.Digests || object.Digests == template.Digests {
		return ""
	}
	return strings.Join(template.Digests.Differing(object.Digests), ",")
}
