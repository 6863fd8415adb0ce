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
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// sourceSet is what is kept of the sources of a Replika with many. The lock of its replikaState guards it.
type sourceSet struct {
	// list has the resourceVersions of the sources by name, as they were listed at listedAt for the basis. listedAt is zero if the
	// list must be made again.
	list     map[string]string
	listedAt time.Time
	basis    sourceListBasis
	// selector is the one that the list was made with, and replika has the spec.
	selector *planner.SourceSelector
	replika  *v1alpha1.Replika
	// byCopy are the sources by the name of their copies, also those that are gone while copies are left. It is complete once known is
	// true.
	byCopy map[string]*sourceState
	known  bool
}

// sourceListBasis is what a list of sources depends on.
type sourceListBasis struct {
	uid        types.UID
	generation int64
	as         identity
}

// sourceState is what is kept of one of many sources: what is kept of a Replika of it alone, and what its status would be.
type sourceState struct {
	replikaState

	// status is that of the last reconcile.
	status v1alpha1.ReplikaStatus
	// selection is the selection of all sources with what this source allows.
	selection, unrestricted *planner.Selection
	allowed                 []string
	// rest is the last result if nothing is left to do, although there may be nothing to copy.
	rest *sourceRest
}

// sourceRest is the result of a reconcile of one of many sources after which nothing is left to do while the source has the version,
// the Replika the generation, and nothing changes in a namespace.
type sourceRest struct {
	version    string
	generation int64
	store      *tracking.CopyStore
	at         time.Time
	source     source
	results    results
	notReady   *notReadyError
}

// restrict returns the selection with what the source allows. While neither changes, it is the same one.
func (s *sourceState) restrict(selection *planner.Selection, status *v1alpha1.SourceStatus) *planner.Selection {
	var allowed []string
	if status != nil {
		allowed = status.AllowedNamespaces
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unrestricted != selection || (s.allowed == nil) != (allowed == nil) || !slices.Equal(s.allowed, allowed) {
		s.unrestricted, s.allowed, s.selection = selection, allowed, selection.Restrict(allowed)
	}
	return s.selection
}

// record keeps the status of the last reconcile, and the result if nothing is left to do, else nil.
func (s *sourceState) record(source sourceIdentity, status v1alpha1.ReplikaStatus, rest *sourceRest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.source, s.status, s.rest = source, status, rest
}

// lastStatus returns the status of the last reconcile if it was about the source; false before the first such reconcile.
func (s *sourceState) lastStatus(source sourceIdentity) (v1alpha1.ReplikaStatus, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.source != source {
		return v1alpha1.ReplikaStatus{}, false
	}
	return *s.status.DeepCopy(), true
}

// restAt returns the last result if nothing is left to do; nil if something has changed.
func (s *sourceState) restAt(version string, generation int64, store *tracking.CopyStore) *sourceRest {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rest == nil || s.rest.version != version || s.rest.generation != generation || s.rest.store != store || !s.changes.Empty() || !s.sourceChangedAt.IsZero() {
		return nil
	}
	return s.rest
}

// sourceList returns the last list of the sources if it was made for the basis, after since. Otherwise the list must be made again.
func (s *replikaState) sourceList(basis sourceListBasis, since time.Time) (map[string]string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sources == nil || s.sources.basis != basis || !s.sources.listedAt.After(since) {
		return nil, false
	}
	return s.sources.list, true
}

// expireSourceList has the sources listed again.
func (s *replikaState) expireSourceList() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sources != nil {
		s.sources.listedAt = time.Time{}
	}
}

// setSourceList keeps a list of the sources, which is not changed afterwards. The selector was set before.
func (s *replikaState) setSourceList(basis sourceListBasis, list map[string]string, listedAt time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sources.basis, s.sources.list, s.sources.listedAt = basis, list, listedAt
}

// setSourceSelector keeps how the sources are selected, for events that arrive from now on. Neither is changed afterwards.
func (s *replikaState) setSourceSelector(selector *planner.SourceSelector, replika *v1alpha1.Replika) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sources == nil {
		s.sources = &sourceSet{byCopy: map[string]*sourceState{}}
	}
	s.sources.selector, s.sources.replika = selector, replika
}

// sourceChanged records that an object of this name, which has or had the labels, changed. It reports whether it can be, or was, one of
// the sources.
func (s *replikaState) sourceChanged(now time.Time, name string, versions []labels.Set) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sources == nil {
		return true
	}
	source := s.sources.byCopy[s.sources.replika.TargetNameOf(name)]
	if source != nil {
		source.markSourceChanged(now)
	}
	return source != nil || s.sources.selector.MatchesEvent(name, versions)
}

// nextSourceList returns the time until the sources must be listed again: the synchronization time if the reconcile that has just ended
// was to list them and could not.
func (s *replikaState) nextSourceList(now time.Time, synchronization time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sources == nil {
		return synchronization
	}
	next := s.sources.listedAt.Add(synchronization).Sub(now)
	if next <= 0 {
		return synchronization
	}
	return next
}

// ofSource returns the state of the source whose copies have the name, a new one for a new source. The sources were listed before.
func (s *replikaState) ofSource(copyName string) *sourceState {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sources.byCopy[copyName] == nil {
		s.sources.byCopy[copyName] = &sourceState{}
	}
	source := s.sources.byCopy[copyName]
	source.useResource(s.resource)
	return source
}

// setSourcesKnown records that every source has a state.
func (s *replikaState) setSourcesKnown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sources.known = true
}

// findSource returns the state of the source whose copies have the name; nil if there is none. It is known only after the first
// reconcile has found all sources: before that, a Replika may have copies of sources without a state.
func (s *replikaState) findSource(copyName string) (source *sourceState, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sources == nil {
		return nil, false
	}
	return s.sources.byCopy[copyName], s.sources.known
}

// keepSources drops all sources but those whose copies have one of the names, or have writes in flight.
func (s *replikaState) keepSources(copyNames map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sources.keep(copyNames)
}

func (s *sourceSet) keep(copyNames map[string]bool) {
	maps.DeleteFunc(s.byCopy, func(name string, source *sourceState) bool { return !copyNames[name] && !source.hasInFlight() })
}

// copyNames returns the names of the copies of many sources.
func (s *replikaState) copyNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sources == nil {
		return nil
	}
	return slices.Collect(maps.Keys(s.sources.byCopy))
}

// forgetSources drops the sources, as keepSources does: the spec names only one now.
func (s *replikaState) forgetSources() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sources == nil {
		return
	}
	s.sources.listedAt = time.Time{}
	if s.sources.keep(nil); len(s.sources.byCopy) == 0 {
		s.sources = nil
	}
}

// withSources returns this state and those of all of many sources.
func (s *replikaState) withSources() []*replikaState {
	s.mu.Lock()
	defer s.mu.Unlock()
	states := []*replikaState{s}
	if s.sources != nil {
		for _, source := range s.sources.byCopy {
			states = append(states, &source.replikaState)
		}
	}
	return states
}
