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
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Resolver returns how the API server serves several resources. It discovers the groups, and each version of a group, at most
// once, and is used for one reconcile.
type Resolver struct {
	mapper *Mapper
	// groups are the versions of each group, the preferred one first; nil before they are discovered.
	groups   map[string][]string
	versions map[schema.GroupVersion]discoveredVersion
}

// discoveredVersion is what the discovery of a version returned.
type discoveredVersion struct {
	resources []metav1.APIResource
	err       error
}

// NewResolver returns a resolver that has discovered nothing yet.
func (m *Mapper) NewResolver() *Resolver {
	return &Resolver{mapper: m, versions: map[schema.GroupVersion]discoveredVersion{}}
}

// Resolve returns how the API server serves the resource: in the version that it stores, as [Mapper.Resolve] does, if that is
// known, else in the preferred version of its group if that has the resource, else in the first version that has it. It fails with [ErrKindNotFound] if the API server does not serve it.
func (r *Resolver) Resolve(ctx context.Context, resource schema.GroupResource) (Mapping, error) {
	if err := r.discoverGroups(ctx); err != nil {
		return Mapping{}, fmt.Errorf("%s: %w", resource, err)
	}
	for _, version := range r.groups[resource.Group] {
		groupVersion := schema.GroupVersion{Group: resource.Group, Version: version}
		mapping, err := r.find(ctx, groupVersion, isResource(resource.Resource))
		if errors.Is(err, ErrKindNotFound) {
			continue
		}
		if err != nil {
			return Mapping{}, fmt.Errorf("%s: %w", resource, err)
		}
		return mapping, nil
	}
	return Mapping{}, fmt.Errorf("%s: %w", resource, ErrKindNotFound)
}

// discoverVersion requests the resources that the API server serves in the version of a group, once.
func (r *Resolver) discoverVersion(ctx context.Context, version schema.GroupVersion) ([]metav1.APIResource, error) {
	discovered, found := r.versions[version]
	if !found {
		discovered.resources, discovered.err = r.requestVersion(ctx, version)
		r.versions[version] = discovered
	}
	return discovered.resources, discovered.err
}

func (r *Resolver) requestVersion(ctx context.Context, version schema.GroupVersion) ([]metav1.APIResource, error) {
	list, err := r.mapper.discovery.ServerResourcesForGroupVersionWithContext(ctx, version.String())
	if apierrors.IsNotFound(err) {
		return nil, ErrKindNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("discovering resources: %w", err)
	}
	return list.APIResources, nil
}

// discoverGroups requests the versions of all groups, once.
func (r *Resolver) discoverGroups(ctx context.Context) error {
	if r.groups != nil {
		return nil
	}
	list, err := r.mapper.discovery.ServerGroupsWithContext(ctx)
	if err != nil {
		return fmt.Errorf("discovering groups: %w", err)
	}
	r.groups = map[string][]string{}
	for i := range list.Groups {
		group := &list.Groups[i]
		versions := []string{group.PreferredVersion.Version}
		for _, version := range group.Versions {
			if version.Version != group.PreferredVersion.Version {
				versions = append(versions, version.Version)
			}
		}
		r.groups[group.Name] = versions
	}
	return nil
}
