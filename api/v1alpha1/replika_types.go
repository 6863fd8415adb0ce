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
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Rules that an earlier release did not have allow the value that is stored. The API server does the same by itself, but on Kubernetes
// 1.30 not when the operator writes the status.

// The types of single values below are aliases: in Go they are strings, and the
// schema has one place for the rules of values that occur more than once.

// ObjectName is the name of an object of any kind. Some kinds allow more than
// DNS names, such as "system:reader"; no kind allows a name that is not a valid
// URL path segment.
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:XValidation:rule="(oldSelf.hasValue() && oldSelf.value() == self) || (!self.contains('/') && !self.contains('%') && self != '.' && self != '..')",message="must be a valid object name: must not contain '/' or '%', and must not be '.' or '..'",optionalOldSelf=true
type ObjectName = string

// ObjectNamePattern is the name of an object of any kind, or a glob in which "*"
// matches any number of characters, including none.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:Pattern=`^[^/%]+$`
type ObjectNamePattern = string

// ObjectNameAffix is a part of the name of an object of any kind.
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:Pattern=`^[^/%]*$`
type ObjectNameAffix = string

// NamespacePattern is a namespace name, or a glob in which "*" matches any
// number of characters, including none.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^[a-z0-9*]([-a-z0-9*]*[a-z0-9*])?$`
type NamespacePattern = string

// DataKey is a key in the data of a ConfigMap or Secret.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:Pattern=`^[.]?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$`
type DataKey = string

// DataKeyPattern is a key in the data of a ConfigMap or Secret, or a glob in
// which "*" matches any number of characters, including none.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:Pattern=`^[.]?[-_a-zA-Z0-9*][-._a-zA-Z0-9*]*$`
type DataKeyPattern = string

