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

	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// storeStatus stores the status of a Replika, or of one of its many sources.
func (c *cluster) storeStatus(replika *v1alpha1.Replika) {
	name := types.NamespacedName{Namespace: replika.Namespace, Name: replika.Name}
	switch stored := c.replikas[name]; {
	case stored == nil:
	case !stored.HasManySources():
		stored.Status = *replika.Status.DeepCopy()
	default:
		if c.partStatus[name] == nil {
			c.partStatus[name] = map[string]v1alpha1.ReplikaStatus{}
		}
		c.partStatus[name][replika.TargetName()] = *replika.Status.DeepCopy()
	}
}

// reconcileMany does what the controller does for a Replika with many sources: for one after the other, and then for the copies that
// none of them has.
func (c *cluster) reconcileMany(replika *v1alpha1.Replika, view snapshot) (stable bool) {
	stable = true
	parts, others := c.parts(replika, view, c.snapshot)
	if len(parts) > 1 {
		c.record("another source")
	}
	for _, part := range parts {
		if !c.recovering && c.chance(20, "interruption between sources") {
			return false
		}
		stable = c.reconcileOne(part, view) && stable
	}
	in, _ := c.input(replika, view)
	in.Selection, in.Template, in.Observed = nil, nil, others
	for _, action := range Plan(in) {
		last, outcome := c.execute(in, view, action)
		if last.Type.Writes() {
			c.record("prune a renamed copy")
			stable = stable && outcome == Immutable
		}
	}
	return stable
}

// parts returns the Replika itself or, if it has many sources, a Replika for each: for those that exist live, and for those that are gone
// and have copies in the view. others are the copies that none of them has.
func (c *cluster) parts(replika *v1alpha1.Replika, view, live snapshot) (parts []*v1alpha1.Replika, others []*Observed) {
	if !replika.HasManySources() {
		return []*v1alpha1.Replika{replika}, nil
	}
	name := types.NamespacedName{Namespace: replika.Namespace, Name: replika.Name}
	selector := c.sourceSelector(replika)
	sources := map[string]bool{}
	for _, key := range sortedKeys(live.objects) {
		if key.Namespace == replika.SourceNamespace() && selector.Matches(live.objects[key]) {
			sources[key.Name] = true
		}
	}
	for _, key := range sortedKeys(view.objects) {
		observed := c.observe(view.objects[key])
		if !observed.OwnedBy(name) {
			continue
		}
		if original, possible := SourceOfCopy(replika, key.Name); possible && sources[original] {
			continue
		}
		source, former := selector.FormerSource(replika, observed)
		if !former {
			others = append(others, observed)
			continue
		}
		c.record("former source")
		sources[source] = true
	}
	for _, source := range slices.Sorted(maps.Keys(sources)) {
		status := c.partStatus[name][replika.TargetNameOf(source)]
		parts = append(parts, ForSource(replika, source, *status.DeepCopy()))
	}
	return parts, others
}

func (c *cluster) sourceSelector(replika *v1alpha1.Replika) *SourceSelector {
	selector, err := NewSourceSelector(configMaps, replika)
	if err != nil {
		c.fatalf("selector: %v", err)
	}
	return selector
}

// claims reports whether the Replika claims the object, as the view has it, and the part of it that does.
func (c *cluster) claims(replika *v1alpha1.Replika, view snapshot, key types.NamespacedName) (part *v1alpha1.Replika, claims bool) {
	if replika == nil || replika.DeletionTimestamp != nil {
		return nil, false
	}
	parts, _ := c.parts(replika, view, view)
	for _, part := range parts {
		if part.TargetName() == key.Name && naiveSelects(part, view.namespaces[key.Namespace]) {
			return part, true
		}
	}
	return nil, false
}

// claimants returns the claims of all Replikas, as the view has them.
func (c *cluster) claimants(view snapshot) Claimants {
	var all []*v1alpha1.Replika
	for _, replika := range view.replikas {
		parts, _ := c.parts(replika, view, view)
		all = append(all, parts...)
	}
	return newClaimants(all...)
}
