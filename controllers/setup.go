package controllers

import (
	"flag"
	"fmt"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/prosimcorp/replika/controllers/replication"
	"github.com/prosimcorp/replika/controllers/tracking"
	"github.com/prosimcorp/replika/controllers/writing"
)

// Options are what an administrator may set.
type Options struct {
	MaxConcurrentReconciles int
	MaxConcurrentWrites     int
	// DropKeys are labels and annotations that copies never carry, beyond the built-in ones.
	DropKeys []string
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
}

// Fence keeps a leader from writing when it stood still for longer than patience, so that another one may lead by now. What it
// returns is to be run by the manager, which ends then; until it runs, the fence is open.
func Fence(config *rest.Config, patience time.Duration) *writing.Fence {
	fence := writing.NewFence(patience)
	config.Wrap(fence.Wrap)
	return fence
}

// Setup builds the controller and registers it with the manager.
func Setup(manager ctrl.Manager, options Options) error {
	config, httpClient := rest.CopyConfig(manager.GetConfig()), manager.GetHTTPClient()
	config.QPS = -1
	objects, err := dynamic.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return fmt.Errorf("make the client that reads sources: %w", err)
	}
	metadataClient, err := metadata.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return fmt.Errorf("make the client that reads metadata: %w", err)
	}
	discoveryClient, err := discovery.NewDiscoveryClientForConfigAndClient(config, httpClient)
	if err != nil {
		return fmt.Errorf("make the client that discovers kinds: %w", err)
	}
	writes, err := writing.NewClient(config, httpClient)
	if err != nil {
		return err
	}
	cleaner := replication.NewCleaner(options.DropKeys...)
	reconciler := &ReplikaReconciler{
		Client:                  manager.GetClient(),
		Objects:                 objects,
		Kinds:                   tracking.NewKinds(discoveryClient),
		Reader:                  tracking.NewReader(objects, metadataClient, cleaner),
		Writer:                  writing.NewWriter(writes, cleaner, writing.NewLimit(options.MaxConcurrentWrites)),
		Cleaner:                 cleaner,
		Recorder:                manager.GetEventRecorder("replika"),
		MaxConcurrentReconciles: options.MaxConcurrentReconciles,
		MaxConcurrentWrites:     options.MaxConcurrentWrites,
	}
	reconciler.Watches = tracking.NewWatches(objects, metadataClient, cleaner, reconciler.changed)
	if err := (watchesCollector{reconciler.Watches}).register(); err != nil {
		return err
	}
	if err := manager.Add(reconciler.Watches); err != nil {
		return fmt.Errorf("add the watches: %w", err)
	}
	if err := reconciler.SetupWithManager(manager); err != nil {
		return fmt.Errorf("set up the controller: %w", err)
	}
	return nil
}
