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

// Condition types of a Replika.
const (
	// ConditionReady is True when every selected namespace has an up-to-date
	// copy.
	ConditionReady = "Ready"

	// ConditionReconciling is present, and True, only while the operator is
	// working or waiting for something that resolves on its own.
	ConditionReconciling = "Reconciling"

	// ConditionStalled is present, and True, only when a change of the spec or of
	// the cluster is required.
	ConditionStalled = "Stalled"
)

// Reasons of the conditions of a Replika.
const (
	// ReasonSynced means that every selected namespace has an up-to-date copy.
	ReasonSynced = "Synced"

	// ReasonProgressing means that reconciliation is still in progress.
	ReasonProgressing = "Progressing"

	// ReasonSourceNotFound means that the source does not exist, or that no object
	// matches spec.source. The operator waits for it.
	ReasonSourceNotFound = "SourceNotFound"

	// ReasonKeyNotFound means that the source does not have a key that the spec
	// names, or that the type of the copies requires. The operator waits for it;
	// existing copies stay as they are.
	ReasonKeyNotFound = "KeyNotFound"

	// ReasonKindNotFound means that the API server does not serve the source's
	// kind. The operator retries when a CRD changes.
	ReasonKindNotFound = "KindNotFound"

	// ReasonTargetNamespaceNotFound means that replicateIn lists a namespace that
	// does not exist. The operator waits for it, and syncs the others.
	ReasonTargetNamespaceNotFound = "TargetNamespaceNotFound"

	// ReasonForbidden means that the operator, or the ServiceAccount that it
	// impersonates, is not allowed to read the source.
	ReasonForbidden = "Forbidden"

	// ReasonCopiesFailed means that some copies are not in sync. status.failures
	// lists them.
	ReasonCopiesFailed = "CopiesFailed"

	// ReasonSourceNotAllowed means that the source must not be copied: it is
	// itself a copy, a token Secret, or lacks consent.
	ReasonSourceNotAllowed = "SourceNotAllowed"

	// ReasonKeyConflict means that the keys of the copies contradict each other
	// or the copies' type: two keys have the same name, or a key that the type
	// requires is not copied.
	ReasonKeyConflict = "KeyConflict"

	// ReasonTooMany means that the spec asks for more sources or copies than
	// allowed. Nothing is written or deleted.
	ReasonTooMany = "TooMany"

	// ReasonServiceAccountRequired means that the Replika names no
	// ServiceAccount, and the operator runs with --require-service-account.
	ReasonServiceAccountRequired = "ServiceAccountRequired"

	// ReasonKindNotAllowed means that objects of this kind cannot be copied: the
	// kind is cluster-scoped, or does not support all the verbs that are needed.
	ReasonKindNotAllowed = "KindNotAllowed"

	// ReasonSuspended means that spec.suspend is true.
	ReasonSuspended = "Suspended"

	// ReasonDryRun means that spec.mode is DryRun. status.planned has what would be
	// done.
	ReasonDryRun = "DryRun"
)

// Reasons of a failure in status.failures.
const (
	// FailureConflict means that an object with the copy's name exists and is not
	// a copy of this Replika.
	FailureConflict = "Conflict"

	// FailureForbidden means that the operator, or the ServiceAccount that it
	// impersonates, is not allowed to write the copy.
	FailureForbidden = "Forbidden"

	// FailureQuotaExceeded means that a ResourceQuota of the namespace rejected
	// the copy.
	FailureQuotaExceeded = "QuotaExceeded"

	// FailureImmutable means that a changed field is immutable in the copy, and
	// spec.target.immutableFields does not allow the operator to recreate it.
	FailureImmutable = "Immutable"

	// FailureRejected means that validation or an admission webhook rejected the
	// copy.
	FailureRejected = "Rejected"

	// FailureContested means that another client keeps modifying the copy.
	FailureContested = "Contested"

	// FailureUnavailable means that the API server, or a webhook that it calls,
	// does not respond.
	FailureUnavailable = "Unavailable"
)

// MaxSources is the maximum number of sources of one Replika.
const MaxSources = 1000

// MaxFailures is the maximum number of items in status.failures.
const MaxFailures = 20
