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
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// servedResource is a resource in a response of discovery.
type servedResource struct {
	name, kind  string
	namespaced  bool
	verbs       string
	storageHash string
}

// serveResources makes the server serve the resources in one version of the group; the first version served is preferred.
func (s *discoveryServer) serveResources(group, version string, resources ...servedResource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.versions == nil {
		s.versions = map[string][]string{}
	}
	s.versions[group] = append(s.versions[group], version)
	var rendered, versions []string
	for _, resource := range resources {
		rendered = append(rendered, fmt.Sprintf(`{"name":%q,"kind":%q,"namespaced":%t,"verbs":[%s],"storageVersionHash":%q}`,
			resource.name, resource.kind, resource.namespaced, resource.verbs, resource.storageHash))
	}
	for _, served := range s.versions[group] {
		versions = append(versions, fmt.Sprintf(`{"groupVersion":"%s/%s","version":%q}`, group, served, served))
	}
	s.pages["/apis/"+group+"/"+version] = fmt.Sprintf(`{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"%s/%s","resources":[%s]}`,
		group, version, strings.Join(rendered, ","))
	s.pages["/apis"] = fmt.Sprintf(`{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":%q,"versions":[%s],"preferredVersion":%s}]}`,
		group, strings.Join(versions, ","), versions[0])
	s.pages["/api"] = `{"kind":"APIVersions","versions":["v1"]}`
}

const allVerbs = `"get","list","watch","create","patch","delete"`

func TestMapper_Resolve_KindOfSeveralResources(t *testing.T) {
	complete := servedResource{name: "songs", kind: "Song", namespaced: true, verbs: allVerbs}
	createOnly := servedResource{name: "processedsongs", kind: "Song", namespaced: true, verbs: `"create"`}
	readOnly := servedResource{name: "pastsongs", kind: "Song", namespaced: true, verbs: `"get","list"`}
	unwatched := servedResource{name: "unwatchedsongs", kind: "Song", namespaced: true, verbs: `"get","list","create","patch","delete"`}
	clusterScoped := servedResource{name: "clustersongs", kind: "Song", verbs: allVerbs}
	status := servedResource{name: "songs/status", kind: "Song", namespaced: true, verbs: allVerbs}
	cases := map[string]struct {
		served []servedResource
		want   string
	}{
		"create-only first":             {[]servedResource{createOnly, complete}, "songs"},
		"create-only last":              {[]servedResource{complete, createOnly}, "songs"},
		"cluster-scoped first":          {[]servedResource{clusterScoped, complete}, "songs"},
		"subresource first":             {[]servedResource{status, createOnly, complete}, "songs"},
		"without watch first":           {[]servedResource{unwatched, complete}, "songs"},
		"without watch, and incomplete": {[]servedResource{readOnly, unwatched}, "unwatchedsongs"},
		"cluster-scoped and incomplete": {[]servedResource{clusterScoped, createOnly}, "processedsongs"},
		"only incomplete ones":          {[]servedResource{createOnly, readOnly}, "pastsongs"},
		"equally good":                  {[]servedResource{complete, {name: "a", kind: "Song", namespaced: true, verbs: allVerbs}}, "songs"},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			server, mapper := newDiscoveryServer(t)
			server.serveResources(song.Group, song.Version, testCase.served...)
			mapping, err := mapper.Resolve(t.Context(), song)
			if err != nil || mapping.Resource != song.GroupVersion().WithResource(testCase.want) {
				t.Errorf("got %s: %v", mapping.Resource, err)
			}
			if server.requests() != 1 {
				t.Errorf("requests: %v", server.paths)
			}
		})
	}
}

