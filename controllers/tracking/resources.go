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
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
)

type resourceFilter func(*metav1.APIResource) bool

func isKind(kind string) resourceFilter {
	return func(resource *metav1.APIResource) bool { return resource.Kind == kind }
}

func isResource(name string) resourceFilter {
	return func(resource *metav1.APIResource) bool { return resource.Name == name }
}

// find returns how the API server serves the resource that matches, in the version or in the one that it stores.
func (r *Resolver) find(ctx context.Context, version schema.GroupVersion, matches resourceFilter) (Mapping, error) {
	resource, err := r.request(ctx, version, matches)
	if err != nil {
		return Mapping{}, err
	}
	named := newMapping(version, resource)
	if !losesFields(named, resource) {
		return named, nil
	}
	if err := r.discoverGroups(ctx); err != nil {
		return Mapping{}, err
	}
	for _, other := range r.groups[version.Group] {
		stored := schema.GroupVersion{Group: version.Group, Version: other}
		if storageVersionHash(stored.WithKind(resource.Kind)) != resource.StorageVersionHash {
			continue
		}
		inStored, err := r.request(ctx, stored, isResource(resource.Name))
		if errors.Is(err, ErrKindNotFound) {
			break
		}
		if err != nil {
			return Mapping{}, err
		}
		return newMapping(stored, inStored), nil
	}
	return named, nil
}

func newMapping(version schema.GroupVersion, resource *metav1.APIResource) Mapping {
	return Mapping{
		GroupVersionKind: version.WithKind(resource.Kind),
		Resource:         version.WithResource(resource.Name),
		Namespaced:       resource.Namespaced,
		Verbs:            resource.Verbs,
	}
}

// request returns what the API server serves in the version. Of several resources that match it returns the one that is best
// to copy: some APIs have a second resource of the same kind that can only be created.
func (r *Resolver) request(ctx context.Context, version schema.GroupVersion, matches resourceFilter) (*metav1.APIResource, error) {
	served, err := r.discoverVersion(ctx, version)
	if err != nil {
		return nil, err
	}
	var candidates []metav1.APIResource
	for i := range served {
		// Subresources, which have a slash in their name, can share the kind of their resource.
		if !strings.Contains(served[i].Name, "/") && matches(&served[i]) {
			candidates = append(candidates, served[i])
		}
	}
	if len(candidates) == 0 {
		return nil, ErrKindNotFound
	}
	best := slices.MinFunc(candidates, func(a, b metav1.APIResource) int { return cmp.Compare(lacks(&a), lacks(&b)) })
	return &best, nil
}

// lacks returns how much a resource lacks of what copying needs. The scope counts most, because no verb replaces it.
func lacks(resource *metav1.APIResource) int {
	missing := 2 * len(Mapping{Verbs: resource.Verbs}.MissingVerbs())
	if !slices.Contains(resource.Verbs, "watch") {
		missing++
	}
	if !resource.Namespaced {
		missing += 2*len(requiredVerbs) + 2
	}
	return missing
}

// losesFields reports whether objects may have fields that the mapping's version does not have: the API server stores them in
// another version. A CustomResourceDefinition without a conversion then drops the fields that only the stored version has,
// from every response, and from the object with every write. The versions of a kind of Kubernetes itself have the same
// content, and its clients should not use the stored one, which can be deprecated.
func losesFields(mapping Mapping, resource *metav1.APIResource) bool {
	return resource.StorageVersionHash != "" && resource.StorageVersionHash != storageVersionHash(mapping.GroupVersionKind) &&
		!clientgoscheme.Scheme.IsGroupRegistered(mapping.Group)
}

// storageVersionHash returns the hash by which discovery names the version in which objects of the kind are stored. The API
// server may calculate it in another way some day. Then no version matches, and the one that is named is used.
func storageVersionHash(kind schema.GroupVersionKind) string {
	sum := sha256.Sum256([]byte(kind.Group + "/" + kind.Version + "/" + kind.Kind))
	return base64.StdEncoding.EncodeToString(sum[:8])
}
