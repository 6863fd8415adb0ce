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

package kit

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// conflictBackoff bounds the retries of Update: on a busy machine, controllers write to the same object for seconds.
var conflictBackoff = wait.Backoff{Duration: 10 * time.Millisecond, Factor: 1.5, Jitter: 0.1, Steps: 20, Cap: time.Second}

// NewClient returns a client without a cache that drops the API server's warnings.
func NewClient(config *rest.Config) (client.Client, error) {
	config = rest.CopyConfig(config)
	config.WarningHandler = rest.NoWarnings{}
	c, err := client.New(config, client.Options{Scheme: Scheme()})
	if err != nil {
		return nil, fmt.Errorf("create a client: %w", err)
	}
	return c, nil
}

// Read returns the object of like's kind and name in a namespace; nil for none.
func Read(ctx context.Context, c client.Reader, like client.Object, namespace string) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(KindOf(like))
	err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: like.GetName()}, object)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return object, nil
}

// Update changes the object as it is on the API server, and retries on a conflict with another writer. The object gives kind
// and name, and becomes what the API server returned.
func Update[T any, Object interface {
	*T
	client.Object
}](ctx context.Context, c client.Client, object Object, change func(Object)) error {
	return retry.RetryOnConflict(conflictBackoff, func() error {
		// A new object, because decoding into a filled one keeps the keys that maps lost.
		current := Object(new(T))
		current.GetObjectKind().SetGroupVersionKind(KindOf(object))
		if err := c.Get(ctx, client.ObjectKeyFromObject(object), current); err != nil {
			return err
		}
		change(current)
		if err := c.Update(ctx, current); err != nil {
			return err
		}
		*object = *current
		return nil
	})
}

// Delete deletes the object and waits until it is gone. No object is no error.
func Delete(ctx context.Context, c client.Client, object client.Object, opts ...client.DeleteOption) error {
	if err := client.IgnoreNotFound(c.Delete(ctx, object, opts...)); err != nil {
		return err
	}
	return wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		found, err := Read(ctx, c, object, object.GetNamespace())
		return found == nil, err
	})
}

// SetFinalizers replaces the object's finalizers; none removes them all. No object is no error.
func SetFinalizers(ctx context.Context, c client.Client, object client.Object, finalizers ...string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": finalizers}})
	if err != nil {
		return err
	}
	return client.IgnoreNotFound(c.Patch(ctx, object, client.RawPatch(types.MergePatchType, patch)))
}
