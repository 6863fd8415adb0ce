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

// subject is one Replika and its source, a ConfigMap. Both, and so the copies, have one name.
type subject struct {
	name    string
	replika *v1alpha1.Replika
	source  *corev1.ConfigMap
	version int
}

// The keys of a source's data: what an edit changes, and what makes it as large as it shall be.
const (
	versionKey = "version"
	paddingKey = "content"
)

// neverDue is a synchronization time that does not come while something is measured.
const neverDue = time.Hour

func newSubject(name string, bytes int, synchronization time.Duration, replicateIn []string) *subject {
	object := metav1.ObjectMeta{Namespace: sourceNamespace, Name: name}
	return &subject{
		name: name,
		source: &corev1.ConfigMap{
			ObjectMeta: *object.DeepCopy(),
			Data:       map[string]string{versionKey: "0", paddingKey: padding(bytes)},
		},
		replika: &v1alpha1.Replika{
			ObjectMeta: object,
			Spec: v1alpha1.ReplikaSpec{
				Synchronization: v1alpha1.SynchronizationSpec{Time: metav1.Duration{Duration: synchronization}},
				Source:          v1alpha1.SourceSpec{Version: "v1", Kind: "ConfigMap", Name: name},
				Target:          v1alpha1.TargetSpec{Namespaces: v1alpha1.TargetNamespaces{ReplicateIn: replicateIn}},
			},
		},
	}
}

// padding is text that no compression makes small, the same in every run.
func padding(bytes int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	random := rand.New(rand.NewPCG(1, uint64(bytes)))
	text := make([]byte, bytes)
	for i := range text {
		text[i] = letters[random.IntN(len(letters))]
	}
	return string(text)
}

func (s *stage) createSource(ctx context.Context, subject *subject) error {
	return s.client.Create(ctx, subject.source)
}

func (s *stage) createReplika(ctx context.Context, subject *subject) error {
	return s.client.Create(ctx, subject.replika)
}

// create makes source and Replika, and waits until there are so many copies in sync.
func (s *stage) create(ctx context.Context, subject *subject, copies int) error {
	if err := s.createSource(ctx, subject); err != nil {
		return err
	}
	if err := s.createReplika(ctx, subject); err != nil {
		return err
	}
	return s.awaitSync(ctx, subject, copies)
}

// edit changes the source.
func (s *stage) edit(ctx context.Context, subject *subject) error {
	subject.version++
	patch, err := json.Marshal(map[string]any{"data": map[string]string{versionKey: strconv.Itoa(subject.version)}})
	if err != nil {
		return err
	}
	return s.client.Patch(ctx, subject.source, client.RawPatch("application/merge-patch+json", patch))
}

// syncPatience is how long one copy may take, on a machine that is slow or busy, and how long all take at least.
const (
	syncPatiencePerCopy = 100 * time.Millisecond
	syncPatience        = time.Minute
)

// awaitSync waits until the Replika says that so many copies are like the source as it is now.
func (s *stage) awaitSync(ctx context.Context, subject *subject, copies int) error {
	key := client.ObjectKeyFromObject(subject.replika)
	patience := syncPatience + time.Duration(copies)*syncPatiencePerCopy
	replika := &v1alpha1.Replika{}
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, false, func(ctx context.Context) (bool, error) {
		if err := s.client.Get(ctx, key, replika); err != nil {
			return false, err
		}
		status := replika.Status
		return status.ObservedGeneration == replika.Generation &&
			meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady) &&
			status.Source != nil && status.Source.ResourceVersion == subject.source.ResourceVersion &&
			status.Copies != nil && int(status.Copies.Synced) == copies, s.operator.ended()
	})
	if err != nil {
		return fmt.Errorf("wait for %d copies of %s: %w; its status is %+v", copies, subject.name, err, replika.Status)
	}
	return nil
}

// delete deletes the Replika, waits until it is gone, which it is when its copies are, and deletes the source.
func (s *stage) delete(ctx context.Context, subject *subject) error {
	if err := s.client.Delete(ctx, subject.replika); err != nil {
		return client.IgnoreNotFound(err)
	}
	key := client.ObjectKeyFromObject(subject.replika)
	patience := syncPatience + time.Duration(s.namespaces)*syncPatiencePerCopy
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		err := s.client.Get(ctx, key, &v1alpha1.Replika{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		return false, s.operator.ended()
	})
	if err != nil {
		return fmt.Errorf("wait for the copies of %s to go: %w", subject.name, err)
	}
	return client.IgnoreNotFound(s.client.Delete(ctx, subject.source))
}

// clearObjects deletes every Replika, by the operator, with its copies, and then every source.
func (s *stage) clearObjects(ctx context.Context) error {
	var replikas v1alpha1.ReplikaList
	if err := s.client.List(ctx, &replikas); err != nil {
		return err
	}
	if len(replikas.Items) > 0 && s.operator == nil {
		if err := s.startOperator(ctx); err != nil {
			return err
		}
	}
	for i := range replikas.Items {
		object := metav1.ObjectMeta{Namespace: sourceNamespace, Name: replikas.Items[i].Name}
		left := &subject{name: object.Name, replika: &replikas.Items[i], source: &corev1.ConfigMap{ObjectMeta: object}}
		if err := s.delete(ctx, left); err != nil {
			return err
		}
	}
	return s.stopOperator()
}
