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
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// A Replika with many sources is reconciled as if each source had a Replika of its own, with the same spec but for the source's name.
// Each has its template, consent, plan and status, which are kept in memory; the status of the Replika is their sum.

const (
	// concurrentSources is the number of sources that are reconciled at the same time, while as many are read. Their content is in
	// memory together.
	concurrentSources = 8
	// sourcePageSize is the number of objects in one page of a list of sources.
	sourcePageSize = 500
)

// manySources is what the reconciles of all sources of a Replika have in common.
type manySources struct {
	selector *planner.SourceSelector
	// selection selects the target namespaces, whatever the sources allow.
	selection *planner.Selection
	// store is that of the copies. If they are not watched it is nil, and polled has them by their names.
	store  *tracking.CopyStore
	polled map[string][]*planner.Observed
	// removed are the copies that other clients removed since the last reconcile.
	removed map[types.NamespacedName]bool
	// list has the resourceVersions of the sources by name.
	list map[string]string
	// keysRecorded is true if the status has the keys of at least one source.
	keysRecorded bool
}

// sourceScope is what one reconcile reads of one of many sources.
type sourceScope struct {
	*scope
	// version is the resourceVersion in the list of sources; empty if the source is not in it, and only its copies are left.
	version string
	source  source
	// err is why the source cannot be copied.
	err error
}

// syncSources brings the copies of many sources in sync. Only those sources are read of which something changed.
func (r *ReplikaReconciler) syncSources(ctx context.Context, s *scope, mapping tracking.Mapping) error {
	start, observedAt := r.Clock.Now(), s.state.popSourceChangedAt()
	if !observedAt.IsZero() {
		s.state.expireSourceList()
	}
	s.state.popCheckpoint(nil, planner.Basis{}) // each source has one of its own
	many, err := r.readSources(ctx, s, mapping)
	if notReady, ok := errors.AsType[*notReadyError](err); ok && notReady.Reason == v1alpha1.ReasonTooMany {
		return err // nothing is written or deleted
	}
	if err != nil {
		// Which objects are sources is not known. The owners of the namespaces can withdraw consent all the same.
		return firstError(ctx.Err(), err, r.pruneDenied(ctx, s, mapping, nil))
	}
	scopes, others := r.sourceScopes(s, many)
	changed := slices.DeleteFunc(slices.Clone(scopes), func(one *sourceScope) bool { return r.carryOverSource(one, many) })
	if len(changed) > 0 {
		if err := r.limitCopies(ctx, many); err != nil {
			return err
		}
	}
	if s.replika.Status.Sources == nil {
		s.replika.Status.Sources = &v1alpha1.SourcesStatus{}
	}
	if err := r.syncChanged(ctx, s, mapping, many, changed, start); err != nil {
		return err
	}
	otherErr := r.pruneOthers(ctx, s, mapping, others)
	s.results.missingSources = many.selector.MissingNames(many.list)
	err = firstError(ctx.Err(), s.addSources(scopes), otherErr)
	s.state.keepSources(copyNamesOf(scopes))
	r.watchConflictingObjects(s.name, mapping, plainScopes(scopes)...)
	unchanged := !slices.ContainsFunc(scopes, func(one *sourceScope) bool { return one.source.Template != nil && !one.source.Unchanged })
	r.recordPropagation(s, observedAt, source{Unchanged: unchanged}, err)
	return err
}

