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
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// The types of events.
const (
	newNamespace = "new namespace"
	editedCopy   = "edited copy"
	deletedCopy  = "deleted copy"
	editedSource = "edited source"
	syncInterval = "interval"
)

const (
	// eventIdlePeriod is how long the CPU time without events is measured.
	eventIdlePeriod = 10 * time.Second
	// eventEdits is the number of edits of the source. Each causes one write per copy.
	eventEdits = 3
	// eventInterval and eventIntervals are the synchronization time while intervals are measured, and their number.
	eventInterval  = time.Second
	eventIntervals = 10
)

// eventCostsOf measures the CPU time of a newly started operator per event that concerns the Replika of the workload. All other
// Replikas are in sync. At the end it stops the operator, and deletes the namespaces that it created.
func (b *bench) eventCostsOf(ctx context.Context, workload *workload, events int, others ...*workload) (*eventCosts, error) {
	namespaces := b.namespaces
	costs := &eventCosts{Namespaces: namespaces, Others: len(others), Milliseconds: map[string]float64{}}
	b.progress.log("%d namespaces and %d other Replikas: waiting until the copies are in sync", namespaces, len(others))
	if err := b.startForEvents(ctx, workload, others); err != nil {
		return nil, err
	}
	before := b.operator.cpuTime()
	if err := sleep(ctx, eventIdlePeriod); err != nil {
		return nil, err
	}
	costs.Idle = (b.operator.cpuTime() - before).Seconds() / eventIdlePeriod.Seconds()
	for _, series := range b.allEventSeries(workload, events) {
		milliseconds, err := b.millisecondsOf(ctx, series, costs.Idle)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", series.event, err)
		}
		b.progress.log("%s: %.2f ms of CPU time", series.event, milliseconds)
		costs.Milliseconds[series.event] = milliseconds
	}
	return costs, errors.Join(b.stopOperator(), b.deleteNamespaces(ctx, namespaces))
}

// startForEvents creates those of the other Replikas that do not exist, starts the operator, and waits until it is idle.
func (b *bench) startForEvents(ctx context.Context, workload *workload, others []*workload) error {
	missing := others[:0:0]
	for _, other := range others {
		if other.replika.ResourceVersion == "" {
			missing = append(missing, other)
		}
	}
	err := errors.Join(b.inParallel(ctx, missing, b.createSource), b.inParallel(ctx, missing, b.createReplika), b.synchronizeEvery(ctx, workload, noResync))
	if err != nil {
		return err
	}
	// Before, the status may be that of an earlier size.
	if err := b.startIdleOperator(ctx); err != nil {
		return err
	}
	return errors.Join(b.waitForSync(ctx, workload, b.namespaces), b.waitForAllSync(ctx, others, 1), b.waitForIdle(ctx))
}

// eventSeries is a number of events of one type.
type eventSeries struct {
	event string
	// prepare is not measured.
	prepare func(context.Context) error
	// do triggers the events, waits for all that they cause, and returns their number.
	do func(context.Context) (int, error)
}

func (b *bench) allEventSeries(workload *workload, events int) []eventSeries {
	var all []eventSeries
	for _, scenario := range b.scenarios(workload, events) {
		all = append(all, b.scenarioSeries(workload, scenario))
	}
	return append(all, b.editSeries(workload), b.intervalSeries(workload))
}

// millisecondsOf returns the CPU time per event, without what the operator uses in the same time without events.
func (b *bench) millisecondsOf(ctx context.Context, series eventSeries, idle float64) (float64, error) {
	if err := series.prepare(ctx); err != nil {
		return 0, err
	}
	if err := sleep(ctx, idlePeriod); err != nil {
		return 0, err
	}
	start, before := time.Now(), b.operator.cpuTime()
	events, err := series.do(ctx)
	if err != nil {
		return 0, err
	}
	return millisecondsPerEvent(b.operator.cpuTime()-before, time.Since(start), idle, events), nil
}

// millisecondsPerEvent returns what the events added to the CPU time. It is positive, so that two of them have a ratio: with few
// events, the CPU time without events can vary by more than they add.
func millisecondsPerEvent(used, period time.Duration, idle float64, events int) float64 {
	const least = 0.01
	added := used.Seconds() - idle*period.Seconds()
	return max(added/float64(events)*1000, least)
}

// scenarioSeries triggers a scenario of the section latency in one namespace after another.
func (b *bench) scenarioSeries(workload *workload, scenario scenario) eventSeries {
	var watch *copyWatch
	return eventSeries{
		event: scenario.event,
		prepare: func(ctx context.Context) (err error) {
			if watch, err = b.watchCopies(ctx, workload); err != nil {
				return err
			}
			return watch.skip(ctx, b.namespaces)
		},
		do: func(ctx context.Context) (int, error) {
			defer watch.stop()
			return len(scenario.namespaces), errors.Join(scenario.trigger(ctx, watch, workload), sleep(ctx, idlePeriod))
		},
	}
}

// editSeries edits the source, and waits for all copies.
func (b *bench) editSeries(workload *workload) eventSeries {
	return eventSeries{
		event:   editedSource,
		prepare: b.waitForIdle,
		do: func(ctx context.Context) (int, error) {
			for range eventEdits {
				if err := errors.Join(b.edit(ctx, workload), b.waitForSync(ctx, workload, b.namespaces)); err != nil {
					return 0, err
				}
			}
			return eventEdits, sleep(ctx, idlePeriod)
		},
	}
}

// intervalSeries shortens the synchronization time, and counts the reads of the source.
func (b *bench) intervalSeries(workload *workload) eventSeries {
	return eventSeries{
		event: syncInterval,
		prepare: func(ctx context.Context) error {
			return errors.Join(b.synchronizeEvery(ctx, workload, eventInterval), b.waitForSync(ctx, workload, b.namespaces), b.waitForIdle(ctx))
		},
		do: func(ctx context.Context) (int, error) {
			mark := b.cluster.Mark()
			if err := sleep(ctx, eventIntervals*eventInterval); err != nil {
				return 0, err
			}
			record, err := b.auditSince(mark)
			if err != nil {
				return 0, err
			}
			reads := len(record.only(byOperator, readsSource, request("get", "configmaps", workload.name)))
			if reads == 0 {
				return 0, errors.New("the operator did not read the source")
			}
			return reads, nil
		},
	}
}

// synchronizeEvery changes the synchronization time of the Replika.
func (e *environment) synchronizeEvery(ctx context.Context, workload *workload, interval time.Duration) error {
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"synchronization": v1alpha1.SynchronizationSpec{Time: v1alpha1.Duration{Duration: interval}}}})
	if err != nil {
		return err
	}
	return e.client.Patch(ctx, workload.replika, client.RawPatch("application/merge-patch+json", patch))
}
