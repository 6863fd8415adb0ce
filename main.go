// Replika is a Kubernetes operator that replicates any namespaced resource across namespaces and keeps the copies in
// sync. This is its command line: flags, caches and the manager; all logic is in package controllers.
package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap/zapcore"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers"
)

// version is stamped by the build.
var version = "devel"

// leaseName is the lease of leader election; it has been the operator's since its first release.
const leaseName = "replika.prosimcorp.com"

// A leader that has not renewed its lease for renewDeadline steps back; after leaseDuration another one may lead.
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
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&options.zap), withoutBodies))
	if err := run(options); err != nil {
		ctrl.Log.WithName("setup").Error(err, "the operator ends")
		os.Exit(1)
	}
}

// mostVerbose is the highest log level that counts. Past it, client-go writes down what is sent and answered, and with it
// the content of Secrets.
const mostVerbose = 7

// withoutBodies takes a higher log level for that one.
func withoutBodies(options *zap.Options) {
	if options.Level != nil {
		options.Level = bounded{options.Level}
	}
}

type bounded struct{ zapcore.LevelEnabler }

// Enabled implements zapcore.LevelEnabler, which counts levels downwards.
func (b bounded) Enabled(level zapcore.Level) bool {
	return level >= -mostVerbose && b.LevelEnabler.Enabled(level)
}

// parseFlags parses and validates the command line. The error has one line.
func parseFlags(flags *flag.FlagSet, args []string) (*options, error) {
	options := &options{}
	flags.StringVar(&options.metricsAddress, "metrics-bind-address", "0",
		"The address the metrics endpoint binds to, such as :8443; 0 turns it off.")
	flags.BoolVar(&options.metricsSecure, "metrics-secure", true,
		"Serve the metrics over TLS, to whom the API server knows and allows to get /metrics. Otherwise over HTTP, to anyone.")
	flags.StringVar(&options.metricsCertDir, "metrics-cert-dir", "",
		"The folder of the certificate (tls.crt) and key (tls.key) for the metrics; without it the operator makes its own.")
	flags.StringVar(&options.probeAddress, "health-probe-bind-address", ":8081",
		"The address the health probes bind to; 0 turns them off.")
	flags.StringVar(&options.pprofAddress, "pprof-bind-address", "0",
		"The address that profiles can be read from (net/http/pprof), such as 127.0.0.1:6060; 0 turns it off.")
	flags.BoolVar(&options.leaderElection, "leader-elect", false,
		"Let only one of several instances work at a time.")
	flags.StringVar(&options.leaseNamespace, "leader-election-namespace", "",
		"The namespace of the lease; the operator's own by default.")
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

// metricsOptions say who may read the metrics, and how.
func metricsOptions(options *options) metricsserver.Options {
	metrics := metricsserver.Options{
		BindAddress:   options.metricsAddress,
		SecureServing: options.metricsSecure,
		CertDir:       options.metricsCertDir,
		// One scrape now and then has no use for HTTP/2, and is better off without what it lets a client do to a server.
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
		return fmt.Errorf("register the API: %w", err)
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find a cluster (--kubeconfig, $KUBECONFIG, or a Pod's service account): %w", err)
	}
	config.QPS = -1 // how much is too much, the API server's priority and fairness decides
	config.UserAgent = "replika/" + version
	fence := controllers.Fence(config, leaseDuration-renewDeadline)

	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme,
		// Who set which field is of no use here, and most of what a namespace's metadata weighs.
		Cache:                         cache.Options{DefaultTransform: cache.TransformStripManagedFields()},
		Metrics:                       metricsOptions(options),
		HealthProbeBindAddress:        options.probeAddress,
		PprofBindAddress:              options.pprofAddress,
		LeaderElection:                options.leaderElection,
		LeaderElectionID:              leaseName,
		LeaderElectionNamespace:       options.leaseNamespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 new(leaseDuration),
		RenewDeadline:                 new(renewDeadline),
	})
	if err != nil {
		return fmt.Errorf("make the manager: %w", err)
	}
	if err := controllers.Setup(manager, options.controllers); err != nil {
		return err
	}
	if options.leaderElection {
		if err := manager.Add(fence); err != nil {
			return fmt.Errorf("add the fence: %w", err)
		}
	}
	if err := manager.AddHealthzCheck("healthz", healthz.Ping); err != nil {
		return err
	}
	if err := manager.AddReadyzCheck("readyz", healthz.Ping); err != nil {
		return err
	}
	ctrl.Log.WithName("setup").Info("starting", "version", version)
	return manager.Start(ctrl.SetupSignalHandler())
}
