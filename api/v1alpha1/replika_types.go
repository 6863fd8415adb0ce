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

// The types of single values below are aliases: they are strings to Go, and
// give the schema one place for the rules of values that occur more than once.

// ObjectName is the name of an object of any kind. Some kinds allow more than
// DNS names, "system:reader" for instance; what none allows is a name that
// cannot be one segment of a URL's path.
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:XValidation:rule="!self.contains('/') && !self.contains('%') && self != '.' && self != '..'",message="must be a legal object name: without '/' and '%', and neither '.' nor '..'"
type ObjectName = string

// NamespacePattern is the name of a namespace, or a glob over such names in
// which "*" stands for any characters, also none.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^[a-z0-9*]([-a-z0-9*]*[a-z0-9*])?$`
type NamespacePattern = string

// LabelValue is the value of a label. An empty one is legal.
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$`
type LabelValue = string

// Labels are labels by key. To Go they are as good as a map[string]string; the
// type is there for the rules of keys and values.
// +kubebuilder:validation:MaxProperties=64
// +kubebuilder:validation:XValidation:rule="self.all(key, !key.startsWith('replika.prosimcorp.com/'))",message="keys under replika.prosimcorp.com/ are reserved"
// +kubebuilder:validation:XValidation:rule="self.all(key, size(key) <= 317 && key.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="every key must be a legal label key, such as app or example.com/app"
// +kubebuilder:object:generate=false
type Labels map[string]LabelValue

// DeepCopy is written by hand because the generator takes no map of aliases.
func (in Labels) DeepCopy() Labels {
	return maps.Clone(in)
}

// SourceDeletionPolicy says what happens to the copies when the source is
// deleted.
// +kubebuilder:validation:Enum=Retain;Delete
type SourceDeletionPolicy string

const (
	// SourceDeletionRetain leaves the copies as they are.
	SourceDeletionRetain SourceDeletionPolicy = "Retain"

	// SourceDeletionDelete deletes the copies too.
	SourceDeletionDelete SourceDeletionPolicy = "Delete"
)

// DeletionPolicy says what happens to copies that no Replika wants any more.
// +kubebuilder:validation:Enum=Delete;Retain
type DeletionPolicy string

const (
	// DeletionPolicyDelete deletes the copies. Adopted objects are released
	// instead: they lose the operator's labels and annotations, and stay.
	DeletionPolicyDelete DeletionPolicy = "Delete"

	// DeletionPolicyRetain leaves every copy where it is.
	DeletionPolicyRetain DeletionPolicy = "Retain"
)

// ConflictPolicy says what happens when an object that is not a copy of this
// Replika already has a copy's name.
// +kubebuilder:validation:Enum=Fail;Adopt
type ConflictPolicy string

const (
	// ConflictPolicyFail leaves the object alone and reports a conflict.
	ConflictPolicyFail ConflictPolicy = "Fail"

	// ConflictPolicyAdopt takes the object over: it gets the source's content,
	// and is never deleted by the operator afterwards.
	ConflictPolicyAdopt ConflictPolicy = "Adopt"
)

// ImmutableFieldsPolicy says what happens when the API server refuses to
// change a copy because a field of it is immutable.
// +kubebuilder:validation:Enum=Recreate;Fail
type ImmutableFieldsPolicy string

const (
	// ImmutableFieldsRecreate deletes the copy and creates it anew.
	ImmutableFieldsRecreate ImmutableFieldsPolicy = "Recreate"

	// ImmutableFieldsFail leaves the copy as it is and reports a failure.
	ImmutableFieldsFail ImmutableFieldsPolicy = "Fail"
)

// The rule on ReplikaSpec writes __namespace__ because CEL in Kubernetes 1.30
// reserves the plain word. It cannot see the Replika's own namespace, so an
// absent source namespace is left to the operator, which never writes there.

// ReplikaSpec says what is copied, where to, and what happens when things
// change or go away.
// +kubebuilder:validation:XValidation:rule="self.target.namespaces.matchAll || !has(self.source.__namespace__) || !has(self.target.namespaces.replicateIn) || !(self.source.__namespace__ in self.target.namespaces.replicateIn)",message="must not list the source's namespace: the source is never copied onto itself",fieldPath=".target.namespaces.replicateIn"
type ReplikaSpec struct {
	// Synchronization says when the source is read again, and what its deletion
	// means for the copies.
	// +optional
	// +kubebuilder:default:={}
	Synchronization SynchronizationSpec `json:"synchronization,omitzero"`

	// Source is the one object that is copied. Any namespaced kind will do, but
	// Namespaces, Replikas and token Secrets. It may exist later than the
	// Replika.
	// +required
	Source SourceSpec `json:"source"`

	// Target says what the copies are called, what they carry, and in which
	// namespaces they are.
	// +required
	Target TargetSpec `json:"target"`

	// DeletionPolicy says what happens to the copies when the Replika is
	// deleted, and to a copy whose namespace is no longer selected. "Delete"
	// deletes them (adopted objects are released instead: they lose the
	// operator's labels and annotations, and stay). "Retain" leaves them where
	// they are. Defaults to "Delete".
	// +optional
	// +kubebuilder:default:=Delete
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// Suspend stops every change to the copies: they are neither created,
	// updated, repaired nor deleted until it is false again. Deleting the
	// Replika still works as deletionPolicy says. Defaults to false.
	// +optional
	// +kubebuilder:default:=false
	Suspend bool `json:"suspend,omitempty"`

	// ServiceAccountName is the ServiceAccount, in the Replika's own namespace,
	// that the source is read and the copies are written as: what it may not do,
	// is not done, and reported as Forbidden. It needs get on the source, and get,
	// create, patch and delete on the copies. None by default: then it is the
	// operator's --default-service-account or, without that, the operator itself.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == '' || self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a ServiceAccount of the Replika's namespace: lowercase letters, digits, '-' and '.'"
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
}

// SynchronizationSpec says when the source is read again, and what its
// deletion means for the copies.
type SynchronizationSpec struct {
	// Time is the safety net: how often the source is read again even if
	// nothing announced a change, and the longest delay between two attempts at
	// something that failed. Changes are normally noticed at once, however long
	// it is. A Go duration made of hours (h), minutes (m), seconds (s) and
	// milliseconds (ms), such as 20s, 1m30s or 1.5h, from 1s to 8760h (a year).
	// Defaults to 1m.
	// +optional
	// +kubebuilder:default:="1m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^([0-9]{1,4}([.][0-9]{1,9})?h|[0-9]{1,6}([.][0-9]{1,9})?m|[0-9]{1,8}([.][0-9]{1,9})?(s|ms))+$`
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,4}([.][0-9]{1,9})?h|[0-9]{1,6}([.][0-9]{1,9})?m|[0-9]{1,8}([.][0-9]{1,9})?(s|ms))+$') && duration(self) >= duration('1s') && duration(self) <= duration('8760h')",message="must be a duration from 1s to 8760h, such as 20s, 1m30s or 1.5h"
	Time metav1.Duration `json:"time,omitzero"`

	// OnSourceDeletion says what happens to the copies when the source is
	// deleted. "Retain" leaves them as they are, and they are kept in step again
	// when the source comes back. "Delete" deletes them. Defaults to "Retain".
	// +optional
	// +kubebuilder:default:=Retain
	OnSourceDeletion SourceDeletionPolicy `json:"onSourceDeletion,omitempty"`
}

