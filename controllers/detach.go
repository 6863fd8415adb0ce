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
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// maxDetached is the maximum number of reconciles without a worker.
const maxDetached = 256

// detacher lets a reconcile that takes long continue without its worker, so that Replikas whose requests hang do not keep the
// workers from others. At most one reconcile of a Replika is active at a time, with or without a worker.
type detacher struct {
	reconcile reconcile.Func
	// delay is how long a reconcile keeps its worker.
	delay time.Duration
	// enqueue adds a Replika to the queue, after a delay.
	enqueue func(replika types.NamespacedName, after time.Duration)

	// active counts what [detacher.Start] waits for.
	active sync.WaitGroup

	mu sync.Mutex
	// stopping is true once nothing new is counted as active.
	stopping bool
	// detached holds the Replikas that are reconciled without a worker: true for those to reconcile again afterwards.
	detached map[types.NamespacedName]bool
}

// Reconcile implements reconcile.Reconciler.
func (d *detacher) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	if !d.begin() {
		return ctrl.Result{}, ctx.Err()
	}
	defer d.active.Done()
	if d.postpone(request.NamespacedName) {
		return ctrl.Result{}, nil
	}
	type outcome struct {
		result ctrl.Result
		err    error
	}
	ended := make(chan outcome, 1)
	d.active.Go(func() {
		result, err := d.reconcile(ctx, request)
		ended <- outcome{result, err}
	})
	ticker := time.NewTicker(d.delay)
	defer ticker.Stop()
	for detached := false; !detached; {
		select {
		case o := <-ended:
			return o.result, o.err
		case <-ticker.C:
			detached = d.detach(request.NamespacedName)
		}
	}
	d.active.Go(func() {
		o := <-ended
		d.end(ctx, request.NamespacedName, o.result, o.err)
	})
	return ctrl.Result{}, nil
}

// begin reports whether a reconcile may begin, and counts it as active then.
func (d *detacher) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.stopping {
		d.active.Add(1)
	}
	return !d.stopping
}

// postpone reports whether the Replika is being reconciled without a worker. It is then reconciled again afterwards.
func (d *detacher) postpone(replika types.NamespacedName) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, found := d.detached[replika]; !found {
		return false
	}
	d.detached[replika] = true
	return true
}

// detach reports whether the reconcile may continue without a worker.
func (d *detacher) detach(replika types.NamespacedName) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.detached) >= maxDetached {
		return false
	}
	if d.detached == nil {
		d.detached = map[types.NamespacedName]bool{}
	}
	d.detached[replika] = false
	return true
}

// end does what the controller does with the result of a reconcile.
func (d *detacher) end(ctx context.Context, replika types.NamespacedName, result ctrl.Result, err error) {
	d.mu.Lock()
	again := d.detached[replika]
	delete(d.detached, replika)
	d.mu.Unlock()
	switch {
	case ctx.Err() != nil:
	case again:
		d.enqueue(replika, 0)
	case err != nil:
		ctrl.LoggerFrom(ctx).Error(err, "Reconciler error")
		d.enqueue(replika, time.Second)
	case result.RequeueAfter > 0:
		d.enqueue(replika, result.RequeueAfter)
	}
}

// Start implements manager.Runnable: the manager does not stop before every reconcile has ended. Their contexts end with the
// manager's.
func (d *detacher) Start(ctx context.Context) error {
	<-ctx.Done()
	d.mu.Lock()
	d.stopping = true
	d.mu.Unlock()
	d.active.Wait()
	return nil
}
