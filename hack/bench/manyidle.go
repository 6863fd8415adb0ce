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
	"time"
)

const (
	// manyIntervals is the number of synchronization intervals in which requests and CPU time are counted.
	manyIntervals = 2
	// manyCPUGoal is the highest allowed CPU time while nothing happens, as a fraction of one core.
	manyCPUGoal = 0.02
)

// measureManyIdle measures the CPU time and the requests of the operator while nothing happens.
func (b *bench) measureManyIdle(ctx context.Context, workloads []*workload, targets int) error {
	if err := b.waitForIdle(ctx); err != nil {
		return err
	}
	const window = manyIntervals * manyInterval
	b.progress.log("all Replikas are in sync; counting requests and CPU time for %s", window)
	mark, start, before := b.cluster.Mark(), time.Now(), b.operator.cpuTime()
	if err := sleep(ctx, window); err != nil {
		return err
	}
	used := b.operator.cpuTime() - before
	record, err := b.auditSince(mark)
	if err != nil {
		return err
	}
	b.reportManyIdle(record.only(byOperator, receivedIn(start, window)), workloads, targets, used.Seconds()/window.Seconds())
	return nil
}

// reportManyIdle expects one read per source and interval, and no other request. cpu is a fraction of one core.
func (b *bench) reportManyIdle(record auditRecord, workloads []*workload, targets int, cpu float64) {
	what := fmt.Sprintf("%d Replikas × %d namespaces, idle:", len(workloads), targets)
	b.report.add(row{
		Name: what + " operator CPU time", Goal: fmt.Sprintf("under %.0f %% of one core", manyCPUGoal*100),
		Measured: fmt.Sprintf("%.2f %%", cpu*100), Verdict: verdictOf(cpu < manyCPUGoal), Data: cpu,
	})
	least, most := record.readsPerSource(workloads)
	b.report.add(row{
		Name: what + " each source", Goal: fmt.Sprintf("%d GETs in %d intervals of %s", manyIntervals, manyIntervals, manyInterval),
		Measured: formatRange(least, most) + " GETs", Verdict: verdictOf(least >= manyIntervals-1 && most <= manyIntervals),
	})
	others := record.only(not(readsSource), not(onLease), not(startsWatch))
	b.report.add(row{
		Name: what + " writes, lists, status updates, anything else", Goal: "none",
		Measured: fmt.Sprint(len(others)), Verdict: verdictOf(len(others) == 0),
		Notes: []string{
			fmt.Sprintf("%s requests other than GETs of sources: %s", what, formatCounts(others.tally())),
			fmt.Sprintf("%s watches that had ended and were started again: %s", what, formatCounts(record.only(startsWatch).tally())),
		},
	})
}

// readsPerSource returns the lowest and the highest number of reads of a source.
func (r auditRecord) readsPerSource(workloads []*workload) (least, most int) {
	counts := map[string]int{}
	for _, event := range r.only(readsSource) {
		counts[event.Name]++
	}
	least = counts[workloads[0].name]
	for _, workload := range workloads {
		least, most = min(least, counts[workload.name]), max(most, counts[workload.name])
	}
	return least, most
}
