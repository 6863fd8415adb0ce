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

// Replika is a Kubernetes operator that replicates any namespaced resource across namespaces and keeps the copies in
// sync. This package has the flags, the caches and the manager; package controllers has the logic.
package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap/zapcore"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers"
)

// version is set at build time.
var version = "devel"

// leaseName is the name of the leader election Lease. It must not change: during an upgrade, instances with different names
// would not exclude each other.
const leaseName = "replika.prosimcorp.com"

// A leader that cannot renew its Lease for renewDeadline stops being the leader. After leaseDuration another instance can
// acquire the Lease.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
)

type options struct {
	metricsAddress string
	metricsSecure  bool
	metricsCertDir string
	probeAddress   string
	pprofAddress   string
	leaderElection bool
	leaseNamespace string
	showVersion    bool
	controllers    controllers.Options
	zap            zap.Options
}

func main() {
	options, err := parseFlags(flag.CommandLine, os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		flag.CommandLine.SetOutput(os.Stderr)
		flag.Usage()
		return
	case err != nil:
		// One line, without the description of all flags.
		fmt.Fprintf(os.Stderr, "%s: %v\n", flag.CommandLine.Name(), err)
		os.Exit(2)
	}
	if options.showVersion {
		fmt.Println(version)
		return
	}
	logger := zap.New(zap.UseFlagOptions(&options.zap), capVerbosity)
	ctrl.SetLogger(logger)
	klog.SetLogger(logger) // client-go logs in the same format
	if err := run(options); err != nil {
		ctrl.Log.WithName("setup").Error(err, "Unable to run manager")
		os.Exit(1)
	}
}

// maxVerbosity is the highest effective log level. Above it, client-go logs request and response bodies, which can contain
// Secrets.
const maxVerbosity = 7

// capVerbosity limits the log level to maxVerbosity.
func capVerbosity(options *zap.Options) {
	if options.Level != nil {
		options.Level = cappedLevel{options.Level}
	}
}

type cappedLevel struct{ zapcore.LevelEnabler }

// Enabled implements zapcore.LevelEnabler. The levels of zap are negative: a lower one is more verbose.
func (c cappedLevel) Enabled(level zapcore.Level) bool {
	return level >= -maxVerbosity && c.LevelEnabler.Enabled(level)
}

// parseFlags parses and validates the command line. The error has one line.
func parseFlags(flags *flag.FlagSet, args []string) (*options, error) {
	options := &options{}
	flags.StringVar(&options.metricsAddress, "metrics-bind-address", "0",
		"The address the metrics endpoint binds to, for example :8443. Set to 0 to disable it.")
	flags.BoolVar(&options.metricsSecure, "metrics-secure", true,
		"If true, serve metrics over TLS with authentication and authorization. If false, serve them over plain HTTP.")
	flags.StringVar(&options.metricsCertDir, "metrics-cert-dir", "",
		"Directory containing tls.crt and tls.key for the metrics endpoint. If empty, a self-signed certificate is generated.")
	flags.StringVar(&options.probeAddress, "health-probe-bind-address", ":8081",
		"The address the health probe endpoint binds to. Set to 0 to disable it.")
	flags.StringVar(&options.pprofAddress, "pprof-bind-address", "0",
		"The address the pprof endpoint binds to, for example 127.0.0.1:6060. Set to 0 to disable it.")
	flags.BoolVar(&options.leaderElection, "leader-elect", false,
		"Enable leader election, so that only one instance is active at a time.")
	flags.StringVar(&options.leaseNamespace, "leader-election-namespace", "",
		"Namespace of the leader election Lease. Defaults to the operator's namespace.")
	flags.BoolVar(&options.showVersion, "version", false, "Print the version and exit.")
	options.controllers.BindFlags(flags)
	options.zap.BindFlags(flags)
	flags.Init(flags.Name(), flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		// Parsing ended here, without the flags that follow.
		return nil, fmt.Errorf("unexpected argument %q: write --flag=value", flags.Arg(0))
	}
	return options, options.validate()
}

