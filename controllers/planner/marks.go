package planner

import (
	"encoding/json"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// Marks are our annotations on a copy that say whose it is. They name Replika and source by namespace and name, never by
// UID, so that a backup restored with new UIDs goes on working.
type Marks struct {
	Owner   types.NamespacedName
	Source  types.NamespacedName
	Self    types.NamespacedName
	Adopted bool
	Applied Applied
}

// Applied holds the keys of the labels and annotations that the template put on a copy, sorted. Those that the template
// drops later come off; all others belong to somebody else and stay.
type Applied struct {
	Labels      []string `json:"labels,omitempty"`
	Annotations []string `json:"annotations,omitempty"`
}

// MarkState tells what an object's marks are worth.
type MarkState uint8

const (
	// MarksAbsent: the object carries no marks, or marks that name another object (duplicated by hand, restored
	// elsewhere) or cannot be read. It is foreign.
	MarksAbsent MarkState = iota
	// MarksValid: the object is a copy of ours; its marks say which Replika owns it.
	MarksValid
	// MarksNewer: a newer operator wrote these marks. Nothing is known of their meaning, so the object is left alone.
	MarksNewer
)

// Annotations renders the marks as they stand on a copy.
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

// MarkKeys are the annotation keys that a release takes off, in a stable order.
func MarkKeys() []string {
	return []string{
		v1alpha1.AnnotationAdopted, v1alpha1.AnnotationApplied, v1alpha1.AnnotationMarksVersion,
		v1alpha1.AnnotationOwner, v1alpha1.AnnotationSelf, v1alpha1.AnnotationSource,
	}
}

// readMarks reads the marks of the object that bears the given name.
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
	// Two lists of strings always marshal.
	encoded, _ := json.Marshal(a)
	return string(encoded)
}

// Without lists what stands in a and no longer in b.
func (a Applied) Without(b Applied) Applied {
	gone := func(before, after []string) []string {
		return slices.DeleteFunc(slices.Clone(before), func(key string) bool { return slices.Contains(after, key) })
	}
	return Applied{Labels: gone(a.Labels, b.Labels), Annotations: gone(a.Annotations, b.Annotations)}
}

func parseName(text string) (types.NamespacedName, bool) {
	namespace, name, found := strings.Cut(text, "/")
	ok := found && namespace != "" && name != "" && !strings.Contains(name, "/")
	return types.NamespacedName{Namespace: namespace, Name: name}, ok
}
