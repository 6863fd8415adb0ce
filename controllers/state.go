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
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// replikaState is what the operator keeps in memory about one Replika from reconcile to reconcile. Losing it costs no
// correctness: it decides only how soon something is retried, and which resourceVersion of the source the status shows.
type replikaState struct {
	mu sync.Mutex

	// failures is the number of consecutive reconciles with a transient failure.
	failures int
	// inventory lists the resources in which the Replika may have copies, whatever its annotation says by now.
	inventory []schema.GroupResource
	// sourceRefusals is how often in a row the source could not be read for lack of permissions.
	sourceRefusals int
	// refusals holds the histories of copies that the API server refuses, by their resource.
	refusals map[schema.GroupResource]map[types.NamespacedName]planner.Refusal
	// inFlight are the copies whose writes no reconcile waits for any more, by their resource.
	inFlight map[schema.GroupResource]map[types.NamespacedName]bool
	// cleanupStartedAt is when the operator first tried to clean up the Replika, which is being deleted.
	cleanupStartedAt time.Time
	// postponed is what the last reconcile did not report; nil if it did.
	postponed *postponedReport
	// lastWritten is the Replika as the API server returned it for our last write, until the cache has caught up.
	lastWritten *v1alpha1.Replika

	// sources are those of a Replika with many; nil for one source, and before the first list.
	sources *sourceSet

	// source is the one that the status was last written for; zero before the first write.
	source sourceIdentity

	// checkpoint is what the last reconcile found in each namespace, with the copies of checkpointStore; nil if it did not get
	// that far. changes are the namespaces with an event since.
	checkpoint      *planner.Checkpoint
	checkpointStore *tracking.CopyStore
	changes         planner.Changes

	// resource is the one that all fields below are about.
	resource schema.GroupResource
	// digests of the last template; empty before the first.
	digests planner.Digests
	// sourceVersion is the resourceVersion of the source when its content last changed, and readVersion that of the last read.
	sourceVersion, readVersion string
	// outOfSync holds the copies that the last reconcile failed to bring in sync: to succeed later corrects no drift.
	outOfSync map[types.NamespacedName]bool
	// contests holds the histories of copies that were repaired recently.
	contests map[types.NamespacedName]planner.Contest
	// backoffUntil holds the times until which contested copies are not repaired.
	backoffUntil map[types.NamespacedName]time.Time
	// sourceChangedAt is when a watch first reported a change of the source that no reconcile has read yet.
	sourceChangedAt time.Time
	// propagationStart is when the change was observed that is not yet in every copy.
	propagationStart time.Time
}

// latest returns the cached Replika or, if the cache is older, the Replika as our last write returned it. Otherwise a
// reconcile right after a write would write the same status again.
func (s *replikaState) latest(cached *v1alpha1.Replika) *v1alpha1.Replika {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lastWritten != nil && s.lastWritten.UID == cached.UID {
		order, err := resourceversion.CompareResourceVersion(cached.ResourceVersion, s.lastWritten.ResourceVersion)
		// The response to the patch that removes the last finalizer has the version that the cache has too.
		if err == nil && order <= 0 {
			return s.lastWritten.DeepCopy()
		}
	}
	s.lastWritten = nil
	return cached
}

// recordWrite keeps the response to a write of the Replika.
func (s *replikaState) recordWrite(replika *v1alpha1.Replika) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastWritten = replika.DeepCopy()
}

// postponeReport keeps the report for the next reconcile.
func (s *replikaState) postponeReport(report *postponedReport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.postponed = report
}

// reportPostponed reports whether the last reconcile left its report to the next one.
func (s *replikaState) reportPostponed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.postponed != nil
}

// popPostponed returns what the last reconcile did not report, and resets it.
func (s *replikaState) popPostponed() *postponedReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	report := s.postponed
	s.postponed = nil
	return report
}

// useResource drops what is known of the copies of another resource: an object of one kind has nothing to do with the
// object of the same name of another kind.
func (s *replikaState) useResource(resource schema.GroupResource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resource == resource {
		return
	}
	s.resource = resource
	s.digests, s.sourceVersion, s.readVersion = "", "", ""
	s.outOfSync, s.contests, s.backoffUntil = nil, nil, nil
	s.propagationStart = time.Time{}
	if s.sources != nil {
		s.sources.listedAt = time.Time{}
	}
}

// statusIsOf reports whether the last status that was written is about the source; known is false before the first write.
func (s *replikaState) statusIsOf(source sourceIdentity) (same, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.source == source, s.source != sourceIdentity{}
}

