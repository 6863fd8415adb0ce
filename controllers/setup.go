package controllers

import (
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
		return fmt.Errorf("make the client that watches copies: %w", err)
	}
	metadataClient, err := metadata.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return fmt.Errorf("make the client that reads metadata: %w", err)
	}
	discoveryClient, err := discovery.NewDiscoveryClientForConfigAndClient(config, httpClient)
	if err != nil {
		return fmt.Errorf("make the client that discovers kinds: %w", err)
	}
	cleaner := replication.NewCleaner(options.DropKeys...)
	reconciler := &ReplikaReconciler{
		Client:                  manager.GetClient(),
		Clients:                 newClients(config, cleaner, writing.NewLimit(options.MaxConcurrentWrites)),
		Kinds:                   tracking.NewKinds(discoveryClient),
		Reader:                  tracking.NewReader(objects, metadataClient, cleaner),
		Cleaner:                 cleaner,
		Recorder:                manager.GetEventRecorder("replika"),
		Rules:                   options.Rules,
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
