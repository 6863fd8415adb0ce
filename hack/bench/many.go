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

	"golang.org/x/sync/errgroup"

	"github.com/prosimcorp/replika/test/cluster"
)

// manySamples is how many new namespaces are made under many Replikas.
const manySamples = 5

// measureMany measures many Replikas in one operator: until all is in sync, and then what one more namespace takes.
func (b *bench) measureMany(ctx context.Context) error {
	replikas, targets := b.opts.replikas, b.opts.replikaTargets
	if err := b.needNamespaces(ctx, targets); err != nil {
		return err
	}
	if err := b.startOperator(ctx); err != nil {
		return err
	}
	var subjects []*subject
	for number := range replikas {
		subjects = append(subjects, newSubject(fmt.Sprintf("many-%03d", number), contentBytes, neverDue, []string{"target-*"}))
	}
	if err := b.inParallel(ctx, subjects, b.createSource); err != nil {
		return err
	}
	if err := b.fillMany(ctx, subjects, targets); err != nil {
		return err
	}
	memory, err := b.operator.memory(ctx)
	if err != nil {
		return err
	}
	b.report.add(row{
		Name:     fmt.Sprintf("%d Replikas × %d namespaces: memory", replikas, targets),
		Measured: fmt.Sprintf("live heap %s, RssAnon %s", mebibytes(memory.Heap), mebibytes(memory.Anonymous)), Data: memory,
		Notes: []string{fmt.Sprintf("%d Replikas × %d namespaces: %.2f KiB live heap per copy, all included", replikas, targets,
			float64(memory.Heap)/float64(replikas*targets)/1024)},
	})
	return b.growMany(ctx, subjects)
}

func (b *bench) inParallel(ctx context.Context, subjects []*subject, do func(context.Context, *subject) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(b.opts.parallel)
	for _, subject := range subjects {
		group.Go(func() error { return do(ctx, subject) })
	}
	return group.Wait()
}

// fillMany makes the Replikas at once and measures until the last copy.
func (b *bench) fillMany(ctx context.Context, subjects []*subject, targets int) error {
	mark := b.cluster.Mark()
	b.progress.say("making %d Replikas, each with %d copies", len(subjects), targets)
	if err := b.inParallel(ctx, subjects, b.createReplika); err != nil {
		return err
	}
	for _, subject := range subjects {
		if err := b.awaitSync(ctx, subject, targets); err != nil {
			return err
		}
	}
	record, err := b.recordSince(mark)
	if err != nil {
		return err
	}
	ours := record.only(byOperator)
	onThem := ours.only(onTargets)
	took := onThem.only(writes).ended().Sub(record.only(byBench, func(e cluster.AuditEvent) bool { return e.Verb == "create" && e.Resource == "replikas" }).begun())
	copies := len(subjects) * targets
	b.report.add(row{
		Name:     fmt.Sprintf("%d Replikas × %d namespaces: time to all copies", len(subjects), targets),
		Measured: fmt.Sprintf("%.1f s, %.0f copies/s", took.Seconds(), float64(copies)/took.Seconds()),
		Notes: []string{fmt.Sprintf("%d Replikas × %d namespaces: beside the copies the operator asked for: %s", len(subjects), targets,
			listed(ours.only(not(onTargets), not(onLease)).tally()))},
	})
	b.report.add(row{
		Name: fmt.Sprintf("%d Replikas × %d namespaces: requests for %d copies", len(subjects), targets, copies), Goal: fmt.Sprint(copies),
		Measured: fmt.Sprint(len(onThem)), Verdict: judged(len(onThem) == copies),
	})
	return nil
}

// onTargets picks requests about anything in target namespaces.
func onTargets(e cluster.AuditEvent) bool { return strings.HasPrefix(e.Namespace, "target-") }

// growMany makes further namespaces, one at a time.
func (b *bench) growMany(ctx context.Context, subjects []*subject) error {
	var taken []float64
	var all record
	for range manySamples {
		if err := sleep(ctx, calm); err != nil {
			return err
		}
		mark := b.cluster.Mark()
		name := targetName(b.namespaces)
		if err := b.createNamespace(ctx, name); err != nil {
			return err
		}
		b.namespaces++
		for _, subject := range subjects {
			if err := b.awaitSync(ctx, subject, b.namespaces); err != nil {
				return err
			}
		}
		record, err := b.recordSince(mark)
		if err != nil {
			return err
		}
		last := record.only(byOperator, onTargets, writes).ended()
		taken = append(taken, last.Sub(record.only(byBench, request("create", "namespaces", name)).ended()).Seconds())
		all = append(all, record.only(byOperator, not(onLease))...)
	}
	b.report.add(row{
		Name: fmt.Sprintf("%d Replikas: one new namespace", len(subjects)),
		Measured: fmt.Sprintf("%.0f ms to its last copy, %.1f requests per Replika", median(taken)*1000,
			float64(len(all))/manySamples/float64(len(subjects))),
		Data:  taken,
		Notes: []string{fmt.Sprintf("%d new namespaces under %d Replikas take the operator: %s", manySamples, len(subjects), listed(all.tally()))},
	})
	return nil
}
