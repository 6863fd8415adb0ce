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
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// NeedsLiveObject reports whether an update depends on more of the object than [Observed] holds. The object must then be
// read, and only the difference between it and the template be sent.
func (a *Action) NeedsLiveObject() bool {
	return HasInstanceFields(a.Template.Kind.GroupKind()) ||
		a.Observed.ManyKeys || a.Template.manyKeys ||
		a.takesOverLegacyCopy() ||
		a.Adopt && (a.Observed.HasLabels || a.Observed.HasAnnotations)
}

// takesOverLegacyCopy reports whether the update marks a copy of the 2022 release.
func (a *Action) takesOverLegacyCopy() bool { return a.Observed.Marks == MarksAbsent && !a.Adopt }

// MergeContent returns the content of the live object, and the one that the update gives it.
func (c *Cleaner) MergeContent(a *Action, live *unstructured.Unstructured) (before, after map[string]any, err error) {
	kind := a.Template.Kind.GroupKind()
	before, after = c.Content(kind, live.Object), map[string]any{}
	for field, value := range a.Template.Content {
		after[field] = value
	}
	if kind == serviceAccountKind {
		err = a.mergePullSecrets(live, before, after)
	}
	return before, after, err
}

// mergePullSecrets adds the entries of other clients to the content of a ServiceAccount.
func (a *Action) mergePullSecrets(live *unstructured.Unstructured, before, after map[string]any) error {
	current, _ := live.Object[pullSecretsField].([]any)
	if len(current) == 0 {
		return nil
	}
	before[pullSecretsField] = current
	var merged []any
	if encoded, found := a.Template.Content[pullSecretsField]; found {
		if err := json.Unmarshal(encoded, &merged); err != nil {
			return err
		}
	}
	marks, _ := a.marksOf(live)
	applied := marks.Applied.among(imagePullSecretEntry, pullSecretNames(live.Object))
	for _, entry := range current {
		name := pullSecretName(entry)
		if !slices.Contains(applied, name) && !slices.Contains(a.Template.pullSecrets, name) {
			merged = append(merged, entry)
		}
	}
	after[pullSecretsField] = merged
	if len(merged) == 0 {
		delete(after, pullSecretsField)
	}
	return nil
}

// StaleKeys returns the keys of the live object that the update removes: those that an earlier template set on it and the
// template does not set. A copy that the 2022 release or another replicator made lists none, but can have the tracking keys of its
// source.
func (c *Cleaner) StaleKeys(a *Action, live *unstructured.Unstructured) Keys {
	marks, _ := a.marksOf(live)
	stale := func(entries entryType, keys, desired map[string]string) []string {
		names := slices.Sorted(maps.Keys(keys))
		switch {
		case a.Adopt && !isClone(live):
			names = slices.DeleteFunc(names, func(key string) bool { return !matchesAny(replicatorKeys, key) })
		case a.Adopt, a.takesOverLegacyCopy():
			names = slices.DeleteFunc(names, func(key string) bool { return !c.tracks(a.Template.Kind.GroupKind(), key) })
		default:
			names = marks.Applied.among(entries, names)
		}
		return without(names, desired)
	}
	return Keys{
		Labels:      stale(labelEntry, live.GetLabels(), a.Template.CopyLabels()),
		Annotations: stale(annotationEntry, live.GetAnnotations(), a.Template.CopyAnnotations(a.Namespace, false)),
	}
}

// isClone reports whether another replicator made the object, with all labels and annotations of its source.
func isClone(object *unstructured.Unstructured) bool {
	labels := object.GetLabels()
	return slices.ContainsFunc(cloneLabels, func(key string) bool { _, found := labels[key]; return found })
}

func (a *Action) marksOf(live *unstructured.Unstructured) (Marks, MarkState) {
	key := types.NamespacedName{Namespace: live.GetNamespace(), Name: live.GetName()}
	return readMarks(a.Template.Resource, key, live.GetAnnotations())
}
