package controllers

import (
	"fmt"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// Fence keeps a leader from writing when it stood still for longer than patience, so that another one may lead by now. What it
// returns is to be run by the manager, which ends then; until it runs, the fence is open.
func Fence(config *rest.Config, patience time.Duration) *executor.Fence {
	fence := executor.NewFence(patience)
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
	cleaner := planner.NewCleaner(options.DropKeys...)
	reconciler := &ReplikaReconciler{
		Client:                  manager.GetClient(),
		Clients:                 newClients(config, cleaner, executor.NewFairSemaphore(options.MaxConcurrentWrites)),
		Kinds:                   tracking.NewMapper(discoveryClient),
		Reader:                  tracking.NewLister(objects, metadataClient, cleaner),
		Cleaner:                 cleaner,
		Recorder:                manager.GetEventRecorder("replika"),
		Policy:                  options.Policy,
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
