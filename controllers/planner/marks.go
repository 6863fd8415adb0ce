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
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// Marks are the ownership annotations on a copy. They identify Replika and source by namespace and name, not by UID, so
// that they stay valid after a backup is restored with new UIDs.
type Marks struct {
	// Owner is the Replika that owns the copy.
	Owner  types.NamespacedName
	Source types.NamespacedName
	// Self is the copy itself. Marks on any other object are not valid: they were duplicated.
	Self    types.NamespacedName
	Adopted bool
	Applied Applied
}

// Applied lists the keys of the labels and annotations that the template set on a copy, sorted. When the template no longer
// has one of them, it is removed from the copy. All other keys belong to other clients and are kept.
type Applied struct {
	Labels      []string `json:"labels,omitempty"`
	Annotations []string `json:"annotations,omitempty"`
}

// MarkState is the validity of an object's marks.
type MarkState uint8

const (
	// MarksAbsent means that the object is foreign: it has no marks, or they cannot be parsed, or they name another object
	// (it was duplicated manually, or restored into another namespace).
	MarksAbsent MarkState = iota
	// MarksValid means that the object is a copy, owned by the Replika that its marks name.
	MarksValid
	// MarksNewer means that a newer version of the operator wrote the marks. Their meaning is unknown, so the object is never
	// changed.
	MarksNewer
)

// Annotations returns the marks as annotations of a copy.
func (m Marks) Annotations() map[string]string {
	annotations := map[string]string{
		v1alpha1.AnnotationMarksVersion: v1alpha1.MarksVersion,
		v1alpha1.AnnotationOwner:        m.Owner.String(),
		v1alpha1.AnnotationSource:       m.Source.String(),
		v1alpha1.AnnotationSelf:         m.Self.String(),
		v1alpha1.AnnotationApplied:      m.Applied.encode(),
	}
	if m.Adopted {
		annotations[v1alpha1.AnnotationAdopted] = "true"
	}
	return annotations
}

// MarkKeys are the annotation keys that a release removes, in a stable order.
func MarkKeys() []string {
	return []string{
		v1alpha1.AnnotationAdopted, v1alpha1.AnnotationApplied, v1alpha1.AnnotationMarksVersion,
		v1alpha1.AnnotationOwner, v1alpha1.AnnotationSelf, v1alpha1.AnnotationSource,
	}
}

// readMarks parses the marks of the object with the given namespace and name.
func readMarks(self types.NamespacedName, annotations map[string]string) (Marks, MarkState) {
	version, marked := annotations[v1alpha1.AnnotationMarksVersion]
	if !marked {
		return Marks{}, MarksAbsent
	}
	if version != v1alpha1.MarksVersion {
		return Marks{}, MarksNewer
	}
	marks := Marks{Adopted: annotations[v1alpha1.AnnotationAdopted] == "true"}
	var ownerOK, sourceOK, selfOK bool
	marks.Owner, ownerOK = parseName(annotations[v1alpha1.AnnotationOwner])
	marks.Source, sourceOK = parseName(annotations[v1alpha1.AnnotationSource])
	marks.Self, selfOK = parseName(annotations[v1alpha1.AnnotationSelf])
	if !selfOK || marks.Self != self {
		return Marks{}, MarksAbsent
	}
	err := json.Unmarshal([]byte(annotations[v1alpha1.AnnotationApplied]), &marks.Applied)
	if !ownerOK || !sourceOK || err != nil {
		return Marks{}, MarksAbsent
	}
	return marks, MarksValid
}

func (a Applied) encode() string {
	// Encoding lists of strings cannot fail.
	encoded, _ := json.Marshal(a)
	return string(encoded)
}

// Without returns the keys that are in a but not in b.
func (a Applied) Without(b Applied) Applied {
	removed := func(before, after []string) []string {
		return slices.DeleteFunc(slices.Clone(before), func(key string) bool { return slices.Contains(after, key) })
	}
	return Applied{Labels: removed(a.Labels, b.Labels), Annotations: removed(a.Annotations, b.Annotations)}
}

func parseName(text string) (types.NamespacedName, bool) {
	namespace, name, found := strings.Cut(text, "/")
	ok := found && namespace != "" && name != "" && !strings.Contains(name, "/")
	return types.NamespacedName{Namespace: namespace, Name: name}, ok
}
