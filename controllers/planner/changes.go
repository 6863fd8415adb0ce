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

import "k8s.io/apimachinery/pkg/types"

// Basis is what the actions in all namespaces depend on, besides what is in the namespace itself. While it stays the same, only
// the namespaces in which something changed are planned. Other Replikas are not part of it: they matter only where the copy
// is not in sync, and such a namespace is planned every time.
type Basis struct {
	// UID and Generation identify the Replika's spec.
	UID        types.UID
	Generation int64
	// Template has the digests of the template.
	Template Digests
	// Selection is compared by its address: it is compiled once for each spec and list of allowed namespaces.
	Selection *Selection
}

// Changes are the namespaces in which something changed since the last plan. The zero value has none.
type Changes struct {
	all        bool
	namespaces map[string]bool
}

// Add adds a namespace: an object in it changed, or the namespace itself.
func (c *Changes) Add(namespace string) {
	if c.namespaces == nil {
		c.namespaces = map[string]bool{}
	}
	c.namespaces[namespace] = true
}

// AddAll adds every namespace: it is not known in which of them something changed.
func (c *Changes) AddAll() { c.all = true }

// Empty reports whether nothing changed.
func (c *Changes) Empty() bool { return !c.all && len(c.namespaces) == 0 }

// All reports whether something can have changed in every namespace.
func (c *Changes) All() bool { return c.all }

// Has reports whether something can have changed in the namespace.
func (c *Changes) Has(namespace string) bool { return c.all || c.namespaces[namespace] }
