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

// jsonPatch is a JSON Patch (RFC 6902). Its `test` operations make it atomic: the API server applies all of it, to the
// object that was observed, or nothing.
type jsonPatch []operation

type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// encode renders the patch. Content is JSON already, and is not encoded again for every copy.
func (p jsonPatch) encode() ([]byte, error) {
	var encoded bytes.Buffer
	encoded.WriteByte('[')
	for i, operation := range p {
		if i > 0 {
			encoded.WriteByte(',')
		}
		content, ready := operation.Value.(json.RawMessage)
		if ready {
			operation.Value = nil
		}
		head, err := json.Marshal(operation)
		if err != nil {
			return nil, fmt.Errorf("render a patch of %s: %w", operation.Path, err)
		}
		if ready {
			head = append(bytes.TrimSuffix(head, []byte("}")), `,"value":`...)
			head = append(append(head, content...), '}')
		}
		encoded.Write(head)
	}
	encoded.WriteByte(']')
	return encoded.Bytes(), nil
}

// null is a value that is there and null; a nil would be left out of the patch.
var null = json.RawMessage("null")

const (
	labelsPath      = "/metadata/labels"
	annotationsPath = "/metadata/annotations"
)

// guard tests that the object is still the one observed: by UID and, because a UID also passes when our mark was taken
// off, by the mark that names the owner and by the version of the marks, which a newer operator may have raised. An object
// without valid marks is tested by resourceVersion, that is, in full.
func guard(observed *planner.Observed) jsonPatch {
	tests := jsonPatch{{Op: "test", Path: "/metadata/uid", Value: observed.UID}}
	if owner, marked := observed.Owner(); marked {
		return append(tests,
			operation{Op: "test", Path: annotationsPath + "/" + escape(v1alpha1.AnnotationOwner), Value: owner.String()},
			operation{Op: "test", Path: annotationsPath + "/" + escape(v1alpha1.AnnotationMarksVersion), Value: v1alpha1.MarksVersion})
	}
	return append(tests, operation{Op: "test", Path: "/metadata/resourceVersion", Value: observed.ResourceVersion})
}

// updatePatch gives the object the template's fields where they differ, whole, and our labels, marks and the template's
// keys one by one, so that what others put there stays.
func updatePatch(action *planner.Action) jsonPatch {
	observed, template := action.Observed, action.Template
	patch := guard(observed)
	for _, field := range template.Digests.Differing(observed.Digests) {
		if value, wanted := template.Content[field]; wanted {
			patch = append(patch, operation{Op: "add", Path: "/" + escape(field), Value: value})
		} else if field != planner.MetadataField {
			patch = append(patch, removeOptional("/"+escape(field))...)
		}
	}
	adopted := action.Adopt || observed.Adopted
	stale := observed.Applied().Without(template.Applied())
	patch = append(patch, setKeys(labelsPath, observed.HasLabels, template.CopyLabels(), stale.Labels)...)
	return append(patch, setKeys(annotationsPath, observed.HasAnnotations,
		template.CopyAnnotations(action.Namespace, adopted), stale.Annotations)...)
}

// releasePatch takes our labels and marks off and leaves the rest of the object to whoever wants it.
func releasePatch(observed *planner.Observed) jsonPatch {
	patch := append(guard(observed), removeKeys(annotationsPath, planner.MarkKeys())...)
	if observed.HasLabels {
		patch = append(patch, removeKeys(labelsPath, []string{v1alpha1.LabelCreatedBy, v1alpha1.LabelPartOf})...)
	}
	return patch
}

// handOverPatch makes another Replika the owner. Content stays as it is until the new owner updates it.
func handOverPatch(observed *planner.Observed, heir types.NamespacedName) jsonPatch {
	patch := append(guard(observed), setKeys(annotationsPath, observed.HasAnnotations,
		map[string]string{v1alpha1.AnnotationOwner: heir.String()}, nil)...)
	return append(patch, setKeys(labelsPath, observed.HasLabels, map[string]string{
		v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue,
		v1alpha1.LabelPartOf:    v1alpha1.PartOf(heir.Name),
	}, nil)...)
}

// putKeys sets the keys of a map and drops the stale ones. A map that does not exist is made first, unless somebody else
// made it meanwhile: it would lose what they put there.
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

// dropKeys removes keys that may be absent.
func removeKeys(path string, keys []string) jsonPatch {
	var patch jsonPatch
	for _, key := range keys {
		patch = append(patch, removeOptional(path+"/"+escape(key))...)
	}
	return patch
}

// drop removes what may be absent: it is set first, because the removal of something absent fails.
func removeOptional(path string) jsonPatch {
	return jsonPatch{{Op: "add", Path: path, Value: null}, {Op: "remove", Path: path}}
}

// quote renders a string as JSON; an empty one must not be left out of an operation.
func quote(text string) []byte {
	// A string always marshals.
	quoted, _ := json.Marshal(text)
	return quoted
}

// escape renders a key as one segment of a JSON Pointer (RFC 6901).
func escape(key string) string { return pointerEscapes.Replace(key) }

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")
