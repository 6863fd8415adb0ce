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

// KeyPrefix begins every label and annotation of the operator. Users cannot
// give copies other keys under it.
const KeyPrefix = "replika.prosimcorp.com/"

// Finalizer keeps a deleted Replika until its copies are dealt with as
// spec.deletionPolicy says.
const Finalizer = KeyPrefix + "finalizer"

// Labels on every copy. They are for selecting; whose a copy is, the marks say.
const (
	// LabelCreatedBy is on every copy, always with CreatedByValue.
	LabelCreatedBy = KeyPrefix + "created-by"

	// CreatedByValue is the value of LabelCreatedBy.
	CreatedByValue = "replika-controller"

	// LabelPartOf names the Replika of a copy, as PartOf writes it.
	LabelPartOf = KeyPrefix + "part-of"
)

// Marks: annotations on a copy that say whose it is.
const (
	// AnnotationMarksVersion is the version of the marks beside it, so that a
	// later operator can tell what an earlier one meant, and an earlier one
	// leaves alone what it does not know.
	AnnotationMarksVersion = KeyPrefix + "marks-version"

	// MarksVersion is the value of AnnotationMarksVersion that this package
	// describes.
	MarksVersion = "1"

	// AnnotationOwner is the Replika of the copy, as "namespace/name". It is not
	// a UID, so that it still holds after a restore from a backup.
	AnnotationOwner = KeyPrefix + "owner"

	// AnnotationSource is the object that the copy was made from, as
	// "namespace/name".
	AnnotationSource = KeyPrefix + "source"

	// AnnotationSelf is the copy itself, as "namespace/name". Where it differs
	// from the object that carries it, somebody duplicated a copy, marks and
	// all, and the object is not the operator's.
	AnnotationSelf = KeyPrefix + "copy"

	// AnnotationAdopted is AdoptedValue on an object that was there before the
	// operator took it over, and absent on every other. Such an object is never
	// deleted, only released.
	AnnotationAdopted = KeyPrefix + "adopted"

	// AdoptedValue is the value of AnnotationAdopted.
	AdoptedValue = "true"

	// AnnotationApplied is a JSON object of the keys of the labels and
	// annotations on the copy that come from the template. Keys that others
	// added are not in it, and stay.
	AnnotationApplied = KeyPrefix + "applied"
)

// Consent: what the owners of a source, and of a namespace, say about copies.
const (
	// AnnotationAllowedNamespaces, on a source, lists the namespaces that may
	// have a copy of it: names, or globs in which "*" stands for any characters,
	// separated by commas. A source without it may be copied everywhere, unless
	// the operator runs with --require-source-consent. It never reaches a copy.
	AnnotationAllowedNamespaces = KeyPrefix + "allowed-namespaces"

	// LabelOptOut, on a Namespace, keeps every copy out of it when its value is
	// OptOutValue.
	LabelOptOut = KeyPrefix + "opt-out"

	// OptOutValue is the value of LabelOptOut that counts.
	OptOutValue = "true"
)

// AnnotationKinds lists, on a Replika, the kinds of object in which it may
// have copies, as "resource.group" separated by commas (just "resource" in the
// core group), so that those of a former kind are found after spec.source
// changed.
const AnnotationKinds = KeyPrefix + "kinds"

// Condition types of a Replika.
const (
	// ConditionReady is True when every selected namespace has its copy.
	ConditionReady = "Ready"

	// ConditionReconciling is there, and True, only while the operator works or
	// waits on what heals by itself.
	ConditionReconciling = "Reconciling"

	// ConditionStalled is there, and True, only while nothing but a change of
	// the spec or of the cluster helps.
	ConditionStalled = "Stalled"
)

// Reasons of the conditions of a Replika.
const (
	// ReasonSynced: every selected namespace has its copy.
	ReasonSynced = "Synced"

	// ReasonProgressing: the operator is at work, and it takes longer than a
	// moment.
	ReasonProgressing = "Progressing"

	// ReasonSourceNotFound: the source does not exist. It is waited for.
	ReasonSourceNotFound = "SourceNotFound"

	// ReasonKindNotFound: the API server knows no such kind. It is waited for.
	ReasonKindNotFound = "KindNotFound"

	// ReasonTargetNamespaceNotFound: a namespace that replicateIn names does not
	// exist. It is waited for; the others are served.
	ReasonTargetNamespaceNotFound = "TargetNamespaceNotFound"

	// ReasonForbidden: the source may not be read.
	ReasonForbidden = "Forbidden"

	// ReasonCopiesFailed: some copies are not in sync. status.failures says
	// which, and why.
	ReasonCopiesFailed = "CopiesFailed"

	// ReasonSourceNotAllowed: this object must not be copied: it is a copy
	// itself, or a token Secret, or it lacks consent.
	ReasonSourceNotAllowed = "SourceNotAllowed"

	// ReasonServiceAccountRequired: the Replika names no ServiceAccount, and the
	// operator runs with --require-service-account.
	ReasonServiceAccountRequired = "ServiceAccountRequired"

	// ReasonKindNotAllowed: objects of this kind cannot be copied: they live in
	// no namespace, or the API server does not offer every request that copying
	// takes.
	ReasonKindNotAllowed = "KindNotAllowed"

	// ReasonSuspended: spec.suspend is true.
	ReasonSuspended = "Suspended"
)

// Reasons of a failure in status.failures.
const (
	// FailureConflict: an object that is not a copy of this Replika is in the
	// way.
	FailureConflict = "Conflict"

	// FailureForbidden: the copy may not be written.
	FailureForbidden = "Forbidden"

	// FailureQuotaExceeded: a ResourceQuota of the namespace refuses the copy.
	FailureQuotaExceeded = "QuotaExceeded"

	// FailureImmutable: what changed is immutable in the copy, and
	// spec.target.immutableFields does not allow to recreate it.
	FailureImmutable = "Immutable"

	// FailureRejected: validation or an admission webhook refuses the copy.
	FailureRejected = "Rejected"

	// FailureContested: something else keeps changing the copy back.
	FailureContested = "Contested"

	// FailureUnavailable: the API server, or a webhook that it asks, does not
	// answer.
	FailureUnavailable = "Unavailable"
)

// MaxFailures is how many failures status.failures lists at most.
const MaxFailures = 20

// partOfHashLength is the number of hexadecimal digits that tell shortened
// names apart.
const partOfHashLength = 10

// PartOf is the value of LabelPartOf on the copies of the Replika of that
// name: the name itself, unless it does not fit into a label value. Then it is
// as much of the name as fits, and a hash of the whole name.
func PartOf(replikaName string) string {
	if replikaName != "" && len(validation.IsValidLabelValue(replikaName)) == 0 {
		return replikaName
	}

	sum := sha256.Sum256([]byte(replikaName))
	hash := hex.EncodeToString(sum[:])[:partOfHashLength]

	// The API server allows no names that would make this lossy; it only keeps
	// the result a valid label value whatever is passed in.
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
