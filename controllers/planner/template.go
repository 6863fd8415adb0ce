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

// ErrSourceNotAllowed means that the source must not be replicated. Only a change of the source or of the spec resolves it.
var ErrSourceNotAllowed = errors.New("source not allowed")

// TemplateError explains why a source that may be replicated has no template.
type TemplateError struct {
	// Reason and Message are those of the condition Ready.
	Reason, Message string
	// Stalled is true if only a change of the spec, or of what the source's owner allows, helps. Otherwise the source is expected
	// to change.
	Stalled bool
	// Denied is true if the source's owner does not allow what the spec asks for.
	Denied bool
}

// Error implements error.
func (e *TemplateError) Error() string { return e.Message }

// Template is the desired state of every copy of one source: the cleaned source, without a namespace.
type Template struct {
	Kind     schema.GroupVersionKind
	Resource schema.GroupResource
	// Name is the name of the copies.
	Name string
	// Owner is the Replika, and Source is the object that it replicates.
	Owner, Source types.NamespacedName

	// Labels and Annotations are those of the source and of the Replika's spec, which takes precedence. The labels and marks
	// of every copy are not included.
	Labels, Annotations map[string]string
	// Content is the canonical JSON of each top-level field.
	Content map[string]json.RawMessage
	// Digests are those of a copy in sync.
	Digests Digests
	// manyKeys is true if a JSON Patch with one operation for each key would be too long.
	manyKeys bool
	// pullSecrets are the names of the imagePullSecrets of a ServiceAccount, sorted.
	pullSecrets []string
}

// NewTemplate returns the template of the Replika's copies, which are objects of the resource. It fails with
// [ErrSourceNotAllowed] if the source is itself a copy, or a token Secret, and with a [TemplateError] if the keys of the copies
// cannot be determined. There is no template without the consent of the source's owner to each key.
func (c *Cleaner) NewTemplate(
	resource schema.GroupResource, replika *v1alpha1.Replika, source *unstructured.Unstructured,
) (*Template, error) {
	if err := validateSource(resource, source); err != nil {
		return nil, err
	}
	kind := source.GroupVersionKind()
	labels, annotations := withoutControllerKeys(source)
	fields, err := c.copiedContent(replika, source)
	if err != nil {
		return nil, err
	}
	content, err := encodeFields(fields)
	if err != nil {
		return nil, fmt.Errorf("building template of %s %s/%s: %w", kind.Kind, source.GetNamespace(), source.GetName(), err)
	}
	template := &Template{
		Kind:        kind,
		Resource:    resource,
		Name:        replika.TargetName(),
		Owner:       types.NamespacedName{Namespace: replika.Namespace, Name: replika.Name},
		Source:      types.NamespacedName{Namespace: source.GetNamespace(), Name: source.GetName()},
		Labels:      mergeMaps(c.Keys(kind.GroupKind(), labels), dropReservedKeys(replika.Spec.Target.Labels)),
		Annotations: mergeMaps(c.Keys(kind.GroupKind(), annotations), dropReservedKeys(replika.Spec.Target.Annotations)),
		Content:     content,
	}
	if kind.GroupKind() == serviceAccountKind {
		template.pullSecrets = pullSecretNames(fields)
	}
	template.manyKeys = len(template.Applied().compact().Hashes) > 0
	metadata, err := canonicalMetadata(template.marks("", false), template.CopyLabels(), template.CopyAnnotations("", false))
	if err != nil {
		return nil, err
	}
	digested := maps.Clone(content)
	digested[MetadataField] = metadata
	template.Digests = newDigests(digested)
	return template, nil
}

// copiedContent returns the content of the copies: that of the source, with the keys and the type that the spec asks for and
// the source's owner allows.
func (c *Cleaner) copiedContent(replika *v1alpha1.Replika, source *unstructured.Unstructured) (map[string]any, error) {
	kind := source.GroupVersionKind().GroupKind()
	allowed, err := AllowedKeys(source)
	if err != nil {
		return nil, err
	}
	content := c.Content(kind, source.Object)
	if !hasDataKeys(kind) {
		return content, nil
	}
	rules := newKeyRules(replika, allowed)
	if content, err = rules.apply(content); err != nil || kind.Kind != "Secret" {
		return content, err
	}
	if err := setSecretType(content, replika.Spec.Target.Type); err != nil {
		return nil, err
	}
	if rules.inEffect() || replika.Spec.Target.Type != "" {
		return content, rules.validateSecretType(content)
	}
	return content, nil
}

// CopyLabels are the labels that a copy must have.
func (t *Template) CopyLabels() map[string]string {
	return mergeMaps(t.Labels, map[string]string{
		v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue,
		v1alpha1.LabelPartOf:    v1alpha1.PartOf(t.Owner.Name),
	})
}

// CopyAnnotations are the annotations, including the marks, that the copy in the namespace must have.
func (t *Template) CopyAnnotations(namespace string, adopted bool) map[string]string {
	return mergeMaps(t.Annotations, t.marks(namespace, adopted).Annotations())
}

