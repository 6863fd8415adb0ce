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
	"time"

	"github.com/prosimcorp/replika/test/cluster"
)

// round is one run of operator or baseline: all copies are created and then, after an edit of the source, updated.
type round struct {
	Create phase `json:"create"`
	Edit   phase `json:"edit"`
}

// phase is the result of one part of a round.
type phase struct {
	// Seconds is the time from the triggering request to the last copy.
	Seconds float64 `json:"seconds"`
	// CPU is the CPU time of the process in this phase, in seconds.
	CPU float64 `json:"cpuSeconds"`
	// Min and Max are the lowest and highest number of requests per copy. Others are all other requests.
	Min    int            `json:"minRequestsPerCopy"`
	Max    int            `json:"maxRequestsPerCopy"`
	Others map[string]int `json:"otherRequests,omitempty"`
}

// fanOutName is the name of the workload that is fanned out.
const fanOutName = "fanout"

func (e *environment) fanOutWorkload(copies int) *workload {
	return newWorkload(fanOutName, e.opts.contentBytes(), noResync, targetGlobs(copies))
}

// operatorRound starts a new operator and lets it fan out. It calls inspect while the copies exist.
func (e *environment) operatorRound(ctx context.Context, copies int, inspect func() error) (r round, err error) {
	workload := e.fanOutWorkload(copies)
	if err := e.createSource(ctx, workload); err != nil {
		return r, err
	}
	if err := e.startOperator(ctx); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, e.delete(ctx, workload), e.stopOperator()) }()
	created := request("create", "replikas", workload.name)
	r.Create, err = e.measureOperator(copies, onCopies(fanOutName), created, func() error {
		return e.withCPUProfile(ctx, "create.pprof", func() error {
			return errors.Join(e.createReplika(ctx, workload), e.waitForSync(ctx, workload, copies))
		})
	})
	if err != nil {
		return r, err
	}
	edited := request("patch", "configmaps", workload.name)
	r.Edit, err = e.measureOperator(copies, onCopies(fanOutName), edited, func() error {
		return e.withCPUProfile(ctx, "edit.pprof", func() error {
			return errors.Join(e.edit(ctx, workload), e.waitForSync(ctx, workload, copies))
		})
	})
	if err != nil {
		return r, err
	}
	return r, inspect()
}

// idlePeriod is the pause before each measurement, in which earlier work can finish.
const idlePeriod = time.Second

// measureOperator measures the operator's reaction to one request of the benchmark, which do sends. onCopy matches the requests for the
// copies.
func (e *environment) measureOperator(copies int, onCopy, trigger cluster.Filter, do func() error) (phase, error) {
	time.Sleep(idlePeriod)
	mark, before := e.cluster.Mark(), e.operator.cpuTime()
	if err := do(); err != nil {
		return phase{}, err
	}
	record, err := e.auditSince(mark)
	if err != nil {
		return phase{}, err
	}
	triggers := record.only(byBench, trigger)
	requests := record.only(byOperator)
	copyRequests := requests.only(onCopy)
	if len(triggers) != 1 || len(copyRequests) == 0 {
		return phase{}, fmt.Errorf("the audit log has %d triggering requests and %d requests for copies", len(triggers), len(copyRequests))
	}
	p := phase{
		Seconds: copyRequests.only(writes).lastCompleted().Sub(triggers[0].Completed).Seconds(),
		CPU:     (e.operator.cpuTime() - before).Seconds(),
		Others:  requests.only(not(onCopy)).tally(),
	}
	p.Min, p.Max = copyRequests.perCopy(copies)
	return p, nil
}

// baselineRound runs the same round with the baseline.
func (e *environment) baselineRound(ctx context.Context, copies int) (r round, err error) {
	workload := e.fanOutWorkload(copies)
	if err := e.createSource(ctx, workload); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, e.client.Delete(ctx, workload.source)) }()
	b, err := e.startBaseline(ctx, targetNames(copies), workload)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	if r.Create, err = e.measureBaseline(b, stepCreate, copies, workload); err != nil {
		return r, err
	}
	if err := e.edit(ctx, workload); err != nil {
		return r, err
	}
	if r.Edit, err = e.measureBaseline(b, stepUpdate, copies, workload); err != nil {
		return r, err
	}
	_, err = e.measureBaseline(b, stepDelete, copies, workload)
	return r, err
}

func (e *environment) measureBaseline(b *baseline, step string, copies int, workloads ...*workload) (phase, error) {
	if err := b.prepare(step, workloads); err != nil {
		return phase{}, err
	}
	time.Sleep(idlePeriod)
	mark, before := e.cluster.Mark(), cpuTime(b.command.Process.Pid)
	if err := b.send(); err != nil {
		return phase{}, err
	}
	busy := cpuTime(b.command.Process.Pid) - before
	record, err := e.auditSince(mark)
	if err != nil {
		return phase{}, err
	}
	requests := record.only(byBaseline, succeeded, not(startsWatch))
	if len(requests) != copies {
		return phase{}, fmt.Errorf("the baseline sent %d requests, not %d", len(requests), copies)
	}
	p := phase{Seconds: requests.lastCompleted().Sub(requests.firstReceived()).Seconds(), CPU: busy.Seconds()}
	p.Min, p.Max = requests.perCopy(copies)
	return p, nil
}

// inPairs runs the operator and the baseline in pairs, and calls log after each pair. The order alternates, so that a machine that
// gets slower or faster affects both alike.
func inPairs(pairs int, runOperator, runBaseline func(pair int) error, log func(pair int)) error {
	for pair := range pairs {
		first, second := runOperator, runBaseline
		if pair%2 == 1 {
			first, second = runBaseline, runOperator
		}
		for _, run := range []func(int) error{first, second} {
			if err := run(pair); err != nil {
				return err
			}
		}
		log(pair)
	}
	return nil
}
