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

// LabelKey is the key of a label.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=317
// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`
type LabelKey = string

// MatchLabels is a map of labels that an object must have.
// +kubebuilder:validation:MaxProperties=64
// +kubebuilder:validation:XValidation:rule="self.all(key, size(key) <= 317 && key.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="keys must be valid label keys, such as team or example.com/team"
// +kubebuilder:object:generate=false
type MatchLabels map[string]LabelValue

// DeepCopy is written by hand because the generator does not support maps of
// aliases.
func (in MatchLabels) DeepCopy() MatchLabels {
	return maps.Clone(in)
}

// LabelSelector is a standard label selector with additional schema
// validation. A type of its own makes it possible for the schema to reject
// values that no label can have.
// +structType=atomic
type LabelSelector struct {
	// matchLabels is a map of labels with their values. An object must have
	// all of them.
	// +optional
	MatchLabels MatchLabels `json:"matchLabels,omitempty"`

	// matchExpressions is a list of label selector requirements. An object
	// must meet all of them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	MatchExpressions []LabelRequirement `json:"matchExpressions,omitempty"`
}

// LabelRequirement is a single label selector requirement.
// +kubebuilder:validation:XValidation:rule="(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",message="values must be set for In and NotIn, and must be empty for Exists and DoesNotExist"
type LabelRequirement struct {
	// key is the key of the label.
	// +required
	Key LabelKey `json:"key"`

	// operator is In, NotIn, Exists or DoesNotExist.
	// +required
	// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist
	Operator metav1.LabelSelectorOperator `json:"operator"`

	// values is required for In and NotIn, and must be empty otherwise.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Values []LabelValue `json:"values,omitempty"`
}

// AsMetaV1 converts the selector to a metav1.LabelSelector.
func (in *LabelSelector) AsMetaV1() *metav1.LabelSelector {
	selector := &metav1.LabelSelector{MatchLabels: in.MatchLabels}
	for _, requirement := range in.MatchExpressions {
		selector.MatchExpressions = append(selector.MatchExpressions, metav1.LabelSelectorRequirement(requirement))
	}
	return selector
}