// sourceScopes returns a scope for each source, and for each former one with copies that are left, sorted by the names of the copies.
// others are the copies that no source has any more: the Replika gave them another name, or names other sources now.
func (r *ReplikaReconciler) sourceScopes(s *scope, many *manySources) (scopes []*sourceScope, others []*planner.Observed) {
	byCopy := map[string]*sourceScope{}
	for name, version := range many.list {
		byCopy[s.replika.TargetNameOf(name)] = r.sourceScope(s, many, name, version)
	}
	for _, object := range s.copiesUnder(many, func(name string) bool { return byCopy[name] == nil || byCopy[name].version == "" }) {
		switch source, former := many.selector.FormerSource(s.replika, object); {
		case !former:
			others = append(others, object)
		case byCopy[object.Name] == nil:
			byCopy[object.Name] = r.sourceScope(s, many, source, "")
		}
	}
	s.state.setSourcesKnown()
	for _, one := range byCopy {
		scopes = append(scopes, one)
	}
	slices.SortFunc(scopes, func(a, b *sourceScope) int { return cmp.Compare(a.replika.TargetName(), b.replika.TargetName()) })
	return scopes, others
}

// copiesUnder returns the Replika's copies whose names match.
func (s *scope) copiesUnder(many *manySources, matches func(name string) bool) []*planner.Observed {
	if many.store != nil {
		return many.store.ListUnder(s.name, matches)
	}
	var copies []*planner.Observed
	for name, objects := range many.polled {
		for _, object := range objects {
			if matches(name) && object.OwnedBy(s.name) {
				copies = append(copies, object)
			}
		}
	}
	return copies
}

// sourceScope returns the scope of one source.
func (r *ReplikaReconciler) sourceScope(s *scope, many *manySources, name, version string) *sourceScope {
	memory := s.state.ofSource(s.replika.TargetNameOf(name))
	replika := planner.ForSource(s.replika, name, v1alpha1.ReplikaStatus{})
	status, known := memory.lastStatus(sourceIdentityOf(replika))
	if sources := s.replika.Status.Sources; !known && sources != nil {
		// Before this operator started, copies may have got any of these keys.
		status.Source = &v1alpha1.SourceStatus{ResourceVersion: "unknown", CopiedKeys: sources.CopiedKeys}
	}
	replika.Status = status
	return &sourceScope{version: version, scope: &scope{
		name: s.name, replika: replika, original: replika, state: &memory.replikaState, anew: s.anew, identity: s.identity, client: s.client,
		watchState: s.watchState, many: many, memory: memory, dryRun: s.dryRun, results: newResults(s.dryRun),
	}}
}

// carryOverSource reports whether nothing is to be done about the source. Then its last results apply.
func (r *ReplikaReconciler) carryOverSource(one *sourceScope, many *manySources) bool {
	if one.version != "" {
		one.state.popSourceChangedAt() // the list says whether it changed
	}
	if checkpoint, version := r.lastCheckpoint(one.scope, many.store); checkpoint != nil && version == one.version {
		one.results.carryOver(checkpoint)
		return true
	}
	rest := one.memory.restAt(one.version, one.replika.Generation, many.store)
	if rest == nil || one.anew || planner.FullPlanDue(rest.at, one.name, r.Clock.Now(), one.replika.Spec.Synchronization.Time.Duration) {
		return false
	}
	one.source, one.results, one.notReady = rest.source, rest.results, rest.notReady
	return true
}

// syncChanged reads the sources and brings their copies in sync, some at a time. The next ones are read meanwhile. The status reports
// progress if that takes long. An error means that the reconcile was aborted, or that the kind is gone.
func (r *ReplikaReconciler) syncChanged(
	ctx context.Context, s *scope, mapping tracking.Mapping, many *manySources, changed []*sourceScope, start time.Time,
) error {
	batches := slices.Collect(slices.Chunk(changed, concurrentSources))
	read := func(i int) {
		if i < len(batches) {
			inParallel(batches[i], func(one *sourceScope) { r.readOne(ctx, one, mapping) })
		}
	}
	read(0)
	for i, batch := range batches {
		var next sync.WaitGroup
		next.Go(func() { read(i + 1) })
		err := r.syncBatch(ctx, s, mapping, many, batch)
		next.Wait()
		if err != nil {
			return err
		}
		if r.Clock.Since(start) >= r.Timeouts.ProgressDelay {
			r.patchProgress(ctx, s, "reconciling "+s.sourceTitle())
		}
	}
	return nil
}

