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

package tracking

import (
	"context"
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// maxConcurrentLists is the maximum number of lists of the copies of one resource at a time. Each can make the API server read all of
// them, and hundreds of Replikas need one when the first list of a watch takes long. Then API Priority and Fairness would reject other
// requests of the operator, such as the renewal of its Lease.
const maxConcurrentLists = 4

// Lister lists copies by requests, for callers without a synced watch. It returns digests instead of content.
type Lister struct {
	objects  objectStream
	metadata metadata.Interface
	cleaner  *planner.Cleaner
	// watches may have accepted digests from before the watch of the copies failed.
	watches  *Watches
	accepted acceptedDigests
	// namespaces are those in which objects are listed; nil for all.
	namespaces []string

	mu sync.Mutex
	// permits has, for each resource, what is left of maxConcurrentLists.
	permits map[schema.GroupResource]chan struct{}
}

// TryAcquire returns the function that must be called after a list of the copies of the resource, or false if they may not be listed now.
// It does not wait: what the caller has read before would be outdated afterwards.
func (l *Lister) TryAcquire(resource schema.GroupVersionResource) (release func(), acquired bool) {
	permits := l.permitsFor(resource.GroupResource())
	select {
	case permits <- struct{}{}:
		return func() { <-permits }, true
	default:
		return nil, false
	}
}

func (l *Lister) permitsFor(resource schema.GroupResource) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.permits == nil {
		l.permits = map[schema.GroupResource]chan struct{}{}
	}
	if l.permits[resource] == nil {
		l.permits[resource] = make(chan struct{}, maxConcurrentLists)
	}
	return l.permits[resource]
}

// NewLister returns a lister that uses the clients of the watches.
func NewLister(watches *Watches) *Lister {
	return &Lister{objects: watches.lists, metadata: watches.metadata, cleaner: watches.cleaner, watches: watches}
}

// In returns a lister of objects in these namespaces only, for callers that may not list them in all.
func (l *Lister) In(namespaces []string) *Lister {
	return &Lister{objects: l.objects, metadata: l.metadata, cleaner: l.cleaner, watches: l.watches, namespaces: namespaces}
}

// List lists the objects with the labels of the Replika's copies, in all namespaces. Replikas of the same name in other
// namespaces have the same labels; the marks of each object identify its owner.
func (l *Lister) List(
	ctx context.Context, resource schema.GroupVersionResource, replika types.NamespacedName,
) ([]*planner.Observed, error) {
	copies, err := l.list(ctx, resource, metav1.ListOptions{LabelSelector: labels.Set{
		v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue,
		v1alpha1.LabelPartOf:    v1alpha1.PartOf(replika.Name),
	}.String()})
	if err != nil {
		return nil, err
	}
	if store := l.watches.storeOf(resource); store != nil {
		store.keepAccepted(copies)
	}
	l.accepted.apply(replika, resource.GroupResource(), copies)
	return copies, nil
}

// RecordWrite keeps what the API server stored for a write of the Replika, for the next list.
func (l *Lister) RecordWrite(replika types.NamespacedName, resource schema.GroupVersionResource, response *planner.Observed) {
	l.accepted.record(replika, resource.GroupResource(), response)
}

// Forget drops what is kept for a Replika.
func (l *Lister) Forget(replika types.NamespacedName) { l.accepted.forget(replika) }

// ListNamed lists all objects of the name, whether they are copies or not.
func (l *Lister) ListNamed(ctx context.Context, resource schema.GroupVersionResource, name string) ([]*planner.Observed, error) {
	return l.list(ctx, resource, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()})
}

func (l *Lister) list(
	ctx context.Context, resource schema.GroupVersionResource, options metav1.ListOptions,
) ([]*planner.Observed, error) {
	var copies []*planner.Observed
	namespaces := l.namespaces
	if namespaces == nil {
		namespaces = []string{metav1.NamespaceAll}
	}
	for _, namespace := range namespaces {
		stream := objectStream{client: l.objects.client, namespace: namespace}
		_, err := stream.each(ctx, resource, options, func(object *unstructured.Unstructured) error {
			observed, err := l.cleaner.Observe(resource.GroupResource(), object)
			copies = append(copies, observed)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("listing copies of resource %s: %w", resource.GroupResource(), err)
		}
	}
	return copies, nil
}

// ListByName lists all objects of the name by their metadata, and so finds copies that lost their labels but not their marks.
// The digests of the result do not cover the content.
func (l *Lister) ListByName(ctx context.Context, resource schema.GroupVersionResource, name string) ([]*planner.Observed, error) {
	list, err := l.metadata.Resource(resource).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String(),
	})
	if err != nil {
		return nil, fmt.Errorf("listing resource %s by name %s: %w", resource.GroupResource(), name, err)
	}
	objects := make([]*planner.Observed, 0, len(list.Items))
	for i := range list.Items {
		observed, err := ObserveMetadata(l.cleaner, resource.GroupResource(), &list.Items[i])
		if err != nil {
			return nil, err
		}
		objects = append(objects, observed)
	}
	return objects, nil
}
