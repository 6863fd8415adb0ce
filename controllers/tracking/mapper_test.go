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
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

// discoveryServer is an API server with nothing but discovery.
type discoveryServer struct {
	mu    sync.Mutex
	pages map[string]string
	paths []string
	// versions are the served ones, by group; see serveResources.
	versions map[string][]string
}

func newDiscoveryServer(t *testing.T) (*discoveryServer, *Mapper) {
	t.Helper()
	s := &discoveryServer{pages: map[string]string{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client, err := discovery.NewDiscoveryClientForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return s, NewMapper(client)
}

// serve makes the server serve one resource, in one version of its group.
func (s *discoveryServer) serve(version string, namespaced bool, verbs string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages["/apis/music.example.com/"+version] = fmt.Sprintf(`{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"music.example.com/%s","resources":[
		{"name":"songs/status","kind":"Song","namespaced":%[2]t,"verbs":["get"]},
		{"name":"songs","kind":"Song","namespaced":%[2]t,"verbs":[%[3]s]}]}`, version, namespaced, verbs)
	s.pages["/apis"] = fmt.Sprintf(`{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"music.example.com",
		"versions":[{"groupVersion":"music.example.com/%[1]s","version":"%[1]s"}],
		"preferredVersion":{"groupVersion":"music.example.com/%[1]s","version":"%[1]s"}}]}`, version)
	s.pages["/api"] = `{"kind":"APIVersions","versions":["v1"]}`
}

func (s *discoveryServer) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paths = append(s.paths, request.URL.Path)
	page, found := s.pages[request.URL.Path]
	switch {
	case page == "broken":
		http.Error(response, "broken", http.StatusBadGateway)
	case !found:
		http.NotFound(response, request)
	default:
		response.Header().Set("Content-Type", "application/json")
		_, _ = response.Write([]byte(page))
	}
}

func (s *discoveryServer) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.paths)
}

var song = schema.GroupVersionKind{Group: "music.example.com", Version: "v1", Kind: "Song"}