// recordStatusOf records that the status is now about the source.
func (s *replikaState) recordStatusOf(source sourceIdentity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.source = source
}

// recordTemplate keeps the digests of the template. It reports whether they are those of the last template, and returns
// the resourceVersion of the source when they last changed. What was copied before this operator started is not known, so
// the first template counts as a change.
func (s *replikaState) recordTemplate(digests planner.Digests, resourceVersion string) (unchanged bool, sourceVersion string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readVersion = resourceVersion
	unchanged = s.digests == digests
	if !unchanged {
		s.digests, s.sourceVersion = digests, resourceVersion
	}
	return unchanged, s.sourceVersion
}

// setOutOfSync replaces the copies that could not be brought in sync. Those with writes in flight are among them, unless their write has
// succeeded meanwhile.
func (s *replikaState) setOutOfSync(copies map[types.NamespacedName]bool, inFlight []types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, copied := range inFlight {
		if s.inFlight[s.resource][copied] || s.outOfSync[copied] {
			copies[copied] = true
		}
	}
	s.outOfSync = copies
}

// currentOutOfSync returns the copies that the last reconcile failed to bring in sync. The map is not changed afterwards.
func (s *replikaState) currentOutOfSync() map[types.NamespacedName]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outOfSync
}

// currentContests returns the histories of the copies that were repaired recently, without those that are over.
func (s *replikaState) currentContests(now time.Time, synchronization time.Duration) map[types.NamespacedName]planner.Contest {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.contests, func(_ types.NamespacedName, contest planner.Contest) bool {
		return contest.Expired(now, synchronization)
	})
	return maps.Clone(s.contests)
}

// recordRepair adds a repair to the history of the copy.
func (s *replikaState) recordRepair(copied types.NamespacedName, now time.Time) planner.Contest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addRepair(copied, now)
}

// addRepair adds a repair to the history of the copy. The lock is held.
func (s *replikaState) addRepair(copied types.NamespacedName, now time.Time) planner.Contest {
	if s.contests == nil {
		s.contests = map[types.NamespacedName]planner.Contest{}
	}
	s.contests[copied] = s.contests[copied].Repaired(now)
	return s.contests[copied]
}

// setBackoff replaces the times until which contested copies are not repaired.
func (s *replikaState) setBackoff(until map[types.NamespacedName]time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backoffUntil = until
}

// inBackoff reports whether the copy is not repaired for now, so that an event about it is not worth a reconcile.
func (s *replikaState) inBackoff(resource schema.GroupResource, copied types.NamespacedName, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resource == resource && now.Before(s.backoffUntil[copied])
}

// markChanged records that something changed in the namespace, so that the next reconcile plans it.
func (s *replikaState) markChanged(namespace string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes.Add(namespace)
}

// markAllChanged records that something can have changed in every namespace.
func (s *replikaState) markAllChanged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes.AddAll()
}

// hasChanged reports whether something changed in the namespace since the last call of popCheckpoint.
func (s *replikaState) hasChanged(namespace string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes.Has(namespace)
}

// popCheckpoint returns the checkpoint and what changed since, and resets both. The checkpoint is nil if there is none for the
// store and the basis. The caller changes it, and calls setCheckpoint when every change is complete.
func (s *replikaState) popCheckpoint(store *tracking.CopyStore, basis planner.Basis) (*planner.Checkpoint, planner.Changes) {
	s.mu.Lock()
	defer s.mu.Unlock()
	checkpoint, changes := s.checkpoint, s.changes
	if s.checkpointStore != store || checkpoint != nil && checkpoint.Basis != basis {
		checkpoint = nil
	}
	s.checkpoint, s.checkpointStore, s.changes = nil, nil, planner.Changes{}
	return checkpoint, changes
}

// upToDateCheckpoint returns the checkpoint if it is for the store and, with the last template, for the basis, and no namespace
// must be planned; else nil. The caller does not change it. version is that of the source which the template was made from.
func (s *replikaState) upToDateCheckpoint(store *tracking.CopyStore, basis planner.Basis) (checkpoint *planner.Checkpoint, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	basis.Template = s.digests
	if s.checkpoint == nil || s.checkpointStore != store || s.checkpoint.Basis != basis ||
		s.changes.All() || len(s.checkpoint.ToPlan(s.changes)) > 0 || !s.sourceChangedAt.IsZero() {
		return nil, ""
	}
	return s.checkpoint, s.readVersion
}

