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
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/prosimcorp/replika/test/cluster"
)

// manyInterval is the synchronization time of the Replikas in the section many, the default of the API.
const manyInterval = time.Minute

// measureMany measures one operator with many Replikas: the time until all are in sync, then what it does and uses while nothing
// happens, and then the time that a new namespace takes.
func (b *bench) measureMany(ctx context.Context) error {
	replikas, targets := b.opts.replikas[0], b.opts.replikaTargets
	if err := b.ensureNamespaces(ctx, targets); err != nil {
		return err
	}
	if err := b.startOperator(ctx); err != nil {
		return err
	}
	var workloads []*workload
	for number := range replikas {
		workloads = append(workloads, newWorkload(fmt.Sprintf("many-%03d", number), b.opts.contentBytes(), manyInterval, []string{"target-*"}))
	}
	if err := b.inParallel(ctx, workloads, b.createSource); err != nil {
		return err
	}
	if err := b.measureManyFanOut(ctx, workloads, targets); err != nil {
		return err
	}
	_, peak, err := b.operator.residentMemory()
	if err != nil {
		return err
	}
	b.report.add(row{
		Name: fmt.Sprintf("%d Replikas × %d namespaces: VmHWM", replikas, targets), Goal: "under " + formatMiB(memoryLimit),
		Measured: formatMiB(peak), Verdict: verdictOf(peak < memoryLimit),
	})
	memory, err := b.operator.memory(ctx)
	if err != nil {
		return err
	}
	b.report.add(row{
		Name:     fmt.Sprintf("%d Replikas × %d namespaces: memory", replikas, targets),
		Measured: fmt.Sprintf("live heap %s, RssAnon %s", formatMiB(memory.Heap), formatMiB(memory.Anonymous)), Data: memory,
		Notes: []string{fmt.Sprintf("%d Replikas × %d namespaces: %.2f KiB live heap per copy, including all overhead", replikas, targets,
			float64(memory.Heap)/float64(replikas*targets)/1024)},
	})
	if err := b.measureManyIdle(ctx, workloads, targets); err != nil {
		return err
	}
	return b.measureManyNewNamespaces(ctx, workloads)
}

// inParallel calls do for all workloads, with at most --max-concurrent-writes calls at once.
func (b *bench) inParallel(ctx context.Context, workloads []*workload, do func(context.Context, *workload) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(b.opts.parallel)
	for _, workload := range workloads {
		group.Go(func() error { return do(ctx, workload) })
	}
	return group.Wait()
}

// measureManyFanOut creates all Replikas at once and measures the time to the last copy.
func (b *bench) measureManyFanOut(ctx context.Context, workloads []*workload, targets int) error {
	mark := b.cluster.Mark()
	b.progress.log("creating %d Replikas with %d copies each", len(workloads), targets)
	if err := b.inParallel(ctx, workloads, b.createReplika); err != nil {
		return err
	}
	if err := b.waitForAllSync(ctx, workloads, targets); err != nil {
		return err
	}
	record, err := b.auditSince(mark)
	if err != nil {
		return err
	}
	requests := record.only(byOperator)
	copyRequests := requests.only(onTargets)
	createsReplika := func(e cluster.AuditEvent) bool { return e.Verb == "create" && e.Resource == "replikas" }
	took := copyRequests.only(writes).lastCompleted().Sub(record.only(byBench, createsReplika).firstReceived())
	copies := len(workloads) * targets
	b.report.add(row{
		Name:     fmt.Sprintf("%d Replikas × %d namespaces: time to all copies", len(workloads), targets),
		Measured: fmt.Sprintf("%.1f s, %.0f copies/s", took.Seconds(), float64(copies)/took.Seconds()),
		Notes: []string{fmt.Sprintf("%d Replikas × %d namespaces: other requests of the operator: %s", len(workloads), targets,
			formatCounts(requests.only(not(onTargets), not(onLease)).tally()))},
	})
	b.report.add(row{
		Name: fmt.Sprintf("%d Replikas × %d namespaces: requests for %d copies", len(workloads), targets, copies), Goal: fmt.Sprint(copies),
		Measured: fmt.Sprint(len(copyRequests)), Verdict: verdictOf(len(copyRequests) == copies),
	})
	return nil
}

// onTargets matches requests for objects in target namespaces.
func onTargets(e cluster.AuditEvent) bool { return strings.HasPrefix(e.Namespace, "target-") }
