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
	"slices"
	"unique"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// Observed is the stored state of a copy, or of a foreign object with the name of a copy. It holds what planning needs and
// none of the object's content.
type Observed struct {
	Namespace, Name string
	UID             types.UID
	ResourceVersion string

	// Origin is what all copies of one Replika have in common. They share its memory.
	Origin unique.Handle[Origin]
	// Digests cover the content and, if the marks are valid, the metadata that the template sets.
	Digests Digests
	// AcceptedDigests are those of the template that was written when the API server returned this state. The copy is in
	// sync with that template although Digests differ, because a webhook or defaulting changed the written object.
	AcceptedDigests Digests

	// MetadataOnly is true if only the metadata is known: Digests do not cover the content.
	MetadataOnly bool
	Marks        MarkState
	Adopted      bool
	// HasAnyMark is true if the object has at least one mark, valid or not.
	HasAnyMark bool
	// Terminating is true if the object has a deletion timestamp.
	Terminating bool
	// HasController is true if the object has an owner reference with `controller: true`: another controller manages it, so
	// that it is foreign even with marks.
	HasController bool
	// HasOwners is true if the object has any owner reference.
	HasOwners bool
	// HasLabels is true if a JSON Patch can add a label: the map exists.
	HasLabels bool
	// HasAnnotations is true if a JSON Patch can add an annotation: the map exists.
	HasAnnotations bool
	// ManyKeys is true if an earlier template set so many keys that their names are not kept in memory.
	ManyKeys bool
}

// Origin is the part of a copy's marks and labels that all copies of one Replika share.
type Origin struct {
	Owner, Source types.NamespacedName
	// Applied is the mark on the copy, unless [Observed.ManyKeys] is true or the marks are not valid. Other clients can
	// write the mark, so that its length must be limited.
	Applied string
	// CreatedBy and PartOf are the values of our labels.
	CreatedBy, PartOf string
}

// Key is the object's namespace and name.
func (o *Observed) Key() types.NamespacedName {
	return types.NamespacedName{Namespace: o.Namespace, Name: o.Name}
}

// Owner returns the Replika that the marks name, or false if the marks are not valid.
func (o *Observed) Owner() (types.NamespacedName, bool) {
	return o.Origin.Value().Owner, o.Marks == MarksValid
}

// OwnedBy reports whether the object's marks are valid and name the Replika.
func (o *Observed) OwnedBy(replika types.NamespacedName) bool {
	owner, marked := o.Owner()
	return marked && owner == replika
}

// StaleKeys returns the keys that an earlier template set on the copy, and that the template does not set. If
// [Observed.ManyKeys] is true it returns none, see [Cleaner.StaleKeys].
func (o *Observed) StaleKeys(template *Template) Keys {
	applied, _ := decodeApplied(o.Origin.Value().Applied)
	return Keys{
		Labels:      without(applied.Labels, template.Labels),
		Annotations: without(applied.Annotations, template.Annotations),
	}
}

// Observe returns what is stored of an object of the resource.
func (c *Cleaner) Observe(resource schema.GroupResource, object *unstructured.Unstructured) (*Observed, error) {
	key := types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
	labels, annotations := object.GetLabels(), object.GetAnnotations()
	hasController := metav1.GetControllerOfNoCopy(object) != nil
	marks, state := readMarks(resource, key, annotations)
	if hasController && state == MarksValid {
		marks, state = Marks{}, MarksAbsent
	}
	marks.Applied = marks.Applied.compact()
	applied, manyKeys := "", len(marks.Applied.Hashes) > 0
	if state == MarksValid && !manyKeys {
		applied = marks.Applied.encode()
	}

	content, err := encodeFields(c.markedContent(object, marks, state))
	if err != nil {
		return nil, fmt.Errorf("observing %s %s: %w", object.GetKind(), key, err)
	}
	if state == MarksValid {
		content[MetadataField], err = canonicalMetadata(marks, labels, annotations)
		if err != nil {
			return nil, fmt.Errorf("observing %s %s: %w", object.GetKind(), key, err)
		}
	}
	return &Observed{
		Namespace:       key.Namespace,
		Name:            key.Name,
		UID:             object.GetUID(),
		ResourceVersion: object.GetResourceVersion(),
		Origin: unique.Make(Origin{
			Owner:     marks.Owner,
			Source:    marks.Source,
			Applied:   applied,
			CreatedBy: labels[v1alpha1.LabelCreatedBy],
			PartOf:    labels[v1alpha1.LabelPartOf],
		}),
		Digests:        newDigests(content),
		Marks:          state,
		Adopted:        marks.Adopted,
		HasAnyMark:     slices.ContainsFunc(MarkKeys(), func(key string) bool { _, marked := annotations[key]; return marked }),
		Terminating:    object.GetDeletionTimestamp() != nil,
		HasController:  hasController,
		HasOwners:      len(object.GetOwnerReferences()) > 0,
		HasLabels:      len(labels) > 0,
		HasAnnotations: len(annotations) > 0,
		ManyKeys:       manyKeys,
	}, nil
}

// copyContent returns the content of a copy, without what other clients added to its lists.
func (c *Cleaner) copyContent(resource schema.GroupResource, object *unstructured.Unstructured) map[string]any {
	key := types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
	marks, state := readMarks(resource, key, object.GetAnnotations())
	return c.markedContent(object, marks, state)
}

// markedContent returns the content of an object with the marks.
func (c *Cleaner) markedContent(object *unstructured.Unstructured, marks Marks, state MarkState) map[string]any {
	kind := object.GroupVersionKind().GroupKind()
	content := c.Content(kind, object.Object)
	if kind == serviceAccountKind && state == MarksValid {
		keepAppliedPullSecrets(content, marks.Applied)
	}
	return content
}

// canonicalMetadata encodes the part of a copy's metadata that the template sets: its labels and annotations, the two labels
// of every copy, and the marks that depend on the template. The rest belongs to other clients and never counts as drift.
func canonicalMetadata(marks Marks, labels, annotations map[string]string) (json.RawMessage, error) {
	own := Applied{
		Labels:      []string{v1alpha1.LabelCreatedBy, v1alpha1.LabelPartOf},
		Annotations: []string{v1alpha1.AnnotationSource, v1alpha1.AnnotationResource},
	}
	return canonicalJSON(map[string]any{
		"labels":      mergeMaps(own.selectKeys(labelEntry, labels), marks.Applied.selectKeys(labelEntry, labels)),
		"annotations": mergeMaps(own.selectKeys(annotationEntry, annotations), marks.Applied.selectKeys(annotationEntry, annotations)),
		"applied":     marks.Applied.compact(),
	})
}

// encodeFields encodes each top-level field as canonical JSON.
func encodeFields(content map[string]any) (map[string]json.RawMessage, error) {
	fields := make(map[string]json.RawMessage, len(content))
	for name, value := range content {
		encoded, err := canonicalJSON(value)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", name, err)
		}
		fields[name] = encoded
	}
	return fields, nil
}
