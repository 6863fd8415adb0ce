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
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/discovery"
)

// ErrKindNotFound means that the API server does not serve the kind (yet).
var ErrKindNotFound = errors.New("kind not found")

// requiredVerbs are the verbs without which objects of a resource cannot be copied.
var requiredVerbs = []string{"get", "list", "create", "patch", "delete"}

// Mapping is how the API server serves a kind.
type Mapping struct {
	schema.GroupVersionKind
	Resource   schema.GroupVersionResource
	Namespaced bool
	// Verbs are those that the API server offers for the resource.
	Verbs []string
}

// MissingVerbs lists the verbs without which objects of the kind cannot be copied, and which the API server does not offer.
func (m Mapping) MissingVerbs() []string {
	var missing []string
	for _, verb := range requiredVerbs {
		if !slices.Contains(m.Verbs, verb) {
			missing = append(missing, verb)
		}
	}
	return missing
}

// Mapper resolves kinds by discovery. It caches what it finds, so a kind costs one request. A kind that is not found is not
// cached, because it can be installed at any time.
//
// When a CustomResourceDefinition is installed, changed or removed, the watch of [AllCRDs] sends an event. The controller
// then calls [Mapper.InvalidateGroup] for the [Event.CRDGroup], and reconciles the Replikas whose source is of that group. It
// does both after each of the [Mapper.InvalidationDelays], because discovery can still return the old state for some seconds.
// A kind of an aggregated API server sends no such event: the next resync of a Replika finds it.
type Mapper struct {
	discovery discovery.DiscoveryInterfaceWithContext
	// timeout limits a discovery request that several callers share.
	timeout time.Duration
	// invalidationDelays cover the time in which discovery can still return the old state of a group.
	invalidationDelays []time.Duration

	inFlight singleflight.Group

	mu     sync.Mutex
	cached map[schema.GroupVersionKind]Mapping
}

// NewMapper returns a mapper that discovers kinds with the client.
func NewMapper(client discovery.DiscoveryInterfaceWithContext) *Mapper {
	return &Mapper{
		discovery:          client,
		timeout:            30 * time.Second,
		invalidationDelays: []time.Duration{0, time.Second, 3 * time.Second, 10 * time.Second},
		cached:             map[schema.GroupVersionKind]Mapping{},
	}
}

// Resolve returns how the API server serves the kind: in the version in which it stores the objects, if it serves that and the
// kind is not one of Kubernetes itself, else in the version of the kind that is given. So nothing is lost that only one of the
// versions has. It fails with [ErrKindNotFound] if the API server does not serve the kind in the version that is given.
func (m *Mapper) Resolve(ctx context.Context, kind schema.GroupVersionKind) (Mapping, error) {
	if mapping, found := m.Cached(kind); found {
		return mapping, nil
	}
	// Concurrent callers share one request, so it must not end with the context of the first caller.
	shared := m.inFlight.DoChan(kind.String(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.timeout)
		defer cancel()
		return m.discover(ctx, kind)
	})
	var err error
	select {
	case result := <-shared:
		if result.Err == nil {
			return result.Val.(Mapping), nil
		}
		err = result.Err
	case <-ctx.Done():
		err = ctx.Err()
	}
	return Mapping{}, fmt.Errorf("%s %s: %w", kind.GroupVersion(), kind.Kind, err)
}

// isValidKind reports whether a kind can be served at all. The schema of the Replika refuses others, but a stored Replika can be older
// than the schema, and their paths would be those of something else.
func isValidKind(kind schema.GroupVersionKind) bool {
	return kind.Kind != "" && len(validation.IsDNS1035Label(kind.Version)) == 0 &&
		(kind.Group == "" || len(validation.IsDNS1123Subdomain(kind.Group)) == 0)
}

// discover requests how the kind is served, and caches it.
func (m *Mapper) discover(ctx context.Context, kind schema.GroupVersionKind) (Mapping, error) {
	if !isValidKind(kind) {
		return Mapping{}, ErrKindNotFound
	}
	mapping, err := m.NewResolver().find(ctx, kind.GroupVersion(), isKind(kind.Kind))
	if err != nil {
		return Mapping{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cached[kind] = mapping
	return mapping, nil
}

// Cached returns how the API server serves the kind if that is cached. It makes no request.
func (m *Mapper) Cached(kind schema.GroupVersionKind) (Mapping, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	mapping, found := m.cached[kind]
	return mapping, found
}

// Invalidate removes the kind from the cache, and the kinds that are served as this one.
func (m *Mapper) Invalidate(kind schema.GroupVersionKind) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.cached, func(named schema.GroupVersionKind, mapping Mapping) bool {
		return named == kind || mapping.GroupVersionKind == kind
	})
}

// InvalidateGroup removes all kinds of the group from the cache: one of them was installed, changed or removed.
func (m *Mapper) InvalidateGroup(group string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.cached, func(kind schema.GroupVersionKind, _ Mapping) bool { return kind.Group == group })
}

// InvalidationDelays are the delays after the event of a CustomResourceDefinition at which its group must be invalidated.
func (m *Mapper) InvalidationDelays() []time.Duration { return m.invalidationDelays }

// CRDGroup returns the API group that the CustomResourceDefinition of the event defines a kind of. It returns false for an
// event of another watch, or of the watch itself.
func (e Event) CRDGroup() (group string, found bool) {
	if e.Watch.Type != CRDs {
		return "", false
	}
	_, group, found = strings.Cut(e.Key.Name, ".") // The name of a CRD is <resource>.<group>.
	return group, found
}
