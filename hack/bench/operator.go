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
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	startPatience = 30 * time.Second
	stopPatience  = 20 * time.Second
)

// operator is the operator's binary, run as a process of its own.
type operator struct {
	command *exec.Cmd
	log     string
	// health and profiles are addresses on this machine.
	health, profiles string
	lifeline         io.Closer
	done             chan struct{} // closed once the process has ended
}

// tied becomes the operator, and leaves a reader of file 3 behind, which kills the process group when the benchmark, that
// alone holds the other end, is gone in whatever way.
const tied = `{ read -r _ <&3; kill -s KILL -- -$$; } >/dev/null 2>&1 & exec 3<&-; exec "$0" "$@"`

// startOperator starts the operator and waits until it leads.
func (s *stage) startOperator(ctx context.Context) (err error) {
	if err := s.stopOperator(); err != nil {
		return err
	}
	o := &operator{log: filepath.Join(s.folder, "operator.log"), done: make(chan struct{})}
	if o.health, err = freeAddress(); err != nil {
		return err
	}
	if o.profiles, err = freeAddress(); err != nil {
		return err
	}
	if err := o.start(s.opts.operator, s.kubeconfig,
		"--leader-elect", "--leader-election-namespace="+accountNamespace,
		"--metrics-bind-address=0", "--health-probe-bind-address="+o.health, "--pprof-bind-address="+o.profiles,
		fmt.Sprintf("--max-concurrent-writes=%d", s.opts.parallel),
	); err != nil {
		return fmt.Errorf("start the operator: %w", err)
	}
	s.operator = o
	if err := o.awaitReady(ctx); err != nil {
		return err
	}
	return s.awaitLeader(ctx)
}

func (o *operator) start(binary, kubeconfig string, args ...string) error {
	log, err := os.Create(o.log)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own handle
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	defer reader.Close() // likewise
	o.lifeline = writer

	o.command = exec.Command("/bin/sh", append([]string{"-c", tied, binary}, args...)...)
	o.command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	o.command.Stdout, o.command.Stderr = log, log
	o.command.ExtraFiles = []*os.File{reader}
	// Out of the terminal's process group: Ctrl-C is for the benchmark, which then ends the operator in order.
	o.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := o.command.Start(); err != nil {
		return errors.Join(err, writer.Close())
	}
	go func() {
		_ = o.command.Wait() // told by ProcessState
		close(o.done)
	}()
	return nil
}

// freeAddress is an address on this machine that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (o *operator) awaitReady(ctx context.Context) error {
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, startPatience, true, func(ctx context.Context) (bool, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+o.health+"/readyz", http.NoBody)
		if err != nil {
			return false, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, o.ended()
		}
		return response.StatusCode == http.StatusOK, response.Body.Close()
	})
	if err != nil {
		return fmt.Errorf("wait for the operator to be ready: %w\n%s", err, o.tail())
	}
	return nil
}

// ended is an error if the process is no longer there.
func (o *operator) ended() error {
	select {
	case <-o.done:
		return fmt.Errorf("the operator ended by itself: %s\n%s", o.command.ProcessState, o.tail())
	default:
		return nil
	}
}

// stopOperator ends the operator, if it runs: politely first, so that it gives its lease back.
func (s *stage) stopOperator() error {
	o := s.operator
	if o == nil {
		return nil
	}
	s.operator = nil
	defer o.lifeline.Close() // there is nobody left to be killed by it
	if err := o.ended(); err != nil {
		return err
	}
	if err := o.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-o.done:
		return nil
	case <-time.After(stopPatience):
		_ = o.command.Process.Kill()
		<-o.done
		return fmt.Errorf("the operator had to be killed: it did not end within %s", stopPatience)
	}
}

// tail is the end of the operator's log, as text for people.
func (o *operator) tail() string {
	const most = 20
	log, err := os.ReadFile(o.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return "The end of the operator's log:\n  " + strings.Join(lines[max(0, len(lines)-most):], "\n  ")
}
