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

// growthGoal is how much more a copy may cost when there are many more.
const growthGoal = 1.15

// measureGrowth measures the fan-out at further sizes: at parts of the first one for the plot, and at the larger ones that
// were asked for, the largest of which is judged.
func (b *bench) measureGrowth(ctx context.Context) error {
	size := b.opts.size()
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
	b.tellGrowth("first fan-out", from, to, func(t turn) phase { return t.Create })
	b.tellGrowth("edit", from, to, func(t turn) phase { return t.Edit })
	heap := float64(to.Memory.Heap-from.Memory.Heap) / float64(to.Namespaces-from.Namespaces)
	b.report.add(row{
		Name:     fmt.Sprintf("growth: live heap per further namespace with its copy, %d to %d", from.Namespaces, to.Namespaces),
		Measured: fmt.Sprintf("%.2f KiB", heap/1024),
		Notes: []string{fmt.Sprintf("memory with a copy in each of %d namespaces: live heap %s, RssAnon %s; of %d: %s, %s",
			from.Namespaces, mebibytes(from.Memory.Heap), mebibytes(from.Memory.Anonymous),
			to.Namespaces, mebibytes(to.Memory.Heap), mebibytes(to.Memory.Anonymous))},
	})
	return nil
}

// tellGrowth compares what one copy costs at two sizes.
func (b *bench) tellGrowth(what string, from, to *fanOut, of func(turn) phase) {
	perCopy := func(f *fanOut, turns []turn, measure func(phase) float64) float64 {
		var values []float64
		for _, turn := range turns {
			values = append(values, measure(of(turn)))
		}
		return median(values) / float64(f.Namespaces) * 1000
	}
	compare := func(measure func(phase) float64) (ours, floors [2]float64) {
		return [2]float64{perCopy(from, from.Operator, measure), perCopy(to, to.Operator, measure)},
			[2]float64{perCopy(from, from.Floor, measure), perCopy(to, to.Floor, measure)}
	}
	for _, sort := range []struct {
		name    string
		measure func(phase) float64
	}{
		{"time", func(p phase) float64 { return p.Seconds }},
		{"the operator's processor time", func(p phase) float64 { return p.Processor }},
	} {
		ours, floors := compare(sort.measure)
		grown, floorGrown := ours[1]/ours[0], floors[1]/floors[0]
		b.report.add(row{
			Name: fmt.Sprintf("growth: %s per copy, %s, %d to %d", sort.name, what, from.Namespaces, to.Namespaces),
			Goal: fmt.Sprintf("at most × %.2f", growthGoal), Measured: fmt.Sprintf("× %.2f (%.2f to %.2f ms)", grown, ours[0], ours[1]),
			Floor: fmt.Sprintf("× %.2f", floorGrown), Ratio: grown / floorGrown, Verdict: judged(grown <= growthGoal),
		})
	}
}
