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
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// workload is one Replika and its source, a ConfigMap. Replika, source and copies have the same name.
type workload struct {
	name    string
	replika *v1alpha1.Replika
	source  *corev1.ConfigMap
	version int
}

// The keys of a source's data: an edit changes the version, the content has the wanted size.
const (
	versionKey = "version"
	paddingKey = "content"
)

// noResync is a synchronization time that is longer than any measurement.
const noResync = time.Hour

func newWorkload(name string, bytes int, synchronization time.Duration, replicateIn []string) *workload {
	object := metav1.ObjectMeta{Namespace: sourceNamespace, Name: name}
	return &workload{
		name: name,
		source: &corev1.ConfigMap{
			ObjectMeta: *object.DeepCopy(),
			Data:       map[string]string{versionKey: "0", paddingKey: padding(bytes)},
		},
		replika: &v1alpha1.Replika{
			ObjectMeta: object,
			Spec: v1alpha1.ReplikaSpec{
				Synchronization: v1alpha1.SynchronizationSpec{Time: v1alpha1.Duration{Duration: synchronization}},
				Source:          v1alpha1.SourceSpec{Version: "v1", Kind: "ConfigMap", Name: name},
				Target:          v1alpha1.TargetSpec{Namespaces: v1alpha1.TargetNamespaces{ReplicateIn: replicateIn}},
			},
		},
	}
}

// padding returns text that does not compress well. It is the same in every run.
func padding(bytes int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	random := rand.New(rand.NewPCG(1, uint64(bytes)))
	text := make([]byte, bytes)
	for i := range text {
		text[i] = letters[random.IntN(len(letters))]
	}
	return string(text)
}

func (e *environment) createSource(ctx context.Context, workload *workload) error {
	return e.client.Create(ctx, workload.source)
}

func (e *environment) createReplika(ctx context.Context, workload *workload) error {
	return e.client.Create(ctx, workload.replika)
}

// create creates source and Replika, and waits until this number of copies is in sync.
func (e *environment) create(ctx context.Context, workload *workload, copies int) error {
	if err := e.createSource(ctx, workload); err != nil {
		return err
	}
	if err := e.createReplika(ctx, workload); err != nil {
		return err
	}
	return e.waitForSync(ctx, workload, copies)
}

// edit updates the source.
func (e *environment) edit(ctx context.Context, workload *workload) error {
	workload.version++
	patch, err := json.Marshal(map[string]any{"data": map[string]string{versionKey: strconv.Itoa(workload.version)}})
	if err != nil {
		return err
	}
	return e.client.Patch(ctx, workload.source, client.RawPatch("application/merge-patch+json", patch))
}

// The time limit for a fan-out has a fixed part and a part per copy, both generous enough for a slow or busy machine.
const (
	syncTimeoutPerCopy = 100 * time.Millisecond
	syncTimeout        = time.Minute
)

// waitForSync waits until the Replika's status reports this number of copies in sync with the current source.
func (e *environment) waitForSync(ctx context.Context, workload *workload, copies int) error {
	key := client.ObjectKeyFromObject(workload.replika)
	timeout := syncTimeout + time.Duration(copies)*syncTimeoutPerCopy
	replika := &v1alpha1.Replika{}
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, timeout, false, func(ctx context.Context) (bool, error) {
		if err := e.client.Get(ctx, key, replika); err != nil {
			return false, err
		}
		return workload.inSync(replika, copies), e.operator.exitError()
	})
	if err != nil {
		return fmt.Errorf("waiting for %d copies of %s: %w; status: %+v", copies, workload.name, err, replika.Status)
	}
	return nil
}

// waitForAllSync waits until the status of each Replika reports this number of copies in sync with its current source. It reads
// all Replikas at once: one read for each would take longer than their copies.
func (e *environment) waitForAllSync(ctx context.Context, workloads []*workload, copies int) error {
	timeout := syncTimeout + time.Duration(len(workloads)*copies)*syncTimeoutPerCopy
	waiting := workloads
	err := wait.PollUntilContextTimeout(ctx, time.Second, timeout, true, func(ctx context.Context) (bool, error) {
		var replikas v1alpha1.ReplikaList
		// From the API server's cache.
		if err := e.client.List(ctx, &replikas, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: "0"}}); err != nil {
			return false, err
		}
		byName := map[string]*v1alpha1.Replika{}
		for i := range replikas.Items {
			byName[replikas.Items[i].Name] = &replikas.Items[i]
		}
		waiting = slices.DeleteFunc(slices.Clone(waiting), func(w *workload) bool {
			replika, found := byName[w.name]
			return found && w.inSync(replika, copies)
		})
		return len(waiting) == 0, e.operator.exitError()
	})
	if err != nil {
		return fmt.Errorf("waiting for %d copies of each of %d Replikas, %d are not in sync: %w", copies, len(workloads), len(waiting), err)
	}
	return nil
}

// inSync reports whether the status reports this number of copies in sync with the current source, or with many sources.
func (w *workload) inSync(replika *v1alpha1.Replika, copies int) bool {
	status := replika.Status
	return status.ObservedGeneration == replika.Generation &&
		meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady) &&
		(replika.HasManySources() || status.Source != nil && status.Source.ResourceVersion == w.source.ResourceVersion) &&
		status.Copies != nil && int(status.Copies.Synced) == copies
}

// delete deletes the Replika, waits until the operator has deleted its copies and removed the finalizer, and deletes the
// source.
func (e *environment) delete(ctx context.Context, workload *workload) error {
	if err := e.client.Delete(ctx, workload.replika); err != nil {
		return client.IgnoreNotFound(err)
	}
	key := client.ObjectKeyFromObject(workload.replika)
	timeout := syncTimeout + time.Duration(e.namespaces)*syncTimeoutPerCopy
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, timeout, true, func(ctx context.Context) (bool, error) {
		err := e.client.Get(ctx, key, &v1alpha1.Replika{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		return false, e.operator.exitError()
	})
	if err != nil {
		return fmt.Errorf("waiting for the deletion of Replika %s: %w", workload.name, err)
	}
	return client.IgnoreNotFound(e.client.Delete(ctx, workload.source))
}

// deleteWorkloads deletes all Replikas and sources, and stops the operator. The operator deletes the copies.
func (e *environment) deleteWorkloads(ctx context.Context) error {
	var replikas v1alpha1.ReplikaList
	if err := e.client.List(ctx, &replikas); err != nil {
		return err
	}
	if len(replikas.Items) > 0 && e.operator == nil {
		if err := e.startOperator(ctx); err != nil {
			return err
		}
	}
	for i := range replikas.Items {
		object := metav1.ObjectMeta{Namespace: sourceNamespace, Name: replikas.Items[i].Name}
		remaining := &workload{name: object.Name, replika: &replikas.Items[i], source: &corev1.ConfigMap{ObjectMeta: object}}
		if err := e.delete(ctx, remaining); err != nil {
			return err
		}
	}
	return e.stopOperator()
}
