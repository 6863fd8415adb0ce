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
	"slices"
)

// growthGoal is the highest allowed ratio between the costs per copy at the largest and at the first size.
const growthGoal = 1.15

// measureGrowth measures the fan-out at further sizes: at fractions of the first size, for the plot, and at the larger sizes
// of --namespaces. The largest one is compared with the goal.
func (b *bench) measureGrowth(ctx context.Context) error {
	size := b.opts.targets()
	if b.base == nil {
		base, err := b.fanOutAt(ctx, size, b.opts.growthPairs)
		if err != nil {
			return err
		}
		b.base = base
		b.report.addSeries(base)
	}
	for _, further := range slices.Concat([]int{size / 4, size / 2}, b.opts.namespaces[1:]) {
		result, err := b.fanOutAt(ctx, further, b.opts.growthPairs)
		if err != nil {
			return err
		}
		b.report.addSeries(result)
	}
	slices.SortFunc(b.report.Series, func(a, b *fanOut) int { return a.Namespaces - b.Namespaces })
	from, to := b.base, b.report.Series[len(b.report.Series)-1]
	if from == to {
		from = b.report.Series[0]
	}
	b.reportGrowth("first fan-out", from, to, func(r round) phase { return r.Create })
	b.reportGrowth("edit", from, to, func(r round) phase { return r.Edit })
	heap := float64(to.Memory.Heap-from.Memory.Heap) / float64(to.Namespaces-from.Namespaces)
	b.report.add(row{
		Name:     fmt.Sprintf("growth: live heap per further namespace with its copy, %d to %d", from.Namespaces, to.Namespaces),
		Measured: fmt.Sprintf("%.2f KiB", heap/1024),
		Notes: []string{fmt.Sprintf("live heap and RssAnon with one copy per namespace: %s and %s with %d namespaces, %s and %s with %d",
			formatMiB(from.Memory.Heap), formatMiB(from.Memory.Anonymous), from.Namespaces,
			formatMiB(to.Memory.Heap), formatMiB(to.Memory.Anonymous), to.Namespaces)},
	})
	return nil
}

// reportGrowth compares the cost per copy at two sizes.
func (b *bench) reportGrowth(what string, from, to *fanOut, of func(round) phase) {
	for _, cost := range []struct {
		name    string
		measure func(phase) float64
	}{
		{"time", func(p phase) float64 { return p.Seconds }},
		{"operator CPU time", func(p phase) float64 { return p.CPU }},
	} {
		perCopy := func(f *fanOut, rounds []round) (milliseconds float64) {
			var values []float64
			for _, round := range rounds {
				values = append(values, cost.measure(of(round)))
			}
			return median(values) / float64(f.Namespaces) * 1000
		}
		before, after := perCopy(from, from.Operator), perCopy(to, to.Operator)
		growth := after / before
		baselineGrowth := perCopy(to, to.Baseline) / perCopy(from, from.Baseline)
		b.report.add(row{
			Name: fmt.Sprintf("growth: %s per copy, %s, %d to %d", cost.name, what, from.Namespaces, to.Namespaces),
			Goal: fmt.Sprintf("at most × %.2f", growthGoal), Measured: fmt.Sprintf("× %.2f (%.2f to %.2f ms)", growth, before, after),
			Baseline: fmt.Sprintf("× %.2f", baselineGrowth), Ratio: growth / baselineGrowth, Verdict: verdictOf(growth <= growthGoal),
		})
	}
}
