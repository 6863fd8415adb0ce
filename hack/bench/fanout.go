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
)

// fanOutGoal is the highest allowed ratio between the times of operator and baseline.
const fanOutGoal = 1.15

// fanOut is the result of operator and baseline at one size.
type fanOut struct {
	Namespaces int `json:"namespaces"`
	// Operator and Baseline are the rounds. Rounds with the same index were run as a pair.
	Operator []round `json:"operator"`
	Baseline []round `json:"baseline"`
	// Memory is the operator's memory after all copies were created and updated.
	Memory memory `json:"memory"`
}

// measureFanOut compares the first fan-out and an edit with the baseline.
func (b *bench) measureFanOut(ctx context.Context) error {
	base, err := b.fanOutAt(ctx, b.opts.targets(), b.opts.pairs)
	if err != nil {
		return err
	}
	b.base = base
	b.report.addSeries(base)
	b.reportFanOut(base, "first fan-out", func(r round) phase { return r.Create })
	b.reportFanOut(base, "edit", func(r round) phase { return r.Edit })
	return nil
}

// fanOutAt runs pairs of rounds.
func (b *bench) fanOutAt(ctx context.Context, namespaces, pairs int) (*fanOut, error) {
	if err := b.ensureNamespaces(ctx, namespaces); err != nil {
		return nil, err
	}
	result := &fanOut{Namespaces: namespaces}
	runOperator := func(int) error {
		round, err := b.operatorRound(ctx, namespaces, func() (err error) {
			result.Memory, err = b.operator.memory(ctx)
			return err
		})
		result.Operator = append(result.Operator, round)
		return err
	}
	runBaseline := func(int) error {
		round, err := b.baselineRound(ctx, namespaces)
		result.Baseline = append(result.Baseline, round)
		return err
	}
	return result, inPairs(pairs, runOperator, runBaseline, func(pair int) {
		operator, baseline := result.Operator[pair], result.Baseline[pair]
		b.progress.log("%d namespaces, pair %d of %d: first fan-out %.2f s, baseline %.2f s (%.2f); edit %.2f s, baseline %.2f s (%.2f)",
			namespaces, pair+1, pairs,
			operator.Create.Seconds, baseline.Create.Seconds, operator.Create.Seconds/baseline.Create.Seconds,
			operator.Edit.Seconds, baseline.Edit.Seconds, operator.Edit.Seconds/baseline.Edit.Seconds)
	})
}

func (b *bench) reportFanOut(f *fanOut, what string, of func(round) phase) {
	var operator, baseline []phase
	for i := range f.Operator {
		operator, baseline = append(operator, of(f.Operator[i])), append(baseline, of(f.Baseline[i]))
	}
	b.reportPhases(fmt.Sprintf("%s to %d namespaces", what, f.Namespaces), what, operator, baseline)
}

// reportPhases compares the phases of operator and baseline, which were run in pairs. name is that of the row with the times, and what
// begins those of the others.
func (b *bench) reportPhases(name, what string, operator, baseline []phase) {
	var operatorTimes, baselineTimes, ratios []float64
	least, most := operator[0].Min, operator[0].Max
	for i := range operator {
		operatorTimes = append(operatorTimes, operator[i].Seconds)
		baselineTimes = append(baselineTimes, baseline[i].Seconds)
		ratios = append(ratios, operator[i].Seconds/baseline[i].Seconds)
		least, most = min(least, operator[i].Min), max(most, operator[i].Max)
	}
	ratio := median(ratios)
	others := operator[len(operator)-1].Others
	b.report.add(row{
		Name: name, Goal: fmt.Sprintf("at most %.2f × the baseline", fanOutGoal),
		Measured: formatSeconds(median(operatorTimes)), Baseline: formatSeconds(median(baselineTimes)), Ratio: ratio,
		Verdict: verdictOf(ratio <= fanOutGoal), Data: ratios,
	})
	b.report.add(row{
		Name: fmt.Sprintf("%s: requests per copy", what), Goal: "exactly 1", Measured: formatRange(least, most), Baseline: "1",
		Verdict: verdictOf(least == 1 && most == 1),
		Notes:   []string{fmt.Sprintf("%s: other requests of the operator: %s", what, formatCounts(others))},
	})
}
