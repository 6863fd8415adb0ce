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

package planner

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// Comparable returns what the operator compares of an object: its content, labels and annotations.
func (c *Cleaner) Comparable(object *unstructured.Unstructured) *unstructured.Unstructured {
	compared := &unstructured.Unstructured{Object: c.Content(object.GroupVersionKind().GroupKind(), object.Object)}
	compared = compared.DeepCopy()
	compared.SetGroupVersionKind(object.GroupVersionKind())
	compared.SetNamespace(object.GetNamespace())
	compared.SetName(object.GetName())
	compared.SetLabels(object.GetLabels())
	compared.SetAnnotations(object.GetAnnotations())
	return compared
}

// RenderOver returns the copy in the namespace after an update of the object; nil for a new copy.
// The stale keys are removed, and those that are not the template's stay.
func (t *Template) RenderOver(object *unstructured.Unstructured, stale Keys, namespace string, adopted bool) (*unstructured.Unstructured, error) {
	rendered, err := t.Render(namespace)
	if err != nil {
		return nil, err
	}
	copied := &unstructured.Unstructured{}
	if err := json.Unmarshal(rendered, &copied.Object); err != nil {
		return nil, fmt.Errorf("decoding the copy for namespace %s: %w", namespace, err)
	}
	var labels, annotations map[string]string
	if object != nil {
		labels, annotations = object.GetLabels(), object.GetAnnotations()
	}
	for _, key := range stale.Labels {
		delete(labels, key)
	}
	for _, key := range stale.Annotations {
		delete(annotations, key)
	}
	delete(annotations, v1alpha1.AnnotationAdopted)
	copied.SetLabels(mergeMaps(labels, t.CopyLabels()))
	copied.SetAnnotations(mergeMaps(annotations, t.CopyAnnotations(namespace, adopted)))
	return copied, nil
}
