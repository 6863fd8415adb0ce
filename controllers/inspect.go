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

package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// Inspector reads the sources of Replikas as the operator does, with the permissions of its configuration. It writes nothing.
type Inspector struct {
	options Options
	mapper  *tracking.Mapper
	cleaner *planner.Cleaner
	caller  *Client
}

// InspectedSource is one source of a Replika.
type InspectedSource struct {
	// Replika is the Replika or, if it has many sources, one of this source alone.
	Replika *v1alpha1.Replika
	// Assessment is what becomes of the source. It is empty if the source does not exist.
	planner.Assessment
	// NotCopied is why the source is not copied, with the reason and the message of the condition; nil if it is copied.
	NotCopied error
}

// Copied reports whether the source is copied.
func (s *InspectedSource) Copied() bool { return s.NotCopied == nil }

// NewInspector returns an inspector for an operator with the options.
func NewInspector(config *rest.Config, options Options) (*Inspector, error) {
	cleaner := planner.NewCleaner(options.DropKeys...)
	caller, err := newClients(config, cleaner, nil).clientFor(operatorIdentity)
	if err != nil {
		return nil, err
	}
	discoveryClient, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("creating the discovery client: %w", err)
	}
	return &Inspector{options: options, mapper: tracking.NewMapper(discoveryClient), cleaner: cleaner, caller: caller}, nil
}

// Resolve maps the source's kind to its resource. An error has the reason and the message of the condition.
func (i *Inspector) Resolve(ctx context.Context, replika *v1alpha1.Replika) (tracking.Mapping, error) {
	return resolveKind(ctx, i.mapper, replika)
}

// EachSource calls visit for each source of the Replika, sorted by name. The content of at most eight is in memory. NotCopied is an
// error that concerns the Replika as a whole; err means that the sources could not be read.
func (i *Inspector) EachSource(
	ctx context.Context, replika *v1alpha1.Replika, mapping tracking.Mapping, visit func(*InspectedSource) error,
) (notCopied, err error) {
	if !replika.HasManySources() {
		source, err := i.inspect(ctx, replika, mapping, nil)
		if err != nil {
			return nil, err
		}
		return source.NotCopied, visit(source)
	}
	selector, err := planner.NewSourceSelector(mapping.Resource.GroupResource(), replika)
	if err != nil {
		return invalidSelector(err), nil
	}
	if selector.MatchesNothing() {
		return noSources(replika, nil), nil
	}
	list, err := listMatching(ctx, i.caller.metadata.Resource(mapping.Resource).Namespace(replika.SourceNamespace()), selector)
	switch {
	case err != nil:
		return nil, fmt.Errorf("listing %s: %w", sourceTitle(replika), err)
	case len(list) == 0:
		return noSources(replika, selector.MissingNames(list)), nil
	case len(list) > v1alpha1.MaxSources:
		return tooManySources(), nil
	}
	for names := range slices.Chunk(slices.Sorted(maps.Keys(list)), concurrentSources) {
		if err := i.inspectAll(ctx, replika, mapping, selector, names, visit); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// OneSource calls visit like EachSource, but only for the source of that name.
func (i *Inspector) OneSource(
	ctx context.Context, replika *v1alpha1.Replika, mapping tracking.Mapping, name string, visit func(*InspectedSource) error,
) (notCopied, err error) {
	notOne := fmt.Errorf("%s is none of the sources of the Replika", name)
	if !replika.HasManySources() {
		if name != replika.Spec.Source.Name {
			return nil, notOne
		}
		return i.EachSource(ctx, replika, mapping, visit)
	}
	selector, err := planner.NewSourceSelector(mapping.Resource.GroupResource(), replika)
	if err != nil {
		return invalidSelector(err), nil
	}
	source, err := i.inspect(ctx, planner.ForSource(replika, name, v1alpha1.ReplikaStatus{}), mapping, selector)
	if err != nil {
		return nil, err
	}
	if source == nil {
		return nil, notOne
	}
	return nil, visit(source)
}

// inspectAll reads some of many sources at the same time, and calls visit for each in their order.
func (i *Inspector) inspectAll(
	ctx context.Context, replika *v1alpha1.Replika, mapping tracking.Mapping, selector *planner.SourceSelector,
	names []string, visit func(*InspectedSource) error,
) error {
	sources, errs := make([]*InspectedSource, len(names)), make([]error, len(names))
	var reads sync.WaitGroup
	for at, name := range names {
		single := planner.ForSource(replika, name, v1alpha1.ReplikaStatus{})
		reads.Go(func() { sources[at], errs[at] = i.inspect(ctx, single, mapping, selector) })
	}
	reads.Wait()
	if err := firstError(errs...); err != nil {
		return err
	}
	for _, source := range sources {
		if source == nil {
			continue // it is no source any more
		}
		if err := visit(source); err != nil {
			return err
		}
	}
	return nil
}

// inspect reads a source, live. It is nil if it is none of many sources any more, which the selector selects.
func (i *Inspector) inspect(
	ctx context.Context, replika *v1alpha1.Replika, mapping tracking.Mapping, selector *planner.SourceSelector,
) (*InspectedSource, error) {
	key := sourceKey(replika)
	object, err := i.caller.objects.Resource(mapping.Resource).Namespace(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) && selector == nil:
		return &InspectedSource{Replika: replika, NotCopied: sourceNotFound(replika)}, nil
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", sourceTitle(replika), err)
	case selector != nil && !selector.Matches(object):
		return nil, nil
	}
	assessment := i.cleaner.Assess(mapping.Resource.GroupResource(), replika, object, i.options.Policy.RequireSourceConsent)
	source := &InspectedSource{Replika: replika, Assessment: *assessment}
	if assessment.Problem != nil {
		source.NotCopied = newNotReadyError(assessment.Problem)
	}
	return source, nil
}

// ServiceAccountOf returns the ServiceAccount that the operator impersonates for the Replika, or false if it uses its own identity.
func (p *Policy) ServiceAccountOf(replika *v1alpha1.Replika) (types.NamespacedName, bool) {
	as := identityOf(replika, p.DefaultServiceAccount)
	return types.NamespacedName{Namespace: as.namespace, Name: as.name}, as != operatorIdentity
}

// Check returns an error, with the reason and the message of the condition, if the Replika is refused because it has no
// ServiceAccount, or because it would have this number of copies.
func (p *Policy) Check(replika *v1alpha1.Replika, copies int) error {
	if err := p.requireServiceAccount(identityOf(replika, p.DefaultServiceAccount)); err != nil {
		return err
	}
	if copies > p.MaxCopies {
		return p.tooManyCopies(copies)
	}
	return nil
}
