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
	"crypto/sha256"
	"encoding/json"
	"maps"
	"slices"
	"sort"
)

// Applied lists what the template set on a copy among the entries that other clients set, too: the keys of labels and
// annotations, and the names of a ServiceAccount's imagePullSecrets. When the template no longer has one of them, it is
// removed from the copy. All others belong to other clients and are kept.
type Applied struct {
	Labels           []string `json:"labels,omitempty"`
	Annotations      []string `json:"annotations,omitempty"`
	ImagePullSecrets []string `json:"imagePullSecrets,omitempty"`
	// Hashes replace the lists above when these would be too long for an annotation: one hash for each entry, sorted.
	Hashes []byte `json:"hashes,omitempty"`
}

// entryType is a list of [Applied].
type entryType string

const (
	labelEntry           entryType = "label"
	annotationEntry      entryType = "annotation"
	imagePullSecretEntry entryType = "imagePullSecret"
)

const (
	// maxAppliedNames is the maximum length of the mark with its entries by name. The annotations of an object are limited to
	// 256 KiB, so a source can have thousands of keys that leave no space to repeat them.
	maxAppliedNames = 4096
	// hashSize is the number of bytes of a hash. A collision of two keys on one copy could only remove a key that another
	// client added, when the template drops the other key.
	hashSize = 4
)

// encode returns the value of the mark.
func (a Applied) encode() string {
	// Encoding lists of strings cannot fail.
	encoded, _ := json.Marshal(a.compact())
	return string(encoded)
}

// compact returns the entries by hash, if they are too long by name.
func (a Applied) compact() Applied {
	encoded, _ := json.Marshal(a)
	if len(encoded) <= maxAppliedNames || len(a.Hashes) > 0 {
		return a
	}
	var hashes [][]byte
	for entries, names := range map[entryType][]string{
		labelEntry: a.Labels, annotationEntry: a.Annotations, imagePullSecretEntry: a.ImagePullSecrets,
	} {
		for _, name := range names {
			hashes = append(hashes, hashEntry(entries, name))
		}
	}
	slices.SortFunc(hashes, bytes.Compare)
	return Applied{Hashes: slices.Concat(hashes...)}
}

// decodeApplied parses the value of the mark. The lists of an earlier version of the operator can be of any length.
func decodeApplied(text string) (Applied, bool) {
	var applied Applied
	if json.Unmarshal([]byte(text), &applied) != nil || len(applied.Hashes)%hashSize != 0 {
		return Applied{}, false
	}
	return applied, true
}

func hashEntry(entries entryType, name string) []byte {
	sum := sha256.Sum256([]byte(string(entries) + "/" + name))
	return sum[:hashSize]
}

// among returns which of the names are in the list, in their order.
func (a Applied) among(entries entryType, names []string) []string {
	if len(a.Hashes) > 0 {
		return slices.DeleteFunc(names, func(name string) bool { return !a.hasHash(hashEntry(entries, name)) })
	}
	var list []string
	switch entries {
	case labelEntry:
		list = a.Labels
	case annotationEntry:
		list = a.Annotations
	case imagePullSecretEntry:
		list = a.ImagePullSecrets
	}
	listed := make(map[string]bool, len(list))
	for _, name := range list {
		listed[name] = true
	}
	return slices.DeleteFunc(names, func(name string) bool { return !listed[name] })
}

func (a Applied) hasHash(hash []byte) bool {
	_, found := sort.Find(len(a.Hashes)/hashSize, func(i int) int {
		return bytes.Compare(hash, a.Hashes[i*hashSize:(i+1)*hashSize])
	})
	return found
}

// selectKeys returns the entries of a map of labels or annotations that are in the list.
func (a Applied) selectKeys(entries entryType, from map[string]string) map[string]string {
	selected := map[string]string{}
	for _, key := range a.among(entries, slices.Collect(maps.Keys(from))) {
		selected[key] = from[key]
	}
	return selected
}

// Keys are keys of labels and annotations, sorted.
type Keys struct {
	Labels, Annotations []string
}

// without returns the names that are not keys of the map.
func without(names []string, keys map[string]string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { _, found := keys[name]; return found })
}
