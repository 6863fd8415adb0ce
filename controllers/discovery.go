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
	"context"
	"time"

	"k8s.io/client-go/util/workqueue"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// refresh is one of the delayed discoveries of a group. It has the delay, so that a queue keeps all of them.
type refresh struct {
	group string
	delay time.Duration
}

// discoveryRefresher drops what is cached about the kinds of a group, and reconciles the Replikas that use them, when a
// CustomResourceDefinition is installed, changed or removed.
type discoveryRefresher struct {
	queue workqueue.TypedDelayingInterface[refresh]
	// delays after which the kinds are discovered again.
	delays []time.Duration
	// refreshed is called for the group, once after each delay.
	refreshed func(ctx context.Context, group string)
}

func newDiscoveryRefresher(delays []time.Duration, refreshed func(ctx context.Context, group string)) *discoveryRefresher {
	return &discoveryRefresher{
		queue:     workqueue.NewTypedDelayingQueue[refresh](),
		delays:    delays,
		refreshed: refreshed,
	}
}

// schedule schedules the refreshes for a group of which a CustomResourceDefinition changed.
func (d *discoveryRefresher) schedule(group string) {
	for _, delay := range d.delays {
		d.queue.AddAfter(refresh{group: group, delay: delay}, delay)
	}
}

// Start implements manager.Runnable. It returns when ctx ends.
func (d *discoveryRefresher) Start(ctx context.Context) error {
	stop := context.AfterFunc(ctx, d.queue.ShutDown)
	defer stop()
	for {
		due, shutdown := d.queue.Get()
		if shutdown {
			return nil
		}
		d.refreshed(ctx, due.group)
		d.queue.Done(due)
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: the standby keeps its watches in sync, too.
func (*discoveryRefresher) NeedLeaderElection() bool { return false }

// refreshGroup reconciles the Replikas whose source is of the group, with kinds that are discovered again.
func (r *ReplikaReconciler) refreshGroup(ctx context.Context, group string) {
	r.Mapper.InvalidateGroup(group)
	replikas := namesOf(r.listReplikas(ctx), func(replika *v1alpha1.Replika) bool { return replika.Spec.Source.Group == group })
	for state := range r.states.findAll(replikas) {
		for _, part := range state.withSources() {
			part.forgetRefusals() // the kind may have another schema
		}
	}
	r.enqueuer.enqueue(replikas...)
	r.standbyEnqueuer.enqueue(replikas...)
}
