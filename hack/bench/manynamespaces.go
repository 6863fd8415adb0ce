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

	"github.com/prosimcorp/replika/test/cluster"
)

const (
	// manySamples is the number of new namespaces, each with a round of the baseline.
	manySamples = 5
	// manyNamespaceGoal is the highest allowed ratio to the baseline.
	manyNamespaceGoal = 1.3
)

// measureManyNewNamespaces creates further namespaces, one at a time, which all Replikas select. It compares the time to the last copy
// with that of the baseline for the same number of copies in one namespace, and with that for reads of the sources and these copies.
func (b *bench) measureManyNewNamespaces(ctx context.Context, workloads []*workload) error {
	var operator, baseline, ratios, withReads, ratiosWithReads []float64
	var requests auditRecord
	runOperator := func(int) error {
		seconds, record, err := b.operatorNewNamespace(ctx, workloads)
		operator, requests = append(operator, seconds), append(requests, record...)
		return err
	}
	runBaseline := func(pair int) error {
		reads, creates, err := b.baselineNewNamespace(ctx, workloads, fmt.Sprintf("baseline-%d", pair))
		baseline, withReads = append(baseline, creates), append(withReads, reads+creates)
		return err
	}
	err := inPairs(manySamples, runOperator, runBaseline, func(pair int) {
		ratios = append(ratios, operator[pair]/baseline[pair])
		ratiosWithReads = append(ratiosWithReads, operator[pair]/withReads[pair])
		b.progress.log("new namespace, pair %d of %d: %.2f s, baseline %.2f s (%.2f), with reads %.2f s (%.2f)",
			pair+1, manySamples, operator[pair], baseline[pair], ratios[pair], withReads[pair], ratiosWithReads[pair])
	})
	if err != nil {
		return err
	}
	b.report.add(row{
		Name: fmt.Sprintf("%d Replikas: one new namespace to its last copy", len(workloads)),
		Goal: fmt.Sprintf("at most %.2f × the baseline", manyNamespaceGoal), Measured: formatSeconds(median(operator)),
		Baseline: formatSeconds(median(baseline)), Ratio: median(ratios), Verdict: verdictOf(median(ratios) <= manyNamespaceGoal), Data: ratios,
		Notes: []string{fmt.Sprintf("%d new namespaces with %d Replikas: %.1f requests of the operator per copy: %s", manySamples, len(workloads),
			float64(len(requests))/manySamples/float64(len(workloads)), formatCounts(requests.tally()))},
	})
	b.report.add(row{
		Name:     fmt.Sprintf("%d Replikas: one new namespace, against a baseline that also reads each source", len(workloads)),
		Measured: formatSeconds(median(operator)), Baseline: formatSeconds(median(withReads)), Ratio: median(ratiosWithReads), Data: ratiosWithReads,
	})
	return nil
}

// operatorNewNamespace creates one target namespace, and returns the time from that to the last copy, and the operator's requests.
// The operator is a new process, as the baseline is.
func (b *bench) operatorNewNamespace(ctx context.Context, workloads []*workload) (seconds float64, requests auditRecord, err error) {
	if err := b.startIdleOperator(ctx); err != nil {
		return 0, nil, err
	}
	mark, name := b.cluster.Mark(), targetName(b.namespaces)
	copies := func(e cluster.AuditEvent) bool { return e.Namespace == name && writes(e) }
	err = b.withCPUProfile(ctx, name+".pprof", func() error {
		b.namespaces++
		if err := b.createNamespace(ctx, name); err != nil {
			return err
		}
		_, err := b.waitForRequests(ctx, mark, len(workloads), copies)
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	// The updates of the status come after the last copy.
	if err := b.waitForIdle(ctx); err != nil {
		return 0, nil, err
	}
	record, err := b.auditSince(mark)
	if err != nil {
		return 0, nil, err
	}
	created := record.only(byBench, request("create", "namespaces", name)).lastCompleted()
	last := record.only(byOperator, copies).lastCompleted()
	return last.Sub(created).Seconds(), record.only(byOperator, not(onLease)), nil
}

// baselineNewNamespace lets the baseline read the source of each Replika, create a copy of each in a new namespace, which no Replika selects,
// and delete them. The operator would delete them itself, so it is stopped.
func (b *bench) baselineNewNamespace(ctx context.Context, workloads []*workload, name string) (reads, creates float64, err error) {
	if err := errors.Join(b.stopOperator(), b.createNamespace(ctx, name)); err != nil {
		return 0, 0, err
	}
	process, err := b.startBaseline(ctx, []string{name}, workloads...)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, process.stop()) }()
	var steps [3]phase
	for i, step := range []string{stepRead, stepCreate, stepDelete} {
		if steps[i], err = b.measureBaseline(process, step, len(workloads), workloads...); err != nil {
			return 0, 0, err
		}
	}
	return steps[0].Seconds, steps[1].Seconds, nil
}
