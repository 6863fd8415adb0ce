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
	"cmp"
	"slices"
)

// Parts divides the input into inputs with at most size namespaces that are selected or have an object, so that the actions of a large
// plan are not in memory together. The plans of all parts have the actions of the plan of the whole. Namespaces with copies that failed
// before are in the last parts. The lists of namespaces and objects are sorted and divided, not copied.
func (in *Input) Parts(size int) []*Input {
	if len(in.Namespaces) <= size {
		return []*Input{in}
	}
	compare := in.compareNamespaces()
	slices.SortFunc(in.Namespaces, func(a, b Namespace) int { return compare(a.Name, b.Name) })
	slices.SortFunc(in.Observed, func(a, b *Observed) int { return compare(a.Namespace, b.Namespace) })

	var parts []*Input
	firstNamespace, firstObject, planned := 0, 0, 0
	add := func(endNamespace, endObject int) {
		part := *in
		part.Namespaces, part.Observed = in.Namespaces[firstNamespace:endNamespace], in.Observed[firstObject:endObject]
		parts = append(parts, &part)
		firstNamespace, firstObject, planned = endNamespace, endObject, 0
	}
	object := 0
	for i, namespace := range in.Namespaces {
		before := object
		for object < len(in.Observed) && compare(in.Observed[object].Namespace, namespace.Name) <= 0 {
			object++
		}
		if object == before && !in.selects(namespace) {
			continue
		}
		if planned == size {
			add(i, before)
		}
		planned++
	}
	add(len(in.Namespaces), len(in.Observed))
	return parts
}

// compareNamespaces returns a function that orders namespaces by name. Those with copies that failed before are the last.
func (in *Input) compareNamespaces() func(a, b string) int {
	failed := map[string]int{}
	for copied, outOfSync := range in.OutOfSync {
		if outOfSync {
			failed[copied.Namespace] = 1
		}
	}
	return func(a, b string) int { return cmp.Or(cmp.Compare(failed[a], failed[b]), cmp.Compare(a, b)) }
}