// validate returns an error, of one line, for the first flag with an invalid value.
func (o *options) validate() error {
	for _, address := range []struct{ flag, value string }{
		{"metrics-bind-address", o.metricsAddress},
		{"health-probe-bind-address", o.probeAddress},
		{"pprof-bind-address", o.pprofAddress},
	} {
		if !isBindAddress(address.value) {
			return fmt.Errorf("--%s: %q: must be host:port or :port, or 0 to disable it", address.flag, address.value)
		}
	}
	if o.metricsCertDir != "" && !o.metricsSecure {
		return errors.New("--metrics-cert-dir: has no effect with --metrics-secure=false")
	}
	if o.leaseNamespace != "" {
		if problems := validation.IsDNS1123Label(o.leaseNamespace); len(problems) > 0 {
			return fmt.Errorf("--leader-election-namespace: %q: %s", o.leaseNamespace, strings.Join(problems, "; "))
		}
	}
	return o.controllers.Validate()
}

// isBindAddress reports whether a server can bind to the address; 0 disables it.
func isBindAddress(address string) bool {
	if address == "0" {
		return true
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// withOwnConnection returns a copy of the configuration whose clients share no connection with others. The renewal of the Lease
// must not wait for the requests of a thousand reconciles, or for a long list, until the Lease is lost.
func withOwnConnection(config *rest.Config) *rest.Config {
	own := rest.CopyConfig(config)
	// client-go shares the connections of all configurations that have the same function.
	own.Dial = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	return own
}

// metricsOptions returns the options of the metrics server.
func metricsOptions(options *options) metricsserver.Options {
	metrics := metricsserver.Options{
		BindAddress:   options.metricsAddress,
		SecureServing: options.metricsSecure,
		CertDir:       options.metricsCertDir,
		// Scrapes do not need HTTP/2. Disabling it avoids its denial-of-service vulnerabilities.
		TLSOpts: []func(*tls.Config){func(config *tls.Config) { config.NextProtos = []string{"http/1.1"} }},
	}
	if options.metricsSecure {
		metrics.FilterProvider = filters.WithAuthenticationAndAuthorization
	}
	return metrics
}

func run(options *options) error {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return fmt.Errorf("adding API types to scheme: %w", err)
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("loading kubeconfig (--kubeconfig, $KUBECONFIG, or in-cluster): %w", err)
	}
	config.QPS = -1 // no client-side throttling: API Priority and Fairness applies
	config.UserAgent = "replika/" + version
	limitEvents(config)
	fence := controllers.Fence(config, leaseName, leaseDuration, renewDeadline)

	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                        scheme,
		MapperProvider:                newMapper,
		Cache:                         controllers.CacheOptions(),
		Metrics:                       metricsOptions(options),
		HealthProbeBindAddress:        options.probeAddress,
		PprofBindAddress:              options.pprofAddress,
		LeaderElection:                options.leaderElection,
		LeaderElectionConfig:          withOwnConnection(config),
		LeaderElectionID:              leaseName,
		LeaderElectionNamespace:       options.leaseNamespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 new(leaseDuration),
		RenewDeadline:                 new(renewDeadline),
	})
	if err != nil {
		return fmt.Errorf("creating manager: %w", err)
	}
	if err := controllers.Setup(manager, options.controllers); err != nil {
		return fmt.Errorf("setting up controllers: %w", err)
	}
	if err := manager.Add(memoryTuner{}); err != nil {
		return fmt.Errorf("adding memory tuner: %w", err)
	}
	if options.leaderElection {
		if err := manager.Add(fence); err != nil {
			return fmt.Errorf("adding fence: %w", err)
		}
	}
	if err := manager.AddHealthzCheck("healthz", healthz.Ping); err != nil {
		return fmt.Errorf("adding health check: %w", err)
	}
	if err := manager.AddReadyzCheck("readyz", healthz.Ping); err != nil {
		return fmt.Errorf("adding readiness check: %w", err)
	}
	ctrl.Log.WithName("setup").Info("Starting manager", "version", version)
	return manager.Start(ctrl.SetupSignalHandler())
}

// newMapper maps the kinds that the caches and the client of the manager use. It needs no discovery, so that the operator starts
// while the API server is not available.
func newMapper(*rest.Config, *http.Client) (meta.RESTMapper, error) {
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(v1alpha1.GroupVersion.WithKind("Replika"), meta.RESTScopeNamespace)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	return mapper, nil
}
