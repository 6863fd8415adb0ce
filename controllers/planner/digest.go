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

// Digests stands for what a copy looks like: one hash of canonical JSON for each top-level field of content, and one
// under "metadata" for the labels, annotations and marks that we put there.
//
// It is a string so that two of them compare with == and thousands of equal ones are one piece of memory. It never
// leaves the process: the hashes are not keyed, so a short secret value could be guessed from them.
type Digests string

// MetadataField is the name under which a copy's labels, annotations and marks are hashed.
const MetadataField = "metadata"

const (
	digestSize = 16 // bytes of SHA-256 kept: 2^64 objects before two of them are likely to collide
	nameEnd    = 0  // ends a field's name: no JSON key of a Kubernetes type holds a NUL
)

// newDigests hashes each field's canonical JSON.
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
		encoded.WriteByte(nameEnd)
		encoded.Write(sum[:digestSize])
	}
	return Digests(unique.Make(encoded.String()).Value())
}

// fields decodes the digests by field name.
func (d Digests) fields() map[string]string {
	sums := map[string]string{}
	for rest := string(d); rest != ""; {
		name, after, found := strings.Cut(rest, string(rune(nameEnd)))
		if !found || len(after) < digestSize {
			break
		}
		sums[name], rest = after[:digestSize], after[digestSize:]
	}
	return sums
}

// Differing lists, sorted, the fields whose digests are not the same in both, those that only one of them has among them.
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

// canonical renders a decoded JSON value with sorted keys and without white space, so that equal values are equal bytes.
func canonical(value any) (json.RawMessage, error) {
	encoded, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("render canonical JSON: %w", err)
	}
	return encoded, nil
}
