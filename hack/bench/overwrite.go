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
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// startOverwriting overwrites the copy in one namespace after every change, as a conflicting controller would, until the
// context ends.
func (e *environment) startOverwriting(ctx context.Context, workload *workload, namespace string) error {
	const (
		value = "overwritten"
		delay = 50 * time.Millisecond
	)
	watch, err := e.watchCopies(ctx, workload)
	if err != nil {
		return err
	}
	go func() {
		defer watch.stop()
		for {
			copied, deleted, err := watch.next(ctx)
			if err != nil {
				return
			}
			if deleted || copied.Namespace != namespace || copied.Data[versionKey] == value {
				continue
			}
			time.Sleep(delay)
			patch := client.RawPatch("application/merge-patch+json", []byte(`{"data":{"`+versionKey+`":"`+value+`"}}`))
			// It fails if the copy was deleted in the meantime.
			_ = e.client.Patch(ctx, &corev1.ConfigMap{ObjectMeta: copied.ObjectMeta}, patch)
		}
	}()
	return nil
}