// LabelValue is the value of a label. It can be empty.
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$`
type LabelValue = string

// Labels is a map[string]string with validation rules for keys and values.
// +kubebuilder:validation:MaxProperties=64
// +kubebuilder:validation:XValidation:rule="self.all(key, !key.startsWith('replika.prosimcorp.com/'))",message="keys under replika.prosimcorp.com/ are reserved"
// +kubebuilder:validation:XValidation:rule="self.all(key, size(key) <= 317 && key.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="keys must be valid label keys, such as app or example.com/app"
// +kubebuilder:object:generate=false
type Labels map[string]LabelValue

// DeepCopy is written by hand because the generator does not support maps of
// aliases.
func (in Labels) DeepCopy() Labels {
	return maps.Clone(in)
}

// SourceDeletionPolicy determines what happens to the copies when the source is
// deleted.
// +kubebuilder:validation:Enum=Retain;Delete
type SourceDeletionPolicy string

const (
	// SourceDeletionRetain keeps the copies.
	SourceDeletionRetain SourceDeletionPolicy = "Retain"

	// SourceDeletionDelete deletes the copies.
	SourceDeletionDelete SourceDeletionPolicy = "Delete"
)

// DeletionPolicy determines what happens to copies that are no longer desired.
// +kubebuilder:validation:Enum=Delete;Retain
type DeletionPolicy string

const (
	// DeletionPolicyDelete deletes the copies. Adopted objects are released
	// instead: the operator's labels and annotations are removed.
	DeletionPolicyDelete DeletionPolicy = "Delete"

	// DeletionPolicyRetain releases every copy: the operator's labels and
	// annotations are removed.
	DeletionPolicyRetain DeletionPolicy = "Retain"
)

// ConflictPolicy determines what happens when an object with the copy's name
// already exists and is not a copy of this Replika.
// +kubebuilder:validation:Enum=Fail;Adopt
type ConflictPolicy string

const (
	// ConflictPolicyFail leaves the object unchanged and reports a conflict.
	ConflictPolicyFail ConflictPolicy = "Fail"

	// ConflictPolicyAdopt takes ownership of the object and syncs it with the
	// source. The operator never deletes an adopted object.
	ConflictPolicyAdopt ConflictPolicy = "Adopt"
)

// ImmutableFieldsPolicy determines what happens when an update does not change
// a field because it is immutable.
// +kubebuilder:validation:Enum=Recreate;Fail
type ImmutableFieldsPolicy string

const (
	// ImmutableFieldsRecreate deletes and recreates the copy.
	ImmutableFieldsRecreate ImmutableFieldsPolicy = "Recreate"

	// ImmutableFieldsFail leaves the field unchanged and reports a failure.
	ImmutableFieldsFail ImmutableFieldsPolicy = "Fail"
)

// Mode determines whether the operator writes copies.
// +kubebuilder:validation:Enum=Enforce;DryRun
type Mode string

const (
	// ModeEnforce writes copies.
	ModeEnforce Mode = "Enforce"
	// ModeDryRun reports what would be written, and writes no copy.
	ModeDryRun Mode = "DryRun"
)

// The rule on ReplikaSpec uses __namespace__ because CEL in Kubernetes 1.30
// reserves the word "namespace". A rule has no access to the Replika's own
// namespace. If source.namespace is not set, the operator excludes the Replika's
// namespace instead. It looks for required fields, too, because a Replika that an
// older release stored can lack them: the API server tolerates unchanged fields
// that violate a rule, but not a rule that cannot be evaluated.

// ReplikaSpec defines the desired state of a Replika: the source, the targets,
// and the lifecycle policies.
// +kubebuilder:validation:XValidation:rule="(oldSelf.hasValue() && oldSelf.value() == self) || (!has(self.source) || !has(self.target.namespaces) || self.target.namespaces.matchAll || !has(self.source.__namespace__) || !has(self.target.namespaces.replicateIn) || !(self.source.__namespace__ in self.target.namespaces.replicateIn) || (has(self.target.namePrefix) && size(self.target.namePrefix) > 0) || (has(self.target.nameSuffix) && size(self.target.nameSuffix) > 0) || (has(self.target.name) && size(self.target.name) > 0 && has(self.source.name) && self.target.name != self.source.name))",message="must not include the source's namespace, unless target.name, namePrefix or nameSuffix gives the copies another name than the source's",fieldPath=".target.namespaces.replicateIn",optionalOldSelf=true
// +kubebuilder:validation:XValidation:rule="!has(self.target.name) || size(self.target.name) == 0 || has(self.source.name)",message="must not be set unless source.name is: the copies of several sources need different names; use namePrefix or nameSuffix",fieldPath=".target.name"
// +kubebuilder:validation:XValidation:rule="!has(self.target.keys) || ((!has(self.source.group) || size(self.source.group) == 0) && self.source.kind in ['ConfigMap', 'Secret'])",message="only ConfigMaps and Secrets have keys",fieldPath=".target.keys"
// +kubebuilder:validation:XValidation:rule="!has(self.target.type) || size(self.target.type) == 0 || ((!has(self.source.group) || size(self.source.group) == 0) && self.source.kind == 'Secret')",message="only Secrets have a type",fieldPath=".target.type"
// +kubebuilder:validation:XValidation:rule="!has(self.source.keys) || !has(self.target.keys) || self.target.keys.all(target, !(target.name in self.source.keys) || self.target.keys.exists(other, other.from == target.name))",message="two keys would have the same name: a name must not be that of a key in source.keys, unless that key is renamed",fieldPath=".target.keys"
// +kubebuilder:validation:XValidation:rule="!has(self.source.keys) || !has(self.target.keys) || self.source.keys.exists(key, key.contains('*')) || self.target.keys.all(target, target.from in self.source.keys)",message="every from must be one of source.keys",fieldPath=".target.keys"
type ReplikaSpec struct {
	// synchronization configures the resync interval and what happens when the
	// source is deleted.
	// +optional
	// +kubebuilder:default:={}
	Synchronization SynchronizationSpec `json:"synchronization,omitzero"`

	// source references the object to copy, or several of one kind in one
	// namespace. Any namespaced kind is supported except Namespaces, Replikas
	// and token Secrets. The objects do not have to exist yet.
	// +required
	Source SourceSpec `json:"source"`

	// target configures the name and metadata of the copies, and the namespaces
	// that receive them.
	// +required
	Target TargetSpec `json:"target"`

	// deletionPolicy determines what happens to copies when the Replika is
	// deleted or a namespace is no longer selected. Delete deletes them;
	// adopted objects are released instead (the operator's labels and
	// annotations are removed). Retain releases every copy.
	// +optional
	// +kubebuilder:default:=Delete
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// suspend pauses reconciliation: copies are not created, updated, repaired
	// or deleted, except where consent is withdrawn: by the source's owner, or
	// by a namespace that opts out or is excluded. Deleting the Replika still
	// applies deletionPolicy.
	// +optional
	// +kubebuilder:default:=false
	Suspend bool `json:"suspend,omitempty"`

	// mode determines whether the operator writes copies. DryRun plans as Enforce
	// does, reports the plan in status.planned, and writes and deletes no copy,
	// not even where consent is withdrawn. In DryRun the Replika does not compete
	// with others for objects: another Replika may take its copies over. Deleting
	// the Replika still applies deletionPolicy to the copies that it made before.
	// +optional
	// +kubebuilder:default:=Enforce
	Mode Mode `json:"mode,omitempty"`

	// serviceAccountName is the ServiceAccount in the Replika's namespace that
	// the operator impersonates to read the source and write the copies.
	// Operations that it is not allowed to perform are reported as Forbidden.
	// It needs get on the source, and get, create, patch and delete on the
	// copies. If it is empty, the operator uses its --default-service-account,
	// or else its own identity.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == '' || self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a ServiceAccount of the Replika's namespace: lowercase letters, digits, '-' and '.'"
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
}

// SynchronizationSpec configures the resync interval and what happens when the
// source is deleted.
type SynchronizationSpec struct {
	// time is the resync interval: how often the source is read even if no
	// change was observed, and the upper bound of the retry backoff. A copy
	// that the API server refuses is retried at once when the source, the spec,
	// the copy or its namespace changes, else with backoff: up to ten times
	// this time, and up to one hour unless this time is longer.
	// Changes are normally detected immediately through watches. It is a Go
	// duration made of hours (h), minutes (m), seconds (s) and milliseconds
	// (ms), such as 20s, 1m30s or 1.5h, from 1s to 8760h (a year).
	// +optional
	// +kubebuilder:default:="1m"
	Time Duration `json:"time,omitzero"`

	// onSourceDeletion determines what happens to the copies when the source is
	// deleted. Retain keeps them, and syncs them again when the source is
	// recreated. Delete deletes them.
	// +optional
	// +kubebuilder:default:=Retain
	OnSourceDeletion SourceDeletionPolicy `json:"onSourceDeletion,omitempty"`
}

// SourceSpec references the objects to copy: one by its name, or several by
// names, globs or labels.
// +kubebuilder:validation:XValidation:rule="[has(self.name), has(self.names), has(self.selector)].filter(set, set).size() == 1",message="exactly one of name, names and selector must be set"
// +kubebuilder:validation:XValidation:rule="!has(self.keys) || ((!has(self.group) || size(self.group) == 0) && self.kind in ['ConfigMap', 'Secret'])",message="only ConfigMaps and Secrets have keys",fieldPath=".keys"
// +kubebuilder:validation:XValidation:rule="(oldSelf.hasValue() && oldSelf.value() == self) || (self.kind != 'Namespace' || (has(self.group) && size(self.group) > 0))",message="Namespaces cannot be replicated",fieldPath=".kind",optionalOldSelf=true
type SourceSpec struct {
	// group is the API group of the source, such as "apps" or
	// "networking.k8s.io". It is empty for the core group, which contains
	// ConfigMaps, Secrets and Services.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="(oldSelf.hasValue() && oldSelf.value() == self) || (self == '' || self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))",message="must be an API group without its version, such as apps or networking.k8s.io, or empty for the core group",optionalOldSelf=true
	// +kubebuilder:validation:XValidation:rule="(oldSelf.hasValue() && oldSelf.value() == self) || (self != 'replika.prosimcorp.com')",message="objects of this group cannot be replicated",optionalOldSelf=true
	Group string `json:"group,omitempty"`

	// version is the API version of the source without its group, such as "v1".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="(oldSelf.hasValue() && oldSelf.value() == self) || (self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$'))",message="must be an API version without its group, such as v1 or v1beta1",optionalOldSelf=true
	Version string `json:"version"`

	// kind is the kind of the source, such as "ConfigMap".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="(oldSelf.hasValue() && oldSelf.value() == self) || (self.matches('^[A-Za-z]([-A-Za-z0-9]*[A-Za-z0-9])?$'))",message="must be a kind, such as ConfigMap",optionalOldSelf=true
	Kind string `json:"kind"`

	// name is the name of the source. Exactly one of name, names and selector
	// must be set.
	// +optional
	// +kubebuilder:validation:MinLength=1
	Name ObjectName `json:"name,omitempty"`

	// names lists the names of several sources, or globs in which "*" matches
	// any number of characters, such as "db-*". Globs do not match copies, token
	// Secrets, release Secrets of Helm, and objects that the cluster creates in
	// every namespace. At most 1000 objects can match.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1000
	Names []ObjectNamePattern `json:"names,omitempty"`

	// selector selects several sources by label. It must not be empty. It does
	// not select what globs in names do not match. At most 1000 objects can
	// match.
	// +optional
	// +kubebuilder:validation:XValidation:rule="(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)",message="must not be empty: it would select every object of the kind; use names with the glob * for that"
	Selector *LabelSelector `json:"selector,omitempty"`

	// namespace is the namespace of the source. It receives a copy only if
	// target.namespaces.replicateIn lists it by name and the copy has another
	// name than the source. If it is empty, it is the Replika's namespace.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="(oldSelf.hasValue() && oldSelf.value() == self) || (self == '' || self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))",message="must be the name of a namespace: lowercase letters, digits and '-', beginning and ending with a letter or digit",optionalOldSelf=true
	Namespace string `json:"namespace,omitempty"`

	// keys lists the keys of a ConfigMap or Secret that are copied: names, or
	// globs in which "*" matches any number of characters, such as "tls.*". If
	// it is not set, all keys are copied. While the source lacks a key that is
	// listed by name, the copies stay as they are.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	Keys []DataKeyPattern `json:"keys,omitempty"`
}

// TargetKey is a key of the copies.
type TargetKey struct {
	// name is the name of the key in the copies.
	// +required
	Name DataKey `json:"name"`

	// from is the name of the key in the source. The copies have it only under
	// the names that are listed for it.
	// +required
	From DataKey `json:"from"`
}

// TargetSpec configures the copies and the namespaces that receive them.
type TargetSpec struct {
	// name is the name of every copy. If it is empty, it is the source's name.
	// It can be set only with source.name.
	// +optional
	Name ObjectName `json:"name,omitempty"`

	// namePrefix is put before the name of every copy.
	// +optional
	NamePrefix ObjectNameAffix `json:"namePrefix,omitempty"`

	// nameSuffix is put after the name of every copy.
	// +optional
	NameSuffix ObjectNameAffix `json:"nameSuffix,omitempty"`

	// keys renames keys of a ConfigMap or Secret. Keys that are not listed keep
	// their name. While the source lacks a listed key, the copies stay as they
	// are.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=100
	Keys []TargetKey `json:"keys,omitempty"`

	// type is the type of the copies of a Secret. If it is empty, it is the
	// source's type. Set it to Opaque if keys that the source's type requires
	// are not copied. Token types are not allowed.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!(self in ['kubernetes.io/service-account-token', 'bootstrap.kubernetes.io/token'])",message="must not be the type of a token"
	Type string `json:"type,omitempty"`

	// labels are added to every copy and take precedence over the source's
	// labels. Keys under replika.prosimcorp.com/ are reserved.
	// +optional
	Labels Labels `json:"labels,omitempty"`

	// annotations are added to every copy and take precedence over the source's
	// annotations. Keys under replika.prosimcorp.com/ are reserved.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(key, !key.startsWith('replika.prosimcorp.com/'))",message="keys under replika.prosimcorp.com/ are reserved"
	// +kubebuilder:validation:XValidation:rule="self.all(key, size(key) <= 317 && key.matches('^([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="keys must be valid annotation keys, such as app or example.com/app"
	Annotations map[string]string `json:"annotations,omitempty"`

	// conflictPolicy determines what happens when an object with the copy's
	// name already exists and is not a copy of this Replika. Fail leaves it
	// unchanged and reports a conflict. Adopt takes ownership of it; an adopted
	// object is never deleted, only released.
	// +optional
	// +kubebuilder:default:=Fail
	ConflictPolicy ConflictPolicy `json:"conflictPolicy,omitempty"`

	// immutableFields determines what happens when the API server rejects an
	// update because a field is immutable, or accepts it but keeps the former
	// value. Recreate deletes and recreates the copy.
	// Fail leaves it unchanged and reports a failure. If it is not set, it is
	// Recreate for Secrets and ConfigMaps, and Fail for every other kind.
	// +optional
	ImmutableFields ImmutableFieldsPolicy `json:"immutableFields,omitempty"`

	// namespaces selects the namespaces that receive a copy.
	// +required
	Namespaces TargetNamespaces `json:"namespaces"`
}

// TargetNamespaces selects the namespaces that receive a copy: all of them if
// matchAll is true, otherwise those that replicateIn or selector matches, minus
// those in excludeFrom. The source's namespace is selected only if replicateIn
// lists it by name and the copy has another name than the source.
// +kubebuilder:validation:XValidation:rule="(oldSelf.hasValue() && oldSelf.value() == self) || (self.matchAll || has(self.selector) || (has(self.replicateIn) && size(self.replicateIn) > 0))",message="at least one of replicateIn, selector or matchAll must be set",optionalOldSelf=true
type TargetNamespaces struct {
	// replicateIn lists namespace names, or globs in which "*" matches any
	// number of characters, such as "team-*". Listed namespaces do not have to
	// exist yet. The source's namespace can be listed only by name, and only if
	// the copy has another name than the source. The list is ignored if
	// matchAll is true.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	ReplicateIn []NamespacePattern `json:"replicateIn,omitempty"`

	// selector selects namespaces by label, in addition to replicateIn. An
	// empty selector matches every namespace. It is ignored if matchAll is
	// true.
	// +optional
	Selector *LabelSelector `json:"selector,omitempty"`

	// matchAll selects every namespace, including namespaces that are created
	// later.
	// +optional
	// +kubebuilder:default:=false
	MatchAll bool `json:"matchAll,omitempty"`

	// excludeFrom lists names of namespaces to exclude, or globs in which "*"
	// matches any number of characters, such as "kube-*". It takes precedence
	// over matchAll, replicateIn and selector.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	ExcludeFrom []NamespacePattern `json:"excludeFrom,omitempty"`
}

// ReplikaStatus defines the observed state of a Replika.
type ReplikaStatus struct {
	// conditions represent the current state of the Replika. Ready is True when
	// every selected namespace has an up-to-date copy. Reconciling is present,
	// and True, only while the operator is working or waiting for something
	// that resolves on its own. Stalled is present, and True, only when a
	// change of the spec or of the cluster is required.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the most recent metadata.generation that the
	// operator has reconciled.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// lastHandledRequest is the value of the annotation
	// replika.prosimcorp.com/requested-at that the most recent reconcile has
	// handled, or its SHA-256 if it is longer than 64 bytes.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	LastHandledRequest string `json:"lastHandledRequest,omitempty"`

	// source is the last observed state of the source. It is absent until the
	// source has been read, and with several sources.
	// +optional
	Source *SourceStatus `json:"source,omitempty"`

	// sources is a summary of several sources. It is absent until they have been
	// listed, and with spec.source.name.
	// +optional
	Sources *SourcesStatus `json:"sources,omitempty"`

	// inventory lists the resources in which the Replika may have copies, such
	// as configmaps or deployments.apps. With it, the copies of a former kind are
	// found after a change of spec.source, even if a client replaced the
	// Replika's metadata.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Inventory []string `json:"inventory,omitempty"`

	// copies is a summary of the copies. It is absent until the first count.
	// +optional
	Copies *CopiesStatus `json:"copies,omitempty"`

	// planned is what the operator would do if spec.mode were Enforce. It is
	// present only while spec.mode is DryRun.
	// +optional
	Planned *PlannedStatus `json:"planned,omitempty"`

	// failures lists the copies that are not in sync, and those of several
	// sources that cannot be copied, sorted by namespace. It contains at most 20
	// items; copies.failed and sources.refused are the totals. One item without a
	// namespace can stand for several copies.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	Failures []Failure `json:"failures,omitempty"`
}

// SourceStatus is the last observed state of the source.
type SourceStatus struct {
	// resourceVersion is the source's resourceVersion at its last content
	// change. Changes that are not replicated, such as status updates, do not
	// update it.
	// +optional
	ResourceVersion string `json:"resourceVersion,omitempty"`

	// allowedNamespaces is the parsed value of the source's annotation
	// replika.prosimcorp.com/allowed-namespaces: the names and globs of the
	// namespaces that are allowed to receive a copy. It is absent if the source
	// does not have the annotation.
	// +optional
	// +listType=atomic
	AllowedNamespaces []string `json:"allowedNamespaces,omitempty"`

	// copiedKeys are names and globs that match all keys that copies can have
	// since the source was last copied: those of spec.source.keys or of the
	// source's annotation replika.prosimcorp.com/allowed-keys. It is absent if
	// copies can have every key. When the source's owner withdraws consent to a
	// key, it shows whether copies can have that key.
	// +optional
	// +listType=atomic
	CopiedKeys []string `json:"copiedKeys,omitempty"`
}

// SourcesStatus is a summary of the sources that spec.source.names or
// spec.source.selector matches.
type SourcesStatus struct {
	// matched is the number of objects that match.
	// +required
	Matched int32 `json:"matched"`

	// synced is the number of sources whose copies are all in sync.
	// +required
	Synced int32 `json:"synced"`

	// refused is the number of sources that cannot be copied now, such as those
	// without consent or without a key that the spec names.
	// +required
	Refused int32 `json:"refused"`

	// copiedKeys are names and globs that match all keys that copies of any of
	// the sources can have, see source.copiedKeys. It is absent if copies can
	// have every key.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=300
	// +kubebuilder:validation:items:MaxLength=253
	CopiedKeys []string `json:"copiedKeys,omitempty"`
}

// PlannedActionType is what the operator would do with one copy.
// +kubebuilder:validation:Enum=Create;Update;Adopt;Recreate;Delete;Release;HandOver;Conflict;Wait;Fail
type PlannedActionType string

const (
	// PlannedCreate creates the copy.
	PlannedCreate PlannedActionType = "Create"
	// PlannedUpdate updates the copy.
	PlannedUpdate PlannedActionType = "Update"
	// PlannedAdopt takes ownership of an existing object, and updates it.
	PlannedAdopt PlannedActionType = "Adopt"
	// PlannedRecreate deletes the copy and creates it again, because an immutable
	// field changes.
	PlannedRecreate PlannedActionType = "Recreate"
	// PlannedDelete deletes the copy.
	PlannedDelete PlannedActionType = "Delete"
	// PlannedRelease removes the operator's labels and annotations from the copy.
	PlannedRelease PlannedActionType = "Release"
	// PlannedHandOver gives the copy to another Replika that claims it.
	PlannedHandOver PlannedActionType = "HandOver"
	// PlannedConflict leaves an object unchanged that is in the way.
	PlannedConflict PlannedActionType = "Conflict"
	// PlannedWait waits, for example for an object that is being deleted.
	PlannedWait PlannedActionType = "Wait"
	// PlannedFail fails, for example because a permission is missing.
	PlannedFail PlannedActionType = "Fail"
)

// MaxPlannedActions is the maximum number of items in status.planned.actions.
const MaxPlannedActions = 20

// PlannedStatus is what the operator would do with the copies of a Replika.
// Copies that are in sync are not part of it.
type PlannedStatus struct {
	// counts has the number of copies for each action that is planned, sorted by
	// the name of the action.
	// +optional
	// +listType=map
	// +listMapKey=action
	// +kubebuilder:validation:MaxItems=10
	Counts []PlannedCount `json:"counts,omitempty"`

	// actions lists the first 20 of the planned actions, sorted by namespace and
	// name.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	Actions []PlannedAction `json:"actions,omitempty"`
}

// PlannedCount is a number of copies.
type PlannedCount struct {
	// action is what would be done with the copies.
	// +required
	Action PlannedActionType `json:"action"`

	// copies is the number of copies.
	// +required
	Copies int32 `json:"copies"`
}

// PlannedAction is what the operator would do with one copy.
type PlannedAction struct {
	// namespace is the namespace of the copy.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`

	// name is the name of the copy.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// action is what would be done with the copy.
	// +required
	Action PlannedActionType `json:"action"`

	// message explains the action. It never contains the content of a Secret.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// CopiesStatus is a summary of the copies of one Replika.
