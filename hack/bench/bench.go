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

// bench is one run of the benchmark: its environment and its results.
type bench struct {
	*environment
	opts     *options
	progress *progress
	report   *report
	// base is the fan-out at the first size. Growth is measured relative to it.
	base *fanOut
}

// section measures one part of the performance budget.
type section struct {
	name, title string
	measure     func(*bench, context.Context) error
	// ownEnvironment reports whether the section needs a new control plane, without objects of earlier sections. No other section
	// uses it afterwards.
	ownEnvironment bool
}

func sections() []section {
	return []section{
		{name: "fanout", title: "First fan-out and edit", measure: (*bench).measureFanOut},
		{name: "rest", title: "Idle", measure: (*bench).measureIdle},
		{name: "restart", title: "Restart", measure: (*bench).measureRestart},
		{name: "memory", title: "Memory", measure: (*bench).measureMemory},
		{name: "coldstart", title: "Cold start", measure: (*bench).measureColdStart},
		{name: "load", title: "Edits under load", measure: (*bench).measureLoad},
		{name: "latency", title: "Latency", measure: (*bench).measureLatency},
		{name: "growth", title: "Growth", measure: (*bench).measureGrowth},
		{name: "neighbours", title: "Neighbours that hang", measure: (*bench).measureNeighbours, ownEnvironment: true},
		{name: "many", title: "Many Replikas", measure: (*bench).measureMany, ownEnvironment: true},
		{name: "sources", title: "Many sources of one Replika", measure: (*bench).measureSources},
		{name: "large", title: "One source in many namespaces", measure: (*bench).measureLarge, ownEnvironment: true},
		{name: "events", title: "CPU time per event", measure: (*bench).measureEvents, ownEnvironment: true},
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

// measure runs the selected sections. It stops all processes before it returns.
func (b *bench) measure(ctx context.Context) error {
	b.report.Run = newRunInfo()
	var errs []error
	for _, section := range sections() {
		if !b.opts.selected(section.name) {
			continue
		}
		if ctx.Err() != nil {
			errs = append(errs, context.Cause(ctx))
			break
		}
		b.progress.section(section.title)
		if err := b.measureSection(ctx, section); err != nil {
			b.progress.log("FAILED: %v", err)
			errs = append(errs, fmt.Errorf("%s: %w", section.title, err))
		}
	}
	return errors.Join(append(errs, b.stopEnvironment())...)
}

// measureSection runs one section without the objects of earlier sections.
func (b *bench) measureSection(ctx context.Context, section section) error {
	if section.ownEnvironment || b.environment == nil {
		if err := b.renewEnvironment(ctx); err != nil {
			return err
		}
	}
	b.report.section = section.name
	err := section.measure(b, ctx)
	if err != nil || section.ownEnvironment {
		// The objects of a failed section must not affect the next one. Those of many Replikas take minutes to delete.
		return errors.Join(err, b.stopEnvironment())
	}
	return b.deleteWorkloads(ctx)
}

// renewEnvironment starts an environment, in place of a running one.
func (b *bench) renewEnvironment(ctx context.Context) (err error) {
	if err := b.stopEnvironment(); err != nil {
		return err
	}
	if b.environment, err = startEnvironment(ctx, b.opts, b.progress); err != nil {
		return err
	}
	b.report.Run.Kubernetes, b.report.Run.Operator = b.kubernetes, b.version
	return nil
}

// stopEnvironment stops the environment, if one is running.
func (b *bench) stopEnvironment() error {
	if b.environment == nil {
		return nil
	}
	err := b.stop()
	b.environment = nil
	return err
}
