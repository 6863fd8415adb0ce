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
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// pageSize limits how many objects the API server reads from its storage for one response.
const pageSize = 500

// objectStream lists whole objects in all namespaces, or in one. It decodes one object at a time from the response: copies can be large and
// many, and more than one of them is never in memory.
type objectStream struct {
	client rest.Interface
	// namespace is empty for all.
	namespace string
}

// each calls visit for every object of the resource that the options select, in pages, and returns the resourceVersion of the
// list. An error of visit ends the list.
func (s objectStream) each(
	ctx context.Context, resource schema.GroupVersionResource, options metav1.ListOptions, visit func(*unstructured.Unstructured) error,
) (resourceVersion string, err error) {
	options.Limit, options.Continue = pageSize, ""
	for {
		page, err := s.page(ctx, resource, options, visit)
		if err != nil {
			return "", err
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return page.ResourceVersion, nil
		}
		// The API server refuses both together: all pages are of one version.
		options.ResourceVersion, options.ResourceVersionMatch = "", ""
	}
}

// page requests and decodes one page.
func (s objectStream) page(
	ctx context.Context, resource schema.GroupVersionResource, options metav1.ListOptions, visit func(*unstructured.Unstructured) error,
) (*metav1.ListMeta, error) {
	body, err := s.client.Get().AbsPath(resourcePath(resource, s.namespace)).
		SpecificallyVersionedParams(&options, scheme.ParameterCodec, schema.GroupVersion{Version: "v1"}).Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	page, err := decodeList(body, visit)
	if err != nil {
		return nil, fmt.Errorf("reading a list of resource %s: %w", resource.GroupResource(), err)
	}
	return page, nil
}

// resourcePath returns the path of the resource in the namespace or, if it is empty, in all namespaces.
func resourcePath(resource schema.GroupVersionResource, namespace string) string {
	root := "/apis/" + resource.Group
	if resource.Group == "" {
		root = "/api"
	}
	if namespace != "" {
		return path.Join(root, resource.Version, "namespaces", namespace, resource.Resource)
	}
	return path.Join(root, resource.Version, resource.Resource)
}

// decodeList decodes a list in JSON, and calls visit with each of its items. The items of built-in kinds have no kind of their
// own: it is derived from the kind of the list, as client-go does.
func decodeList(body io.Reader, visit func(*unstructured.Unstructured) error) (*metav1.ListMeta, error) {
	decoder := json.NewDecoder(body)
	if err := expectDelim(decoder, '{'); err != nil {
		return nil, err
	}
	list := struct {
		metav1.TypeMeta
		metav1.ListMeta
	}{}
	for decoder.More() {
		field, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		switch field {
		case "kind":
			err = decoder.Decode(&list.Kind)
		case "apiVersion":
			err = decoder.Decode(&list.APIVersion)
		case "metadata":
			err = decoder.Decode(&list.ListMeta)
		case "items":
			err = decodeItems(decoder, &list.TypeMeta, visit)
		default:
			err = decoder.Decode(&json.RawMessage{})
		}
		if err != nil {
			return nil, err
		}
	}
	return &list.ListMeta, expectDelim(decoder, '}')
}

// decodeItems decodes the items of a list of the type.
func decodeItems(decoder *json.Decoder, list *metav1.TypeMeta, visit func(*unstructured.Unstructured) error) error {
	switch start, err := decoder.Token(); {
	case err != nil:
		return err
	case start == nil: // null
		return nil
	case start != json.Delim('['):
		return fmt.Errorf("the items are not a list, but begin with %v", start)
	}
	for decoder.More() {
		var raw json.RawMessage
		if err := decoder.Decode(&raw); err != nil {
			return err
		}
		item := &unstructured.Unstructured{}
		// Not encoding/json: the digests need integers to be integers.
		if err := utiljson.Unmarshal(raw, &item.Object); err != nil {
			return err
		}
		if item.GetKind() == "" {
			item.SetKind(strings.TrimSuffix(list.Kind, "List"))
			item.SetAPIVersion(list.APIVersion)
		}
		if err := visit(item); err != nil {
			return err
		}
	}
	return expectDelim(decoder, ']')
}

func expectDelim(decoder *json.Decoder, want json.Delim) error {
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	if token != want {
		return fmt.Errorf("found %v instead of %v", token, want)
	}
	return nil
}

// reducedList is a list of which every object was reduced while it was read.
type reducedList struct {
	metav1.TypeMeta
	metav1.ListMeta
	Items []reducedObject
}

// DeepCopyObject implements runtime.Object.
func (l *reducedList) DeepCopyObject() runtime.Object {
	copied := *l
	copied.Items = append([]reducedObject(nil), l.Items...)
	return &copied
}

// listReduced lists what the watch needs, for its Reflector.
func (w *watch) listReduced(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	list := &reducedList{}
	var err error
	list.ResourceVersion, err = w.watches.lists.each(ctx, w.key.Resource, options, func(object *unstructured.Unstructured) error {
		observed, err := w.observe(object)
		if err != nil {
			return err
		}
		list.Items = append(list.Items, *newReducedObject(observed))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}
