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

// targetName is the name of a target namespace, by its number.
func targetName(number int) string { return fmt.Sprintf("target-%06d", number) }

func targetNames(count int) []string {
	names := make([]string, count)
	for number := range names {
		names[number] = targetName(number)
	}
	return names
}

// firstTargets are globs that match the first so many target namespaces, and no others: for each digit one for every
// lesser digit there.
func firstTargets(count int) []string {
	digits := fmt.Sprintf("%06d", count)
	var globs []string
	for place, digit := range digits {
		for lesser := '0'; lesser < digit; lesser++ {
			glob := "target-" + digits[:place] + string(lesser)
			if place < len(digits)-1 {
				glob += "*"
			}
			globs = append(globs, glob)
		}
	}
	return globs
}

// needNamespaces makes target namespaces until there are so many, and waits until the controllers are done with them.
func (s *stage) needNamespaces(ctx context.Context, count int) error {
	if s.namespaces >= count {
		return nil
	}
	s.progress.say("making %d namespaces", count-s.namespaces)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(s.opts.parallel)
	for number := s.namespaces; number < count; number++ {
		group.Go(func() error { return s.createNamespace(groupCtx, targetName(number)) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	s.namespaces = count
	return s.awaitControllers(ctx, s.namespaces)
}

func (s *stage) createNamespace(ctx context.Context, name string) error {
	return s.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

// awaitControllers waits until every namespace has what the controller manager puts into it.
func (s *stage) awaitControllers(ctx context.Context, count int) error {
	const patience = 5 * time.Minute
	for _, name := range targetNames(count)[max(0, count-100):] {
		key := client.ObjectKey{Namespace: name, Name: "kube-root-ca.crt"}
		err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
			err := s.client.Get(ctx, key, &corev1.ConfigMap{})
			if apierrors.IsNotFound(err) {
				return false, nil
			}
			return err == nil, err
		})
		if err != nil {
			return fmt.Errorf("wait for the controllers in namespace %s: %w", name, err)
		}
	}
	return nil
}
