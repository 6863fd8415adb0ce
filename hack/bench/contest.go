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

// contend rewrites the copy in one namespace whenever somebody changed it, until the context ends: like another controller
// that wants it otherwise.
func (s *stage) contend(ctx context.Context, subject *subject, namespace string) error {
	const (
		mine  = "the contender's"
		pause = 50 * time.Millisecond
	)
	watch, err := s.watchCopies(ctx, subject)
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
			if deleted || copied.Namespace != namespace || copied.Data[versionKey] == mine {
				continue
			}
			time.Sleep(pause)
			patch := client.RawPatch("application/merge-patch+json", []byte(`{"data":{"`+versionKey+`":"`+mine+`"}}`))
			// If it fails there is nothing to contend for any more.
			_ = s.client.Patch(ctx, &corev1.ConfigMap{ObjectMeta: copied.ObjectMeta}, patch)
		}
	}()
	return nil
}