// SourceSpec names the one object that is copied.
// +kubebuilder:validation:XValidation:rule="self.kind != 'Namespace' || (has(self.group) && size(self.group) > 0)",message="Namespaces are never replicated",fieldPath=".kind"
type SourceSpec struct {
	// Group is the API group of the source: "apps", for instance, or
	// "networking.k8s.io". Empty or absent for the core group, where
	// ConfigMaps, Secrets and Services are.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == '' || self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be an API group without its version, such as apps or networking.k8s.io, or empty for the core group"
	// +kubebuilder:validation:XValidation:rule="self != 'replika.prosimcorp.com'",message="objects of this group are never replicated"
	Group string `json:"group,omitempty"`

	// Version is the API version of the source, without its group: "v1", for
	// instance.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="must be an API version without its group, such as v1 or v1beta1"
	Version string `json:"version"`

	// Kind is the kind of the source: "ConfigMap", for instance.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z]([-A-Za-z0-9]*[A-Za-z0-9])?$')",message="must be a kind, such as ConfigMap"
	Kind string `json:"kind"`

	// Name is the name of the source.
	// +required
	// +kubebuilder:validation:MinLength=1
	Name ObjectName `json:"name"`

	// Namespace is where the source lives. The source's namespace never gets a
	// copy. Defaults to the Replika's own namespace.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == '' || self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be the name of a namespace: lowercase letters, digits and '-', beginning and ending with a letter or digit"
	Namespace string `json:"namespace,omitempty"`
}

