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

import corev1 "k8s.io/api/core/v1"

// namespaceLabels are the labels of a namespace, among them the one that the API server sets to the namespace's name. It implements
// [labels.Labels].
type namespaceLabels struct{ namespace *Namespace }

// Has reports whether the namespace has the label.
func (l namespaceLabels) Has(key string) bool {
	_, found := l.Lookup(key)
	return found
}

// Get returns the value of the label; empty if the namespace does not have it.
func (l namespaceLabels) Get(key string) string {
	value, _ := l.Lookup(key)
	return value
}

// Lookup returns the value of the label, and whether the namespace has it.
func (l namespaceLabels) Lookup(key string) (string, bool) {
	if key == corev1.LabelMetadataName {
		return l.namespace.Name, true
	}
	value, found := l.namespace.Labels[key]
	return value, found
}
