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
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// Marks are the ownership annotations on a copy. They identify Replika and source by namespace and name, not by UID, so
// that they stay valid after a backup is restored with new UIDs.
type Marks struct {
	// Owner is the Replika that owns the copy.
	Owner  types.NamespacedName
	Source types.NamespacedName
	// Self and Resource are the copy itself. Marks on any other object are not valid: they were duplicated.
	Self types.NamespacedName
	// Resource is empty in the marks of earlier versions of the operator.
	Resource schema.GroupResource
	Adopted  bool
	Applied  Applied
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
		v1alpha1.AnnotationResource:     m.Resource.String(),
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
		v1alpha1.AnnotationOwner, v1alpha1.AnnotationResource, v1alpha1.AnnotationSelf, v1alpha1.AnnotationSource,
	}
}

// readMarks parses the marks of the object with the given resource, namespace and name.
func readMarks(resource schema.GroupResource, self types.NamespacedName, annotations map[string]string) (Marks, MarkState) {
	version, marked := annotations[v1alpha1.AnnotationMarksVersion]
	if !marked {
		return Marks{}, MarksAbsent
	}
	if version != v1alpha1.MarksVersion {
		return Marks{}, MarksNewer
	}
	marks := Marks{Adopted: annotations[v1alpha1.AnnotationAdopted] == v1alpha1.AdoptedValue}
	if named, found := annotations[v1alpha1.AnnotationResource]; found {
		if named != resource.String() {
			return Marks{}, MarksAbsent
		}
		marks.Resource = resource
	}
	var ownerOK, sourceOK, selfOK, appliedOK bool
	marks.Owner, ownerOK = parseName(annotations[v1alpha1.AnnotationOwner])
	marks.Source, sourceOK = parseName(annotations[v1alpha1.AnnotationSource])
	marks.Self, selfOK = parseName(annotations[v1alpha1.AnnotationSelf])
	if !ownerOK || !sourceOK || !selfOK || marks.Self != self {
		return Marks{}, MarksAbsent
	}
	marks.Applied, appliedOK = decodeApplied(annotations[v1alpha1.AnnotationApplied])
	if !appliedOK {
		return Marks{}, MarksAbsent
	}
	return marks, MarksValid
}

// maxNameLength limits the names in marks, which other clients can write. No name of an object is longer.
const maxNameLength = 1024

func parseName(text string) (types.NamespacedName, bool) {
	namespace, name, found := strings.Cut(text, "/")
	ok := found && namespace != "" && name != "" && !strings.Contains(name, "/") && len(text) <= maxNameLength
	return types.NamespacedName{Namespace: namespace, Name: name}, ok
}
