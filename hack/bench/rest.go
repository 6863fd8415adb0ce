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

	"github.com/prosimcorp/replika/test/cluster"
)

// What stands at rest: healthy Replikas, and one of each sort that cannot come to an end.
const (
	restReplikas  = 10
	restTargets   = 100
	conflictName  = "conflict"
	missingName   = "missing"
	contestedName = "contested"
)

// restIntervals is for how many synchronization times is counted, and settleIntervals how many pass before: a contested
// copy is repaired less and less often, until it is as seldom as it gets.
const (
	restIntervals   = 3
	settleIntervals = 3
)

// measureRest counts what the operator asks for while nothing happens but a contest.
func (b *bench) measureRest(ctx context.Context) error {
	if err := b.needNamespaces(ctx, b.opts.size()); err != nil {
		return err
	}
	if err := b.startOperator(ctx); err != nil {
		return err
	}
	contest, end := context.WithCancel(ctx)
	defer end()
	healthy, err := b.setRestScene(ctx, contest)
	if err != nil {
		return err
	}
	window := restIntervals * b.opts.interval
	b.progress.say("%d Replikas are in sync, three others cannot be; waiting %s, then counting for %s",
		restReplikas, settleIntervals*b.opts.interval, window)
	if err := sleep(ctx, settleIntervals*b.opts.interval); err != nil {
		return err
	}
	mark, begun := b.cluster.Mark(), time.Now()
	if err := sleep(ctx, window); err != nil {
		return err
	}
	record, err := b.recordSince(mark)
	if err != nil {
		return err
	}
	// Reading the record takes time, in which requests go on.
	inWindow := func(e cluster.AuditEvent) bool {
		return !e.Received.Before(begun) && e.Received.Before(begun.Add(window))
	}
	b.tellRest(record.only(byOperator, inWindow), healthy)
	return nil
}

// setRestScene makes all Replikas and waits until those are in sync that can be.
func (b *bench) setRestScene(ctx, contest context.Context) (healthy []*subject, err error) {
	targets := min(restTargets, b.opts.size())
	globs := firstTargets(targets)
	for number := range restReplikas {
		healthy = append(healthy, newSubject(fmt.Sprintf("rest-%d", number), contentBytes, b.opts.interval, globs))
	}
	for _, subject := range healthy {
		if err := b.create(ctx, subject, targets); err != nil {
			return nil, err
		}
	}
	foreign := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: targetName(0), Name: conflictName}}
	if err := b.client.Create(ctx, foreign); err != nil {
		return nil, err
	}
	conflict := newSubject(conflictName, contentBytes, b.opts.interval, globs)
	missing := newSubject(missingName, contentBytes, b.opts.interval, append([]string{"no-such-namespace"}, globs...))
	contested := newSubject(contestedName, contentBytes, b.opts.interval, globs)
	for _, subject := range []*subject{conflict, missing} {
		if err := b.createSource(ctx, subject); err != nil {
			return nil, err
		}
		if err := b.createReplika(ctx, subject); err != nil {
			return nil, err
		}
	}
	if err := b.create(ctx, contested, targets); err != nil {
		return nil, err
	}
	return healthy, b.contend(contest, contested, targetName(0))
}

// tellRest judges: a source is read once in each interval, and that is all.
func (b *bench) tellRest(record record, healthy []*subject) {
	reads := func(name string) int { return len(record.only(request("get", "configmaps", name))) }
	least, most := reads(healthy[0].name), 0
	for _, subject := range healthy {
		least, most = min(least, reads(subject.name)), max(most, reads(subject.name))
	}
	over := fmt.Sprintf("in %d intervals", restIntervals)
	goal := fmt.Sprintf("%d GETs %s", restIntervals, over)
	b.report.add(row{
		Name: fmt.Sprintf("at rest: each of %d Replikas in sync", len(healthy)), Goal: goal,
		Measured: between(least, most) + " GETs", Verdict: judged(least >= restIntervals-1 && most <= restIntervals),
	})
	for _, name := range []string{conflictName, missingName, contestedName} {
		count := reads(name)
		b.report.add(row{
			Name: fmt.Sprintf("at rest: the Replika %q", name), Goal: goal, Measured: fmt.Sprintf("%d GETs", count),
			Verdict: judged(count <= restIntervals),
		})
	}
	repairs := len(record.only(onCopies(contestedName), writes))
	b.report.add(row{
		Name: "at rest: repairs of the contested copy", Goal: fmt.Sprintf("at most %d %s", restIntervals, over),
		Measured: fmt.Sprint(repairs), Verdict: judged(repairs <= restIntervals),
	})
	sources := func(e cluster.AuditEvent) bool { return e.Verb == "get" && e.Namespace == sourceNamespace }
	rest := record.only(not(sources), not(onLease), not(onCopies(contestedName)))
	b.report.add(row{
		Name: "at rest: writes, lists, status updates, all else", Goal: "none", Measured: fmt.Sprint(len(rest)), Verdict: judged(len(rest) == 0),
		Notes: []string{
			fmt.Sprintf("at rest, beside the GETs of sources and the repairs: %s", listed(rest.tally())),
			fmt.Sprintf("at rest, leader election %s: %s", over, listed(record.only(onLease).tally())),
		},
	})
}

// sleep waits, unless the context ends.
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
