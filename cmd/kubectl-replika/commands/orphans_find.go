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

package commands

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// concurrentLists is the number of kinds that are listed at the same time.
const concurrentLists = 8

// listedKind is a kind whose objects can be copies.
type listedKind struct {
	resource schema.GroupVersionResource
	kind     schema.GroupKind
}

// findOrphans lists the copies of all kinds, and returns those whose Replika is gone, sorted.
func (o *orphansCommand) findOrphans(ctx context.Context) ([]*orphan, error) {
	kinds, err := o.listableKinds()
	if err != nil {
		return nil, err
	}
	namespace := metav1.NamespaceAll
	if *o.config.Namespace != "" {
		namespace = *o.config.Namespace
	}
	client, err := o.metadata()
	if err != nil {
		return nil, err
	}
	progress := o.startProgress("Reading copies")
	defer progress.done()
	var mu sync.Mutex
	var orphans []*orphan
	var forbidden []string
	lists, ctx := errgroup.WithContext(ctx)
	lists.SetLimit(concurrentLists)
	for _, kind := range kinds {
		lists.Go(func() error {
			err := o.eachMarked(ctx, client.Resource(kind.resource).Namespace(namespace), kind, func(read int, found []*orphan) {
				mu.Lock()
				defer mu.Unlock()
				progress.add(read)
				orphans = append(orphans, found...)
			})
			if !apierrors.IsForbidden(err) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			forbidden = append(forbidden, kind.resource.GroupResource().String())
			return nil
		})
	}
	if err := lists.Wait(); err != nil {
		return nil, err
	}
	if slices.Sort(forbidden); len(forbidden) > 0 {
		o.note("You may not list these, so they are not searched: %s", strings.Join(forbidden, ", "))
	}
	slices.SortFunc(orphans, func(a, b *orphan) int {
		return cmp.Or(
			cmp.Compare(a.observed.Namespace, b.observed.Namespace),
			cmp.Compare(a.resource.String(), b.resource.String()),
			cmp.Compare(a.observed.Name, b.observed.Name))
	})
	return orphans, nil
}

// listableKinds returns all kinds with namespaced objects that can be listed.
func (o *orphansCommand) listableKinds() ([]listedKind, error) {
	client, err := o.config.ToDiscoveryClient()
	if err != nil {
		return nil, err
	}
	client.Invalidate() // a kind that is missing in the cache would not be searched
	lists, err := client.ServerPreferredNamespacedResources()
	if failed, partly := discovery.GroupDiscoveryFailedErrorGroups(err); partly {
		for group, reason := range failed {
			o.note("The kinds of %s are not searched: %s", group, oneLine(reason))
		}
	} else if err != nil {
		return nil, fmt.Errorf("discovering kinds: %w", err)
	}
	var kinds []listedKind
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, err
		}
		for i := range list.APIResources {
			resource := &list.APIResources[i]
			if slices.Contains(resource.Verbs, "list") && version.Group != v1alpha1.GroupVersion.Group {
				kinds = append(kinds, listedKind{version.WithResource(resource.Name), schema.GroupKind{Group: version.Group, Kind: resource.Kind}})
			}
		}
	}
	return kinds, nil
}

// eachMarked lists the copies of a kind, page by page. It calls visit with the number of objects of a page, and the orphans among them.
func (o *orphansCommand) eachMarked(
	ctx context.Context, client metadata.ResourceInterface, kind listedKind, visit func(read int, orphans []*orphan),
) error {
	marked := labels.Set{v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue}
	options := metav1.ListOptions{LabelSelector: marked.String(), Limit: pageSize}
	for {
		page, err := client.List(ctx, options)
		switch {
		case apierrors.IsNotFound(err), apierrors.IsMethodNotSupported(err):
			return nil // the kind has been removed, or is only an interface to something that is not stored
		case err != nil:
			return fmt.Errorf("listing %s: %w", kind.resource.GroupResource(), err)
		}
		var orphans []*orphan
		for i := range page.Items {
			found, err := o.observe(ctx, kind, &page.Items[i])
			if err != nil {
				return err
			}
			if found != nil {
				orphans = append(orphans, found)
			}
		}
		visit(len(page.Items), orphans)
		if options.Continue = page.Continue; options.Continue == "" {
			return nil
		}
	}
}

// observe returns the object if it is an orphan, else nil. An object without valid marks, or that another controller owns, is none.
func (o *orphansCommand) observe(ctx context.Context, kind listedKind, object *metav1.PartialObjectMetadata) (*orphan, error) {
	observed, err := tracking.ObserveMetadata(o.cleaner, kind.resource.GroupResource(), object)
	if err != nil {
		return nil, err
	}
	owner, marked := observed.Owner()
	if !marked {
		return nil, nil
	}
	exists, err := o.replikas.exists(ctx, owner)
	if exists || err != nil {
		return nil, err
	}
	found := &orphan{resource: kind.resource, observed: observed}
	return found, o.plan(ctx, found, kind.kind)
}
