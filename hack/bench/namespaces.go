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

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// sourceNamespace holds the sources and the Replikas.
const sourceNamespace = "bench-source"

// targetName returns the name of the target namespace with this number.
func targetName(number int) string { return fmt.Sprintf("target-%06d", number) }

func targetNames(count int) []string {
	names := make([]string, count)
	for number := range names {
		names[number] = targetName(number)
	}
	return names
}

// targetGlobs returns globs that match exactly the first count target namespaces: for each digit of count, one glob for
// every smaller digit in its place.
func targetGlobs(count int) []string {
	digits := fmt.Sprintf("%06d", count)
	var globs []string
	for place, digit := range digits {
		for smaller := '0'; smaller < digit; smaller++ {
			glob := "target-" + digits[:place] + string(smaller)
			if place < len(digits)-1 {
				glob += "*"
			}
			globs = append(globs, glob)
		}
	}
	return globs
}

// ensureNamespaces creates the missing target namespaces, and waits until the controllers have processed them.
func (e *environment) ensureNamespaces(ctx context.Context, count int) error {
	if e.namespaces >= count {
		return nil
	}
	if err := e.createNamespaces(ctx, count); err != nil {
		return err
	}
	return e.waitForControllers(ctx, e.namespaces)
}

// createNamespaces creates the missing target namespaces.
func (e *environment) createNamespaces(ctx context.Context, count int) error {
	e.progress.log("creating %d namespaces", count-e.namespaces)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(e.opts.parallel)
	for number := e.namespaces; number < count; number++ {
		group.Go(func() error { return e.createNamespace(groupCtx, targetName(number)) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	e.namespaces = count
	return nil
}

func (e *environment) createNamespace(ctx context.Context, name string) error {
	return e.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

// waitForControllers waits until the controller manager has created its ConfigMap in the last namespaces.
func (e *environment) waitForControllers(ctx context.Context, count int) error {
	const timeout = 5 * time.Minute
	for _, name := range targetNames(count)[max(0, count-100):] {
		key := client.ObjectKey{Namespace: name, Name: "kube-root-ca.crt"}
		err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, timeout, true, func(ctx context.Context) (bool, error) {
			err := e.client.Get(ctx, key, &corev1.ConfigMap{})
			if apierrors.IsNotFound(err) {
				return false, nil
			}
			return err == nil, err
		})
		if err != nil {
			return fmt.Errorf("waiting for the controllers in namespace %s: %w", name, err)
		}
	}
	return nil
}
