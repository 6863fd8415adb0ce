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
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

func newRESTClient(t *testing.T, config *rest.Config) rest.Interface {
	t.Helper()
	config = rest.CopyConfig(config)
	config.GroupVersion = &schema.GroupVersion{}
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	client, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestDecodeList(t *testing.T) {
	item := func(kind, name string) map[string]any {
		object := map[string]any{"metadata": map[string]any{"name": name}}
		if kind != "" {
			object["apiVersion"], object["kind"] = "v1", kind
		}
		return object
	}
	tests := map[string]struct {
		body         string
		wantItems    []map[string]any
		wantContinue string
		wantErr      string
	}{
		"built-in kind": {
			body:         `{"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"next"},"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}}]}`,
			wantItems:    []map[string]any{item("Secret", "a"), item("Secret", "b")},
			wantContinue: "next",
		},
		"items with a kind": {
			body:      `{"kind":"SecretList","apiVersion":"v1","items":[{"kind":"Other","apiVersion":"v1","metadata":{"name":"a"}}],"metadata":{"resourceVersion":"7"}}`,
			wantItems: []map[string]any{item("Other", "a")},
		},
		"integers": {
			body:      `{"kind":"XList","apiVersion":"v1","items":[{"spec":{"n":9007199254740993,"f":1.5},"metadata":{}}]}`,
			wantItems: []map[string]any{{"apiVersion": "v1", "kind": "X", "metadata": map[string]any{}, "spec": map[string]any{"n": int64(9007199254740993), "f": 1.5}}},
		},
		"no items":       {body: `{"kind":"SecretList","apiVersion":"v1","metadata":{},"items":[]}`},
		"null items":     {body: `{"kind":"SecretList","apiVersion":"v1","metadata":{},"items":null}`},
		"unknown fields": {body: `{"kind":"SecretList","extra":{"a":[1,{"b":null}]},"items":[]}`},
		"cut":            {body: `{"kind":"SecretList","items":[{"metadata":{"name":"a"}},{"meta`, wantItems: []map[string]any{{"kind": "Secret", "metadata": map[string]any{"name": "a"}}}, wantErr: "unexpected EOF"},
		"cut at the end": {body: `{"kind":"SecretList","items":[]`, wantErr: "EOF"},
		"not a list":     {body: `{"kind":"SecretList","items":"none"}`, wantErr: "the items are not a list"},
		"not an object":  {body: `[]`, wantErr: "instead of {"},
		"item no object": {body: `{"items":["a"]}`, wantErr: "cannot unmarshal string"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var items []map[string]any
			page, err := decodeList(strings.NewReader(tc.body), func(object *unstructured.Unstructured) error {
				if _, hasVersion := object.Object["apiVersion"]; hasVersion && object.GetAPIVersion() == "" {
					delete(object.Object, "apiVersion") // the list had none
				}
				items = append(items, object.Object)
				return nil
			})
			if diff := cmp.Diff(tc.wantItems, items); diff != "" {
				t.Errorf("items (-want +got):\n%s", diff)
			}
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("got error %v, want one with %q", err, tc.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if page.Continue != tc.wantContinue {
				t.Errorf("continue token: got %q, want %q", page.Continue, tc.wantContinue)
			}
		})
	}
}

func TestObjectStream_Each_Pages(t *testing.T) {
	var queries []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		queries = append(queries, r.URL.Path+"?"+r.URL.RawQuery)
		w.Header().Set("Content-Type", "application/json")
		next := ""
		if r.URL.Query().Get("continue") == "" {
			next = "page-2"
		}
		_, _ = fmt.Fprintf(w, `{"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":%q},"items":[{"metadata":{"name":"a"}}]}`, next)
	}))
	defer server.Close()
	stream := objectStream{client: newRESTClient(t, &rest.Config{Host: server.URL})}

	visited := 0
	version, err := stream.each(t.Context(), secrets, metav1.ListOptions{ResourceVersion: "5", ResourceVersionMatch: "NotOlderThan", LabelSelector: "a=b"},
		func(*unstructured.Unstructured) error { visited++; return nil })
	if err != nil || version != "7" || visited != 2 {
		t.Errorf("got version %q, %d objects, error %v", version, visited, err)
	}
	want := []string{
		"/api/v1/secrets?labelSelector=a%3Db&limit=500&resourceVersion=5&resourceVersionMatch=NotOlderThan",
		"/api/v1/secrets?continue=page-2&labelSelector=a%3Db&limit=500",
	}
	if diff := cmp.Diff(want, queries); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}

	stopped := errors.New("stopped")
	if _, err := stream.each(t.Context(), secrets, metav1.ListOptions{}, func(*unstructured.Unstructured) error { return stopped }); !errors.Is(err, stopped) {
		t.Errorf("got error %v, want that of the visit", err)
	}
}

// The memory in use while a list is read does not depend on its length.
func TestDecodeList_HoldsOneObject(t *testing.T) {
	const objects, size = 60, 512 << 10
	reader, writer := io.Pipe()
	go func() {
		value, _ := json.Marshal(strings.Repeat("x", size))
		_, _ = io.WriteString(writer, `{"kind":"SecretList","apiVersion":"v1","metadata":{},"items":[`)
		for i := range objects {
			if i > 0 {
				_, _ = io.WriteString(writer, ",")
			}
			_, _ = fmt.Fprintf(writer, `{"metadata":{"name":"n%d"},"data":{"k":%s}}`, i, value)
		}
		_, _ = io.WriteString(writer, "]}")
		_ = writer.Close()
	}()
	visited, most := 0, uint64(0)
	_, err := decodeList(reader, func(*unstructured.Unstructured) error {
		if visited++; visited%20 == 0 {
			runtime.GC()
			var stats runtime.MemStats
			runtime.ReadMemStats(&stats)
			most = max(most, stats.HeapAlloc)
		}
		return nil
	})
	if err != nil || visited != objects {
		t.Fatalf("read %d objects, error %v", visited, err)
	}
	if limit := uint64(20 * size); most > limit {
		t.Errorf("live heap: %d KiB for objects of %d KiB; want at most %d KiB", most>>10, size>>10, limit>>10)
	}
}

func FuzzDecodeList(f *testing.F) {
	f.Add(`{"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"a"}}]}`)
	f.Add(`{"items":null}`)
	f.Fuzz(func(t *testing.T, body string) {
		count := 0
		if _, err := decodeList(strings.NewReader(body), func(*unstructured.Unstructured) error { count++; return nil }); err != nil {
			return
		}
		var list struct{ Items []json.RawMessage }
		if err := json.Unmarshal([]byte(body), &list); err == nil && strings.Count(body, `"items"`) == 1 && len(list.Items) != count {
			t.Errorf("visited %d items of %d", count, len(list.Items))
		}
	})
}
