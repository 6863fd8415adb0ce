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

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// action is something that a user does in the cluster.
type action = func(context.Context, *environment) error

// inOrder returns an action that runs the actions in order. It ends at the first error.
func inOrder(actions ...action) action {
	return func(ctx context.Context, env *environment) error {
		for _, act := range actions {
			if err := act(ctx, env); err != nil {
				return err
			}
		}
		return nil
	}
}

func createNamespaces(names ...string) action {
	return func(ctx context.Context, env *environment) error {
		for _, name := range names {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
			if err := env.client.Create(ctx, namespace); err != nil {
				return err
			}
			env.timeline.log("You created the namespace %s.", name)
		}
		return nil
	}
}

func editSource(ctx context.Context, env *environment) error {
	return edit(ctx, env, sourceKey, `{"data":{"greeting":"Hello again"}}`)
}

func editCopy(namespace string) action {
	return func(ctx context.Context, env *environment) error {
		return edit(ctx, env, copyKey(namespace), `{"data":{"greeting":"edited by hand"}}`)
	}
}

func edit(ctx context.Context, env *environment, key types.NamespacedName, mergePatch string) error {
	patch := client.RawPatch(types.MergePatchType, []byte(mergePatch))
	if err := env.client.Patch(ctx, configMap(key), patch, fieldOwner); err != nil {
		return err
	}
	env.timeline.log("You edited the ConfigMap %s.", key)
	return nil
}

func deleteCopy(namespace string) action {
	return func(ctx context.Context, env *environment) error {
		key := copyKey(namespace)
		if err := env.client.Delete(ctx, configMap(key)); err != nil {
			return err
		}
		env.timeline.log("You deleted the ConfigMap %s.", key)
		return nil
	}
}

func deleteReplika(ctx context.Context, env *environment) error {
	replika := &v1alpha1.Replika{
		ObjectMeta: metav1.ObjectMeta{Namespace: replikaKey.Namespace, Name: replikaKey.Name},
	}
	if err := env.client.Delete(ctx, replika); err != nil {
		return err
	}
	env.timeline.log("You deleted the Replika %s.", replikaKey)
	return nil
}

// copyKey returns the key of the copy in a namespace.
func copyKey(namespace string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: sourceKey.Name}
}

func configMap(key types.NamespacedName) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
}