// TargetSpec says what the copies are called, what they carry, and in which
// namespaces they are.
type TargetSpec struct {
	// Name is what every copy is called. Defaults to the source's name.
	// +optional
	Name ObjectName `json:"name,omitempty"`

	// Labels are put on every copy, and win over the source's labels of the same
	// key. Keys under "replika.prosimcorp.com/" are reserved. None by default.
	// +optional
	Labels Labels `json:"labels,omitempty"`

	// Annotations are put on every copy, and win over the source's annotations
	// of the same key. Keys under "replika.prosimcorp.com/" are reserved. None
	// by default.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(key, !key.startsWith('replika.prosimcorp.com/'))",message="keys under replika.prosimcorp.com/ are reserved"
	// +kubebuilder:validation:XValidation:rule="self.all(key, size(key) <= 317 && key.matches('^([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="every key must be a legal annotation key, such as app or example.com/app"
	Annotations map[string]string `json:"annotations,omitempty"`

	// ConflictPolicy says what happens when an object that is not a copy of
	// this Replika already has a copy's name. "Fail" leaves it alone and reports
	// a conflict. "Adopt" takes it over: it gets the source's content, and is
	// never deleted by the operator afterwards, only released. Defaults to
	// "Fail".
	// +optional
	// +kubebuilder:default:=Fail
	ConflictPolicy ConflictPolicy `json:"conflictPolicy,omitempty"`

	// ImmutableFields says what happens when the API server refuses to change a
	// copy because a field of it is immutable. "Recreate" deletes the copy and
	// creates it anew. "Fail" leaves it as it is and reports a failure. Defaults
	// to "Recreate" for Secrets and ConfigMaps, and to "Fail" for every other
	// kind.
	// +optional
	ImmutableFields ImmutableFieldsPolicy `json:"immutableFields,omitempty"`

	// Namespaces says which namespaces get a copy.
	// +required
	Namespaces TargetNamespaces `json:"namespaces"`
}

// TargetNamespaces selects the namespaces that get a copy: every namespace if
// matchAll is true, else those that replicateIn or selector selects; in both
// cases without those in excludeFrom, and never the source's namespace.
// +kubebuilder:validation:XValidation:rule="self.matchAll || has(self.selector) || (has(self.replicateIn) && size(self.replicateIn) > 0)",message="selects no namespace: list names or globs in replicateIn, give a selector, or set matchAll to true"
type TargetNamespaces struct {
	// ReplicateIn lists names of namespaces, or globs over them in which "*"
	// stands for any characters, as in "team-*". A name whose namespace does not
	// exist yet is waited for. It must not list the source's namespace. Counts
	// only while matchAll is false. At most 1000 items. Defaults to none.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	ReplicateIn []NamespacePattern `json:"replicateIn,omitempty"`

	// Selector selects namespaces by their labels, in addition to replicateIn.
	// As everywhere in Kubernetes, an empty selector ({}) selects every
	// namespace, and an absent one selects none. Counts only while matchAll is
	// false. None by default.
	// +optional
	Selector *NamespaceSelector `json:"selector,omitempty"`

	// MatchAll selects every namespace, those that are created later too.
	// Defaults to false.
	// +optional
	// +kubebuilder:default:=false
	MatchAll bool `json:"matchAll,omitempty"`

	// ExcludeFrom lists names of namespaces that get no copy, or globs over them
	// in which "*" stands for any characters, as in "kube-*". It always
	// subtracts, whatever selected a namespace. At most 1000 items. Defaults to
	// none.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	ExcludeFrom []NamespacePattern `json:"excludeFrom,omitempty"`
}

