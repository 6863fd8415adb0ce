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

// measureLoad edits one source much faster than it can be fanned out.
func (b *bench) measureLoad(ctx context.Context) error {
	size := b.opts.size()
	if err := b.needNamespaces(ctx, size); err != nil {
		return err
	}
	if err := b.startOperator(ctx); err != nil {
		return err
	}
	subject := newSubject("load", contentBytes, neverDue, firstTargets(size))
	if err := b.create(ctx, subject, size); err != nil {
		return err
	}
	watch, err := b.watchCopies(ctx, subject)
	if err != nil {
		return err
	}
	defer watch.stop()
	mark := b.cluster.Mark()
	edits := int(b.opts.loadTime.Seconds() * float64(b.opts.loadRate))
	b.progress.say("%d edits in %s", edits, b.opts.loadTime)
	edited := make(chan error, 1)
	go func() { edited <- b.editSteadily(ctx, subject, edits) }()
	history, err := followCopies(ctx, watch, edits, b.opts.loadTime+syncPatience+time.Duration(size)*syncPatiencePerCopy)
	if err := errors.Join(<-edited, err); err != nil {
		return err
	}
	if err := b.awaitSync(ctx, subject, size); err != nil {
		return err
	}
	record, err := b.recordSince(mark)
	if err != nil {
		return err
	}
	return b.tellLoad(history, record, subject, edits)
}

// editSteadily edits the source at the rate that was asked for.
func (b *bench) editSteadily(ctx context.Context, subject *subject, edits int) error {
	ticker := time.NewTicker(time.Second / time.Duration(b.opts.loadRate))
	defer ticker.Stop()
	for range edits {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := b.edit(ctx, subject); err != nil {
			return err
		}
	}
	return nil
}

// written is one version that reached one copy.
type written struct {
	namespace string
	version   int
}

// followCopies notes every version of every copy, in the order in which they were written, until all copies have the last.
func followCopies(ctx context.Context, watch *copyWatch, last int, patience time.Duration) ([]written, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("the last edit did not arrive everywhere"))
	defer cancel()
	var history []written
	behind := map[string]bool{}
	for {
		copied, deleted, err := watch.next(ctx)
		if err != nil {
			return nil, err
		}
		version, err := strconv.Atoi(copied.Data[versionKey])
		if deleted || err != nil {
			return nil, fmt.Errorf("the copy in %s was deleted, or says %q", copied.Namespace, copied.Data[versionKey])
		}
		history = append(history, written{copied.Namespace, version})
		if behind[copied.Namespace] = version < last; version == last {
			delete(behind, copied.Namespace)
			if len(behind) == 0 {
				return history, nil
			}
		}
	}
}

func (b *bench) tellLoad(history []written, record record, subject *subject, edits int) error {
	fanOuts, lag, backwards := judge(history)
	onThem := record.only(byOperator, onCopies(subject.name), writes)
	_, most := onThem.perCopy(b.opts.size())
	lastEdit := record.only(byBench, request("patch", "configmaps", subject.name)).ended()
	what := fmt.Sprintf("%d edits/s for %s:", b.opts.loadRate, b.opts.loadTime)
	b.report.add(row{
		Name: what + " fan-outs that a copy is behind", Goal: "at most 1", Measured: fmt.Sprintf("%d", lag), Verdict: judged(lag <= 1 && backwards == 0),
		Notes: []string{fmt.Sprintf("%s %d edits became %d fan-outs; no copy ever went back to an older version: %t", what, edits, fanOuts, backwards == 0)},
	})
	b.report.add(row{
		Name: what + " writes per copy", Goal: fmt.Sprintf("at most %d, the fan-outs", fanOuts), Measured: fmt.Sprint(most), Verdict: judged(most <= fanOuts),
	})
	after := onThem.ended().Sub(lastEdit).Seconds()
	perFanOut := b.opts.loadTime.Seconds() / float64(fanOuts)
	b.report.add(row{
		Name: what + " the last edit is everywhere", Goal: fmt.Sprintf("within two fan-outs, %.1f s", 2*perFanOut),
		Measured: fmt.Sprintf("after %s", seconds(after)), Verdict: judged(after <= 2*perFanOut),
		Notes: []string{fmt.Sprintf("%s beside the copies the operator asked for: %s", what,
			listed(record.only(byOperator, not(onCopies(subject.name)), not(onLease)).tally()))},
	})
	return nil
}

// judge counts the fan-outs, each of which brought one version; by how many of them a copy was behind the newest copy at
// any moment; and how often a copy went back.
func judge(history []written) (fanOuts, lag, backwards int) {
	rank := ranks(history)
	at := map[string]int{}
	standing := make([]int, len(rank)) // how many copies have each version
	oldest, newest := 0, 0
	for _, write := range history {
		now := rank[write.version]
		if before, known := at[write.namespace]; known {
			standing[before]--
			if now < before {
				backwards++
			}
		}
		at[write.namespace] = now
		standing[now]++
		newest = max(newest, now)
		for oldest < newest && standing[oldest] == 0 {
			oldest++
		}
		lag = max(lag, newest-oldest)
	}
	// The first version was there before.
	return len(rank) - 1, lag, backwards
}

// ranks orders the versions that were ever written.
func ranks(history []written) map[int]int {
	rank := map[int]int{}
	for _, write := range history {
		rank[write.version] = 0
	}
	for i, version := range slices.Sorted(maps.Keys(rank)) {
		rank[version] = i
	}
	return rank
}
