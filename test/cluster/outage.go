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

package cluster

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopTimeout limits how long a killed program takes to exit.
const stopTimeout = time.Minute

// StopAPIServer kills the API server without a graceful termination, as a crash
// of its machine does. etcd keeps the state.
func (c *Cluster) StopAPIServer() error {
	if err := c.signal(apiServerName, syscall.SIGKILL); err != nil {
		return fmt.Errorf("stopping the API server: %w", err)
	}
	for deadline := time.Now().Add(stopTimeout); c.signal(apiServerName, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("stopping the API server: it is still running after %s", stopTimeout)
		}
	}
	return nil
}

// StartAPIServer starts the API server again, at the same address and with the
// same keys, and returns when it is healthy.
func (c *Cluster) StartAPIServer() error {
	// Otherwise envtest renders its arguments a second time.
	server := c.env.ControlPlane.APIServer
	server.Args = nil //nolint:staticcheck // deprecated for users, but filled by envtest itself
	if err := server.Start(); err != nil {
		return fmt.Errorf("restarting the API server: %w", err)
	}
	return nil
}

// StopControllerManager kills the controller manager, for good: namespaces get no
// ServiceAccount, and those that are deleted stay.
func (c *Cluster) StopControllerManager() { c.manager.kill() }

// PauseEtcd pauses etcd (SIGSTOP): it accepts requests and responds to none.
// Neither does the API server to requests that need etcd.
func (c *Cluster) PauseEtcd() error { return c.signal(etcdName, syscall.SIGSTOP) }

// ResumeEtcd resumes etcd (SIGCONT).
func (c *Cluster) ResumeEtcd() error { return c.signal(etcdName, syscall.SIGCONT) }

// signal sends the signal to a program that envtest started. envtest does not
// expose the process ID, so signal reads it from the program's PID file.
func (c *Cluster) signal(program string, signal syscall.Signal) error {
	text, err := os.ReadFile(c.path(program + pidSuffix))
	if err != nil {
		return fmt.Errorf("finding %s: %w", program, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("finding %s: %w", program, err)
	}
	if err := syscall.Kill(pid, signal); err != nil {
		return fmt.Errorf("sending signal %q to %s: %w", signal, program, err)
	}
	return nil
}