func TestMapper_StoredVersion(t *testing.T) {
	hash := func(group, version string) string {
		return storageVersionHash(schema.GroupVersionKind{Group: group, Version: version, Kind: "Song"})
	}
	songs := func(storageHash string) servedResource {
		return servedResource{name: "songs", kind: "Song", namespaced: true, verbs: allVerbs, storageHash: storageHash}
	}
	type served struct {
		version, hash string
	}
	cases := map[string]struct {
		group        string
		served       []served
		named, want  string
		wantRequests int
	}{
		"stored in the named version":       {song.Group, []served{{"v1", hash(song.Group, "v1")}, {"v2", hash(song.Group, "v1")}}, "v1", "v1", 1},
		"stored in another version":         {song.Group, []served{{"v1", hash(song.Group, "v1")}, {"v2", hash(song.Group, "v1")}}, "v2", "v1", 4},
		"stored in a version not preferred": {song.Group, []served{{"v1", hash(song.Group, "v2")}, {"v2", hash(song.Group, "v2")}}, "v1", "v2", 4},
		"stored in a version not served":    {song.Group, []served{{"v2", hash(song.Group, "v1")}}, "v2", "v2", 3},
		"stored in an unknown version":      {song.Group, []served{{"v1", ""}, {"v2", ""}}, "v2", "v2", 1},
		// Its conversions lose nothing, and its storage version can be deprecated.
		"kind of Kubernetes itself": {"autoscaling", []served{{"v1", hash("autoscaling", "v2")}, {"v2", hash("autoscaling", "v2")}}, "v1", "v1", 1},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			server, mapper := newDiscoveryServer(t)
			for _, served := range testCase.served {
				server.serveResources(testCase.group, served.version, songs(served.hash))
			}
			kind := schema.GroupVersionKind{Group: testCase.group, Version: testCase.named, Kind: "Song"}
			for range 2 { // the second time from the cache
				mapping, err := mapper.Resolve(t.Context(), kind)
				if err != nil || mapping.Version != testCase.want || mapping.Resource.Version != testCase.want || mapping.Kind != "Song" || !mapping.Namespaced {
					t.Errorf("got %+v: %v", mapping, err)
				}
			}
			if server.requests() != testCase.wantRequests {
				t.Errorf("requests: %v", server.paths)
			}
			// A version without a field would remove it from an object even when only its metadata is patched.
			mapping, err := mapper.NewResolver().Resolve(t.Context(), schema.GroupResource{Group: testCase.group, Resource: "songs"})
			if err != nil || testCase.group == song.Group && testCase.served[0].hash != "" && mapping.Version != testCase.want {
				t.Errorf("got %+v: %v", mapping, err)
			}
		})
	}
}

func TestMapper_StoredVersion_Invalidate(t *testing.T) {
	server, mapper := newDiscoveryServer(t)
	v2 := song.GroupKind().WithVersion("v2")
	resource := servedResource{name: "songs", kind: "Song", namespaced: true, verbs: allVerbs, storageHash: storageVersionHash(song)}
	server.serveResources(song.Group, "v1", resource)
	server.serveResources(song.Group, "v2", resource)
	mapping, err := mapper.Resolve(t.Context(), v2)
	if err != nil || mapping.GroupVersionKind != song {
		t.Fatalf("got %+v: %v", mapping, err)
	}
	if _, cached := mapper.Cached(v2); !cached {
		t.Error("not cached by the version that was named")
	}
	mapper.Invalidate(mapping.GroupVersionKind)
	if _, cached := mapper.Cached(v2); cached {
		t.Error("still cached after its mapping was invalidated")
	}
}

// While discovery fails, the named version is not used instead: it could lose fields.
func TestMapper_StoredVersion_DiscoveryFails(t *testing.T) {
	for _, broken := range []string{"/apis", "/apis/" + song.Group + "/v1"} {
		t.Run(broken, func(t *testing.T) {
			server, mapper := newDiscoveryServer(t)
			resource := servedResource{name: "songs", kind: "Song", namespaced: true, verbs: allVerbs, storageHash: storageVersionHash(song)}
			server.serveResources(song.Group, "v1", resource)
			server.serveResources(song.Group, "v2", resource)
			server.pages[broken] = "broken"
			if _, err := mapper.Resolve(t.Context(), song.GroupKind().WithVersion("v2")); err == nil || errors.Is(err, ErrKindNotFound) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// The API server calculates the hash like this; the value is from its discovery.
func TestStorageVersionHash(t *testing.T) {
	if got := storageVersionHash(schema.GroupVersionKind{Version: "v1", Kind: "Pod"}); got != "xPOwRZ+Yhw8=" {
		t.Errorf("got %s", got)
	}
}