type CopiesStatus struct {
	// desired is the number of copies that should exist: one per source and
	// selected namespace.
	// +required
	Desired int32 `json:"desired"`

	// synced is the number of copies that match the desired state.
	// +required
	Synced int32 `json:"synced"`

	// failed is the number of copies that could not be synced.
	// +required
	Failed int32 `json:"failed"`
}

// Failure describes why one copy is not in sync, or why one of several sources
// cannot be copied.
type Failure struct {
	// namespace is the namespace of the copy. It is empty for the copies in all
	// namespaces that are selected by a glob, by labels or by matchAll, and in
	// which serviceAccountName has no known permission: the message has their
	// number. It is also empty for a source that cannot be copied.
	// +required
	Namespace string `json:"namespace"`

	// name is the name of the source. It is empty with spec.source.name.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// reason is a machine-readable reason: Conflict, Forbidden, QuotaExceeded,
	// Immutable, Rejected, Contested or Unavailable. For a source that cannot be
	// copied, it is the reason that Ready would have if it were the only one.
	// +required
	Reason string `json:"reason"`

	// message is a human-readable description of the failure.
	// +optional
	Message string `json:"message,omitempty"`
}

// Replika keeps copies of one object, the source, or of several in other
// namespaces.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=replikas,scope=Namespaced,shortName=rpk,categories=prosimcorp
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Synced",type=integer,JSONPath=`.status.copies.synced`
// +kubebuilder:printcolumn:name="Desired",type=integer,JSONPath=`.status.copies.desired`
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.spec.mode`
// +kubebuilder:printcolumn:name="Sources",type=integer,priority=1,JSONPath=`.status.sources.matched`
// +kubebuilder:printcolumn:name="Kind",type=string,priority=1,JSONPath=`.spec.source.kind`
// +kubebuilder:printcolumn:name="Source",type=string,JSONPath=`.spec.source.name`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Replika struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the desired state of the Replika.
	// +required
	Spec ReplikaSpec `json:"spec"`

	// status is the observed state of the Replika. observedGeneration is -1
	// until the first reconcile, so that tools based on kstatus do not treat an
	// empty status as ready.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status ReplikaStatus `json:"status,omitzero"`
}

// SourceNamespace returns the namespace of the source: spec.source.namespace
// or, if that is empty, the Replika's own.
func (r *Replika) SourceNamespace() string {
	if r.Spec.Source.Namespace != "" {
		return r.Spec.Source.Namespace
	}
	return r.Namespace
}

// HasManySources reports whether the spec selects sources by names or labels,
// instead of one by its name.
func (r *Replika) HasManySources() bool {
	return r.Spec.Source.Name == ""
}

// TargetName returns the name of every copy of the one source that spec.source.name
// names.
func (r *Replika) TargetName() string {
	return r.TargetNameOf(r.Spec.Source.Name)
}

// TargetNameOf returns the name of every copy of the source: spec.target.name or,
// if that is empty, the source's name, between spec.target.namePrefix and
// spec.target.nameSuffix.
func (r *Replika) TargetNameOf(source string) string {
	target := &r.Spec.Target
	if target.Name != "" {
		source = target.Name
	}
	return target.NamePrefix + source + target.NameSuffix
}

// GetConditions returns status.conditions.
func (r *Replika) GetConditions() []metav1.Condition {
	return r.Status.Conditions
}

// SetConditions replaces status.conditions.
func (r *Replika) SetConditions(conditions []metav1.Condition) {
	r.Status.Conditions = conditions
}

// ReplikaList is a list of Replikas.
// +kubebuilder:object:root=true
type ReplikaList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Replika `json:"items"`
}