func TestMapper_Resolve_CachesFoundKinds(t *testing.T) {
	server, mapper := newDiscoveryServer(t)
	for range 2 {
		if _, err := mapper.Resolve(t.Context(), song); !errors.Is(err, ErrKindNotFound) {
			t.Fatalf("resolved a kind that is not served: %v", err)
		}
	}
	if server.requests() != 2 {
		t.Errorf("made %d requests for a kind that is not served, want 2", server.requests())
	}
	server.serve("v1", true, `"get","list"`)
	want := Mapping{
		GroupVersionKind: song, Resource: song.GroupVersion().WithResource("songs"), Namespaced: true, Verbs: []string{"get", "list"},
	}
	for range 3 {
		mapping, err := mapper.Resolve(t.Context(), song)
		if diff := cmp.Diff(want, mapping); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	if server.requests() != 3 {
		t.Errorf("requests: %v", server.paths)
	}
	other := song
	other.Kind = "Opera"
	if _, err := mapper.Resolve(t.Context(), other); !errors.Is(err, ErrKindNotFound) {
		t.Errorf("resolved another kind of the group: %v", err)
	}
}

func TestMapper_Invalidate(t *testing.T) {
	for name, invalidate := range map[string]func(*Mapper){
		"kind":  func(mapper *Mapper) { mapper.Invalidate(song) },
		"group": func(mapper *Mapper) { mapper.InvalidateGroup(song.Group) },
	} {
		t.Run(name, func(t *testing.T) {
			server, mapper := newDiscoveryServer(t)
			server.serve("v1", true, "")
			namespaced := func() bool {
				mapping, err := mapper.Resolve(t.Context(), song)
				if err != nil {
					t.Fatal(err)
				}
				return mapping.Namespaced
			}
			if !namespaced() {
				t.Error("cluster-scoped, want namespaced")
			}
			server.serve("v1", false, "")
			mapper.InvalidateGroup("other.example.com")
			mapper.Invalidate(song.GroupVersion().WithKind("Opera"))
			if !namespaced() {
				t.Error("not cached after another kind was invalidated")
			}
			invalidate(mapper)
			if namespaced() {
				t.Error("still cached")
			}
		})
	}
}

func TestMapper_FailedDiscoveryIsNotKindNotFound(t *testing.T) {
	server, mapper := newDiscoveryServer(t)
	server.pages["/apis/music.example.com/v1"] = "broken"
	server.pages["/apis"], server.pages["/api"] = "broken", "broken"
	if _, err := mapper.Resolve(t.Context(), song); err == nil || errors.Is(err, ErrKindNotFound) {
		t.Errorf("resolved: %v", err)
	}
	if _, err := mapper.NewResolver().Resolve(t.Context(), schema.GroupResource{Group: song.Group, Resource: "songs"}); err == nil || errors.Is(err, ErrKindNotFound) {
		t.Errorf("resolved: %v", err)
	}
}

func TestResolver_FindsServedVersion(t *testing.T) {
	server, mapper := newDiscoveryServer(t)
	server.serve("v2", true, "")
	mapping, err := mapper.NewResolver().Resolve(t.Context(), schema.GroupResource{Group: song.Group, Resource: "songs"})
	if err != nil || mapping.Version != "v2" || mapping.Kind != "Song" || mapping.Resource.Resource != "songs" {
		t.Errorf("found %+v: %v", mapping, err)
	}
	for _, resource := range []schema.GroupResource{{Group: song.Group, Resource: "operas"}, {Group: "other.example.com", Resource: "songs"}} {
		if _, err := mapper.NewResolver().Resolve(t.Context(), resource); !errors.Is(err, ErrKindNotFound) {
			t.Errorf("%s: %v", resource, err)
		}
	}
}

func TestResolver_FindsResourceOutsidePreferredVersion(t *testing.T) {
	server, mapper := newDiscoveryServer(t)
	server.serve("v1alpha1", true, "")
	server.pages["/apis/music.example.com/v1"] = `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"music.example.com/v1","resources":[
		{"name":"operas","kind":"Opera","namespaced":true,"verbs":["get"]}]}`
	server.pages["/apis"] = `{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"music.example.com",
		"versions":[{"groupVersion":"music.example.com/v1","version":"v1"},{"groupVersion":"music.example.com/v1alpha1","version":"v1alpha1"}],
		"preferredVersion":{"groupVersion":"music.example.com/v1","version":"v1"}}]}`
	for resource, version := range map[string]string{"songs": "v1alpha1", "operas": "v1"} {
		mapping, err := mapper.NewResolver().Resolve(t.Context(), schema.GroupResource{Group: song.Group, Resource: resource})
		if err != nil || mapping.Version != version || mapping.Resource.Resource != resource {
			t.Errorf("%s: found %+v: %v", resource, mapping, err)
		}
	}

	// While discovery of one version fails, no resource counts as not found.
	server.pages["/apis/music.example.com/v1alpha1"] = "broken"
	_, err := mapper.NewResolver().Resolve(t.Context(), schema.GroupResource{Group: song.Group, Resource: "songs"})
	if err == nil || errors.Is(err, ErrKindNotFound) {
		t.Errorf("resolved: %v", err)
	}
}

// blockingDiscovery serves songs. It responds when it is unblocked.
type blockingDiscovery struct {
	discovery.DiscoveryInterfaceWithContext
	requests  int
	unblocked chan struct{}
}

func newBlockingDiscovery() *blockingDiscovery {
	return &blockingDiscovery{unblocked: make(chan struct{})}
}

func (d *blockingDiscovery) ServerResourcesForGroupVersionWithContext(ctx context.Context, _ string) (*metav1.APIResourceList, error) {
	d.requests++
	select {
	case <-d.unblocked:
		return &metav1.APIResourceList{APIResources: []metav1.APIResource{{Name: "songs", Kind: "Song", Namespaced: true}}}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// resolve calls Resolve in a goroutine, and returns where its error is sent.
func resolve(ctx context.Context, mapper *Mapper) <-chan error {
	result := make(chan error, 1)
	go func() {
		_, err := mapper.Resolve(ctx, song)
		result <- err
	}()
	synctest.Wait()
	return result
}

func TestMapper_Resolve_CancelledCallerDoesNotFailOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newBlockingDiscovery()
		mapper := NewMapper(server)
		ctx, cancel := context.WithCancel(t.Context())
		first, second := resolve(ctx, mapper), resolve(t.Context(), mapper)

		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("the cancelled caller got: %v", err)
		}
		close(server.unblocked)
		if err := <-second; err != nil {
			t.Errorf("the other caller got: %v", err)
		}
		if server.requests != 1 {
			t.Errorf("made %d requests, want 1", server.requests)
		}
	})
}

func TestMapper_Resolve_SharedRequestTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newBlockingDiscovery()
		mapper := NewMapper(server)
		start := time.Now()
		first, second := resolve(t.Context(), mapper), resolve(t.Context(), mapper)
		for _, result := range []<-chan error{first, second} {
			if err := <-result; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a caller got: %v", err)
			}
		}
		if took := time.Since(start); took != mapper.timeout {
			t.Errorf("timed out after %s, want %s", took, mapper.timeout)
		}
	})
}

func TestMapping_MissingVerbs(t *testing.T) {
	cases := map[string]struct {
		verbs, want []string
	}{
		"all required":      {verbs: []string{"create", "delete", "get", "list", "patch"}},
		"all and others":    {verbs: []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}},
		"some required":     {verbs: []string{"get", "list", "patch"}, want: []string{"create", "delete"}},
		"none":              {want: []string{"get", "list", "create", "patch", "delete"}},
		"only not required": {verbs: []string{"update", "watch"}, want: []string{"get", "list", "create", "patch", "delete"}},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			for range 2 { // the first call changes nothing
				if diff := cmp.Diff(test.want, Mapping{Verbs: test.verbs}.MissingVerbs()); diff != "" {
					t.Errorf("missing verbs (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestEvent_CRDGroup(t *testing.T) {
	crd := Key{Name: "songs.music.example.com"}
	cases := map[string]struct {
		event     Event
		wantGroup string
		wantFound bool
	}{
		"CRD":           {event: Event{Watch: AllCRDs(), Key: crd}, wantGroup: song.Group, wantFound: true},
		"watch of CRDs": {event: Event{Watch: AllCRDs()}},
		"copy":          {event: Event{Watch: CopiesOf(configMaps), Key: crd}},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			if group, found := test.event.CRDGroup(); group != test.wantGroup || found != test.wantFound {
				t.Errorf("got %q, %t", group, found)
			}
		})
	}
}
