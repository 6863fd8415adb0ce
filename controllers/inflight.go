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

package controllers

import (
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/controllers/planner"
)

// hasInFlight reports whether a write is in flight that no reconcile waits for.
func (s *replikaState) hasInFlight() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.inFlight) > 0
}

// currentInFlight returns the copies of the resource, of all sources, whose writes no reconcile waits for.
func (s *replikaState) currentInFlight(resource schema.GroupResource) map[types.NamespacedName]bool {
	inFlight := map[types.NamespacedName]bool{}
	for _, state := range s.withSources() {
		state.mu.Lock()
		maps.Copy(inFlight, state.inFlight[resource])
		state.mu.Unlock()
	}
	return inFlight
}

// addInFlight adds copies whose writes no reconcile waits for any more.
func (s *replikaState) addInFlight(resource schema.GroupResource, copies []types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inFlight == nil {
		s.inFlight = map[schema.GroupResource]map[types.NamespacedName]bool{}
	}
	if s.inFlight[resource] == nil {
		s.inFlight[resource] = map[types.NamespacedName]bool{}
	}
	for _, copied := range copies {
		s.inFlight[resource][copied] = true
	}
}

// lateResult is that of a write that no reconcile waited for.
type lateResult struct {
	copied  types.NamespacedName
	endedAt time.Time
	// refusal is the history of the copy if the API server refused the write.
	refusal planner.Refusal
	refused bool
	// synced is true if the write succeeded, and repaired if it thereby corrected drift.
	synced, repaired bool
}

// endInFlight records the end of a write that no reconcile waited for.
func (s *replikaState) endInFlight(resource schema.GroupResource, late *lateResult) {
	s.mu.Lock()
	defer s.mu.Unlock()
	copied := late.copied
	if s.resource == resource {
		outOfSync := map[types.NamespacedName]bool{}
		maps.Copy(outOfSync, s.outOfSync) // a reconcile may read the map
		outOfSync[copied] = !late.synced
		s.outOfSync = outOfSync
		if late.repaired {
			s.addRepair(copied, late.endedAt)
		}
	}
	delete(s.inFlight[resource], copied)
	if len(s.inFlight[resource]) == 0 {
		delete(s.inFlight, resource)
	}
	refusals := maps.Clone(s.refusals[resource]) // a reconcile may read the map
	delete(refusals, copied)
	if late.refused {
		if refusals == nil {
			refusals = map[types.NamespacedName]planner.Refusal{}
		}
		refusals[copied] = late.refusal
	}
	if s.refusals == nil {
		s.refusals = map[schema.GroupResource]map[types.NamespacedName]planner.Refusal{}
	}
	s.refusals[resource] = refusals
}
