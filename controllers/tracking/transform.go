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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/controllers/planner"
)

// reducedObject is what a watch keeps of an object, with just enough metadata for client-go to build its key.
type reducedObject struct {
	metav1.PartialObjectMetadata
	// observed is nil in watches that keep only resourceVersions.
	observed *planner.Observed
}

func newReducedObject(observed *planner.Observed) *reducedObject {
	reduced := &reducedObject{observed: observed}
	reduced.Namespace, reduced.Name, reduced.ResourceVersion = observed.Namespace, observed.Name, observed.ResourceVersion
	return reduced
}

// newReducedMetadata reduces an object for a watch that keeps only resourceVersions and perhaps labels.
func newReducedMetadata(metadata *metav1.PartialObjectMetadata) *reducedObject {
	reduced := &reducedObject{}
	reduced.Namespace, reduced.Name, reduced.ResourceVersion = metadata.Namespace, metadata.Name, metadata.ResourceVersion
	reduced.Labels = metadata.Labels
	return reduced
}

// transform reduces an object that the watch received, and drops its content. client-go can call it twice for one object, so
// it returns its own result unchanged.
func (w *watch) transform(object any) (any, error) {
	var observed *planner.Observed
	var err error
	switch typed := object.(type) {
	case *reducedObject:
		return typed, nil
	case *unstructured.Unstructured:
		observed, err = w.observe(typed)
	case *metav1.PartialObjectMetadata:
		if w.keepsVersions() {
			return newReducedMetadata(typed), nil
		}
		observed, err = ObserveMetadata(w.watches.cleaner, w.key.Resource.GroupResource(), typed)
	default:
		err = fmt.Errorf("unexpected object of type %T in a watch", object)
	}
	if err != nil {
		return nil, err
	}
	return newReducedObject(observed), nil
}

// observe reduces an object, unless the store already has it in this state from the response to our own write.
func (w *watch) observe(object *unstructured.Unstructured) (*planner.Observed, error) {
	if w.store != nil {
		if stored := w.store.getExact(object); stored != nil {
			return stored, nil
		}
	}
	return w.watches.cleaner.Observe(w.key.Resource.GroupResource(), object)
}

// ObserveMetadata reduces an object whose content is not known.
func ObserveMetadata(
	cleaner *planner.Cleaner, resource schema.GroupResource, metadata *metav1.PartialObjectMetadata,
) (*planner.Observed, error) {
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetNamespace(metadata.Namespace)
	object.SetName(metadata.Name)
	object.SetUID(metadata.UID)
	object.SetResourceVersion(metadata.ResourceVersion)
	object.SetLabels(metadata.Labels)
	object.SetAnnotations(metadata.Annotations)
	object.SetDeletionTimestamp(metadata.DeletionTimestamp)
	object.SetOwnerReferences(metadata.OwnerReferences)
	observed, err := cleaner.Observe(resource, object)
	if err != nil {
		return nil, err
	}
	observed.MetadataOnly = true
	return observed, nil
}
