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
	"iter"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// stateStore holds the state of every Replika.
type stateStore struct {
	mu        sync.Mutex
	byReplika map[types.NamespacedName]*replikaState
}

// get returns the state of the Replika, a new one for a Replika that was not reconciled before.
func (s *stateStore) get(replika types.NamespacedName) *replikaState {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byReplika == nil {
		s.byReplika = map[types.NamespacedName]*replikaState{}
	}
	if s.byReplika[replika] == nil {
		s.byReplika[replika] = &replikaState{}
	}
	return s.byReplika[replika]
}

// find returns the state of a Replika that was reconciled before; nil for none.
func (s *stateStore) find(replika types.NamespacedName) *replikaState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byReplika[replika]
}

// refusedIn reports whether the API server refuses a copy of the Replika in the namespace.
func (s *stateStore) refusedIn(replika types.NamespacedName, namespace string) bool {
	state := s.find(replika)
	if state == nil {
		return false
	}
	for _, part := range state.withSources() {
		if part.refusesIn(namespace) {
			return true
		}
	}
	return false
}

// markChanged records for each of the Replikas that something changed in the namespace.
func (s *stateStore) markChanged(namespace string, replikas ...types.NamespacedName) {
	for state := range s.findAll(replikas) {
		for _, state := range state.withSources() {
			state.markChanged(namespace)
		}
	}
}

// markCopyChanged records for each of the Replikas that the copy changed, or the object in its place.
func (s *stateStore) markCopyChanged(copied types.NamespacedName, replikas ...types.NamespacedName) {
	for state := range s.findAll(replikas) {
		state.markChanged(copied.Namespace)
		if source, _ := state.findSource(copied.Name); source != nil {
			source.markChanged(copied.Namespace)
		}
	}
}

// markAllChanged records for each of the Replikas that something can have changed in every namespace.
func (s *stateStore) markAllChanged(replikas ...types.NamespacedName) {
	for state := range s.findAll(replikas) {
		for _, state := range state.withSources() {
			state.markAllChanged()
		}
	}
}

// markSourceChanged records for each of the Replikas when its source changed.
func (s *stateStore) markSourceChanged(now time.Time, replikas ...types.NamespacedName) {
	for state := range s.findAll(replikas) {
		state.markSourceChanged(now)
	}
}

// findAll yields the states of those of the Replikas that were reconciled before.
func (s *stateStore) findAll(replikas []types.NamespacedName) iter.Seq[*replikaState] {
	return func(yield func(*replikaState) bool) {
		for _, replika := range replikas {
			if state := s.find(replika); state != nil && !yield(state) {
				return
			}
		}
	}
}

// delete drops the state of a Replika that no longer exists.
func (s *stateStore) delete(replika types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byReplika, replika)
}
