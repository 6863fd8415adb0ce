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
	"slices"
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
	// eventRestPeriod is how long a round is measured after its last event. After two idle seconds the operator returns unused memory,
	// for which it collects its garbage.
	eventRestPeriod = 3 * time.Second
	// scenarioRounds is the number of rounds with new namespaces, edited or deleted copies.
	scenarioRounds = 5
	// eventEdits is the number of edits of the source, each a round. Each causes one write per copy.
	eventEdits = 3
	// eventInterval is the synchronization time while intervals are measured, eventIntervals their number in each of intervalRounds.
	eventInterval  = time.Second
	eventIntervals = 10
	intervalRounds = 3
)

// eventSubject is an environment of one size, with its own operator.
type eventSubject struct {
	*bench
	workload *workload
	costs    *eventCosts
}

// prepare creates namespaces and Replikas, starts the operator, waits until all copies are in sync, and measures the CPU time without events.
func (s *eventSubject) prepare(ctx context.Context) (err error) {
	s.progress.log("%d namespaces and %d other Replikas: waiting until the copies are in sync", s.costs.Namespaces, s.costs.Others)
	s.costs.Milliseconds = map[string][]float64{}
	if err := s.ensureNamespaces(ctx, s.costs.Namespaces); err != nil {
		return err
	}
	selecting, all, err := s.createEventWorkloads(ctx, s.costs.Others)
	if err != nil {
		return err
	}
	s.workload = selecting
	if err := s.startOperator(ctx); err != nil {
		return err
	}
	err = errors.Join(s.waitForSync(ctx, selecting, s.namespaces), s.waitForAllSync(ctx, all[1:], 1))
	if err != nil {
		return err
	}
	// The garbage of the fan-out is none of the events.
	if err := s.startIdleOperator(ctx); err != nil {
		return err
	}
	if err := sleep(ctx, eventRestPeriod); err != nil {
		return err
	}
	before := s.operator.cpuTime()
	if err := sleep(ctx, eventIdlePeriod); err != nil {
		return err
	}
	s.costs.Idle = (s.operator.cpuTime() - before).Seconds() / eventIdlePeriod.Seconds()
	return nil
}

// eventSeries is a number of rounds with events of one type in one environment.
type eventSeries struct {
	event  string
	rounds int
	// prepare is not measured.
	prepare func(context.Context) error
	// do triggers the events of a round, waits for what they cause, and returns their number. The rest that follows is measured, too.
	do   func(ctx context.Context, round int) (int, error)
	rest time.Duration
	// end stops what prepare started; nil for nothing.
	end func()
}

// measureInTurns measures the CPU time of the operators per event that concerns the workloads. All other Replikas are in sync.
func measureInTurns(ctx context.Context, subjects []*eventSubject, events int) error {
	series := make([][]eventSeries, len(subjects))
	for i, subject := range subjects {
		series[i] = subject.allSeries(events)
	}
	for number := range series[0] {
		same := make([]eventSeries, len(subjects))
		for i := range subjects {
			same[i] = series[i][number]
		}
		if err := measureSeriesInTurns(ctx, subjects, same); err != nil {
			return fmt.Errorf("%s: %w", same[0].event, err)
		}
	}
	return nil
}

// measureSeriesInTurns measures one series of each of the subjects. Every other round begins with the last of them.
func measureSeriesInTurns(ctx context.Context, subjects []*eventSubject, series []eventSeries) error {
	for i := range series {
		if series[i].end != nil {
			defer series[i].end()
		}
		if err := series[i].prepare(ctx); err != nil {
			return err
		}
	}
	turns := make([]int, len(subjects))
	for i := range turns {
		turns[i] = i
	}
	for round := range series[0].rounds {
		for _, i := range turns {
			if err := subjects[i].measureRound(ctx, &series[i], round); err != nil {
				return err
			}
		}
		slices.Reverse(turns)
	}
	for _, subject := range subjects {
		subject.progress.log("%d namespaces and %d other Replikas, %s: %.2f ms of CPU time",
			subject.costs.Namespaces, subject.costs.Others, series[0].event, median(subject.costs.Milliseconds[series[0].event]))
	}
	return nil
}

