package tracking

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/singleflight"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// ErrKindNotFound says that the API server does not serve the kind, or not yet.
var ErrKindNotFound = errors.New("kind not found")

// Kind is a kind as the API server serves it.
type Mapping struct {
	schema.GroupVersionKind
	Resource   schema.GroupVersionResource
	Namespaced bool
	// Verbs are the requests that the API server offers for the resource.
	Verbs []string
}

// Missing lists the wanted verbs that the API server does not offer.
func (k Mapping) MissingVerbs(wanted ...string) []string {
	return slices.DeleteFunc(wanted, func(verb string) bool { return slices.Contains(k.Verbs, verb) })
}

// Kinds resolves kinds by discovery and remembers those it found, so that a kind costs one request. One that is not
// found is asked for again each time: it may be installed at any moment.
type Mapper struct {
	discovery discovery.DiscoveryInterfaceWithContext

	inFlight singleflight.Group

	mu     sync.Mutex
	cached map[schema.GroupVersionKind]Mapping
}

// NewKinds returns a resolver that asks the given client.
func NewMapper(client discovery.DiscoveryInterfaceWithContext) *Mapper {
	return &Mapper{discovery: client, cached: map[schema.GroupVersionKind]Mapping{}}
}

// Resolve tells how the API server serves the kind. It fails with [ErrKindNotFound] when it does not.
func (k *Mapper) Resolve(ctx context.Context, wanted schema.GroupVersionKind) (Mapping, error) {
	if kind, found := k.Cached(wanted); found {
		return kind, nil
	}
	// Whoever asks for the same kind at the same time shares one request.
	shared, err, _ := k.inFlight.Do(wanted.String(), func() (any, error) {
		kind, err := k.find(ctx, wanted.GroupVersion(), func(resource *metav1.APIResource) bool { return resource.Kind == wanted.Kind })
		if err != nil {
			return Mapping{}, err
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.cached[wanted] = kind
		return kind, nil
	})
	if err != nil {
		return Mapping{}, fmt.Errorf("%s %s: %w", wanted.GroupVersion(), wanted.Kind, err)
	}
	return shared.(Mapping), nil
}

// Known tells how the API server serves the kind if that has been asked for before.
func (k *Mapper) Cached(wanted schema.GroupVersionKind) (Mapping, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	kind, found := k.cached[wanted]
	return kind, found
}

// ResolveResource finds the kind that a resource holds: in the version that the API server prefers for its group or, since
// not every resource of a group is in that one, in the first that has it.
func (k *Mapper) ResolveResource(ctx context.Context, resource schema.GroupResource) (Mapping, error) {
	versions, err := k.versions(ctx, resource.Group)
	if err != nil {
		return Mapping{}, fmt.Errorf("%s: %w", resource, err)
	}
	for _, version := range versions {
		groupVersion := schema.GroupVersion{Group: resource.Group, Version: version}
		kind, err := k.find(ctx, groupVersion, func(served *metav1.APIResource) bool { return served.Name == resource.Resource })
		if errors.Is(err, ErrKindNotFound) {
			continue
		}
		if err != nil {
			return Mapping{}, fmt.Errorf("%s: %w", resource, err)
		}
		return kind, nil
	}
	return Mapping{}, fmt.Errorf("%s: %w", resource, ErrKindNotFound)
}

// Forget drops what is known of the kind: a request about it was answered as if it did not exist.
func (k *Mapper) Invalidate(kind schema.GroupVersionKind) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.cached, kind)
}

// ForgetGroup drops what is known of the group's kinds: one of them was installed, changed or removed.
func (k *Mapper) InvalidateGroup(group string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.cached, func(kind schema.GroupVersionKind, _ Mapping) bool { return kind.Group == group })
}

func (k *Mapper) find(ctx context.Context, version schema.GroupVersion, matches func(*metav1.APIResource) bool) (Mapping, error) {
	list, err := k.discovery.ServerResourcesForGroupVersionWithContext(ctx, version.String())
	if apierrors.IsNotFound(err) {
		return Mapping{}, ErrKindNotFound
	}
	if err != nil {
		return Mapping{}, fmt.Errorf("discover: %w", err)
	}
	for i := range list.APIResources {
		resource := &list.APIResources[i]
		// A slash makes a subresource; these have kinds of their own.
		if strings.Contains(resource.Name, "/") || !matches(resource) {
			continue
		}
		return Mapping{
			GroupVersionKind: version.WithKind(resource.Kind),
			Resource:         version.WithResource(resource.Name),
			Namespaced:       resource.Namespaced,
			Verbs:            resource.Verbs,
		}, nil
	}
	return Mapping{}, ErrKindNotFound
}

// versions lists the versions in which the API server serves the group, the one that it prefers in front.
func (k *Mapper) versions(ctx context.Context, group string) ([]string, error) {
	groups, err := k.discovery.ServerGroupsWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("discover: %w", err)
	}
	var versions []string
	for i := range groups.Groups {
		served := &groups.Groups[i]
		if served.Name != group {
			continue
		}
		versions = append(versions, served.PreferredVersion.Version)
		for _, version := range served.Versions {
			if version.Version != served.PreferredVersion.Version {
				versions = append(versions, version.Version)
			}
		}
	}
	return versions, nil
}