// readOne reads the source.
func (r *ReplikaReconciler) readOne(ctx context.Context, one *sourceScope, mapping tracking.Mapping) {
	one.state.popSourceChangedAt() // what changes from now on is for the next reconcile
	one.source, one.err = r.reconcileSource(ctx, one.scope, mapping)
}

// syncBatch brings the copies of some sources in sync. Before that, the status shows which keys the copies can have.
func (r *ReplikaReconciler) syncBatch(
	ctx context.Context, s *scope, mapping tracking.Mapping, many *manySources, batch []*sourceScope,
) error {
	if err := r.recordManyCopied(ctx, s, many, batch); err != nil {
		return err
	}
	inParallel(batch, func(one *sourceScope) {
		one.err = firstError(ctx.Err(), one.err, r.reconcileCopies(ctx, one.scope, mapping, one.source))
		if one.err == nil {
			one.recordFormerKeysGone(one.source)
		}
	})
	for _, one := range batch {
		if one.err != nil && !errors.As(one.err, &one.notReady) || one.notReady != nil && one.notReady.Reason == v1alpha1.ReasonKindNotFound {
			return one.err
		}
		r.recordSource(one)
	}
	return nil
}

// inParallel calls the function for each source, and waits until all calls have returned.
func inParallel(batch []*sourceScope, call func(*sourceScope)) {
	var calls sync.WaitGroup
	for _, one := range batch {
		calls.Go(func() { call(one) })
	}
	calls.Wait()
}

// recordSource keeps what is known of the source for the next reconcile.
func (r *ReplikaReconciler) recordSource(one *sourceScope) {
	r.setStatus(one.scope)
	one.state.setBackoff(one.results.backoffUntil)
	var rest *sourceRest
	if one.atRest() {
		rest = &sourceRest{
			version: one.version, generation: one.replika.Generation, store: one.many.store, at: r.Clock.Now(),
			source: one.source, results: one.results, notReady: one.notReady,
		}
		rest.results.changes = nil
	}
	one.memory.record(sourceIdentityOf(one.replika), one.replika.Status, rest)
}

// atRest reports whether nothing is left to do about the source, although it is not copied. What is copied has a checkpoint.
func (one *sourceScope) atRest() bool {
	results := &one.results
	if one.source.Template != nil || results.incomplete() > 0 || results.transient || len(results.backoffUntil) > 0 {
		return false
	}
	return one.notReady == nil || !one.notReady.Transient && one.notReady.Reason != v1alpha1.ReasonForbidden
}

// recordManyCopied shows in the status which keys the copies of the sources can have, before any copy has them, see recordCopied.
func (r *ReplikaReconciler) recordManyCopied(ctx context.Context, s *scope, many *manySources, batch []*sourceScope) error {
	if s.dryRun != nil {
		return nil // no copy has the keys
	}
	status := s.replika.Status.Sources
	former := status.CopiedKeys
	for _, one := range batch {
		if one.source.Template == nil {
			continue
		}
		keys := one.replika.Status.Source.CopiedKeys
		if many.keysRecorded {
			keys = planner.UniteCopiedKeys(status.CopiedKeys, keys)
		}
		status.CopiedKeys, many.keysRecorded = keys, true
	}
	if s.original.Status.Sources == nil || slices.Equal(former, status.CopiedKeys) {
		return nil
	}
	return r.patchStatus(ctx, s)
}

