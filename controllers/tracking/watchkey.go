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
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// WatchType is what a watch is for. It decides which objects the watch selects, and what is kept of them.
type WatchType string

const (
	// Copies are all objects of a resource that have our label. They are watched whole, and reduced to digests on receipt.
	Copies WatchType = "copies"
	// Source is one object, watched by its metadata. Users of many sources in one namespace share a watch of [Sources].
	Source WatchType = "source"
	// Sources are all objects of a resource in one namespace, watched by their metadata.
	Sources WatchType = "sources"
	// ConflictingObjects are all objects of a resource that have one name, watched by their metadata while foreign objects
	// conflict with copies.
	ConflictingObjects WatchType = "conflicting objects"
	// CRDs are the CustomResourceDefinitions, watched by their metadata.
	CRDs WatchType = "CRDs"
)

// WatchKey identifies a watch. Users with equal keys share one watch.
type WatchKey struct {
	Type     WatchType
	Resource schema.GroupVersionResource
	// Namespace is that of one source, or of all. It is empty for all other types.
	Namespace string
	// Name is that of a source, or of conflicting objects. It is empty for all other types.
	Name string
}

// CopiesOf is the key of the watch of a resource's copies.
func CopiesOf(resource schema.GroupVersionResource) WatchKey {
	return WatchKey{Type: Copies, Resource: resource}
}

// SourceAt is the key of the watch of one source.
func SourceAt(resource schema.GroupVersionResource, source Key) WatchKey {
	return WatchKey{Type: Source, Resource: resource, Namespace: source.Namespace, Name: source.Name}
}

// SourcesIn is the key of the watch of all objects of a resource in a namespace.
func SourcesIn(resource schema.GroupVersionResource, namespace string) WatchKey {
	return WatchKey{Type: Sources, Resource: resource, Namespace: namespace}
}

// ConflictingObjectsNamed is the key of the watch of all objects that have the name of copies.
func ConflictingObjectsNamed(resource schema.GroupVersionResource, name string) WatchKey {
	return WatchKey{Type: ConflictingObjects, Resource: resource, Name: name}
}

// AllCRDs is the key of the watch of the CustomResourceDefinitions.
func AllCRDs() WatchKey {
	return WatchKey{Type: CRDs, Resource: schema.GroupVersionResource{
		Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions",
	}}
}

// object is the key of the object that a watch of type [Source] is for.
func (k WatchKey) object() Key { return Key{Namespace: k.Namespace, Name: k.Name} }

func (k WatchKey) String() string {
	return fmt.Sprintf("%s of %s %s/%s", k.Type, k.Resource.GroupResource(), k.Namespace, k.Name)
}

// applySelectors adds the selectors of the key to the request. The namespace is part of the request's path instead.
func (k WatchKey) applySelectors(options *metav1.ListOptions) {
	if k.Type == Copies {
		options.LabelSelector = labels.Set{v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue}.String()
	}
	if k.Name != "" {
		options.FieldSelector = fields.OneTermEqualSelector("metadata.name", k.Name).String()
	}
}
