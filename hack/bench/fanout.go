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

// fanOut is operator and floor, in turn, at one size.
type fanOut struct {
	Namespaces int `json:"namespaces"`
	// Operator and Floor are the turns; those of one index belong together.
	Operator []turn `json:"operator"`
	Floor    []turn `json:"floor"`
	// Memory is the operator's with all copies made and changed.
	Memory memory `json:"memory"`
}

// measureFanOut measures the first fan-out and an edit against the floor.
func (b *bench) measureFanOut(ctx context.Context) error {
	base, err := b.fanOutAt(ctx, b.opts.size(), b.opts.pairs)
	if err != nil {
		return err
	}
	b.base = base
	b.report.addSeries(base)
	b.tellFanOut(base, "first fan-out", func(t turn) phase { return t.Create })
	b.tellFanOut(base, "edit", func(t turn) phase { return t.Edit })
	return nil
}

// fanOutAt takes turns. Who is first changes, so that what gets slower or faster over time hits both alike.
func (b *bench) fanOutAt(ctx context.Context, namespaces, pairs int) (*fanOut, error) {
	if err := b.needNamespaces(ctx, namespaces); err != nil {
		return nil, err
	}
	result := &fanOut{Namespaces: namespaces}
	operator := func() error {
		turn, err := b.operatorTurn(ctx, namespaces, func() (err error) {
			result.Memory, err = b.operator.memory(ctx)
			return err
		})
		result.Operator = append(result.Operator, turn)
		return err
	}
	floor := func() error {
		turn, err := b.floorTurn(ctx, namespaces)
		result.Floor = append(result.Floor, turn)
		return err
	}
	for pair := range pairs {
		first, second := operator, floor
		if pair%2 == 1 {
			first, second = floor, operator
		}
		for _, take := range []func() error{first, second} {
			if err := take(); err != nil {
				return nil, err
			}
		}
		ours, floors := result.Operator[pair], result.Floor[pair]
		b.progress.say("%d namespaces, pair %d of %d: first %.2f s, floor %.2f s (%.2f); edit %.2f s, floor %.2f s (%.2f)",
			namespaces, pair+1, pairs,
			ours.Create.Seconds, floors.Create.Seconds, ours.Create.Seconds/floors.Create.Seconds,
			ours.Edit.Seconds, floors.Edit.Seconds, ours.Edit.Seconds/floors.Edit.Seconds)
	}
	return result, nil
}

func (b *bench) tellFanOut(f *fanOut, what string, of func(turn) phase) {
	var ours, floors, ratios []float64
	least, most := of(f.Operator[0]).Least, of(f.Operator[0]).Most
	for i := range f.Operator {
		mine, its := of(f.Operator[i]), of(f.Floor[i])
		ours, floors, ratios = append(ours, mine.Seconds), append(floors, its.Seconds), append(ratios, mine.Seconds/its.Seconds)
		least, most = min(least, mine.Least), max(most, mine.Most)
	}
	const goal = 1.15
	ratio := median(ratios)
	b.report.add(row{
		Name: fmt.Sprintf("%s to %d namespaces", what, f.Namespaces), Goal: fmt.Sprintf("at most %.2f × the floor", goal),
		Measured: seconds(median(ours)), Floor: seconds(median(floors)), Ratio: ratio, Verdict: judged(ratio <= goal), Data: ratios,
	})
	b.report.add(row{
		Name: fmt.Sprintf("%s: requests per copy", what), Goal: "exactly 1", Measured: between(least, most), Floor: "1",
		Verdict: judged(least == 1 && most == 1),
		Notes:   []string{fmt.Sprintf("%s, beside the copies the operator asked for: %s", what, listed(of(f.Operator[len(f.Operator)-1]).Others))},
	})
}
