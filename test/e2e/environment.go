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

package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
	"github.com/prosimcorp/replika/test/operator"
)

// Environment is what every end-to-end suite starts with: a control plane, the administrator's client and the operator's
// binary.
type Environment struct {
	*cluster.Cluster
	// Admin is the administrator's client. It bypasses any proxy between the operator and the API server.
	Admin client.WithWatch
	// Binary is the path of the operator's binary.
	Binary string
	// WorkDir holds the binary, and the kubeconfig and log files of each operator. The caller creates and removes it.
	WorkDir string
}

// StartEnvironment builds the operator in the folder and starts a control plane. The caller stops it.
func StartEnvironment(ctx context.Context, workDir string, o cluster.Options) (*Environment, error) {
	binary, err := operator.Build(ctx, workDir)
	if err != nil {
		return nil, err
	}
	controlPlane, err := cluster.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	config := rest.CopyConfig(controlPlane.Config)
	config.WarningHandler = rest.NoWarnings{}
	admin, err := client.NewWithWatch(config, client.Options{Scheme: kit.Scheme()})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create the administrator's client: %w", err), controlPlane.Stop())
	}
	return &Environment{Cluster: controlPlane, Admin: admin, Binary: binary, WorkDir: workDir}, nil
}

// Options returns the options of an operator with the access of config. The names of its files begin with name. Each attempt of
// a spec gets new ones, so that it does not find in the log what happened in an earlier one.
func (e *Environment) Options(name string, config *rest.Config, args ...string) (operator.Options, error) {
	name = expect.NameOfAttempt(name)
	kubeconfig := filepath.Join(e.WorkDir, name+".kubeconfig")
	if err := e.KubeconfigFor(config, kubeconfig); err != nil {
		return operator.Options{}, err
	}
	return operator.Options{Binary: e.Binary, Kubeconfig: kubeconfig, LogFile: filepath.Join(e.WorkDir, name+".log"), Args: args}, nil
}

// StartAs starts an operator with the access of the ServiceAccount, and with the flags of the Deployment. Flags that bind an
// address are left out: the ports on this machine are different. Like a kubelet, it starts a leader again that a pause has ended.
func (e *Environment) StartAs(ctx context.Context, name string, deployment *appsv1.Deployment, args ...string) (*operator.Process, error) {
	account := client.ObjectKey{Namespace: deployment.Namespace, Name: deployment.Spec.Template.Spec.ServiceAccountName}
	token, err := e.Token(ctx, account)
	if err != nil {
		return nil, err
	}
	access := rest.AnonymousClientConfig(e.Config)
	access.BearerToken = token
	var flags []string
	for _, flag := range deployment.Spec.Template.Spec.Containers[0].Args {
		if !strings.Contains(flag, "-bind-address=") {
			// The kubelet expands it from the container's environment.
			flags = append(flags, strings.ReplaceAll(flag, "$(POD_NAMESPACE)", deployment.Namespace))
		}
	}
	flags = append(flags, "--leader-election-namespace="+deployment.Namespace)
	options, err := e.Options(name, access, append(flags, args...)...)
	if err != nil {
		return nil, err
	}
	options.Restart = true
	return operator.Start(options)
}

// Token returns a token of the ServiceAccount, as a kubelet requests one for a Pod.
func (e *Environment) Token(ctx context.Context, account client.ObjectKey) (string, error) {
	serviceAccount := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: account.Namespace, Name: account.Name}}
	request := &authenticationv1.TokenRequest{}
	if err := e.Admin.SubResource("token").Create(ctx, serviceAccount, request); err != nil {
		return "", fmt.Errorf("request a token of the ServiceAccount %s: %w", account, err)
	}
	return request.Status.Token, nil
}

// Scrape reads the metrics of an operator over TLS, as Prometheus does. No token sends no Authorization header.
func Scrape(ctx context.Context, address, token string, config *tls.Config) (status int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/metrics", http.NoBody)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return 0, "", fmt.Errorf("scrape the metrics: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	return response.StatusCode, string(content), err
}
