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
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// baselineCommand is the argument that runs this program as the baseline.
const baselineCommand = "baseline"

// baselineAgent is the user agent of the baseline's requests.
const baselineAgent = "baseline"

// baseline is the bare loop that the operator is compared with. It runs in a process of its own, as the operator does, so
// that both compete with the API server for the processors in the same way.
type baseline struct {
	command *exec.Cmd
	input   io.WriteCloser
	output  *bufio.Reader
}

// baselineTask is the first line of the baseline's input.
type baselineTask struct {
	Kubeconfig string
	Parallel   int
	// There is one copy of each Replika in each namespace.
	Replikas   []*v1alpha1.Replika
	Namespaces []string
}

// baselineStep is one set of requests. The baseline reads one per step.
type baselineStep struct {
	Action string
	// Sources are the current sources, in the order of the Replikas.
	Sources []*corev1.ConfigMap
}

// The actions of a step.
const (
	stepRead   = "read" // the sources; all others are about the copies
	stepCreate = "create"
	stepUpdate = "update"
	stepDelete = "delete"
)

// The protocol of a step: the baseline reads the step, prepares its requests and prints replyReady; it reads sendCommand,
// sends the requests and prints replyDone.
const (
	replyReady  = "ready"
	sendCommand = "send"
	replyDone   = "done"
)

// startBaseline starts the baseline and waits until its informer has synced.
func (e *environment) startBaseline(ctx context.Context, namespaces []string, workloads ...*workload) (*baseline, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b := &baseline{command: exec.CommandContext(ctx, self, baselineCommand)}
	b.command.Stderr = os.Stderr
	if b.input, err = b.command.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := b.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	b.output = bufio.NewReader(output)
	if err := b.command.Start(); err != nil {
		return nil, fmt.Errorf("starting the baseline: %w", err)
	}
	task := baselineTask{Kubeconfig: e.kubeconfig, Parallel: e.opts.parallel, Namespaces: namespaces}
	for _, workload := range workloads {
		task.Replikas = append(task.Replikas, workload.replika)
	}
	if err := b.call(task, replyReady); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	return b, nil
}

// prepare lets the baseline build the requests of a step. The time that this takes is not measured.
func (b *baseline) prepare(action string, workloads []*workload) error {
	step := baselineStep{Action: action}
	for _, workload := range workloads {
		step.Sources = append(step.Sources, workload.source)
	}
	return b.call(step, replyReady)
}

// send lets the baseline send the prepared requests, and returns when it has read all responses.
func (b *baseline) send() error { return b.call(sendCommand, replyDone) }

// call writes one line and waits for the expected reply.
func (b *baseline) call(line any, wantReply string) error {
	if err := json.NewEncoder(b.input).Encode(line); err != nil {
		return fmt.Errorf("writing to the baseline: %w", err)
	}
	reply, err := b.output.ReadString('\n')
	if err != nil {
		return fmt.Errorf("reading from the baseline: %w", err)
	}
	if strings.TrimSpace(reply) != wantReply {
		return fmt.Errorf("the baseline replied %q instead of %q", reply, wantReply)
	}
	return nil
}

// stop closes the baseline's input, which ends it, and waits for its exit.
func (b *baseline) stop() error {
	return errors.Join(b.input.Close(), b.command.Wait())
}