// ReplikaStatus is what the operator last saw and did. It is written only when
// it changes.
type ReplikaStatus struct {
	// ObservedGeneration is the metadata.generation that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions say how the Replika is doing. "Ready" is True when every
	// selected namespace has its copy. "Reconciling" is there, and True, only
	// while the operator works or waits on what heals by itself. "Stalled" is
	// there, and True, only while nothing but a change of the spec or of the
	// cluster helps.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Source is what was last seen of the source. Absent until it was seen.
	// +optional
	Source *SourceStatus `json:"source,omitempty"`

	// Copies counts the copies. Absent until they were first counted.
	// +optional
	Copies *CopiesStatus `json:"copies,omitempty"`

	// Failures say which copies are not in sync and why, sorted by namespace.
	// Only the first 20 are listed; copies.failed counts them all.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	Failures []Failure `json:"failures,omitempty"`
}

// SourceStatus is what was last seen of the source.
type SourceStatus struct {
	// ResourceVersion is the source's at the last change of its content. Changes
	// of what is not copied, its status for instance, do not move it.
	// +optional
	ResourceVersion string `json:"resourceVersion,omitempty"`

	// AllowedNamespaces is what the source's annotation
	// replika.prosimcorp.com/allowed-namespaces says: the names and globs of the
	// namespaces that may have a copy. Absent when the source does not carry it.
	// +optional
	// +listType=atomic
	AllowedNamespaces []string `json:"allowedNamespaces,omitempty"`
}

// CopiesStatus counts the copies of one Replika.
type CopiesStatus struct {
	// Desired is the number of copies there should be: one for each selected
	// namespace.
	// +required
	Desired int32 `json:"desired"`

	// Synced is the number of copies that are as the source and the spec want
	// them.
	// +required
	Synced int32 `json:"synced"`

	// Failed is the number of copies that could not be brought in step.
	// +required
	Failed int32 `json:"failed"`
}

// Failure says why one copy is not in sync.
type Failure struct {
	// Namespace is the namespace of the copy.
	// +required
	Namespace string `json:"namespace"`

	// Reason is one word for what is wrong: Conflict, Forbidden, QuotaExceeded,
	// Immutable, Rejected, Contested or Unavailable.
	// +required
	Reason string `json:"reason"`

	// Message says what is wrong, for people.
	// +optional
	Message string `json:"message,omitempty"`
}

// Replika keeps copies of one object, its source, in other namespaces.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=replikas,scope=Namespaced,shortName=rpk,categories=prosimcorp
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Synced",type=integer,JSONPath=`.status.copies.synced`
// +kubebuilder:printcolumn:name="Desired",type=integer,JSONPath=`.status.copies.desired`
// +kubebuilder:printcolumn:name="Kind",type=string,priority=1,JSONPath=`.spec.source.kind`
// +kubebuilder:printcolumn:name="Source",type=string,JSONPath=`.spec.source.name`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Replika struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says what is copied, where to, and what happens when things change or
	// go away.
	// +required
	Spec ReplikaSpec `json:"spec"`

	// Status is what the operator last saw and did. Until it has seen the Replika,
	// observedGeneration is -1: tools that wait by the kstatus conventions would
	// take an empty status for a good one.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status ReplikaStatus `json:"status,omitzero"`
}

// SourceNamespace is where the source lives: the namespace that the spec
// names, else the Replika's own.
func (r *Replika) SourceNamespace() string {
	if r.Spec.Source.Namespace != "" {
		return r.Spec.Source.Namespace
	}
	return r.Namespace
}

// TargetName is what every copy is called: the name that the spec gives, else
// the source's.
func (r *Replika) TargetName() string {
	if r.Spec.Target.Name != "" {
		return r.Spec.Target.Name
	}
	return r.Spec.Source.Name
}

// GetConditions returns the conditions of the status.
func (r *Replika) GetConditions() []metav1.Condition {
	return r.Status.Conditions
}

// SetConditions replaces the conditions of the status.
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
