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
	"strings"
	"time"

	"github.com/prosimcorp/replika/test/cluster"
)

// largePeakGoal is the highest allowed VmHWM of the operator.
const largePeakGoal = 128 << 20

// peak is the peak memory of the operator after a phase. It includes earlier phases of the same process.
type peak struct {
	Phase string `json:"phase"`
	Bytes int64  `json:"rssPeak"`
}

// measureLarge measures the peak memory and the requests of the operator with one source in all namespaces: through its start, the
// fan-out, an edit and a restart.
func (b *bench) measureLarge(ctx context.Context) error {
	copies := b.opts.targets()
	// It would write two objects into each namespace.
	b.cluster.StopControllerManager()
	if err := b.createNamespaces(ctx, copies); err != nil {
		return err
	}
	workload := newWorkload("large", b.opts.contentBytes(), noResync, []string{"target-*"})
	mark := b.cluster.Mark()
	var restarted time.Time
	var peaks []peak
	for _, phase := range []struct {
		name string
		do   func() error
	}{
		{"start", func() error { return b.startIdleOperator(ctx) }},
		{"fan-out", func() error { return b.create(ctx, workload, copies) }},
		{"edit", func() error {
			return errors.Join(b.edit(ctx, workload), b.waitForSync(ctx, workload, copies), b.waitForIdle(ctx))
		}},
		{"restart", func() error {
			err := b.stopOperator()
			restarted = time.Now()
			return errors.Join(err, b.startIdleOperator(ctx))
		}},
	} {
		b.progress.log("%d namespaces: %s", copies, phase.name)
		if err := phase.do(); err != nil {
			return fmt.Errorf("%s: %w", phase.name, err)
		}
		_, bytes, err := b.operator.residentMemory()
		if err != nil {
			return err
		}
		peaks = append(peaks, peak{phase.name, bytes})
	}
	b.reportPeaks(peaks, copies)
	return b.reportLargeRequests(mark, restarted, workload, copies)
}

// reportPeaks reports the highest peak.
func (b *bench) reportPeaks(peaks []peak, copies int) {
	highest := int64(0)
	var phases []string
	for _, peak := range peaks {
		highest = max(highest, peak.Bytes)
		phases = append(phases, peak.Phase+" "+formatMiB(peak.Bytes))
	}
	b.report.add(row{
		Name: fmt.Sprintf("one source of %d KiB × %d namespaces: VmHWM", b.opts.contentSize, copies),
		Goal: "at most " + formatMiB(largePeakGoal), Measured: formatMiB(highest), Verdict: verdictOf(highest <= largePeakGoal), Data: peaks,
		Notes: []string{fmt.Sprintf("one source × %d namespaces: VmHWM after each phase: %s", copies, strings.Join(phases, ", "))},
	})
}

// reportLargeRequests expects one write per copy for the fan-out, one for the edit, and none after the restart.
func (b *bench) reportLargeRequests(mark int64, restarted time.Time, workload *workload, copies int) error {
	all, err := b.auditSince(mark)
	if err != nil {
		return err
	}
	beforeRestart := func(e cluster.AuditEvent) bool { return e.Received.Before(restarted) }
	onCopy := onCopies(workload.name)
	before, after := all.only(byOperator, not(onLease), beforeRestart), all.only(byOperator, not(onLease), not(beforeRestart))
	requests := before.only(onCopy)
	creates, edits := requests.only(verb("create")), requests.only(not(verb("create")))
	if len(creates) == 0 || len(edits) == 0 {
		return errors.New("the audit log has no requests for the copies")
	}
	fanOut := creates.lastCompleted().Sub(all.only(byBench, request("create", "replikas", workload.name)).lastCompleted())
	edit := edits.lastCompleted().Sub(all.only(byBench, request("patch", "configmaps", workload.name)).lastCompleted())
	what := fmt.Sprintf("one source × %d namespaces", copies)
	least, most := requests.perCopy(copies)
	b.report.add(row{
		Name: what + ", fan-out and edit: requests per copy", Goal: "exactly 2", Measured: formatRange(least, most),
		Verdict: verdictOf(least == 2 && most == 2),
		Notes: []string{fmt.Sprintf("%s: fan-out in %s, edit in %s; other requests of the operator: %s", what,
			formatSeconds(fanOut.Seconds()), formatSeconds(edit.Seconds()), formatCounts(before.only(not(onCopy)).tally()))},
	})
	written := after.only(cluster.AuditEvent.Writes)
	b.report.add(row{
		Name: what + ", restart: writes", Goal: "0", Measured: fmt.Sprint(len(written)), Verdict: verdictOf(len(written) == 0),
		Notes: []string{fmt.Sprintf("%s, restart: requests of the operator: %s", what, formatCounts(after.tally()))},
	})
	return nil
}