// setCheckpoint keeps the checkpoint for the next reconcile.
func (s *replikaState) setCheckpoint(checkpoint *planner.Checkpoint, store *tracking.CopyStore) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkpoint, s.checkpointStore = checkpoint, store
}

// markSourceChanged records when the source changed. Of several changes the first counts.
func (s *replikaState) markSourceChanged(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sourceChangedAt.IsZero() {
		s.sourceChangedAt = now
	}
}

// popSourceChangedAt returns when the source changed, and resets it.
func (s *replikaState) popSourceChangedAt() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	changedAt := s.sourceChangedAt
	s.sourceChangedAt = time.Time{}
	return changedAt
}

// startPropagation records when the change was observed that is now copied, unless an earlier one is not yet in every copy.
// It returns the earliest such time; zero for none.
func (s *replikaState) startPropagation(observed time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.propagationStart.IsZero() {
		s.propagationStart = observed
	}
	return s.propagationStart
}

// endPropagation records that no change is waiting to be copied.
func (s *replikaState) endPropagation() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.propagationStart = time.Time{}
}

// recordInventory adds resources in which the Replika may have copies, up to the limit.
func (s *replikaState) recordInventory(resources ...schema.GroupResource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inventory = union(s.inventory, resources)
}

// currentInventory returns the resources in which the Replika may have copies.
func (s *replikaState) currentInventory() []schema.GroupResource {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.inventory)
}

// recordCurrent adds the resource that the spec names. If there are too many, it takes the place of the last one.
func (s *replikaState) recordCurrent(resource schema.GroupResource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.inventory, resource) {
		s.inventory = append(s.inventory[:min(len(s.inventory), maxInventory-1)], resource)
	}
}

// trimInventory drops all resources but one.
func (s *replikaState) trimInventory(current schema.GroupResource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inventory = []schema.GroupResource{current}
	maps.DeleteFunc(s.refusals, func(resource schema.GroupResource, _ map[types.NamespacedName]planner.Refusal) bool {
		return resource != current
	})
}

// startCleanup records the first attempt to clean up, and returns its time.
func (s *replikaState) startCleanup(now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cleanupStartedAt.IsZero() {
		s.cleanupStartedAt = now
	}
	return s.cleanupStartedAt
}

// currentRefusals returns the histories of the copies of the resource that the API server refuses.
func (s *replikaState) currentRefusals(resource schema.GroupResource) map[types.NamespacedName]planner.Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusals[resource]
}

// setRefusals replaces the histories of the copies of the resource, except those of writes that were in flight: such a write
// may have ended since. The map is not changed afterwards.
func (s *replikaState) setRefusals(
	resource schema.GroupResource, refusals map[types.NamespacedName]planner.Refusal, inFlight map[types.NamespacedName]bool,
) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for copied := range inFlight {
		delete(refusals, copied)
		if refusal, found := s.refusals[resource][copied]; found {
			refusals[copied] = refusal
		}
	}
	if s.refusals == nil {
		s.refusals = map[schema.GroupResource]map[types.NamespacedName]planner.Refusal{}
	}
	s.refusals[resource] = refusals
	if len(refusals) == 0 {
		delete(s.refusals, resource)
	}
}

// forgetRefusals has every copy requested again.
func (s *replikaState) forgetRefusals() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals = nil
}

// refusesIn reports whether the API server refuses a copy in the namespace.
func (s *replikaState) refusesIn(namespace string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, refusals := range s.refusals {
		for copied := range refusals {
			if copied.Namespace == namespace {
				return true
			}
		}
	}
	return false
}

// nextEarlyRetry returns the time until a refused copy is requested again, if that is before the synchronization time.
func (s *replikaState) nextEarlyRetry(now time.Time, synchronization time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := synchronization
	for _, refusals := range s.refusals {
		for _, refusal := range refusals {
			if after, early := refusal.RetryEarly(now, synchronization); early {
				next = min(next, max(after, time.Millisecond))
			}
		}
	}
	return next
}

// recordSourceRefusal counts how often in a row the source could not be read for lack of permissions.
func (s *replikaState) recordSourceRefusal(refused bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sourceRefusals++
	if !refused {
		s.sourceRefusals = 0
	}
	return s.sourceRefusals
}

// recordFailure counts a reconcile with a transient failure, and returns the number of consecutive ones.
func (s *replikaState) recordFailure() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures++
	return s.failures
}

// resetFailures records a reconcile without a transient failure.
func (s *replikaState) resetFailures() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = 0
}
