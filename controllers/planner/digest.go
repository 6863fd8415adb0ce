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
	"fmt"
	"slices"
	"strings"
	"unique"
)

// Digests represents the state of a copy: one hash of canonical JSON for each top-level field of its content, and one
// under "metadata" for the labels, annotations and marks that the template sets.
//
// It is a string so that values compare with == and equal values share their memory. It never leaves the process: the
// hashes are not keyed, so short secret values could be guessed from them.
type Digests string

// MetadataField is the field name of the digest of a copy's labels, annotations and marks.
const MetadataField = "metadata"

const (
	digestSize     = 16 // bytes of SHA-256 that are kept; a collision becomes likely at 2^64 values
	nameTerminator = 0  // terminates a field name: no JSON key of a Kubernetes type contains NUL
)

// newDigests returns the digests of fields in canonical JSON.
func newDigests(fields map[string]json.RawMessage) Digests {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)

	var encoded bytes.Buffer
	for _, name := range names {
		sum := sha256.Sum256(fields[name])
		encoded.WriteString(name)
		encoded.WriteByte(nameTerminator)
		encoded.Write(sum[:digestSize])
	}
	return Digests(unique.Make(encoded.String()).Value())
}

// fields decodes the digests by field name.
func (d Digests) fields() map[string]string {
	sums := map[string]string{}
	for rest := string(d); rest != ""; {
		name, after, found := strings.Cut(rest, string(rune(nameTerminator)))
		if !found || len(after) < digestSize {
			break
		}
		sums[name], rest = after[:digestSize], after[digestSize:]
	}
	return sums
}

// Differing returns the sorted names of the fields whose digests differ, including those that only one side has.
func (d Digests) Differing(other Digests) []string {
	if d == other {
		return nil
	}
	mine, theirs := d.fields(), other.fields()
	var differing []string
	for name, sum := range mine {
		if theirs[name] != sum {
			differing = append(differing, name)
		}
	}
	for name := range theirs {
		if _, both := mine[name]; !both {
			differing = append(differing, name)
		}
	}
	slices.Sort(differing)
	return differing
}

// canonicalJSON encodes a decoded JSON value with sorted keys and without white space: equal values have equal encodings.
func canonicalJSON(value any) (json.RawMessage, error) {
	encoded, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encoding canonical JSON: %w", err)
	}
	return encoded, nil
}
