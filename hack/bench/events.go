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
	Idle float64 `json:"idleSecondsPerSecond"`
	// Milliseconds has one value for each round.
	Milliseconds map[string][]float64 `json:"millisecondsPerEvent"`
}

// measureEvents measures the CPU time per event against the number of namespaces that the Replika selects, and then, in new
// environments, against the number of other Replikas.
func (b *bench) measureEvents(ctx context.Context) error {
	least := eventSizes(b.opts.namespaces, leastEventNamespaces)[0]
	var byNamespaces, byReplikas []*eventCosts
	for _, namespaces := range eventSizes(b.opts.namespaces, leastEventNamespaces) {
		byNamespaces = append(byNamespaces, &eventCosts{Namespaces: namespaces})
	}
	for _, replikas := range eventSizes(b.opts.replikas, 1) {
		byReplikas = append(byReplikas, &eventCosts{Namespaces: least, Others: replikas})
	}
	if err := b.measureEventsAt(ctx, byNamespaces); err != nil {
		return err
	}
	if err := b.renewEnvironment(ctx); err != nil {
		return err
	}
	if err := b.measureEventsAt(ctx, byReplikas); err != nil {
		return err
	}
	b.report.EventsByNamespaces, b.report.EventsByReplikas = byNamespaces, byReplikas
	b.reportEvents(byNamespaces, "namespaces", func(c *eventCosts) int { return c.Namespaces })
	b.reportEvents(byReplikas, "other Replikas", func(c *eventCosts) int { return c.Others })
	return nil
}

// eventSizes returns the sizes to compare: those of the option or, if it has only one, also a tenth of it.
func eventSizes(sizes []int, least int) []int {
	if len(sizes) > 1 {
		return sizes
	}
	return slices.Compact([]int{min(max(sizes[0]/10, least), sizes[0]), sizes[0]})
}

// measureEventsAt measures all sizes at the same time: each has an environment with its operator, and the rounds of one size take turns with
// those of the others. What else the machine does would make two runs, one after another, differ by more than the sizes do.
func (b *bench) measureEventsAt(ctx context.Context, sizes []*eventCosts) (err error) {
	subjects := make([]*eventSubject, len(sizes))
	for i, costs := range sizes {
		own := b // the first size has the environment of the section
		if i > 0 {
			own = newBench(b.opts, b.progress)
			defer func() { err = errors.Join(err, own.stopEnvironment()) }()
			if err := own.renewEnvironment(ctx); err != nil {
				return err
			}
		}
		subjects[i] = &eventSubject{bench: own, costs: costs}
		if err := subjects[i].prepare(ctx); err != nil {
			return err
		}
	}
	return measureInTurns(ctx, subjects, min(b.opts.events, sizes[0].Namespaces/2)) // edits and deletions use each copy only once
}

// createEventWorkloads creates the Replika that the events concern, and the others.
func (b *bench) createEventWorkloads(ctx context.Context, others int) (selecting *workload, all []*workload, err error) {
	selecting = newWorkload("events", b.opts.contentBytes(), noResync, []string{"target-*"})
	all = []*workload{selecting}
	for number := range others {
		all = append(all, b.otherWorkload(number))
	}
	return selecting, all, errors.Join(
		b.createNamespace(ctx, otherNamespace), b.inParallel(ctx, all, b.createSource), b.inParallel(ctx, all, b.createReplika))
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

// reportEvents compares the first with the last size, round by round. What an edit of the source and an interval cost has no goal.
func (b *bench) reportEvents(sizes []*eventCosts, unit string, size func(*eventCosts) int) {
	first, last := sizes[0], sizes[len(sizes)-1]
	for _, event := range []string{newNamespace, editedCopy, deletedCopy, editedSource, syncInterval} {
		from, to := first.Milliseconds[event], last.Milliseconds[event]
		ratios := make([]float64, len(from))
		for round := range from {
			ratios[round] = to[round] / from[round]
		}
		growth := median(ratios)
		line := row{
			Name: fmt.Sprintf("operator CPU time per %s, %d to %d %s", event, size(first), size(last), unit),
			Measured: fmt.Sprintf("× %.2f (rounds: %.2f to %.2f), %.2f to %.2f ms",
				growth, slices.Min(ratios), slices.Max(ratios), median(from), median(to)),
			Data: ratios,
		}
		if event != editedSource && event != syncInterval {
			line.Goal, line.Verdict = fmt.Sprintf("at most × %.2f", eventGoal), verdictOf(growth <= eventGoal)
		}
		b.report.add(line)
	}
}
