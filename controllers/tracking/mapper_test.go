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
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

// catalogue is an API server that only tells what it serves.
type catalogue struct {
	mu    sync.Mutex
	pages map[string]string
	asked []string
}

func newCatalogue(t *testing.T) (*catalogue, *Mapper) {
	t.Helper()
	c := &catalogue{pages: map[string]string{}}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	client, err := discovery.NewDiscoveryClientForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return c, NewMapper(client)
}

// serves has it serve one resource of the version of a group.
func (c *catalogue) serves(version string, namespaced bool, verbs string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pages["/apis/music.example.com/"+version] = fmt.Sprintf(`{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"music.example.com/%s","resources":[
		{"name":"songs/status","kind":"Song","namespaced":%[2]t,"verbs":["get"]},
		{"name":"songs","kind":"Song","namespaced":%[2]t,"verbs":[%[3]s]}]}`, version, namespaced, verbs)
	c.pages["/apis"] = fmt.Sprintf(`{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"music.example.com",
		"versions":[{"groupVersion":"music.example.com/%[1]s","version":"%[1]s"}],
		"preferredVersion":{"groupVersion":"music.example.com/%[1]s","version":"%[1]s"}}]}`, version)
	c.pages["/api"] = `{"kind":"APIVersions","versions":["v1"]}`
}

func (c *catalogue) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, request.URL.Path)
	page, found := c.pages[request.URL.Path]
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

func (c *catalogue) requests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.asked)
}

var song = schema.GroupVersionKind{Group: "music.example.com", Version: "v1", Kind: "Song"}

func TestKindsAreAskedForOnceWhenTheyAreFound(t *testing.T) {
	catalogue, kinds := newCatalogue(t)
	for range 2 {
		if _, err := kinds.Resolve(t.Context(), song); !errors.Is(err, ErrKindNotFound) {
			t.Fatalf("found what is not served: %v", err)
		}
	}
	if catalogue.requests() != 2 {
		t.Errorf("it may be installed at any moment, but was asked for %d times", catalogue.requests())
	}
	catalogue.serves("v1", true, `"get","list"`)
	want := Mapping{
		GroupVersionKind: song, Resource: song.GroupVersion().WithResource("songs"), Namespaced: true, Verbs: []string{"get", "list"},
	}
	for range 3 {
		kind, err := kinds.Resolve(t.Context(), song)
		if diff := cmp.Diff(want, kind); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	if catalogue.requests() != 3 {
		t.Errorf("asked %v", catalogue.asked)
	}
	if missing := want.MissingVerbs("get", "create", "list", "delete"); !slices.Equal(missing, []string{"create", "delete"}) {
		t.Errorf("missing %v", missing)
	}
	other := song
	other.Kind = "Opera"
	if _, err := kinds.Resolve(t.Context(), other); !errors.Is(err, ErrKindNotFound) {
		t.Errorf("found another kind of the same group: %v", err)
	}
}

func TestKindsThatWereForgottenAreAskedForAgain(t *testing.T) {
	for name, forget := range map[string]func(*Mapper){
		"the kind":      func(kinds *Mapper) { kinds.Invalidate(song) },
		"all its group": func(kinds *Mapper) { kinds.InvalidateGroup(song.Group) },
	} {
		t.Run(name, func(t *testing.T) {
			catalogue, kinds := newCatalogue(t)
			catalogue.serves("v1", true, "")
			scope := func() bool {
				kind, err := kinds.Resolve(t.Context(), song)
				if err != nil {
					t.Fatal(err)
				}
				return kind.Namespaced
			}
			if !scope() {
				t.Error("it has a namespace")
			}
			catalogue.serves("v1", false, "")
			kinds.InvalidateGroup("other.example.com")
			kinds.Invalidate(song.GroupVersion().WithKind("Opera"))
			if !scope() {
				t.Error("it was asked for again although another was forgotten")
			}
			forget(kinds)
			if scope() {
				t.Error("it came back with another scope")
			}
		})
	}
}

func TestKindsThatCannotBeToldAreNotMissing(t *testing.T) {
	catalogue, kinds := newCatalogue(t)
	catalogue.pages["/apis/music.example.com/v1"] = "broken"
	catalogue.pages["/apis"], catalogue.pages["/api"] = "broken", "broken"
	if _, err := kinds.Resolve(t.Context(), song); err == nil || errors.Is(err, ErrKindNotFound) {
		t.Errorf("resolved: %v", err)
	}
	if _, err := kinds.ResolveResource(t.Context(), schema.GroupResource{Group: song.Group, Resource: "songs"}); err == nil || errors.Is(err, ErrKindNotFound) {
		t.Errorf("resolved: %v", err)
	}
}

func TestResourcesAreFoundInTheVersionThatIsServed(t *testing.T) {
	catalogue, kinds := newCatalogue(t)
	catalogue.serves("v2", true, "")
	kind, err := kinds.ResolveResource(t.Context(), schema.GroupResource{Group: song.Group, Resource: "songs"})
	if err != nil || kind.Version != "v2" || kind.Kind != "Song" || kind.Resource.Resource != "songs" {
		t.Errorf("found %+v: %v", kind, err)
	}
	for _, resource := range []schema.GroupResource{{Group: song.Group, Resource: "operas"}, {Group: "other.example.com", Resource: "songs"}} {
		if _, err := kinds.ResolveResource(t.Context(), resource); !errors.Is(err, ErrKindNotFound) {
			t.Errorf("%s: %v", resource, err)
		}
	}
}

func TestResourcesAreFoundOutsideThePreferredVersion(t *testing.T) {
	catalogue, kinds := newCatalogue(t)
	catalogue.serves("v1alpha1", true, "")
	catalogue.pages["/apis/music.example.com/v1"] = `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"music.example.com/v1","resources":[
		{"name":"operas","kind":"Opera","namespaced":true,"verbs":["get"]}]}`
	catalogue.pages["/apis"] = `{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"music.example.com",
		"versions":[{"groupVersion":"music.example.com/v1","version":"v1"},{"groupVersion":"music.example.com/v1alpha1","version":"v1alpha1"}],
		"preferredVersion":{"groupVersion":"music.example.com/v1","version":"v1"}}]}`
	for resource, version := range map[string]string{"songs": "v1alpha1", "operas": "v1"} {
		kind, err := kinds.ResolveResource(t.Context(), schema.GroupResource{Group: song.Group, Resource: resource})
		if err != nil || kind.Version != version || kind.Resource.Resource != resource {
			t.Errorf("%s: found %+v: %v", resource, kind, err)
		}
	}

	// As long as one version cannot be asked, nothing is missing.
	catalogue.pages["/apis/music.example.com/v1alpha1"] = "broken"
	_, err := kinds.ResolveResource(t.Context(), schema.GroupResource{Group: song.Group, Resource: "songs"})
	if err == nil || errors.Is(err, ErrKindNotFound) {
		t.Errorf("resolved: %v", err)
	}
}
