package planner

import (
	"encoding/json"
	"fmt"
	"slices"
	"unique"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// Observed is what is kept of an object that is, or stands in the way of, a copy: enough to plan, nothing of its content.
type Observed struct {
	Namespace, Name string
	UID             types.UID
	ResourceVersion string

	// Origin is what copies of one Replika have in common, shared between them.
	Origin unique.Handle[Origin]
	// Digests are taken over content and, when the marks are valid, over what the template put into the metadata.
	Digests Digests
	// Answers holds the digests of a template whose write the API server answered with this very state (a webhook or
	// defaulting changed what we sent): the copy is in sync with that template although Digests differ.
	AcceptedDigests Digests

	// Partial objects are known by their metadata only: their Digests say nothing of the content.
	MetadataOnly bool
	Marks        MarkState
	Adopted      bool
	// Marked objects carry at least one mark, be it worth something or not.
	HasAnyMark bool
	// Terminating objects are on their way out, held by a finalizer or not.
	Terminating bool
	// Controlled objects have an owner reference with `controller: true`: somebody else rules them.
	HasController bool
	// HasLabels tells whether there is a labels map for a JSON Patch to add to.
	HasLabels bool
	// HasAnnotations likewise.
	HasAnnotations bool
}

// Origin is the part of a copy's marks and labels that all copies of one Replika share.
type Origin struct {
	Owner, Source types.NamespacedName
	// Applied is the mark as it stands on the copy.
	Applied string
	// CreatedBy and PartOf are the values of our labels.
	CreatedBy, PartOf string
}

// Key is the object's namespace and name.
func (o *Observed) Key() types.NamespacedName {
	return types.NamespacedName{Namespace: o.Namespace, Name: o.Name}
}

// Owner names the Replika that the marks name, if they are valid.
func (o *Observed) Owner() (types.NamespacedName, bool) {
	return o.Origin.Value().Owner, o.Marks == MarksValid
}

// OwnedBy tells whether the object's marks are valid and name the Replika.
func (o *Observed) OwnedBy(replika types.NamespacedName) bool {
	owner, marked := o.Owner()
	return marked && owner == replika
}

// Applied are the keys that an earlier template put on the copy.
func (o *Observed) Applied() Applied {
	var applied Applied
	if o.Marks == MarksValid {
		// It was decoded once already, to find the marks valid.
		_ = json.Unmarshal([]byte(o.Origin.Value().Applied), &applied)
	}
	return applied
}

// Observe reduces an object to what is kept of it.
func (c *Cleaner) Observe(object *unstructured.Unstructured) (*Observed, error) {
	key := types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
	labels, annotations := object.GetLabels(), object.GetAnnotations()
	marks, state := readMarks(key, annotations)

	content, err := encodeFields(c.Content(object.GroupVersionKind().GroupKind(), object.Object))
	if err != nil {
		return nil, fmt.Errorf("observe %s %s: %w", object.GetKind(), key, err)
	}
	if state == MarksValid {
		content[MetadataField], err = canonicalMetadata(marks, labels, annotations)
		if err != nil {
			return nil, fmt.Errorf("observe %s %s: %w", object.GetKind(), key, err)
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
			Applied:   annotations[v1alpha1.AnnotationApplied],
			CreatedBy: labels[v1alpha1.LabelCreatedBy],
			PartOf:    labels[v1alpha1.LabelPartOf],
		}),
		Digests:        newDigests(content),
		Marks:          state,
		Adopted:        marks.Adopted,
		HasAnyMark:     slices.ContainsFunc(MarkKeys(), func(key string) bool { _, marked := annotations[key]; return marked }),
		Terminating:    object.GetDeletionTimestamp() != nil,
		HasController:  metav1.GetControllerOf(object) != nil,
		HasLabels:      len(labels) > 0,
		HasAnnotations: len(annotations) > 0,
	}, nil
}

// canonicalMetadata renders what of a copy's metadata is ours: the labels and annotations that the template put there,
// our two labels, and the marks that depend on the template. All else belongs to others and never counts as drift.
func canonicalMetadata(marks Marks, labels, annotations map[string]string) (json.RawMessage, error) {
	return canonical(map[string]any{
		"labels":      selectKeys(labels, append([]string{v1alpha1.LabelCreatedBy, v1alpha1.LabelPartOf}, marks.Applied.Labels...)),
		"annotations": selectKeys(annotations, append([]string{v1alpha1.AnnotationSource}, marks.Applied.Annotations...)),
		"applied":     marks.Applied,
	})
}

// pick returns the entries that bear one of the keys.
func selectKeys(from map[string]string, keys []string) map[string]string {
	picked := map[string]string{}
	for _, key := range keys {
		if value, found := from[key]; found {
			picked[key] = value
		}
	}
	return picked
}

func encodeFields(content map[string]any) (map[string]json.RawMessage, error) {
	fields := make(map[string]json.RawMessage, len(content))
	for name, value := range content {
		encoded, err := canonical(value)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", name, err)
		}
		fields[name] = encoded
	}
	return fields, nil
}
