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

package controllers

import (
	"cmp"
	"flag"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/prosimcorp/replika/controllers/planner"
)

// Options are set by the administrator.
type Options struct {
	MaxConcurrentReconciles int
	MaxConcurrentWrites     int
	// DropKeys are labels and annotations to strip from copies, in addition to the built-in ones.
	DropKeys []string
	Policy   Policy
	// Timeouts have no flags; tests shorten them.
	Timeouts Timeouts
}

// Policy applies to every Replika.
type Policy struct {
	// DefaultServiceAccount is the ServiceAccount, in the namespace of the Replika, of a Replika that names none; empty for the operator.
	DefaultServiceAccount string
	// RequireServiceAccount rejects Replikas without a ServiceAccount.
	RequireServiceAccount bool
	// RequireSourceConsent rejects sources without the annotation that lists the namespaces that may receive a copy.
	RequireSourceConsent bool
	// MaxCopies is the maximum number of copies of one Replika; 100,000 by default.
	MaxCopies int
	// ExcludedNamespaces are names and globs of namespaces that never receive a copy.
	ExcludedNamespaces []string
}

func (p Policy) withDefaults() Policy {
	p.MaxCopies = cmp.Or(p.MaxCopies, defaultMaxCopies)
	return p
}

// defaultMaxCopies is the default of Policy.MaxCopies.
const defaultMaxCopies = 100_000

// Timeouts of a reconcile; zero for the default.
type Timeouts struct {
	// CleanupTimeout is how long a Replika that is being deleted waits for copies that cannot be cleaned up; 20 s by default.
	CleanupTimeout time.Duration
	// CleanupRetryInterval is the maximum delay between two attempts to clean up; 5 s by default.
	CleanupRetryInterval time.Duration
	// WatchSyncTimeout is how long a reconcile waits for a new watch before it continues without; 10 s by default.
	WatchSyncTimeout time.Duration
	// ProgressDelay is how long a reconcile may take before the status reports progress; 2 s by default.
	ProgressDelay time.Duration
	// DetachDelay is how long a reconcile keeps its worker; 250 ms by default.
	DetachDelay time.Duration
	// SlowWriteDelay is how long a reconcile waits for the last writes; 1 s by default.
	SlowWriteDelay time.Duration
}

func (t Timeouts) withDefaults() Timeouts {
	return Timeouts{
		CleanupTimeout:       cmp.Or(t.CleanupTimeout, 20*time.Second),
		CleanupRetryInterval: cmp.Or(t.CleanupRetryInterval, 5*time.Second),
		WatchSyncTimeout:     cmp.Or(t.WatchSyncTimeout, 10*time.Second),
		ProgressDelay:        cmp.Or(t.ProgressDelay, 2*time.Second),
		DetachDelay:          cmp.Or(t.DetachDelay, 250*time.Millisecond),
		SlowWriteDelay:       cmp.Or(t.SlowWriteDelay, time.Second),
	}
}

// BindFlags binds the options to flags.
func (o *Options) BindFlags(flags *flag.FlagSet) {
	flags.IntVar(&o.MaxConcurrentReconciles, "max-concurrent-reconciles", 16,
		"Maximum number of Replikas reconciled concurrently. Those that take longer than 250 ms do not count.")
	flags.IntVar(&o.MaxConcurrentWrites, "max-concurrent-writes", 16,
		"Maximum number of concurrent writes across all Replikas, scheduled fairly between them.")
	flags.Func("drop-key", "Additional label or annotation key to strip from copies. A trailing * matches a prefix. Repeatable.",
		func(key string) error {
			o.DropKeys = append(o.DropKeys, key)
			return nil
		})
	o.Policy.bindFlags(flags)
}

func (p *Policy) bindFlags(flags *flag.FlagSet) {
	flags.StringVar(&p.DefaultServiceAccount, "default-service-account", "",
		"ServiceAccount (in the Replika's namespace) to impersonate for Replikas without spec.serviceAccountName. "+
			"If empty, the operator's own identity is used.")
	flags.BoolVar(&p.RequireServiceAccount, "require-service-account", false,
		"Reject Replikas that do not set a ServiceAccount.")
	flags.BoolVar(&p.RequireSourceConsent, "require-source-consent", false,
		"Replicate only sources that have the annotation replika.prosimcorp.com/allowed-namespaces.")
	flags.IntVar(&p.MaxCopies, "max-copies-per-replika", defaultMaxCopies,
		"Maximum number of copies of one Replika. One that asks for more is stalled, and nothing is written or deleted.")
	flags.Func("excluded-namespaces",
		"Comma-separated names or globs (such as kube-*) of namespaces that never receive a copy. Repeatable.",
		func(list string) error {
			for pattern := range strings.SplitSeq(list, ",") {
				if pattern = strings.TrimSpace(pattern); pattern != "" {
					p.ExcludedNamespaces = append(p.ExcludedNamespaces, pattern)
				}
			}
			return nil
		})
}

// Validate returns an error, of one line, for the first flag with an invalid value. Otherwise a malformed glob would exclude
// no namespace, for example.
func (o *Options) Validate() error {
	switch {
	case o.MaxConcurrentReconciles < 1:
		return invalidFlag("max-concurrent-reconciles", o.MaxConcurrentReconciles, "must be at least 1")
	case o.MaxConcurrentWrites < 1:
		return invalidFlag("max-concurrent-writes", o.MaxConcurrentWrites, "must be at least 1")
	}
	for _, key := range o.DropKeys {
		if problems := dropKeyProblems(key); len(problems) > 0 {
			return invalidFlag("drop-key", key, problems...)
		}
	}
	return o.Policy.validate()
}

func (p *Policy) validate() error {
	if p.MaxCopies < 1 {
		return invalidFlag("max-copies-per-replika", p.MaxCopies, "must be at least 1")
	}
	if name := p.DefaultServiceAccount; name != "" {
		if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
			return invalidFlag("default-service-account", name, problems...)
		}
	}
	for _, pattern := range p.ExcludedNamespaces {
		if !planner.IsNamespacePattern(pattern) {
			return invalidFlag("excluded-namespaces", pattern, "must be a name of a namespace, or a glob in which * matches any number of characters, "+
				"such as kube-*; separate several by commas")
		}
	}
	return nil
}

// dropKeyProblems returns what is wrong with a key to strip. A prefix is checked with a character that it may be followed by.
func dropKeyProblems(key string) []string {
	if prefix, found := strings.CutSuffix(key, "*"); found {
		key = prefix + "x"
	}
	return validation.IsQualifiedName(strings.ToLower(key)) // keys of annotations may have upper case everywhere
}

func invalidFlag(name string, value any, problems ...string) error {
	return fmt.Errorf("--%s: %q: %s", name, fmt.Sprint(value), strings.Join(problems, "; "))
}
