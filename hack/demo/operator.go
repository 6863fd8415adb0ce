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
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// gracePeriod is how long the operator may take to end when it is told to.
const gracePeriod = 10 * time.Second

// operator is the operator's binary, run as a process of its own.
type operator struct {
	cmd     *exec.Cmd
	logFile string
	health  string
	done    chan struct{} // closed once the process has ended
}

func startOperator(binary, kubeconfig, logFile string) (*operator, error) {
	health, err := freeAddress()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has its own handle

	cmd := exec.Command(binary, "--metrics-bind-address=0", "--health-probe-bind-address="+health)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	cmd.Stdout, cmd.Stderr = log, log
	// Out of the terminal's process group: Ctrl-C is for the demo, which then ends the operator in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	o := &operator{cmd: cmd, logFile: logFile, health: health, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // told by cmd.ProcessState
		close(o.done)
	}()
	return o, nil
}

// freeAddress is an address on this machine that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// ready asks the operator's readiness probe.
func (o *operator) ready(ctx context.Context) (ok bool, saw string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+o.health+"/readyz", http.NoBody)
	if err != nil {
		return false, err.Error()
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, err.Error()
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK, "/readyz answers " + response.Status
}

// ended is an error if the process is no longer there.
func (o *operator) ended() error {
	select {
	case <-o.done:
		return fmt.Errorf("the operator ended by itself: %s", o.cmd.ProcessState)
	default:
		return nil
	}
}

// stop ends the process: politely first.
func (o *operator) stop() error {
	if err := o.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-o.done:
		return nil
	case <-time.After(gracePeriod):
		_ = o.cmd.Process.Kill()
		<-o.done
		return fmt.Errorf("the operator had to be killed: it did not end within %s", gracePeriod)
	}
}

// tail is the end of the operator's log, as text for people.
func (o *operator) tail() string {
	const most = 20
	log, err := os.ReadFile(o.logFile)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return fmt.Sprintf("The end of the operator's log, %s:\n  %s",
		o.logFile, strings.Join(lines[max(0, len(lines)-most):], "\n  "))
}
