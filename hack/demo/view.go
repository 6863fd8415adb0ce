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

// data is what a ConfigMap holds.
type data map[string]string

// view is what can be seen, at one moment, of the sample and of what the operator made of it.
type view struct {
	source data            // nil if there is none
	copies map[string]data // by namespace
	ready  string          // the Ready condition; noReplika if there is no Replika
}

const noReplika = "no Replika"

// look sees what is there now. It asks the API server each time: nothing is remembered or waited for.
func look(ctx context.Context, c client.Client) (view, error) {
	v := view{copies: map[string]data{}}

	var source corev1.ConfigMap
	if err := c.Get(ctx, sourceKey, &source); client.IgnoreNotFound(err) != nil {
		return view{}, err
	}
	v.source = source.Data

	var copies corev1.ConfigMapList
	if err := c.List(ctx, &copies, client.MatchingLabels{
		v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue,
		v1alpha1.LabelPartOf:    v1alpha1.PartOf(replikaKey.Name),
	}); err != nil {
		return view{}, err
	}
	for _, found := range copies.Items {
		v.copies[found.Namespace] = found.Data
	}

	var replika v1alpha1.Replika
	err := c.Get(ctx, replikaKey, &replika)
	v.ready = describeReady(meta.FindStatusCondition(replika.Status.Conditions, v1alpha1.ConditionReady))
	if apierrors.IsNotFound(err) {
		v.ready, err = noReplika, nil
	}
	return v, err
}

func describeReady(ready *metav1.Condition) string {
	if ready == nil {
		return "not reported"
	}
	return fmt.Sprintf("%s, %s: %s", ready.Status, ready.Reason, ready.Message)
}

// inSync reports whether exactly these namespaces have a copy, each like the source, and the Replika says so.
func (v view) inSync(namespaces ...string) bool {
	if v.source == nil || len(v.copies) != len(namespaces) {
		return false
	}
	for _, namespace := range namespaces {
		if copied, ok := v.copies[namespace]; !ok || !maps.Equal(copied, v.source) {
			return false
		}
	}
	return strings.HasPrefix(v.ready, string(metav1.ConditionTrue))
}

// String tells the whole view in one line.
func (v view) String() string {
	parts := []string{"Ready is " + v.ready}
	if v.source == nil {
		parts = append(parts, "no source")
	}
	if len(v.copies) == 0 {
		parts = append(parts, "no copy")
	}
	for _, namespace := range slices.Sorted(maps.Keys(v.copies)) {
		state := "like the source"
		if !maps.Equal(v.copies[namespace], v.source) {
			state = "unlike the source"
		}
		parts = append(parts, fmt.Sprintf("%s: a copy, %s", namespace, state))
	}
	return strings.Join(parts, "; ")
}
