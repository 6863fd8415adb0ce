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

// MatchLabels are labels by key, all of which a namespace must bear.
// +kubebuilder:validation:MaxProperties=64
// +kubebuilder:validation:XValidation:rule="self.all(key, size(key) <= 317 && key.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="every key must be a legal label key, such as team or example.com/team"
// +kubebuilder:object:generate=false
type MatchLabels map[string]LabelValue

// DeepCopy is written by hand because the generator takes no map of aliases.
func (in MatchLabels) DeepCopy() MatchLabels {
	return maps.Clone(in)
}

// NamespaceSelector is a label selector, as everywhere in Kubernetes. Its own
// type bounds what can be in it, so that the schema can refuse what no label
// satisfies.
// +structType=atomic
type NamespaceSelector struct {
	// MatchLabels are labels with their values, all of which a namespace must
	// bear. At most 64. None by default.
	// +optional
	MatchLabels MatchLabels `json:"matchLabels,omitempty"`

	// MatchExpressions are requirements, all of which a namespace must meet. At
	// most 64. None by default.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	MatchExpressions []NamespaceRequirement `json:"matchExpressions,omitempty"`
}

// NamespaceRequirement is what one label of a namespace must be like.
// +kubebuilder:validation:XValidation:rule="(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",message="In and NotIn need values, Exists and DoesNotExist take none"
type NamespaceRequirement struct {
	// Key is the label's key.
	// +required
	Key LabelKey `json:"key"`

	// Operator is In (the label is there, with one of the values), NotIn (it is
	// not, or with another value), Exists, or DoesNotExist.
	// +required
	// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist
	Operator metav1.LabelSelectorOperator `json:"operator"`

	// Values are those of In and NotIn. At most 64.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Values []LabelValue `json:"values,omitempty"`
}

// LabelSelector is the selector as Kubernetes' own libraries take it.
func (in *NamespaceSelector) LabelSelector() *metav1.LabelSelector {
	selector := &metav1.LabelSelector{MatchLabels: in.MatchLabels}
	for _, requirement := range in.MatchExpressions {
		selector.MatchExpressions = append(selector.MatchExpressions, metav1.LabelSelectorRequirement(requirement))
	}
	return selector
}
