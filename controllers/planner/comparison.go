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
)

// Comparison finds the namespaces in which a plan of all namespaces differs from a checkpoint.
type Comparison struct {
	checkpoint *Checkpoint
	changes    Changes
	// notPlanned holds the namespaces with a copy in sync for which the plan has no action so far.
	notPlanned map[string]struct{}
	missed     map[string]bool
}

// Compare begins a comparison with a plan of all namespaces, see [Comparison.Missed].
func (c *Checkpoint) Compare(changes Changes) *Comparison {
	return &Comparison{checkpoint: c, changes: changes, notPlanned: maps.Clone(c.inSync), missed: map[string]bool{}}
}

// Add adds a part of the plan.
func (c *Comparison) Add(plan []Action) {
	for i := range plan {
		action := &plan[i]
		delete(c.notPlanned, action.Namespace)
		if _, known := c.checkpoint.inSync[action.Namespace]; !known || action.Type != Keep || !action.Desired {
			c.add(action.Namespace)
		}
	}
}

// Missed returns the namespaces, sorted, in which the plan differs from the checkpoint, except for those that were to be planned
// anyway. It returns none unless an event was lost, or nobody knew what it changes.
func (c *Comparison) Missed() []string {
	for namespace := range c.notPlanned {
		c.add(namespace)
	}
	return slices.Sorted(maps.Keys(c.missed))
}

func (c *Comparison) add(namespace string) {
	if !c.checkpoint.outOfSync[namespace] && !c.changes.Has(namespace) {
		c.missed[namespace] = true
	}
}