// measureRound adds the CPU time per event of a round, without what the operator uses in the same time without events.
func (s *eventSubject) measureRound(ctx context.Context, series *eventSeries, round int) error {
	if err := sleep(ctx, idlePeriod); err != nil {
		return err
	}
	start, before := time.Now(), s.operator.cpuTime()
	events, err := series.do(ctx, round)
	if err != nil {
		return err
	}
	if err := sleep(ctx, series.rest); err != nil {
		return err
	}
	milliseconds := millisecondsPerEvent(s.operator.cpuTime()-before, time.Since(start), s.costs.Idle, events)
	s.costs.Milliseconds[series.event] = append(s.costs.Milliseconds[series.event], milliseconds)
	return nil
}

func (s *eventSubject) allSeries(events int) []eventSeries {
	var all []eventSeries
	for _, scenario := range s.scenarios(s.workload, events) {
		all = append(all, s.scenarioSeries(scenario))
	}
	return append(all, s.editSeries(), s.intervalSeries())
}

// millisecondsPerEvent returns what the events added to the CPU time. It is positive, so that two of them have a ratio: with few
// events, the CPU time without events can vary by more than they add.
func millisecondsPerEvent(used, period time.Duration, idle float64, events int) float64 {
	const least = 0.01
	added := used.Seconds() - idle*period.Seconds()
	return max(added/float64(events)*1000, least)
}

// scenarioSeries triggers a scenario of the section latency in one namespace after another.
func (s *eventSubject) scenarioSeries(whole scenario) eventSeries {
	var watch *copyWatch
	rounds := slices.Collect(slices.Chunk(whole.namespaces, max(len(whole.namespaces)/scenarioRounds, 1)))
	return eventSeries{
		event:  whole.event,
		rounds: len(rounds),
		prepare: func(ctx context.Context) (err error) {
			if watch, err = s.watchCopies(ctx, s.workload); err != nil {
				return err
			}
			return watch.skip(ctx, s.namespaces)
		},
		do: func(ctx context.Context, round int) (int, error) {
			part := whole
			part.namespaces = rounds[round]
			return len(part.namespaces), part.trigger(ctx, watch, s.workload)
		},
		rest: eventRestPeriod,
		end: func() {
			if watch != nil {
				watch.stop()
			}
		},
	}
}

// editSeries edits the source, and waits for all copies.
func (s *eventSubject) editSeries() eventSeries {
	return eventSeries{
		event:   editedSource,
		rounds:  eventEdits,
		prepare: s.waitForIdle,
		do: func(ctx context.Context, _ int) (int, error) {
			return 1, errors.Join(s.edit(ctx, s.workload), s.waitForSync(ctx, s.workload, s.namespaces))
		},
		rest: eventRestPeriod,
	}
}

// intervalSeries shortens the synchronization time, and counts the reads of the source.
func (s *eventSubject) intervalSeries() eventSeries {
	return eventSeries{
		event:  syncInterval,
		rounds: intervalRounds,
		prepare: func(ctx context.Context) error {
			return errors.Join(s.synchronizeEvery(ctx, s.workload, eventInterval), s.waitForSync(ctx, s.workload, s.namespaces), s.waitForIdle(ctx))
		},
		do: func(ctx context.Context, _ int) (int, error) {
			mark := s.cluster.Mark()
			if err := sleep(ctx, eventIntervals*eventInterval); err != nil {
				return 0, err
			}
			record, err := s.auditSince(mark)
			if err != nil {
				return 0, err
			}
			reads := len(record.only(byOperator, readsSource, request("get", "configmaps", s.workload.name)))
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