// Render returns the JSON of a new copy for the namespace.
func (t *Template) Render(namespace string) (json.RawMessage, error) {
	return t.render(namespace, "name", t.Name)
}

// RenderProbe returns the JSON of a new copy for the namespace whose name the API server generates. A dry-run create of it
// shows what the API server makes of a new copy, also while the copy exists.
func (t *Template) RenderProbe(namespace string) (json.RawMessage, error) {
	prefix := t.Name[:min(len(t.Name), maxProbePrefix)]
	return t.render(namespace, "generateName", strings.TrimRight(prefix, ".-")+"-")
}

// maxProbePrefix is the length of a generated name without the part that is generated, and without a hyphen before it. All
// kinds accept a name of 63 characters.
const maxProbePrefix = 57

func (t *Template) render(namespace, nameField, name string) (json.RawMessage, error) {
	head, err := canonicalJSON(map[string]any{
		"apiVersion": t.Kind.GroupVersion().String(),
		"kind":       t.Kind.Kind,
		"metadata": map[string]any{
			"namespace":   namespace,
			nameField:     name,
			"labels":      t.CopyLabels(),
			"annotations": t.CopyAnnotations(namespace, false),
		},
	})
	if err != nil {
		return nil, err
	}
	// The content is already JSON. Encoding it again for each copy would be the most expensive step of a write.
	rendered := bytes.NewBuffer(make([]byte, 0, len(head)+t.contentSize()))
	rendered.Write(bytes.TrimSuffix(head, []byte("}")))
	for field, value := range t.Content {
		name, err := canonicalJSON(field)
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

// contentSize is the size of the content in a rendered copy, in bytes.
func (t *Template) contentSize() int {
	size := len("}")
	for field, value := range t.Content {
		size += len(`,"":`) + len(field) + len(value)
	}
	return size
}

// Applied returns the keys and entries that this template sets on a copy.
func (t *Template) Applied() Applied {
	return Applied{
		Labels:           slices.Sorted(maps.Keys(t.Labels)),
		Annotations:      slices.Sorted(maps.Keys(t.Annotations)),
		ImagePullSecrets: t.pullSecrets,
	}
}

func (t *Template) marks(namespace string, adopted bool) Marks {
	return Marks{
		Owner:    t.Owner,
		Source:   t.Source,
		Self:     types.NamespacedName{Namespace: namespace, Name: t.Name},
		Resource: t.Resource,
		Adopted:  adopted,
		Applied:  t.Applied(),
	}
}

// contentMatches reports whether the object's content equals that of the template. Metadata is ignored.
func (t *Template) contentMatches(observed *Observed) bool {
	return !slices.ContainsFunc(t.Digests.Differing(observed.Digests), func(field string) bool { return field != MetadataField })
}

// validateSource returns an error that wraps [ErrSourceNotAllowed] if the source must not be replicated.
func validateSource(resource schema.GroupResource, source *unstructured.Unstructured) error {
	name := fmt.Sprintf("%s %s/%s", source.GetKind(), source.GetNamespace(), source.GetName())
	self := types.NamespacedName{Namespace: source.GetNamespace(), Name: source.GetName()}
	if _, state := readMarks(resource, self, source.GetAnnotations()); state != MarksAbsent {
		return fmt.Errorf("%w: %s is itself a copy, owned by Replika %s; use the original as the source",
			ErrSourceNotAllowed, name, source.GetAnnotations()[v1alpha1.AnnotationOwner])
	}
	if source.GetLabels()[v1alpha1.LabelCreatedBy] == v1alpha1.CreatedByValue {
		return fmt.Errorf("%w: %s has the label %s of a copy; use the original as the source, or remove the label",
			ErrSourceNotAllowed, name, v1alpha1.LabelCreatedBy)
	}
	if source.GroupVersionKind().GroupKind() == secretKind {
		secretType, _, _ := unstructured.NestedString(source.Object, "type")
		if slices.Contains(tokenSecretTypes, secretType) {
			return fmt.Errorf("%w: %s has type %s; token Secrets cannot be replicated", ErrSourceNotAllowed, name, secretType)
		}
	}
	return nil
}

// dropReservedKeys returns the entries without those under our own prefix. The schema rejects a spec with such keys, but a
// stored Replika can be older than the schema, and must not be able to forge marks.
func dropReservedKeys(keys map[string]string) map[string]string {
	unreserved := maps.Clone(keys)
	maps.DeleteFunc(unreserved, func(key, _ string) bool { return strings.HasPrefix(key, v1alpha1.KeyPrefix) })
	return unreserved
}

// mergeMaps returns the entries of both maps; those of overrides take precedence. Neither map is changed.
func mergeMaps[V any](base, overrides map[string]V) map[string]V {
	merged := make(map[string]V, len(base)+len(overrides))
	maps.Copy(merged, base)
	maps.Copy(merged, overrides)
	return merged
}
