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
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The tables of clean.go cannot list every controller that stores its state in the metadata of an object. A controller is
// also recognized by its writes, which the API server records in managedFields: it writes the status of the source, and none
// of its content. A label or annotation of the source that only such clients set is not copied: the controller sets its own on
// every copy, and the two would overwrite each other.
//
// The rule depends on the source alone, so that it needs no history and gives the same template after a restart. kubectl is
// a user, whatever it writes. Contests are no evidence: digests do not show which key of a copy another client changed, and a
// user's tool that resets a key would be taken for a controller. A key of a client that writes no status, on source and copies,
// is therefore reported as Contested, until an administrator adds it by --drop-key.

// fieldManager is what a client wrote on an object.
type fieldManager struct {
	status, content bool
	// keys are the labels and annotations, as "f:labels/key" and "f:annotations/key".
	keys []string
}

// withoutControllerKeys returns the labels and annotations of the source without those that only controllers set.
func withoutControllerKeys(source *unstructured.Unstructured) (labels, annotations map[string]string) {
	managers := map[string]*fieldManager{}
	for _, entry := range source.GetManagedFields() {
		if managers[entry.Manager] == nil {
			managers[entry.Manager] = &fieldManager{}
		}
		managers[entry.Manager].add(&entry)
	}
	byControllers, byUsers := map[string]bool{}, map[string]bool{}
	for name, manager := range managers {
		setBy := byUsers
		if manager.status && !manager.content && !strings.HasPrefix(name, "kubectl") {
			setBy = byControllers
		}
		for _, key := range manager.keys {
			setBy[key] = true
		}
	}
	remove := func(keys map[string]string, field string) map[string]string {
		maps.DeleteFunc(keys, func(key, _ string) bool { return byControllers[field+key] && !byUsers[field+key] })
		return keys
	}
	return remove(source.GetLabels(), labelsField), remove(source.GetAnnotations(), annotationsField)
}

const (
	labelsField      = "f:labels/"
	annotationsField = "f:annotations/"
)

// add adds what one entry of managedFields lists. An entry that cannot be decoded counts as content, written by a user.
func (m *fieldManager) add(entry *metav1.ManagedFieldsEntry) {
	var fields map[string]json.RawMessage
	if entry.FieldsV1 == nil || json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) != nil {
		m.content = true
		return
	}
	for field, owned := range fields {
		switch field {
		case "f:metadata":
			m.addKeys(owned)
		case "f:status":
			m.status = true
		default:
			m.content = m.content || entry.Subresource == ""
		}
	}
}

func (m *fieldManager) addKeys(metadata json.RawMessage) {
	var owned struct {
		Labels      map[string]json.RawMessage `json:"f:labels"`
		Annotations map[string]json.RawMessage `json:"f:annotations"`
	}
	if json.Unmarshal(metadata, &owned) != nil {
		m.content = true
		return
	}
	for field, keys := range map[string]map[string]json.RawMessage{labelsField: owned.Labels, annotationsField: owned.Annotations} {
		for key := range keys {
			if name, found := strings.CutPrefix(key, "f:"); found {
				m.keys = append(m.keys, field+name)
			}
		}
	}
}
