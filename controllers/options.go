package controllers

import (
	"flag"
	"strings"
)

// Options are what an administrator may set.
type Options struct {
	MaxConcurrentReconciles int
	MaxConcurrentWrites     int
	// DropKeys are labels and annotations that copies never carry, beyond the built-in ones.
	DropKeys []string
	Policy   Policy
}

// Rules are the administrator's own, for every Replika.
type Policy struct {
	// DefaultServiceAccount is the account, in its own namespace, of a Replika that names none; empty for the operator.
	DefaultServiceAccount string
	// RequireServiceAccount refuses a Replika that has no account.
	RequireServiceAccount bool
	// RequireSourceConsent refuses a source that does not list the namespaces that may have a copy of it.
	RequireSourceConsent bool
	// ExcludedNamespaces are names and globs of namespaces that never get a copy.
	ExcludedNamespaces []string
}

// BindFlags makes flags of the options.
func (o *Options) BindFlags(flags *flag.FlagSet) {
	flags.IntVar(&o.MaxConcurrentReconciles, "max-concurrent-reconciles", 16,
		"How many Replikas are worked on at once.")
	flags.IntVar(&o.MaxConcurrentWrites, "max-concurrent-writes", 16,
		"How many copies are written at once, over all Replikas, which share them fairly.")
	flags.Func("drop-key", "A label or annotation key that copies never carry, beyond the built-in ones; a trailing * makes it "+
		"a prefix. May be given several times.", func(key string) error {
		o.DropKeys = append(o.DropKeys, key)
		return nil
	})
	o.Policy.bindFlags(flags)
}

func (r *Policy) bindFlags(flags *flag.FlagSet) {
	flags.StringVar(&r.DefaultServiceAccount, "default-service-account", "",
		"The ServiceAccount, in its own namespace, that a Replika without spec.serviceAccountName is served as; the operator "+
			"itself by default.")
	flags.BoolVar(&r.RequireServiceAccount, "require-service-account", false,
		"Refuse Replikas without a ServiceAccount.")
	flags.BoolVar(&r.RequireSourceConsent, "require-source-consent", false,
		"Copy only sources whose annotation replika.prosimcorp.com/allowed-namespaces lists where to.")
	flags.Func("excluded-namespaces", "Namespaces that never get a copy, whatever a Replika selects: names, or globs such as "+
		"kube-*, separated by commas. May be given several times.", func(list string) error {
		for pattern := range strings.SplitSeq(list, ",") {
			if pattern = strings.TrimSpace(pattern); pattern != "" {
				r.ExcludedNamespaces = append(r.ExcludedNamespaces, pattern)
			}
		}
		return nil
	})
}
