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

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// IndexKey is the key of an index of selections by the namespaces that they can select. A selection can select only namespaces
// that have at least one of its keys.
type IndexKey struct {
	// kind is "name", "prefix" (of the name), "label", or empty for the key of every namespace.
	kind, value string
}

// IndexKeys returns the keys of the selection.
func (s *Selection) IndexKeys() []IndexKey {
	if s.matchAll {
		return []IndexKey{{}}
	}
	var keys []IndexKey
	for name := range s.include.names {
		keys = append(keys, IndexKey{"name", name})
	}
	for glob := range s.include.globs {
		if glob.prefix == "" {
			return []IndexKey{{}}
		}
		keys = append(keys, IndexKey{"prefix", glob.prefix})
	}
	if s.selector == nil {
		return keys
	}
	requirements, selectable := s.selector.Requirements()
	if !selectable {
		return keys
	}
	if ofSelector := labelKeys(requirements); ofSelector != nil {
		return append(keys, ofSelector...)
	}
	return []IndexKey{{}}
}

// labelKeys returns a key for each value of the first requirement that a label has one of some values; nil if there is none.
func labelKeys(requirements labels.Requirements) []IndexKey {
	for _, requirement := range requirements {
		switch requirement.Operator() {
		case selection.Equals, selection.DoubleEquals, selection.In:
			var keys []IndexKey
			for value := range requirement.Values() {
				keys = append(keys, labelKey(requirement.Key(), value))
			}
			return keys
		default:
		}
	}
	return nil
}

func labelKey(key, value string) IndexKey { return IndexKey{"label", key + "=" + value} }

// IndexKeys returns all keys of the namespace.
func (n Namespace) IndexKeys() []IndexKey {
	keys := []IndexKey{{}, {"name", n.Name}}
	for end := range n.Name {
		if end > 0 {
			keys = append(keys, IndexKey{"prefix", n.Name[:end]})
		}
	}
	keys = append(keys, IndexKey{"prefix", n.Name})
	keys = append(keys, labelKey(corev1.LabelMetadataName, n.Name))
	for key, value := range n.Labels {
		keys = append(keys, labelKey(key, value))
	}
	return keys
}
