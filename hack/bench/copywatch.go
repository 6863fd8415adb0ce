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

package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// copyWatch is the benchmark's own watch of the copies of one workload.
type copyWatch struct {
	events <-chan apiwatch.Event
	stop   func()
}

// watchCopies starts a watch. Its first events are the existing copies.
func (e *environment) watchCopies(ctx context.Context, workload *workload) (*copyWatch, error) {
	watch, err := e.client.Watch(ctx, &corev1.ConfigMapList{}, client.MatchingLabels{
		v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue, v1alpha1.LabelPartOf: v1alpha1.PartOf(workload.name),
	})
	if err != nil {
		return nil, fmt.Errorf("watching the copies: %w", err)
	}
	return &copyWatch{events: watch.ResultChan(), stop: watch.Stop}, nil
}

// skip skips this number of events, such as those of the existing copies.
func (w *copyWatch) skip(ctx context.Context, events int) error {
	for range events {
		if _, _, err := w.next(ctx); err != nil {
			return err
		}
	}
	return nil
}

// next waits for the next change of a copy. deleted reports whether the copy was deleted.
func (w *copyWatch) next(ctx context.Context) (copied *corev1.ConfigMap, deleted bool, err error) {
	select {
	case event, open := <-w.events:
		copied, ok := event.Object.(*corev1.ConfigMap)
		if !open || !ok {
			return nil, false, fmt.Errorf("the watch of the copies ended: %v", event.Object)
		}
		return copied, event.Type == apiwatch.Deleted, nil
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	}
}

// waitFor waits until the copy in the namespace meets the condition.
func (w *copyWatch) waitFor(ctx context.Context, namespace string, condition func(*corev1.ConfigMap) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, repairTimeout, fmt.Errorf("no such copy within %s", repairTimeout))
	defer cancel()
	for {
		copied, deleted, err := w.next(ctx)
		if err != nil {
			return fmt.Errorf("waiting for the copy in %s: %w", namespace, err)
		}
		if !deleted && copied.Namespace == namespace && condition(copied) {
			return nil
		}
	}
}

// repairTimeout is the maximum time to create or repair one copy.
const repairTimeout = 30 * time.Second
