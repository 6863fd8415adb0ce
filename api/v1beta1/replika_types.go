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

package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// The markers and comments of Replika are those of v1alpha1, besides the one for
// the storage version: a test compares the two schemas.

// Replika keeps copies of one object, the source, or of several in other
// namespaces.
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
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
	Spec v1alpha1.ReplikaSpec `json:"spec"`

	// status is the observed state of the Replika. observedGeneration is -1
	// until the first reconcile, so that tools based on kstatus do not treat an
	// empty status as ready.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status v1alpha1.ReplikaStatus `json:"status,omitzero"`
}

// ReplikaList is a list of Replikas.
// +kubebuilder:object:root=true
type ReplikaList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Replika `json:"items"`
}
