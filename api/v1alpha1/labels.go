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

package v1alpha1

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// KeyPrefix is the prefix of the operator's labels and annotations. It is
// reserved: spec.target.labels and spec.target.annotations must not use it.
const KeyPrefix = "replika.prosimcorp.com/"

// Finalizer keeps a deleted Replika until the operator has applied
// spec.deletionPolicy to its copies.
const Finalizer = KeyPrefix + "finalizer"

// Labels on every copy, for selection only. The annotations below determine
// the ownership of a copy.
const (
	// LabelCreatedBy is on every copy. Its value is always CreatedByValue.
	LabelCreatedBy = KeyPrefix + "created-by"

	// CreatedByValue is the value of LabelCreatedBy.
	CreatedByValue = "replika-controller"

	// LabelPartOf names the Replika of a copy, as returned by PartOf.
	LabelPartOf = KeyPrefix + "part-of"
)

// Ownership annotations on a copy ("marks").
const (
	// AnnotationMarksVersion is the version of the other ownership annotations.
	// It lets a newer operator interpret the marks of an older one, and an older
	// operator leave marks that it does not know unchanged.
	AnnotationMarksVersion = KeyPrefix + "marks-version"

	// MarksVersion is the value of AnnotationMarksVersion that this package
	// describes.
	MarksVersion = "1"

	// AnnotationOwner is the Replika of the copy, as "namespace/name". It is not
	// a UID, so that it remains valid after a restore from a backup.
	AnnotationOwner = KeyPrefix + "owner"

	// AnnotationSource is the object that the copy was made from, as
	// "namespace/name".
	AnnotationSource = KeyPrefix + "source"

	// AnnotationSelf is the copy itself, as "namespace/name". If it differs from
	// the object that has it, the object is a duplicate of a copy, marks
	// included, and the operator does not own it.
	AnnotationSelf = KeyPrefix + "copy"

	// AnnotationResource is the resource of the copy itself, as "resource.group"
	// ("resource" alone in the core group). It has the same purpose as
	// AnnotationSelf: controllers that copy the annotations of an object onto
	// objects of another kind thereby create no copy. Earlier versions of the
	// operator did not write it, so marks without it are valid.
	AnnotationResource = KeyPrefix + "resource"

	// AnnotationAdopted is AdoptedValue on an object that existed before the
	// operator adopted it, and absent on every other object. An adopted object is
	// never deleted, only released.
	AnnotationAdopted = KeyPrefix + "adopted"

	// AdoptedValue is the value of AnnotationAdopted.
	AdoptedValue = "true"

	// AnnotationApplied is a JSON object with the keys of the copy's labels and
	// annotations, and the names of a ServiceAccount's imagePullSecrets, that the
	// template sets. The operator preserves all others. A list that would be too
	// long is replaced by a hash of each entry.
	AnnotationApplied = KeyPrefix + "applied"
)

// Consent of the owners of a source, and of a namespace.
const (
	// AnnotationAllowedNamespaces, on a source, lists the namespaces that are
	// allowed to receive a copy of it: names, or globs in which "*" matches any
	// number of characters, separated by commas. A source without it can be
	// copied to every namespace, unless the operator runs with
	// --require-source-consent. Copies do not get it.
	AnnotationAllowedNamespaces = KeyPrefix + "allowed-namespaces"

	// AnnotationAllowedKeys, on a ConfigMap or Secret that is a source, lists the
	// keys that are allowed to be copied: names, or globs in which "*" matches
	// any number of characters, separated by commas. Of a source without it,
	// every key can be copied. Copies do not get it.
	AnnotationAllowedKeys = KeyPrefix + "allowed-keys"

	// LabelOptOut, on a Namespace, keeps copies out of it if its value is
	// OptOutValue.
	LabelOptOut = KeyPrefix + "opt-out"

	// OptOutValue is the only value of LabelOptOut that has an effect.
	OptOutValue = "true"
)

// AnnotationKinds is set on a Replika. It is the inventory of the resources in
// which the Replika may have copies, as "resource.group" separated by commas
// ("resource" alone in the core group). With it, the operator finds the copies
// of a former kind after a change of spec.source. Users can replace it, so
// status.inventory has the same list.
const AnnotationKinds = KeyPrefix + "kinds"

// partOfHashLength is the number of hexadecimal digits of the hash in a
// shortened name.
const partOfHashLength = 10

// PartOf returns the value of LabelPartOf on the copies of a Replika: its name,
// if that is a valid label value. Otherwise it returns as much of the name as
// fits, followed by a hash of the whole name.
func PartOf(replikaName string) string {
	if replikaName != "" && len(validation.IsValidLabelValue(replikaName)) == 0 {
		return replikaName
	}

	sum := sha256.Sum256([]byte(replikaName))
	hash := hex.EncodeToString(sum[:])[:partOfHashLength]

	// No name that the API server accepts loses a character here. For any other
	// input this ensures that the result is a valid label value.
	readable := strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r)) {
			return r
		}
		return '-'
	}, replikaName)
	readable = readable[:min(len(readable), validation.LabelValueMaxLength-1-partOfHashLength)]
	readable = strings.Trim(readable, "-_.")
	if readable == "" {
		return hash
	}
	return readable + "-" + hash
}
