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
	"time"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/test/cluster"
)

// manySources is one Replika with many sources.
type manySources struct {
	*workload
	// sources has a workload for each source, with a Replika of it alone.
	sources []*workload
	targets int
}

// sourcesName is the name of the Replika, and begins those of its sources.
const sourcesName = "sources"

func (b *bench) newManySources(synchronization time.Duration) *manySources {
	targets := b.opts.sourceTargets
	many := &manySources{
		workload: newWorkload(sourcesName, b.opts.contentBytes(), synchronization, targetGlobs(targets)), targets: targets,
	}
	many.replika.Spec.Source.Name, many.replika.Spec.Source.Names = "", []string{sourcesName + "-*"}
	for number := range b.opts.sources {
		source := newWorkload(fmt.Sprintf("%s-%03d", sourcesName, number), b.opts.contentBytes(), synchronization, nil)
		source.replika = planner.ForSource(many.replika, source.name, v1alpha1.ReplikaStatus{})
		many.sources = append(many.sources, source)
	}
	return many
}

func (m *manySources) copies() int { return len(m.sources) * m.targets }

func (m *manySources) title() string {
	return fmt.Sprintf("%d sources × %d namespaces", len(m.sources), m.targets)
}

// measureSources compares the first fan-out of a Replika with many sources with the baseline, and counts the requests while nothing
// happens.
func (b *bench) measureSources(ctx context.Context) error {
	if err := b.ensureNamespaces(ctx, b.opts.sourceTargets); err != nil {
		return err
	}
	var operator, baseline []phase
	runOperator := func(int) error {
		measured, err := b.fanOutSources(ctx, b.newManySources(noResync), func(*manySources) error { return nil })
		operator = append(operator, measured)
		return err
	}
	runBaseline := func(int) error {
		measured, err := b.baselineSources(ctx, b.newManySources(noResync))
		baseline = append(baseline, measured)
		return err
	}
	err := inPairs(b.opts.pairs, runOperator, runBaseline, func(pair int) {
		b.progress.log("%s, pair %d of %d: %.2f s, baseline %.2f s", b.newManySources(noResync).title(), pair+1, b.opts.pairs,
			operator[pair].Seconds, baseline[pair].Seconds)
	})
	if err != nil {
		return err
	}
	title := b.newManySources(noResync).title()
	b.reportPhases(title+": first fan-out", title, operator, baseline)
	_, err = b.fanOutSources(ctx, b.newManySources(b.opts.interval), func(many *manySources) error { return b.measureIdleSources(ctx, many) })
	return err
}

// fanOutSources starts a new operator, lets it create all copies, and calls inspect while they exist.
func (b *bench) fanOutSources(ctx context.Context, many *manySources, inspect func(*manySources) error) (p phase, err error) {
	if err := b.inParallel(ctx, many.sources, b.createSource); err != nil {
		return p, err
	}
	if err := b.startOperator(ctx); err != nil {
		return p, err
	}
	defer func() {
		err = errors.Join(err, b.delete(ctx, many.workload), b.deleteSources(ctx, many), b.stopOperator())
	}()
	p, err = b.measureOperator(many.copies(), onTargets, request("create", "replikas", many.name), func() error {
		return b.withCPUProfile(ctx, "sources.pprof", func() error {
			return errors.Join(b.createReplika(ctx, many.workload), b.waitForSync(ctx, many.workload, many.copies()))
		})
	})
	if err != nil {
		return p, err
	}
	return p, inspect(many)
}

// baselineSources creates the same copies with the baseline.
func (b *bench) baselineSources(ctx context.Context, many *manySources) (p phase, err error) {
	if err := b.inParallel(ctx, many.sources, b.createSource); err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, b.deleteSources(ctx, many)) }()
	base, err := b.startBaseline(ctx, targetNames(many.targets), many.sources...)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, base.stop()) }()
	if p, err = b.measureBaseline(base, stepCreate, many.copies(), many.sources...); err != nil {
		return p, err
	}
	_, err = b.measureBaseline(base, stepDelete, many.copies(), many.sources...)
	return p, err
}

func (b *bench) deleteSources(ctx context.Context, many *manySources) error {
	return b.inParallel(ctx, many.sources, func(ctx context.Context, source *workload) error { return b.client.Delete(ctx, source.source) })
}

// measureIdleSources expects one list of the sources in each interval, and no other request.
func (b *bench) measureIdleSources(ctx context.Context, many *manySources) error {
	if err := sleep(ctx, b.opts.interval); err != nil {
		return err
	}
	window := idleIntervals * b.opts.interval
	mark, start := b.cluster.Mark(), time.Now()
	if err := sleep(ctx, window); err != nil {
		return err
	}
	all, err := b.auditSince(mark)
	if err != nil {
		return err
	}
	record := all.only(byOperator, receivedIn(start, window), not(onLease), not(startsWatch))
	lists, others := record.only(listsSources), record.only(not(listsSources))
	b.report.add(row{
		Name: many.title() + ", idle: lists of the sources", Goal: fmt.Sprintf("%d in %d intervals", idleIntervals, idleIntervals),
		Measured: fmt.Sprint(len(lists)), Verdict: verdictOf(len(lists) >= idleIntervals-1 && len(lists) <= idleIntervals),
	})
	b.report.add(row{
		Name: many.title() + ", idle: reads, writes, status updates, anything else", Goal: "none",
		Measured: fmt.Sprint(len(others)), Verdict: verdictOf(len(others) == 0),
		Notes: []string{fmt.Sprintf("%s, idle: requests other than lists of the sources: %s", many.title(), formatCounts(others.tally()))},
	})
	return nil
}

// listsSources matches the lists of sources.
func listsSources(e cluster.AuditEvent) bool {
	return e.Verb == "list" && e.Resource == "configmaps" && e.Namespace == sourceNamespace
}
