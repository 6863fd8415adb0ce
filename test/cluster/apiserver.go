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
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// startAPIServer starts etcd and kube-apiserver and installs the CRDs.
func (c *Cluster) startAPIServer(ctx context.Context, bin binaries, o Options, logs *logs) error {
	etcdPath, err := c.watchdog.wrap(bin.etcd())
	if err != nil {
		return err
	}
	apiServerPath, err := c.watchdog.wrap(bin.apiServer())
	if err != nil {
		return err
	}
	etcdLog, apiServerLog := logs.writerFor("etcd"), logs.writerFor("kube-apiserver")
	etcd := &envtest.Etcd{Path: etcdPath, DataDir: c.path("etcd"), Out: etcdLog, Err: etcdLog}
	// The benchmark stores many large copies; etcd's default is 2 GiB.
	etcd.Configure().Set("quota-backend-bytes", fmt.Sprint(8<<30))

	apiServer := &envtest.APIServer{Path: apiServerPath, CertDir: c.path("apiserver"), Out: apiServerLog, Err: apiServerLog}
	for _, dir := range []string{etcd.DataDir, apiServer.CertDir} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return fmt.Errorf("creating a folder: %w", err)
		}
	}
	if err := c.configureAPIServer(apiServer, o); err != nil {
		return err
	}

	existing := false // overrides USE_EXISTING_CLUSTER: tests must not change an existing cluster
	c.env = &envtest.Environment{
		ControlPlane:             envtest.ControlPlane{Etcd: etcd, APIServer: apiServer},
		CRDDirectoryPaths:        o.CRDs,
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: startTimeout,
		CRDInstallOptions:        envtest.CRDInstallOptions{MaxTime: startTimeout},
		UseExistingCluster:       &existing,
	}
	cfg, err := c.env.Start()
	// When the programs run, envtest waits for the default namespace, and no longer
	// than 5 s. Let it go on from there.
	for deadline := time.Now().Add(startTimeout); c.env.Config != nil && wait.Interrupted(err) && ctx.Err() == nil && time.Now().Before(deadline); {
		existing = true
		cfg, err = c.env.Start()
		existing = false
	}
	if err != nil {
		return errors.Join(err, errors.New(etcdLog.String()), errors.New(apiServerLog.String()))
	}
	c.Config = cfg
	c.Config.QPS = -1 // API Priority and Fairness is the only limit
	return c.KubeconfigFor(c.Config, c.Kubeconfig)
}

// configureAPIServer sets the flags in which a real cluster differs from
// envtest, which runs no controllers.
func (c *Cluster) configureAPIServer(s *envtest.APIServer, o Options) error {
	args := s.Configure()
	// envtest disables the ServiceAccount plugin, because it runs no controller
	// that creates the accounts. Here the controller manager does. The other
	// default plugins (NamespaceLifecycle, ResourceQuota, PodSecurity...) stay
	// enabled.
	args.Disable("disable-admission-plugins")
	// envtest's 254 addresses are too few for copies of a Service in hundreds of
	// namespaces.
	args.Set("service-cluster-ip-range", "10.96.0.0/12")
	if o.AuditLog {
		policy := c.path("audit-policy.yaml")
		if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
			return fmt.Errorf("writing the audit policy: %w", err)
		}
		args.Set("audit-policy-file", policy).
			Set("audit-log-path", c.auditLog()).
			Set("audit-log-mode", "blocking"). // no batches: after the response, the event can be read
			Set("audit-log-maxsize", "102400") // no rotation: Mark returns an offset
	}
	for flag, values := range o.APIServerArgs {
		args.Set(flag, values...)
	}
	return nil
}

// path returns the path of a file in the cluster's folder.
func (c *Cluster) path(name string) string {
	return filepath.Join(c.Dir, name)
}
