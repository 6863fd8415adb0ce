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

package commands

import (
	"fmt"
	"net/http"
	"sync"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/dynamic"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// environment is what all commands share: where they read and write, and clients with the access that the flags and the
// kubeconfig say. Clients are built when a command asks for one the first time, after the flags are parsed.
type environment struct {
	genericiooptions.IOStreams
	// version is that of the plugin.
	version string

	config            *genericclioptions.ConfigFlags
	operatorNamespace string

	// restConfig returns the configuration of all clients.
	restConfig func() (*rest.Config, error)
	// httpClient returns the connections that all clients share.
	httpClient func() (*http.Client, error)
	// client reads and writes Replikas and the kinds of Kubernetes itself, by their Go types.
	client func() (client.Client, error)
	// objects reads objects of any kind.
	objects func() (dynamic.Interface, error)
	// metadata reads the metadata of objects of any kind.
	metadata func() (metadata.Interface, error)
}

// newEnvironment returns the environment. The version is that of the plugin.
func newEnvironment(version string, streams genericiooptions.IOStreams) *environment {
	env := &environment{IOStreams: streams, version: version, config: genericclioptions.NewConfigFlags(true)}
	env.config.WrapConfigFn = func(config *rest.Config) *rest.Config {
		config.QPS = -1 // no client-side throttling: API Priority and Fairness applies
		config.UserAgent = "kubectl-replika/" + version
		config.WarningHandler = rest.NewWarningWriter(streams.ErrOut, rest.WarningWriterOptions{Deduplicate: true})
		return config
	}
	env.restConfig = sync.OnceValues(env.config.ToRESTConfig)
	env.httpClient = sync.OnceValues(func() (*http.Client, error) {
		config, err := env.restConfig()
		if err != nil {
			return nil, err
		}
		return rest.HTTPClientFor(config)
	})
	env.client = buildOnce(env, newTypedClient)
	env.objects = buildOnce(env, func(config *rest.Config, httpClient *http.Client) (dynamic.Interface, error) {
		return dynamic.NewForConfigAndClient(config, httpClient)
	})
	env.metadata = buildOnce(env, func(config *rest.Config, httpClient *http.Client) (metadata.Interface, error) {
		config = rest.CopyConfig(config)
		config.WarningHandler = rest.NoWarnings{} // whoever lists all kinds does not ask for the deprecated ones
		return metadata.NewForConfigAndClient(config, httpClient)
	})
	return env
}

// buildOnce returns a function that builds a client when it is called the first time.
func buildOnce[C any](env *environment, build func(*rest.Config, *http.Client) (C, error)) func() (C, error) {
	return sync.OnceValues(func() (built C, err error) {
		config, err := env.restConfig()
		if err != nil {
			return built, err
		}
		httpClient, err := env.httpClient()
		if err != nil {
			return built, err
		}
		return build(config, httpClient)
	})
}

// newTypedClient returns a client for Replikas and the kinds of Kubernetes itself.
func newTypedClient(config *rest.Config, httpClient *http.Client) (client.Client, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("adding API types to scheme: %w", err)
		}
	}
	return client.New(config, client.Options{Scheme: scheme, HTTPClient: httpClient})
}

// mapper returns what the API server says about kinds and resources, with short names. It is cached on disk, as that of kubectl.
func (e *environment) mapper() (meta.RESTMapper, error) { return e.config.ToRESTMapper() }

// namespace returns the namespace of the flag --namespace, or of the context.
func (e *environment) namespace() (string, error) {
	namespace, _, err := e.config.ToRawKubeConfigLoader().Namespace()
	return namespace, err
}

// bindAllNamespaces adds the flag --all-namespaces to a command.
func bindAllNamespaces(command *cobra.Command, allNamespaces *bool) {
	command.Flags().BoolVarP(allNamespaces, "all-namespaces", "A", false, "All namespaces, instead of one.")
}

// note prints one line on stderr, such as what could not be read.
func (e *environment) note(format string, args ...any) {
	fmt.Fprintf(e.ErrOut, format+"\n", args...)
}
