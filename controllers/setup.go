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
	"fmt"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// maxSlowWrites is the maximum number of slow writes of all Replikas, for each concurrent write.
const maxSlowWrites = 16

// Fence returns a fence that keeps a leader from writing when another instance may lead by now: it was paused for longer than a
// lease outlasts the last attempt to renew it, or it did not renew the lease until renewDeadline. It wraps the transport of
// config, so it must be called before the manager is built with config. The manager runs the fence, and stops when it closes;
// until it runs, the fence is open.
func Fence(config *rest.Config, leaseName string, leaseDuration, renewDeadline time.Duration) manager.Runnable {
	fence := executor.NewFence(executor.FenceLimits{
		MaxPause: leaseDuration - renewDeadline, LeaseName: leaseName, MaxLeaseAge: renewDeadline,
	})
	config.Wrap(fence.Wrap)
	return fence
}

// Setup builds the controllers and registers them with the manager.
func Setup(mgr ctrl.Manager, options Options) error {
	config, httpClient := rest.CopyConfig(mgr.GetConfig()), mgr.GetHTTPClient()
	config.QPS = -1 // throttling is left to API Priority and Fairness
	objects, err := dynamic.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return fmt.Errorf("creating the client that watches copies: %w", err)
	}
	lists, err := executor.NewClient(config, httpClient)
	if err != nil {
		return fmt.Errorf("creating the client that lists copies: %w", err)
	}
	metadataClient, err := metadata.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return fmt.Errorf("creating the client that reads metadata: %w", err)
	}
	discoveryClient, err := discovery.NewDiscoveryClientForConfigAndClient(config, httpClient)
	if err != nil {
		return fmt.Errorf("creating the discovery client: %w", err)
	}
	cleaner := planner.NewCleaner(options.DropKeys...)
	reconciler := &ReplikaReconciler{
		Client:                  mgr.GetClient(),
		Namespaces:              cachedNamespaces(mgr.GetCache()),
		Clients:                 newClients(config, cleaner, executor.NewFairSemaphore(options.MaxConcurrentWrites, maxSlowWrites*options.MaxConcurrentWrites)),
		Mapper:                  tracking.NewMapper(discoveryClient),
		Cleaner:                 cleaner,
		Recorder:                mgr.GetEventRecorder("replika"),
		Clock:                   clock.RealClock{},
		Policy:                  options.Policy.withDefaults(),
		excluded:                planner.NewPatterns(options.Policy.ExcludedNamespaces),
		Timeouts:                options.Timeouts.withDefaults(),
		MaxConcurrentReconciles: options.MaxConcurrentReconciles,
		MaxConcurrentWrites:     options.MaxConcurrentWrites,
	}
	reconciler.sourceReads.clock = reconciler.Clock
	reconciler.detacher = &detacher{
		reconcile: reconciler.Reconcile, delay: reconciler.Timeouts.DetachDelay, enqueue: reconciler.enqueuer.enqueueAfter,
	}
	reconciler.Watches = tracking.NewWatches(objects, lists, metadataClient, cleaner, reconciler.handleWatchEvent)
	reconciler.Lister = tracking.NewLister(reconciler.Watches)
	reconciler.discovery = newDiscoveryRefresher(reconciler.Mapper.InvalidationDelays(), reconciler.refreshGroup)
	if reconciler.metrics, err = newMetricSet(ctrlmetrics.Registry, reconciler.Watches); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return register(mgr, reconciler)
}

// register adds everything that runs to the manager.
func register(mgr ctrl.Manager, reconciler *ReplikaReconciler) error {
	reconciler.Watches.Set(tracking.User{Purpose: watchPurposeKinds}, tracking.AllCRDs())
	for _, runnable := range []manager.Runnable{reconciler.Watches, reconciler.discovery, reconciler.detacher} {
		if err := mgr.Add(runnable); err != nil {
			return fmt.Errorf("adding %T to the manager: %w", runnable, err)
		}
	}
	if err := reconciler.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("setting up the controller: %w", err)
	}
	if err := (standbyReconciler{reconciler}).SetupWithManager(mgr); err != nil {
		return fmt.Errorf("setting up the standby controller: %w", err)
	}
	return nil
}