// addSources adds the results of all sources to those of the Replika. It returns an error if it has no source.
func (s *scope) addSources(scopes []*sourceScope) error {
	status := s.replika.Status.Sources
	status.Matched, status.Synced, status.Refused = 0, 0, 0
	for _, one := range scopes {
		s.results.merge(one.replika.Spec.Source.Name, &one.results)
		switch {
		case !one.matched():
		case one.notReady != nil:
			status.Matched++
			status.Refused++
			s.results.refuse(one.replika.Spec.Source.Name, one.notReady)
		default:
			status.Matched++
			if one.results.incomplete() == 0 {
				status.Synced++
			}
		}
	}
	if s.dryRun == nil && status.Refused == 0 && s.results.incomplete() == 0 {
		status.CopiedKeys = copiedKeysOf(scopes)
	}
	if status.Matched == 0 {
		s.results.counted = true
		return noSources(s.replika, s.results.missingSources)
	}
	return nil
}

// matched reports whether the source exists.
func (one *sourceScope) matched() bool {
	return one.version != "" && !one.source.Unmatched && (one.notReady == nil || one.notReady.Reason != v1alpha1.ReasonSourceNotFound)
}

// copiedKeysOf returns names and globs that match all keys of the copies, once all are in sync.
func copiedKeysOf(scopes []*sourceScope) []string {
	var keys []string
	first := true
	for _, one := range scopes {
		source := one.replika.Status.Source
		switch {
		case source == nil || source.ResourceVersion == "":
		case first:
			keys, first = source.CopiedKeys, false
		default:
			keys = planner.UniteCopiedKeys(keys, source.CopiedKeys)
		}
	}
	return keys
}

// pruneOthers prunes copies that no source has any more.
func (r *ReplikaReconciler) pruneOthers(ctx context.Context, s *scope, mapping tracking.Mapping, others []*planner.Observed) error {
	if len(others) == 0 {
		return nil
	}
	in := r.newInput(s, mapping)
	in.Observed = others
	var names []string
	for _, object := range others {
		names = append(names, object.Namespace)
	}
	slices.Sort(names)
	var err error
	if in.Namespaces, err = r.getNamespaces(ctx, slices.Compact(names)); err != nil {
		return err
	}
	if in.Claimants, err = r.listClaimants(ctx, mapping.Group, in.Name, others); err != nil {
		return err
	}
	r.executeAndRecord(ctx, s, mapping, newParts(in, planner.Plan))
	return nil
}

// copyNamesOf returns the names of the copies of the sources that are kept in memory: those that exist, and those with copies left.
func copyNamesOf(scopes []*sourceScope) map[string]bool {
	names := map[string]bool{}
	for _, one := range scopes {
		gone := one.version == "" && one.source.NoneDesired && one.results.incomplete() == 0
		names[one.replika.TargetName()] = !gone
	}
	return names
}

func plainScopes(scopes []*sourceScope) []*scope {
	plain := make([]*scope, len(scopes))
	for i, one := range scopes {
		plain[i] = one.scope
	}
	return plain
}

// pruneDeniedSources prunes the copies of a suspended Replika with many sources that are no longer allowed. Only those sources are read
// that changed.
func (r *ReplikaReconciler) pruneDeniedSources(ctx context.Context, s *scope, mapping tracking.Mapping) error {
	err := r.pruneDenied(ctx, s, mapping, nil)
	many, listErr := r.readSources(ctx, s, mapping)
	if listErr != nil {
		return firstError(err, listErr)
	}
	scopes, _ := r.sourceScopes(s, many)
	for _, one := range scopes {
		if one.version == "" || !one.anew && one.memory.restAt(one.version, one.replika.Generation, many.store) != nil {
			continue
		}
		one.state.popSourceChangedAt()
		consent, consentErr := r.readConsent(ctx, one.scope, mapping)
		one.err = firstError(consentErr, r.pruneDenied(ctx, one.scope, mapping, consent))
		err = firstError(err, one.err)
		s.results.merge(one.replika.Spec.Source.Name, &one.results)
		var rest *sourceRest
		if one.err == nil && one.atRest() {
			rest = &sourceRest{version: one.version, generation: one.replika.Generation, store: many.store, at: r.Clock.Now()}
		}
		one.memory.record(sourceIdentityOf(one.replika), one.replika.Status, rest)
	}
	return err
}
