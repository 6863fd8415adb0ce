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

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// measureLoad edits one source much faster than the operator can fan it out.
func (b *bench) measureLoad(ctx context.Context) error {
	size := b.opts.targets()
	if err := b.ensureNamespaces(ctx, size); err != nil {
		return err
	}
	if err := b.startOperator(ctx); err != nil {
		return err
	}
	workload := newWorkload("load", b.opts.contentBytes(), noResync, targetGlobs(size))
	if err := b.create(ctx, workload, size); err != nil {
		return err
	}
	watch, err := b.watchCopies(ctx, workload)
	if err != nil {
		return err
	}
	defer watch.stop()
	mark := b.cluster.Mark()
	edits := int(b.opts.loadTime.Seconds() * float64(b.opts.loadRate))
	b.progress.log("%d edits in %s", edits, b.opts.loadTime)
	edited := make(chan error, 1)
	go func() { edited <- b.editAtRate(ctx, workload, edits) }()
	history, err := collectWrites(ctx, watch, edits, b.opts.loadTime+syncTimeout+time.Duration(size)*syncTimeoutPerCopy)
	if err := errors.Join(<-edited, err); err != nil {
		return err
	}
	if err := b.waitForSync(ctx, workload, size); err != nil {
		return err
	}
	record, err := b.auditSince(mark)
	if err != nil {
		return err
	}
	return b.reportLoad(history, record, workload, edits)
}

// editAtRate edits the source at the rate of --load-rate.
func (b *bench) editAtRate(ctx context.Context, workload *workload, edits int) error {
	ticker := time.NewTicker(time.Second / time.Duration(b.opts.loadRate))
	defer ticker.Stop()
	for range edits {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := b.edit(ctx, workload); err != nil {
			return err
		}
	}
	return nil
}

// versionWrite is the write of one version to one copy.
type versionWrite struct {
	namespace string
	version   int
}

// collectWrites collects all writes to the copies, in order, until every copy has the last version.
func collectWrites(ctx context.Context, watch *copyWatch, last int, timeout time.Duration) ([]versionWrite, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errors.New("not all copies received the last edit"))
	defer cancel()
	var history []versionWrite
	outdated := map[string]bool{}
	for {
		copied, deleted, err := watch.next(ctx)
		if err != nil {
			return nil, err
		}
		version, err := strconv.Atoi(copied.Data[versionKey])
		if deleted || err != nil {
			return nil, fmt.Errorf("the copy in %s was deleted, or has the version %q", copied.Namespace, copied.Data[versionKey])
		}
		history = append(history, versionWrite{copied.Namespace, version})
		if outdated[copied.Namespace] = version < last; version == last {
			delete(outdated, copied.Namespace)
			if len(outdated) == 0 {
				return history, nil
			}
		}
	}
}

func (b *bench) reportLoad(history []versionWrite, record auditRecord, workload *workload, edits int) error {
	fanOuts, lag, backwards := analyze(history)
	copyRequests := record.only(byOperator, onCopies(workload.name), writes)
	_, most := copyRequests.perCopy(b.opts.targets())
	lastEdit := record.only(byBench, request("patch", "configmaps", workload.name)).lastCompleted()
	what := fmt.Sprintf("%d edits/s for %s:", b.opts.loadRate, b.opts.loadTime)
	b.report.add(row{
		Name: what + " fan-outs that a copy lags", Goal: "at most 1", Measured: fmt.Sprintf("%d", lag), Verdict: verdictOf(lag <= 1 && backwards == 0),
		Notes: []string{fmt.Sprintf("%s %d edits caused %d fan-outs; updates of a copy to an older version: %d", what, edits, fanOuts, backwards)},
	})
	b.report.add(row{
		Name: what + " writes per copy", Goal: fmt.Sprintf("at most %d, the fan-outs", fanOuts), Measured: fmt.Sprint(most), Verdict: verdictOf(most <= fanOuts),
	})
	after := copyRequests.lastCompleted().Sub(lastEdit).Seconds()
	perFanOut := b.opts.loadTime.Seconds() / float64(fanOuts)
	b.report.add(row{
		Name: what + " last edit in every copy", Goal: fmt.Sprintf("within two fan-outs, %.1f s", 2*perFanOut),
		Measured: fmt.Sprintf("after %s", formatSeconds(after)), Verdict: verdictOf(after <= 2*perFanOut),
		Notes: []string{fmt.Sprintf("%s other requests of the operator: %s", what,
			formatCounts(record.only(byOperator, not(onCopies(workload.name)), not(onLease)).tally()))},
	})
	return nil
}

// analyze returns the number of fan-outs, which is the number of different versions that were written; the largest lag of
// a copy, in fan-outs, relative to the newest copy at the same time; and how often a copy was updated to an older version.
func analyze(history []versionWrite) (fanOuts, lag, backwards int) {
	rank := ranks(history)
	rankOf := map[string]int{}         // by namespace
	copiesAt := make([]int, len(rank)) // number of copies by rank
	oldest, newest := 0, 0
	for _, write := range history {
		now := rank[write.version]
		if before, known := rankOf[write.namespace]; known {
			copiesAt[before]--
			if now < before {
				backwards++
			}
		}
		rankOf[write.namespace] = now
		copiesAt[now]++
		newest = max(newest, now)
		for oldest < newest && copiesAt[oldest] == 0 {
			oldest++
		}
		lag = max(lag, newest-oldest)
	}
	// The copies had the first version before the first edit.
	return len(rank) - 1, lag, backwards
}

// ranks maps each version that was written to its position among them.
func ranks(history []versionWrite) map[int]int {
	rank := map[int]int{}
	for _, write := range history {
		rank[write.version] = 0
	}
	for i, version := range slices.Sorted(maps.Keys(rank)) {
		rank[version] = i
	}
	return rank
}
