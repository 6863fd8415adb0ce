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

// Package operator runs the operator's real binary as a process of its own, so
// that it can be killed, paused and stopped as a kubelet or an unlucky machine
// would: for the suites, the demo and the benchmark.
package operator

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// gracePeriod is how long the operator may take to end when it is told to. A
// kubelet waits for 30 s.
const gracePeriod = 20 * time.Second

// probeTimeout bounds one question to the health port: a paused operator takes
// the connection and never answers.
const probeTimeout = time.Second

// Options say what to run.
type Options struct {
	// Binary is what Build made.
	Binary string
	// Kubeconfig is the file that names the cluster.
	Kubeconfig string
	// LogFile is where the operator's log goes. It is added to.
	LogFile string
	// Args are further flags.
	Args []string
}

// Process is a running operator. It dies with the process that started it.
type Process struct {
	command  *exec.Cmd
	health   string
	logFile  string
	watchdog *os.File
	exited   chan struct{}
}

// tied becomes the operator, and leaves behind a reader of the lifeline, file
// 3, which the test holds open. When the test dies, in whatever way, the reader
// sees its end and kills the process group.
const watchdogScript = `{ read -r _ <&3; kill -s KILL -- -$$; } >/dev/null 2>&1 & exec 3<&-; exec "$0" "$@"`

// Start starts the operator, and does not wait until it is ready.
func Start(o Options) (_ *Process, err error) {
	p := &Process{logFile: o.LogFile, exited: make(chan struct{})}
	if p.health, err = FreeAddress(); err != nil {
		return nil, fmt.Errorf("find a port for the operator's probes: %w", err)
	}
	log, err := os.OpenFile(o.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the operator's log: %w", err)
	}
	defer func() { _ = log.Close() }() // the process has its own handle
	reader, lifeline, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make the operator's lifeline: %w", err)
	}
	defer func() { _ = reader.Close() }()

	args := []string{"-c", watchdogScript, o.Binary, "--metrics-bind-address=0", "--health-probe-bind-address=" + p.health}
	p.watchdog, p.command = lifeline, exec.Command("/bin/sh", append(args, o.Args...)...)
	p.command.Env = append(os.Environ(), "KUBECONFIG="+o.Kubeconfig)
	p.command.Stdout, p.command.Stderr = log, log
	p.command.ExtraFiles = []*os.File{reader}
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.command.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the operator: %w", err), lifeline.Close())
	}
	go func() {
		_ = p.command.Wait() // told by ProcessState
		_ = lifeline.Close()
		close(p.exited)
	}()
	return p, nil
}

// FreeAddress is an address on this machine that nobody listens on.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// Ready returns nil when the readiness probe is answered well.
func (p *Process) Ready() error {
	if !p.Running() {
		return fmt.Errorf("the operator has ended: %s", p.command.ProcessState)
	}
	client := http.Client{Timeout: probeTimeout}
	response, err := client.Get("http://" + p.health + "/readyz")
	if err != nil {
		return fmt.Errorf("ask the readiness probe: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(response.Body)
		return fmt.Errorf("the readiness probe says %s: %s", response.Status, said)
	}
	return nil
}

// Running tells whether the operator has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Exited is closed when the operator has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Ended is an error when the operator is no longer running.
func (p *Process) Ended() error {
	if p.Running() {
		return nil
	}
	return fmt.Errorf("the operator ended by itself: %s", p.command.ProcessState)
}

// PID is the operator's process.
func (p *Process) PID() int { return p.command.Process.Pid }

// Kill ends the operator without a warning (SIGKILL) and returns when it is
// dead. It fails if the operator had ended before: then this killed nothing.
func (p *Process) Kill() error {
	if err := p.command.Process.Signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill the operator: %w", err)
	}
	<-p.exited
	if status, ok := p.command.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		return fmt.Errorf("the operator was to be killed, but ended otherwise: %s", p.command.ProcessState)
	}
	return nil
}

// Stop ends the operator as a kubelet does (SIGTERM). It fails unless the
// operator then ends by itself, in time and with exit code 0.
func (p *Process) Stop() error {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the operator: %w", err)
	}
	select {
	case <-p.exited:
	case <-time.After(gracePeriod):
		return errors.Join(fmt.Errorf("the operator did not end within %s of SIGTERM", gracePeriod), p.Kill())
	}
	if !p.command.ProcessState.Success() {
		return fmt.Errorf("the operator was stopped, but ended badly: %s", p.command.ProcessState)
	}
	return nil
}

// Pause stops the operator's clock (SIGSTOP): it neither works nor hangs up.
func (p *Process) Pause() error {
	if err := p.command.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("pause the operator: %w", err)
	}
	return nil
}

// Resume ends a pause (SIGCONT).
func (p *Process) Resume() error {
	if err := p.command.Process.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("resume the operator: %w", err)
	}
	return nil
}

// Log is what the operator has said so far.
func (p *Process) Log() string {
	log, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	return string(log)
}

// Tail is the end of the log, for people.
func (p *Process) Tail() string {
	const most = 20
	lines := strings.Split(strings.TrimSpace(p.Log()), "\n")
	return fmt.Sprintf("The end of the operator's log, %s:\n  %s",
		p.logFile, strings.Join(lines[max(0, len(lines)-most):], "\n  "))
}

// Complaints are the lines of the log that no operator may say, whatever is
// done to it: that it panicked, or that it races with itself. A killed one has
// no exit code to tell so.
func (p *Process) PanicsAndRaces() []string {
	var complaints []string
	for line := range strings.Lines(p.Log()) {
		if strings.Contains(line, "DATA RACE") || strings.HasPrefix(line, "panic:") || strings.Contains(line, "Observed a panic") {
			complaints = append(complaints, strings.TrimSpace(line))
		}
	}
	return complaints
}
