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
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// data is the data of a ConfigMap.
type data map[string]string

// snapshot is the state of the sample objects and their copies at one point in time.
type snapshot struct {
	source data            // nil if it does not exist
	copies map[string]data // by namespace
	ready  string          // describes the Ready condition; noReplika if the Replika does not exist
}

const noReplika = "no Replika"

// readSnapshot reads the current state from the API server, without a cache.
func readSnapshot(ctx context.Context, c client.Client) (snapshot, error) {
	s := snapshot{copies: map[string]data{}}

	var source corev1.ConfigMap
	if err := c.Get(ctx, sourceKey, &source); client.IgnoreNotFound(err) != nil {
		return snapshot{}, err
	}
	s.source = source.Data

	var copies corev1.ConfigMapList
	if err := c.List(ctx, &copies, client.MatchingLabels{
		v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue,
		v1alpha1.LabelPartOf:    v1alpha1.PartOf(replikaKey.Name),
	}); err != nil {
		return snapshot{}, err
	}
	for _, found := range copies.Items {
		s.copies[found.Namespace] = found.Data
	}

	var replika v1alpha1.Replika
	err := c.Get(ctx, replikaKey, &replika)
	s.ready = describeReady(meta.FindStatusCondition(replika.Status.Conditions, v1alpha1.ConditionReady))
	if apierrors.IsNotFound(err) {
		s.ready, err = noReplika, nil
	}
	return s, err
}

func describeReady(ready *metav1.Condition) string {
	if ready == nil {
		return "not set yet"
	}
	return fmt.Sprintf("%s (%s): %s", ready.Status, ready.Reason, ready.Message)
}

// inSync reports whether exactly these namespaces have a copy, all copies are identical to the source, and the Replika is
// ready.
func (s snapshot) inSync(namespaces ...string) bool {
	if s.source == nil || len(s.copies) != len(namespaces) {
		return false
	}
	for _, namespace := range namespaces {
		if copied, ok := s.copies[namespace]; !ok || !maps.Equal(copied, s.source) {
			return false
		}
	}
	return strings.HasPrefix(s.ready, string(metav1.ConditionTrue))
}

// String describes the snapshot in one line.
func (s snapshot) String() string {
	parts := []string{"Ready is " + s.ready}
	if s.source == nil {
		parts = append(parts, "the source does not exist")
	}
	if len(s.copies) == 0 {
		parts = append(parts, "there are no copies")
	}
	for _, namespace := range slices.Sorted(maps.Keys(s.copies)) {
		state := "identical to the source"
		if !maps.Equal(s.copies[namespace], s.source) {
			state = "different from the source"
		}
		parts = append(parts, fmt.Sprintf("the copy in %s is %s", namespace, state))
	}
	return strings.Join(parts, "; ")
}
