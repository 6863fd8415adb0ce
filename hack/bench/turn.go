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

// turn is one fan-out of operator or floor: first every copy is made, then, after an edit of the source, changed.
type turn struct {
	Create phase `json:"create"`
	Edit   phase `json:"edit"`
}

// phase is one of the two.
type phase struct {
	// Seconds are from the cause to the last copy.
	Seconds float64 `json:"seconds"`
	// Processor is how long the process kept a processor busy meanwhile, in seconds.
	Processor float64 `json:"cpuSeconds"`
	// Least and Most are the requests about any one copy, Others all further requests.
	Least  int            `json:"leastRequestsPerCopy"`
	Most   int            `json:"mostRequestsPerCopy"`
	Others map[string]int `json:"otherRequests,omitempty"`
}

// fanOutName is the name of what is fanned out.
const fanOutName = "fanout"

// contentBytes is how much content a copy has where that is of no interest.
const contentBytes = 1 << 10

func (s *stage) fanOutSubject(copies int) *subject {
	return newSubject(fanOutName, contentBytes, neverDue, firstTargets(copies))
}

// operatorTurn lets a fresh operator fan out to so many namespaces. with is called while the copies are there.
func (s *stage) operatorTurn(ctx context.Context, copies int, with func() error) (t turn, err error) {
	subject := s.fanOutSubject(copies)
	if err := s.createSource(ctx, subject); err != nil {
		return t, err
	}
	if err := s.startOperator(ctx); err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, s.delete(ctx, subject), s.stopOperator()) }()
	created := request("create", "replikas", subject.name)
	t.Create, err = s.operatorPhase(copies, created, func() error {
		return s.profiled(ctx, "create.pprof", func() error {
			return errors.Join(s.createReplika(ctx, subject), s.awaitSync(ctx, subject, copies))
		})
	})
	if err != nil {
		return t, err
	}
	edited := request("patch", "configmaps", subject.name)
	t.Edit, err = s.operatorPhase(copies, edited, func() error {
		return s.profiled(ctx, "edit.pprof", func() error {
			return errors.Join(s.edit(ctx, subject), s.awaitSync(ctx, subject, copies))
		})
	})
	if err != nil {
		return t, err
	}
	return t, with()
}

// calm is how long it is waited before something is measured, so that what was before has ended.
const calm = time.Second

// operatorPhase measures what the operator makes of one request of ours.
func (s *stage) operatorPhase(copies int, cause cluster.Filter, do func() error) (phase, error) {
	time.Sleep(calm)
	mark, before := s.cluster.Mark(), s.operator.cpuTime()
	if err := do(); err != nil {
		return phase{}, err
	}
	record, err := s.recordSince(mark)
	if err != nil {
		return phase{}, err
	}
	causes := record.only(byBench, cause)
	ours := record.only(byOperator)
	onThem := ours.only(onCopies(fanOutName))
	if len(causes) != 1 || len(onThem) == 0 {
		return phase{}, fmt.Errorf("the audit log shows %d causes and %d requests about copies", len(causes), len(onThem))
	}
	p := phase{
		Seconds:   onThem.only(writes).ended().Sub(causes[0].Completed).Seconds(),
		Processor: (s.operator.cpuTime() - before).Seconds(),
		Others:    ours.only(not(onCopies(fanOutName))).tally(),
	}
	p.Least, p.Most = onThem.perCopy(copies)
	return p, nil
}

// floorTurn lets the floor do the same.
func (s *stage) floorTurn(ctx context.Context, copies int) (t turn, err error) {
	subject := s.fanOutSubject(copies)
	if err := s.createSource(ctx, subject); err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, s.client.Delete(ctx, subject.source)) }()
	f, err := s.startFloor(ctx, subject, targetNames(copies))
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	if t.Create, err = s.floorPhase(f, stepCreate, copies, subject); err != nil {
		return t, err
	}
	if err := s.edit(ctx, subject); err != nil {
		return t, err
	}
	if t.Edit, err = s.floorPhase(f, stepUpdate, copies, subject); err != nil {
		return t, err
	}
	_, err = s.floorPhase(f, stepDelete, copies, subject)
	return t, err
}

func (s *stage) floorPhase(f *floor, step string, copies int, subject *subject) (phase, error) {
	if err := f.prepare(step, subject.source); err != nil {
		return phase{}, err
	}
	time.Sleep(calm)
	mark, before := s.cluster.Mark(), cpuTime(f.command.Process.Pid)
	if err := f.send(); err != nil {
		return phase{}, err
	}
	busy := cpuTime(f.command.Process.Pid) - before
	record, err := s.recordSince(mark)
	if err != nil {
		return phase{}, err
	}
	ours := record.only(byFloor, writes)
	if len(ours) != copies {
		return phase{}, fmt.Errorf("the floor wrote %d times, not %d", len(ours), copies)
	}
	p := phase{Seconds: ours.ended().Sub(ours.begun()).Seconds(), Processor: busy.Seconds()}
	p.Least, p.Most = ours.perCopy(copies)
	return p, nil
}
