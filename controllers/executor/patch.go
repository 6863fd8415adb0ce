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

package executor

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// jsonPatch is a JSON Patch (RFC 6902). It is atomic: if one of its `test` operations fails, because the object is not the one
// that was observed, the API server applies nothing.
type jsonPatch []operation

type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// encode renders the patch as JSON. It does not encode content again for every copy, as that is JSON already.
func (p jsonPatch) encode() ([]byte, error) {
	var encoded bytes.Buffer
	encoded.WriteByte('[')
	for i, operation := range p {
		if i > 0 {
			encoded.WriteByte(',')
		}
		content, encodedBefore := operation.Value.(json.RawMessage)
		if encodedBefore {
			operation.Value = nil
		}
		head, err := json.Marshal(operation)
		if err != nil {
			return nil, fmt.Errorf("render a patch of %s: %w", operation.Path, err)
		}
		if encodedBefore {
			head = append(bytes.TrimSuffix(head, []byte("}")), `,"value":`...)
			head = append(append(head, content...), '}')
		}
		encoded.Write(head)
	}
	encoded.WriteByte(']')
	return encoded.Bytes(), nil
}

// null is an explicit null; encoding/json omits a nil.
var null = json.RawMessage("null")

const (
	labelsPath      = "/metadata/labels"
	annotationsPath = "/metadata/annotations"
)

// guard returns tests that succeed only for the object that was observed. They compare the UID, the mark that names the owner
// (the UID stays the same when another client removes our marks) and the version of the marks, which a newer version of the
// operator may have changed. For an object without valid marks they compare the resourceVersion, which any change changes.
func guard(observed *planner.Observed) jsonPatch {
	tests := jsonPatch{{Op: "test", Path: "/metadata/uid", Value: observed.UID}}
	owner, marked := observed.Owner()
	if marked {
		tests = append(tests,
			operation{Op: "test", Path: annotationsPath + "/" + escape(v1alpha1.AnnotationOwner), Value: owner.String()},
			operation{Op: "test", Path: annotationsPath + "/" + escape(v1alpha1.AnnotationMarksVersion), Value: v1alpha1.MarksVersion})
	}
	if marked && !observed.HasOwners {
		return append(tests, operation{Op: "test", Path: "/metadata/ownerReferences", Value: null})
	}
	return append(tests, operation{Op: "test", Path: "/metadata/resourceVersion", Value: observed.ResourceVersion})
}

// updatePatch returns a patch that replaces each top-level field that differs from the template. It sets labels and
// annotations one by one, to keep those that other clients added.
func updatePatch(action *planner.Action) jsonPatch {
	observed, template := action.Observed, action.Template
	patch := guard(observed)
	for _, field := range template.Digests.Differing(observed.Digests) {
		if value, found := template.Content[field]; found {
			patch = append(patch, operation{Op: "add", Path: "/" + escape(field), Value: value})
		} else if field != planner.MetadataField {
			patch = append(patch, removeOptional("/"+escape(field))...)
		}
	}
	adopted := action.Adopt || observed.Adopted
	stale := observed.StaleKeys(template)
	patch = append(patch, setKeys(labelsPath, observed.HasLabels, template.CopyLabels(), stale.Labels)...)
	return append(patch, setKeys(annotationsPath, observed.HasAnnotations,
		template.CopyAnnotations(action.Namespace, adopted), stale.Annotations)...)
}

// releasePatch returns a patch that removes our labels and marks, and changes nothing else.
func releasePatch(observed *planner.Observed) jsonPatch {
	patch := append(guard(observed), removeKeys(annotationsPath, planner.MarkKeys())...)
	if observed.HasLabels {
		patch = append(patch, removeKeys(labelsPath, []string{v1alpha1.LabelCreatedBy, v1alpha1.LabelPartOf})...)
	}
	return patch
}

// handOverPatch returns a patch that sets another Replika as the owner. The content stays until the new owner updates it.
func handOverPatch(observed *planner.Observed, newOwner types.NamespacedName) jsonPatch {
	patch := append(guard(observed), setKeys(annotationsPath, observed.HasAnnotations,
		map[string]string{v1alpha1.AnnotationOwner: newOwner.String()}, nil)...)
	return append(patch, setKeys(labelsPath, observed.HasLabels, map[string]string{
		v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue,
		v1alpha1.LabelPartOf:    v1alpha1.PartOf(newOwner.Name),
	}, nil)...)
}

// setKeys returns operations that set the keys of a map and remove the stale ones. A map that does not exist is created first,
// guarded by a test: creating it would otherwise remove the keys of a map that another client created since.
func setKeys(path string, exists bool, keys map[string]string, stale []string) jsonPatch {
	var patch jsonPatch
	if !exists {
		patch = append(patch, operation{Op: "test", Path: path, Value: null}, operation{Op: "add", Path: path, Value: struct{}{}})
	}
	for _, key := range slices.SortedFunc(maps.Keys(keys), cmp.Compare[string]) {
		patch = append(patch, operation{Op: "add", Path: path + "/" + escape(key), Value: json.RawMessage(quote(keys[key]))})
	}
	return append(patch, removeKeys(path, stale)...)
}

// removeKeys returns operations that remove keys, which may be absent.
func removeKeys(path string, keys []string) jsonPatch {
	var patch jsonPatch
	for _, key := range keys {
		patch = append(patch, removeOptional(path+"/"+escape(key))...)
	}
	return patch
}

// removeOptional returns operations that remove a value, which may be absent. They set it first, because the removal of an
// absent value fails.
func removeOptional(path string) jsonPatch {
	return jsonPatch{{Op: "add", Path: path, Value: null}, {Op: "remove", Path: path}}
}

// quote renders a string as JSON. As a string, an empty value would be omitted from an operation.
func quote(text string) []byte {
	// Marshaling a string cannot fail.
	quoted, _ := json.Marshal(text)
	return quoted
}

// escape renders a key as one segment of a JSON Pointer (RFC 6901).
func escape(key string) string { return pointerEscapes.Replace(key) }

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")
