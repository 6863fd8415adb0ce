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

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The idle workloads: healthy Replikas, and one for each problem that the operator cannot solve.
const (
	idleReplikas  = 10
	idleTargets   = 100
	conflictName  = "conflict"
	missingName   = "missing"
	contestedName = "contested"
)

// idleIntervals is the number of synchronization intervals in which requests are counted. warmUpIntervals is the number of
// intervals before: it takes that long until the backoff of the contested copy reaches its maximum.
const (
	idleIntervals   = 3
	warmUpIntervals = 3
)

// measureIdle counts the operator's requests while nothing changes except the contested copy.
func (b *bench) measureIdle(ctx context.Context) error {
	if err := b.ensureNamespaces(ctx, b.opts.targets()); err != nil {
		return err
	}
	if err := b.startOperator(ctx); err != nil {
		return err
	}
	overwriteCtx, stopOverwriting := context.WithCancel(ctx)
	defer stopOverwriting()
	healthy, err := b.createIdleWorkloads(ctx, overwriteCtx)
	if err != nil {
		return err
	}
	window := idleIntervals * b.opts.interval
	b.progress.log("%d Replikas are in sync, 3 others have problems; waiting %s, then counting requests for %s",
		idleReplikas, warmUpIntervals*b.opts.interval, window)
	if err := sleep(ctx, warmUpIntervals*b.opts.interval); err != nil {
		return err
	}
	mark, start := b.cluster.Mark(), time.Now()
	if err := sleep(ctx, window); err != nil {
		return err
	}
	record, err := b.auditSince(mark)
	if err != nil {
		return err
	}
	b.reportIdle(record.only(byOperator, receivedIn(start, window)), healthy)
	return nil
}

// createIdleWorkloads creates all Replikas and waits until the healthy ones are in sync.
func (b *bench) createIdleWorkloads(ctx, overwriteCtx context.Context) (healthy []*workload, err error) {
	targets := min(idleTargets, b.opts.targets())
	globs := targetGlobs(targets)
	for number := range idleReplikas {
		healthy = append(healthy, newWorkload(fmt.Sprintf("idle-%d", number), b.opts.contentBytes(), b.opts.interval, globs))
	}
	for _, workload := range healthy {
		if err := b.create(ctx, workload, targets); err != nil {
			return nil, err
		}
	}
	foreign := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: targetName(0), Name: conflictName}}
	if err := b.client.Create(ctx, foreign); err != nil {
		return nil, err
	}
	conflict := newWorkload(conflictName, b.opts.contentBytes(), b.opts.interval, globs)
	missing := newWorkload(missingName, b.opts.contentBytes(), b.opts.interval, append([]string{"no-such-namespace"}, globs...))
	contested := newWorkload(contestedName, b.opts.contentBytes(), b.opts.interval, globs)
	for _, workload := range []*workload{conflict, missing} {
		if err := b.createSource(ctx, workload); err != nil {
			return nil, err
		}
		if err := b.createReplika(ctx, workload); err != nil {
			return nil, err
		}
	}
	if err := b.create(ctx, contested, targets); err != nil {
		return nil, err
	}
	return healthy, b.startOverwriting(overwriteCtx, contested, targetName(0))
}

// reportIdle expects one read per source and interval, and no other request.
func (b *bench) reportIdle(record auditRecord, healthy []*workload) {
	least, most := record.readsPerSource(healthy)
	period := fmt.Sprintf("in %d intervals", idleIntervals)
	goal := fmt.Sprintf("%d GETs %s", idleIntervals, period)
	b.report.add(row{
		Name: fmt.Sprintf("idle: each of %d Replikas in sync", len(healthy)), Goal: goal,
		Measured: formatRange(least, most) + " GETs", Verdict: verdictOf(least >= idleIntervals-1 && most <= idleIntervals),
	})
	for _, name := range []string{conflictName, missingName, contestedName} {
		count := len(record.only(request("get", "configmaps", name)))
		b.report.add(row{
			Name: fmt.Sprintf("idle: the Replika %q", name), Goal: goal, Measured: fmt.Sprintf("%d GETs", count),
			Verdict: verdictOf(count <= idleIntervals),
		})
	}
	repairs := len(record.only(onCopies(contestedName), writes))
	b.report.add(row{
		Name: "idle: repairs of the contested copy", Goal: fmt.Sprintf("at most %d %s", idleIntervals, period),
		Measured: fmt.Sprint(repairs), Verdict: verdictOf(repairs <= idleIntervals),
	})
	others := record.only(not(readsSource), not(onLease), not(onCopies(contestedName)))
	b.report.add(row{
		Name: "idle: writes, lists, status updates, anything else", Goal: "none",
		Measured: fmt.Sprint(len(others)), Verdict: verdictOf(len(others) == 0),
		Notes: []string{
			fmt.Sprintf("idle: requests other than GETs of sources and repairs: %s", formatCounts(others.tally())),
			fmt.Sprintf("idle: leader election %s: %s", period, formatCounts(record.only(onLease).tally())),
		},
	})
}

// sleep waits for the duration. It returns early, with an error, if the context ends.
func sleep(ctx context.Context, duration time.Duration) error {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
