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

// floorCommand makes this program the floor.
const floorCommand = "floor"

// floorAgent is the user agent of the floor's requests.
const floorAgent = "floor"

// floor is the bare loop that the operator is compared with, in a process of its own as the operator is: the time of its
// processor, and that of the API server, are shared out alike.
type floor struct {
	command *exec.Cmd
	input   io.WriteCloser
	output  *bufio.Reader
}

// floorTask is what the floor works on: the first line that it is told.
type floorTask struct {
	Kubeconfig string
	Parallel   int
	Replika    *v1alpha1.Replika
	Namespaces []string
}

// floorStep is one thing to do: any further line.
type floorStep struct {
	Action string
	// Source is the source as it is now.
	Source *corev1.ConfigMap
}

// What a step can be.
const (
	stepCreate = "create"
	stepUpdate = "update"
	stepDelete = "delete"
)

// What the floor answers, and is told, in between: it prepares a step, says that it could go, is told to, and says that it
// is done.
const (
	saysReady = "ready"
	goOn      = "go"
	saysDone  = "done"
)

// startFloor starts the floor and waits until its informer runs.
func (s *stage) startFloor(ctx context.Context, subject *subject, namespaces []string) (*floor, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &floor{command: exec.CommandContext(ctx, self, floorCommand)}
	f.command.Stderr = os.Stderr
	if f.input, err = f.command.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := f.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	f.output = bufio.NewReader(output)
	if err := f.command.Start(); err != nil {
		return nil, fmt.Errorf("start the floor: %w", err)
	}
	task := floorTask{Kubeconfig: s.kubeconfig, Parallel: s.opts.parallel, Replika: subject.replika, Namespaces: namespaces}
	if err := f.tell(task, saysReady); err != nil {
		return nil, errors.Join(err, f.stop())
	}
	return f, nil
}

// prepare has the floor make a step's requests; what they take to be made is not measured.
func (f *floor) prepare(action string, source *corev1.ConfigMap) error {
	return f.tell(floorStep{Action: action, Source: source}, saysReady)
}

// send has the floor send the requests that it prepared, and waits for the answers.
func (f *floor) send() error { return f.tell(goOn, saysDone) }

func (f *floor) tell(line any, answer string) error {
	if err := json.NewEncoder(f.input).Encode(line); err != nil {
		return fmt.Errorf("tell the floor: %w", err)
	}
	said, err := f.output.ReadString('\n')
	if err != nil {
		return fmt.Errorf("hear the floor: %w", err)
	}
	if strings.TrimSpace(said) != answer {
		return fmt.Errorf("the floor says %q instead of %q", said, answer)
	}
	return nil
}

// stop ends the floor: there is nothing more to hear.
func (f *floor) stop() error {
	return errors.Join(f.input.Close(), f.command.Wait())
}
