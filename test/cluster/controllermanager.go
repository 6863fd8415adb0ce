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
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// startControllerManager starts kube-controller-manager as the user of the
// built-in RBAC roles, and waits until its controllers run.
func (c *Cluster) startControllerManager(ctx context.Context, bin binaries, logs *logs) error {
	path, err := c.watchdog.wrap(bin.controllerManager())
	if err != nil {
		return err
	}
	args, err := c.controllerManagerArgs()
	if err != nil {
		return err
	}
	log := logs.writerFor("kube-controller-manager")
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if c.manager, err = startProcess(cmd); err != nil {
		return err
	}
	if err := c.waitForControllers(ctx); err != nil {
		return errors.Join(err, errors.New(log.String()))
	}
	return nil
}

// controllerManagerArgs writes the files that the controller manager needs and
// returns its flags.
func (c *Cluster) controllerManagerArgs() ([]string, error) {
	user, err := c.User("system:kube-controller-manager")
	if err != nil {
		return nil, err
	}
	kubeconfig := c.path("controller-manager.kubeconfig")
	if err := c.KubeconfigFor(user, kubeconfig); err != nil {
		return nil, err
	}
	rootCA := c.path("root-ca.crt")
	if err := os.WriteFile(rootCA, c.Config.CAData, 0o600); err != nil {
		return nil, fmt.Errorf("writing the root CA: %w", err)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	return []string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1",
		"--secure-port=" + port,
		"--cert-dir=" + c.path("controller-manager"),
		"--leader-elect=false",
		// As in a real cluster, each controller has its own ServiceAccount, by which
		// admission policies and the audit log identify it.
		"--use-service-account-credentials=true",
		// The key that envtest gives the API server, so that the API server accepts
		// the tokens of the controller manager.
		"--service-account-private-key-file=" + c.path("apiserver/sa-signer.key"),
		"--root-ca-file=" + rootCA,
		// Tests create and delete hundreds of namespaces.
		"--concurrent-namespace-syncs=50",
		"--concurrent-serviceaccount-token-syncs=20",
		"--concurrent-gc-syncs=50",
		"--kube-api-qps=1000",
		"--kube-api-burst=2000",
	}, nil
}

// freePort returns a port that no process listens on when it returns.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}

// waitForControllers returns when the namespace "default" has its
// ServiceAccount, which is the first object that controllers create. The health
// endpoint is not enough: it reports healthy before any controller is started.
func (c *Cluster) waitForControllers(ctx context.Context) error {
	admin, err := client.New(c.Config, client.Options{})
	if err != nil {
		return fmt.Errorf("creating a client: %w", err)
	}
	key := client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: "default"}
	var last error
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, startTimeout, true, func(ctx context.Context) (bool, error) {
		select {
		case <-c.manager.exited:
			return false, fmt.Errorf("it exited: %w", c.manager.err)
		default:
		}
		last = admin.Get(ctx, key, &corev1.ServiceAccount{})
		return last == nil, nil
	})
	if err != nil {
		return errors.Join(fmt.Errorf("waiting for the ServiceAccount %s: %w", key, err), last)
	}
	return nil
}
