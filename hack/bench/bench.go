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
)

// bench is one run: the stage that it is measured on, and what was measured.
type bench struct {
	*stage
	opts     *options
	progress *progress
	report   *report
	// base is the fan-out at the first size; the growth starts from it.
	base *fanOut
}

// section measures one part of the budget.
type section struct {
	name, title string
	measure     func(*bench, context.Context) error
	// alone has a control plane of its own, with nothing from the sections before.
	alone bool
}

func sections() []section {
	return []section{
		{name: "fanout", title: "First fan-out and edit", measure: (*bench).measureFanOut},
		{name: "rest", title: "At rest", measure: (*bench).measureRest},
		{name: "restart", title: "Restart", measure: (*bench).measureRestart},
		{name: "memory", title: "Memory", measure: (*bench).measureMemory},
		{name: "load", title: "Edits under load", measure: (*bench).measureLoad},
		{name: "latency", title: "Latency", measure: (*bench).measureLatency},
		{name: "growth", title: "Growth", measure: (*bench).measureGrowth},
		{name: "many", title: "Many Replikas", measure: (*bench).measureMany, alone: true},
	}
}

func sectionNames() []string {
	var names []string
	for _, section := range sections() {
		names = append(names, section.name)
	}
	return names
}

func newBench(opts *options, progress *progress) *bench {
	return &bench{opts: opts, progress: progress, report: newReport()}
}

// measure runs the sections. Whatever happens, nothing is left running.
func (b *bench) measure(ctx context.Context) error {
	b.report.Environment = describeMachine()
	var errs []error
	for _, section := range sections() {
		if !b.opts.wants(section.name) {
			continue
		}
		if ctx.Err() != nil {
			errs = append(errs, context.Cause(ctx))
			break
		}
		b.progress.section(section.title)
		if err := b.measureOne(ctx, section); err != nil {
			b.progress.say("FAILED: %v", err)
			errs = append(errs, fmt.Errorf("%s: %w", section.title, err))
		}
	}
	return errors.Join(append(errs, b.leave())...)
}

// measureOne runs one section on a stage that is clear of what was there before.
func (b *bench) measureOne(ctx context.Context, section section) (err error) {
	if section.alone {
		if err := b.leave(); err != nil {
			return err
		}
	}
	if b.stage == nil {
		if b.stage, err = setStage(ctx, b.opts, b.progress); err != nil {
			return err
		}
		b.report.Environment.Kubernetes, b.report.Environment.Operator = b.kubernetes, b.version
	}
	b.report.section = section.name
	err = section.measure(b, ctx)
	if err != nil {
		// What a failed section left behind must not be measured with the next.
		return errors.Join(err, b.leave())
	}
	return b.clearObjects(ctx)
}

// leave ends the stage, if there is one.
func (b *bench) leave() error {
	if b.stage == nil {
		return nil
	}
	err := b.clear()
	b.stage = nil
	return err
}
