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

package faults

import (
	"context"
	"slices"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/e2e"
)

// copyHistory records the source's revisions that each copy has had, in order, as a watch reports them.
type copyHistory struct {
	mu sync.Mutex
	// revisions by namespace; "" is a deletion.
	revisions map[string][]string
}

// watchCopies records the history of all copies from now on.
func watchCopies() *copyHistory {
	GinkgoHelper()
	list := &corev1.ConfigMapList{}
	ours := client.HasLabels{v1alpha1.LabelCreatedBy}
	Expect(env.Admin.List(context.Background(), list, ours)).To(Succeed())
	watching, err := env.Admin.Watch(context.Background(), list, ours,
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(watching.Stop)
	h := &copyHistory{revisions: map[string][]string{}}
	go func() {
		for event := range watching.ResultChan() {
			h.record(event)
		}
	}()
	return h
}

func (h *copyHistory) record(event watch.Event) {
	object, ok := event.Object.(*corev1.ConfigMap)
	if !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	revision := object.Data[e2e.RevisionKey]
	if event.Type == watch.Deleted {
		revision = ""
	}
	h.revisions[object.Namespace] = append(h.revisions[object.Namespace], revision)
}

// revisionsIn returns the revisions of the copy in the namespace.
func (h *copyHistory) revisionsIn(namespace string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.revisions[namespace])
}
