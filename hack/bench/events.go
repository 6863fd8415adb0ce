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
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// eventGoal is the highest allowed ratio between the CPU times per event at the largest and at the first size.
const eventGoal = 1.2

// leastEventNamespaces is the lowest number of namespaces that is derived from --namespaces.
const leastEventNamespaces = 10

// eventCosts is the CPU time of the operator per event, at one size.
type eventCosts struct {
	// Namespaces is the number of namespaces that the Replika selects, Others that of Replikas that select none of them.
	Namespaces int `json:"namespaces"`
	Others     int `json:"otherReplikas"`
	// Idle is the CPU time per second without events. It is subtracted.
	Idle         float64            `json:"idleSecondsPerSecond"`
	Milliseconds map[string]float64 `json:"millisecondsPerEvent"`
}

// measureEvents measures the CPU time per event against the number of namespaces that the Replika selects, and then, in a new
// environment, against the number of other Replikas.
func (b *bench) measureEvents(ctx context.Context) error {
	if err := b.measureEventsByNamespaces(ctx); err != nil {
		return err
	}
	if err := b.renewEnvironment(ctx); err != nil {
		return err
	}
	return b.measureEventsByReplikas(ctx)
}

func (b *bench) measureEventsByNamespaces(ctx context.Context) error {
	workload, err := b.createEventWorkload(ctx)
	if err != nil {
		return err
	}
	sizes := eventSizes(b.opts.namespaces, leastEventNamespaces)
	for _, namespaces := range sizes {
		if err := b.ensureNamespaces(ctx, namespaces); err != nil {
			return err
		}
		costs, err := b.eventCostsOf(ctx, workload, b.eventCount(sizes[0]))
		if err != nil {
			return err
		}
		b.report.EventsByNamespaces = append(b.report.EventsByNamespaces, costs)
	}
	b.reportEvents(b.report.EventsByNamespaces, "namespaces", func(c *eventCosts) int { return c.Namespaces })
	return nil
}

// measureEventsByReplikas uses the lowest number of namespaces.
func (b *bench) measureEventsByReplikas(ctx context.Context) error {
	namespaces := eventSizes(b.opts.namespaces, leastEventNamespaces)[0]
	if err := errors.Join(b.ensureNamespaces(ctx, namespaces), b.createNamespace(ctx, otherNamespace)); err != nil {
		return err
	}
	selecting, err := b.createEventWorkload(ctx)
	if err != nil {
		return err
	}
	var others []*workload
	for _, count := range eventSizes(b.opts.replikas, 1) {
		for number := len(others); number < count; number++ {
			others = append(others, b.otherWorkload(number))
		}
		costs, err := b.eventCostsOf(ctx, selecting, b.eventCount(namespaces), others...)
		if err != nil {
			return err
		}
		b.report.EventsByReplikas = append(b.report.EventsByReplikas, costs)
	}
	b.reportEvents(b.report.EventsByReplikas, "other Replikas", func(c *eventCosts) int { return c.Others })
	return nil
}

// eventSizes returns the sizes to compare: those of the option or, if it has only one, also a tenth of it.
func eventSizes(sizes []int, least int) []int {
	if len(sizes) > 1 {
		return sizes
	}
	return slices.Compact([]int{min(max(sizes[0]/10, least), sizes[0]), sizes[0]})
}

// eventCount returns the number of events of each type. Edits and deletions use each copy only once.
func (b *bench) eventCount(namespaces int) int { return min(b.opts.events, namespaces/2) }

// createEventWorkload creates the Replika that the events concern.
func (b *bench) createEventWorkload(ctx context.Context) (*workload, error) {
	workload := newWorkload("events", b.opts.contentBytes(), noResync, []string{"target-*"})
	return workload, errors.Join(b.createSource(ctx, workload), b.createReplika(ctx, workload))
}

// otherNamespace is the only namespace that the other Replikas select.
const otherNamespace = "other"

// otherWorkload returns a Replika that selects its namespace in one of three ways.
func (b *bench) otherWorkload(number int) *workload {
	workload := newWorkload(fmt.Sprintf("other-%06d", number), b.opts.contentBytes(), noResync, nil)
	namespaces := &workload.replika.Spec.Target.Namespaces
	switch number % 3 {
	case 0:
		namespaces.ReplicateIn = []string{otherNamespace}
	case 1:
		namespaces.ReplicateIn = []string{otherNamespace + "*"}
	case 2:
		namespaces.Selector = &v1alpha1.LabelSelector{MatchLabels: v1alpha1.MatchLabels{corev1.LabelMetadataName: otherNamespace}}
	}
	return workload
}

// reportEvents compares the first with the last size. What an edit of the source and an interval cost has no goal.
func (b *bench) reportEvents(series []*eventCosts, unit string, size func(*eventCosts) int) {
	from, to := series[0], series[len(series)-1]
	for _, event := range []string{newNamespace, editedCopy, deletedCopy, editedSource, syncInterval} {
		growth := to.Milliseconds[event] / from.Milliseconds[event]
		line := row{
			Name:     fmt.Sprintf("operator CPU time per %s, %d to %d %s", event, size(from), size(to), unit),
			Measured: fmt.Sprintf("× %.2f (%.2f to %.2f ms)", growth, from.Milliseconds[event], to.Milliseconds[event]),
		}
		if event != editedSource && event != syncInterval {
			line.Goal, line.Verdict = fmt.Sprintf("at most × %.2f", eventGoal), verdictOf(growth <= eventGoal)
		}
		b.report.add(line)
	}
}
