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

// Package operator runs the operator's binary as a process, so that the suites,
// the demo and the benchmark can kill, pause and stop it as a kubelet or a
// failing machine does.
package operator

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// gracePeriod is the maximum time from SIGTERM to the operator's exit. A kubelet
// waits for 30 s. The operator itself fails if it needs longer, so this is only for
// one that hangs; a machine that stalls needs more.
const gracePeriod = time.Minute

// probeTimeout limits a request to the health port: a paused operator accepts the
// connection and never responds.
const probeTimeout = time.Second

// Options configure an operator.
type Options struct {
	// Binary is the path that Build returned.
	Binary string
	// Kubeconfig is the file with the operator's access to the cluster.
	Kubeconfig string
	// LogFile is the file to which the operator's log is appended.
	LogFile string
	// Environment has further variables, each as NAME=value.
	Environment []string
	// Args are further flags. They override the flags that Start sets.
	Args []string
	// Restart starts the operator again when it exits because it lost the
	// leadership, as a kubelet does. A leader that was paused for 5 s exits, and a
	// shared machine can stall for longer.
	Restart bool
}

// Process is a process of the operator. It is killed when the process that
// started it ends.
type Process struct {
	options Options
	health  string
	exited  chan struct{}

	mu      sync.Mutex
	command *exec.Cmd
	// ending is true once the operator was asked to exit.
	ending bool
}

// watchdogScript executes the operator, after it has started a reader of file 3 in
// the background. The test holds the other end of that pipe open. When the test
// ends for any reason, the reader gets an end of file and kills the process group.
const watchdogScript = `{ read -r _ <&3; kill -s KILL -- -$$; } >/dev/null 2>&1 & exec 3<&-; exec "$0" "$@"`

// Start starts the operator, and does not wait until it is ready.
func Start(o Options) (_ *Process, err error) {
	p := &Process{options: o, exited: make(chan struct{})}
	if p.health, err = FreeAddress(); err != nil {
		return nil, fmt.Errorf("finding a port for the operator's probes: %w", err)
	}
	if err := p.start(); err != nil {
		return nil, err
	}
	return p, nil
}

// start starts the command.
func (p *Process) start() error {
	o := &p.options
	log, err := os.OpenFile(o.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the operator's log: %w", err)
	}
	defer func() { _ = log.Close() }() // the process has its own handle
	info, err := log.Stat()
	if err != nil {
		return fmt.Errorf("reading the operator's log: %w", err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("creating the watchdog's pipe: %w", err)
	}
	defer func() { _ = reader.Close() }()

	args := []string{"-c", watchdogScript, o.Binary, "--metrics-bind-address=0", "--health-probe-bind-address=" + p.health}
	command := exec.Command("/bin/sh", append(args, o.Args...)...)
	command.Env = append(os.Environ(), "KUBECONFIG="+o.Kubeconfig)
	command.Env = append(command.Env, o.Environment...)
	command.Stdout, command.Stderr = log, log
	command.ExtraFiles = []*os.File{reader}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		return errors.Join(fmt.Errorf("starting the operator: %w", err), writer.Close())
	}
	p.command = command
	go func() {
		_ = command.Wait() // ProcessState has the result
		_ = writer.Close() // the watchdog's
		p.ended(info.Size())
	}()
	return nil
}

// ended starts the operator again, or reports its end. Its log begins at the offset.
func (p *Process) ended(logOffset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.options.Restart && !p.ending && lostLeadership.MatchString(p.Log()[logOffset:]) && p.start() == nil {
		return
	}
	close(p.exited)
}

// lostLeadership matches the errors with which a leader exits after a pause.
var lostLeadership = regexp.MustCompile(`leader election lost|may have lost leadership|so leadership may be lost`)

// signal sends a signal to the operator. One that ends it also ends its restarts.
func (p *Process) signal(signal syscall.Signal, ends bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ending = p.ending || ends
	return p.command.Process.Signal(signal)
}

// state describes how the operator has exited.
func (p *Process) state() *os.ProcessState {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.command.ProcessState
}

// FreeAddress returns an address of the loopback interface that no process listens
// on.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// Ready returns nil if the readiness probe succeeds.
func (p *Process) Ready() error {
	if !p.Running() {
		return fmt.Errorf("the operator has exited: %s", p.state())
	}
	client := http.Client{Timeout: probeTimeout}
	response, err := client.Get("http://" + p.health + "/readyz")
	if err != nil {
		return fmt.Errorf("calling the readiness probe: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(response.Body)
		return fmt.Errorf("the readiness probe returned %s: %s", response.Status, body)
	}
	return nil
}

// Running reports whether the operator has not exited yet.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Exited returns a channel that is closed when the operator has exited.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Ended returns an error if the operator has exited.
func (p *Process) Ended() error {
	if p.Running() {
		return nil
	}
	return fmt.Errorf("the operator exited unexpectedly: %s", p.state())
}

// PID returns the operator's process ID.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.command.Process.Pid
}

// Kill kills the operator (SIGKILL) and returns when it has exited. It fails if
// the operator had exited before.
func (p *Process) Kill() error {
	if err := p.signal(syscall.SIGKILL, true); err != nil {
		return fmt.Errorf("killing the operator: %w", err)
	}
	<-p.exited
	if status, ok := p.state().Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		return fmt.Errorf("the operator exited before it was killed: %s", p.state())
	}
	return nil
}

// Stop terminates the operator as a kubelet does (SIGTERM). It fails unless the
// operator exits within the grace period and with exit code 0.
func (p *Process) Stop() error {
	if err := p.signal(syscall.SIGTERM, true); err != nil {
		return fmt.Errorf("stopping the operator: %w", err)
	}
	select {
	case <-p.exited:
	case <-time.After(gracePeriod):
		return errors.Join(fmt.Errorf("the operator did not exit within %s of SIGTERM", gracePeriod), p.Kill())
	}
	if !p.state().Success() {
		return fmt.Errorf("the operator failed after SIGTERM: %s", p.state())
	}
	return nil
}

// Pause pauses the operator (SIGSTOP). Its connections stay open.
func (p *Process) Pause() error {
	if err := p.signal(syscall.SIGSTOP, false); err != nil {
		return fmt.Errorf("pausing the operator: %w", err)
	}
	return nil
}

// Resume resumes a paused operator (SIGCONT).
func (p *Process) Resume() error {
	if err := p.signal(syscall.SIGCONT, false); err != nil {
		return fmt.Errorf("resuming the operator: %w", err)
	}
	return nil
}

// Log returns the operator's log.
func (p *Process) Log() string {
	log, err := os.ReadFile(p.options.LogFile)
	if err != nil {
		return err.Error()
	}
	return string(log)
}

// Tail returns the end of the log, for error messages.
func (p *Process) Tail() string {
	const maxLines = 20
	lines := strings.Split(strings.TrimSpace(p.Log()), "\n")
	return fmt.Sprintf("The end of the operator's log, %s:\n  %s",
		p.options.LogFile, strings.Join(lines[max(0, len(lines)-maxLines):], "\n  "))
}

// PanicsAndRaces returns the lines of the log that report a panic or a data race.
// The exit code of a killed operator does not show them.
func (p *Process) PanicsAndRaces() []string {
	var found []string
	for line := range strings.Lines(p.Log()) {
		if strings.Contains(line, "DATA RACE") || strings.HasPrefix(line, "panic:") || strings.Contains(line, "Observed a panic") {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}
