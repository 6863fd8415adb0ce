package planner

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// ErrSourceNotAllowed says that a source must not be replicated as it is; only a change of it or of the spec helps.
var ErrSourceNotAllowed = errors.New("source not allowed")

// Template is what every copy of one source must look like: the source, cleaned, before a namespace is put in.
type Template struct {
	Kind schema.GroupVersionKind
	// Name is the copies' name.
	Name string
	// Owner is the Replika, Source what it replicates.
	Owner, Source types.NamespacedName

	// Labels and Annotations come from the source and, winning over it, from the Replika. Ours are not among them.
	Labels, Annotations map[string]string
	// Content is the canonical JSON of each top-level field.
	Content map[string]json.RawMessage
	// Digests are those of a copy in sync.
	Digests Digests
}

// NewTemplate makes the template of the Replika's copies from its source. It fails with [ErrSourceNotAllowed] on a
// source that is a copy itself or a Secret bound to one place.
func (c *Cleaner) NewTemplate(replika *v1alpha1.Replika, source *unstructured.Unstructured) (*Template, error) {
	if err := allowedAsSource(source); err != nil {
		return nil, err
	}
	kind := source.GroupVersionKind()
	content, err := encodeFields(c.Content(kind.GroupKind(), source.Object))
	if err != nil {
		return nil, fmt.Errorf("template of %s %s/%s: %w", kind.Kind, source.GetNamespace(), source.GetName(), err)
	}
	template := &Template{
		Kind:        kind,
		Name:        replika.TargetName(),
		Owner:       types.NamespacedName{Namespace: replika.Namespace, Name: replika.Name},
		Source:      types.NamespacedName{Namespace: source.GetNamespace(), Name: source.GetName()},
		Labels:      mergeMaps(c.Keys(source.GetLabels()), dropReservedKeys(replika.Spec.Target.Labels)),
		Annotations: mergeMaps(c.Keys(source.GetAnnotations()), dropReservedKeys(replika.Spec.Target.Annotations)),
		Content:     content,
	}
	metadata, err := canonicalMetadata(template.marks("", false), template.CopyLabels(), template.CopyAnnotations("", false))
	if err != nil {
		return nil, err
	}
	fields := maps.Clone(content)
	fields[MetadataField] = metadata
	template.Digests = newDigests(fields)
	return template, nil
}

// CopyLabels are the labels that a copy must have.
func (t *Template) CopyLabels() map[string]string {
	return mergeMaps(t.Labels, map[string]string{
		v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue,
		v1alpha1.LabelPartOf:    v1alpha1.PartOf(t.Owner.Name),
	})
}

// CopyAnnotations are the annotations that the copy in the namespace must have, its marks among them.
func (t *Template) CopyAnnotations(namespace string, adopted bool) map[string]string {
	return mergeMaps(t.Annotations, t.marks(namespace, adopted).Annotations())
}

// Render is the JSON of a new copy for the namespace.
func (t *Template) Render(namespace string) (json.RawMessage, error) {
	head, err := canonical(map[string]any{
		"apiVersion": t.Kind.GroupVersion().String(),
		"kind":       t.Kind.Kind,
		"metadata": map[string]any{
			"namespace":   namespace,
			"name":        t.Name,
			"labels":      t.CopyLabels(),
			"annotations": t.CopyAnnotations(namespace, false),
		},
	})
	if err != nil {
		return nil, err
	}
	// The content is JSON already; to have it encoded again for every copy would cost more than all else.
	rendered := bytes.NewBuffer(make([]byte, 0, len(head)+t.contentSize()))
	rendered.Write(bytes.TrimSuffix(head, []byte("}")))
	for field, value := range t.Content {
		name, err := canonical(field)
		if err != nil {
			return nil, err
		}
		rendered.WriteByte(',')
		rendered.Write(name)
		rendered.WriteByte(':')
		rendered.Write(value)
	}
	rendered.WriteByte('}')
	return rendered.Bytes(), nil
}

// contentSize is the number of bytes that the content takes in a rendered copy.
func (t *Template) contentSize() int {
	size := len("}")
	for field, value := range t.Content {
		size += len(`,"":`) + len(field) + len(value)
	}
	return size
}

// Applied are the keys that this template puts on a copy.
func (t *Template) Applied() Applied {
	return Applied{
		Labels:      slices.Sorted(maps.Keys(t.Labels)),
		Annotations: slices.Sorted(maps.Keys(t.Annotations)),
	}
}

func (t *Template) marks(namespace string, adopted bool) Marks {
	return Marks{
		Owner:   t.Owner,
		Source:  t.Source,
		Self:    types.NamespacedName{Namespace: namespace, Name: t.Name},
		Adopted: adopted,
		Applied: t.Applied(),
	}
}

// contentMatches tells whether the object's content equals the template's, whatever its metadata.
func (t *Template) contentMatches(observed *Observed) bool {
	return !slices.ContainsFunc(t.Digests.Differing(observed.Digests), func(field string) bool { return field != MetadataField })
}

// tokenSecretTypes are Secrets that mean something in one place only, and would hand an identity to every namespace.
var tokenSecretTypes = []string{"kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"}

func allowedAsSource(source *unstructured.Unstructured) error {
	name := fmt.Sprintf("%s %s/%s", source.GetKind(), source.GetNamespace(), source.GetName())
	self := types.NamespacedName{Namespace: source.GetNamespace(), Name: source.GetName()}
	if _, state := readMarks(self, source.GetAnnotations()); state != MarksAbsent {
		return fmt.Errorf("%w: %s is itself a copy, owned by Replika %s; name the original as source",
			ErrSourceNotAllowed, name, source.GetAnnotations()[v1alpha1.AnnotationOwner])
	}
	if source.GetLabels()[v1alpha1.LabelCreatedBy] == v1alpha1.CreatedByValue {
		return fmt.Errorf("%w: %s carries the label %s of a copy; name the original as source, or take the label off",
			ErrSourceNotAllowed, name, v1alpha1.LabelCreatedBy)
	}
	if source.GroupVersionKind().GroupKind() == (schema.GroupKind{Kind: "Secret"}) {
		secretType, _, _ := unstructured.NestedString(source.Object, "type")
		if slices.Contains(tokenSecretTypes, secretType) {
			return fmt.Errorf("%w: %s has type %s, which is valid in one place only", ErrSourceNotAllowed, name, secretType)
		}
	}
	return nil
}

// unreserved returns the entries whose keys are not ours. The schema refuses such a spec; one that is older than the schema
// must not forge marks either.
func dropReservedKeys(keys map[string]string) map[string]string {
	allowed := maps.Clone(keys)
	maps.DeleteFunc(allowed, func(key, _ string) bool { return strings.HasPrefix(key, v1alpha1.KeyPrefix) })
	return allowed
}

// overlay returns the entries of both maps; those of over win. Neither map is changed.
func mergeMaps(base, over map[string]string) map[string]string {
	merged := make(map[string]string, len(base)+len(over))
	maps.Copy(merged, base)
	maps.Copy(merged, over)
	return merged
}
