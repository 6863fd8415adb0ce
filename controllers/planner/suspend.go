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
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// Consent is the consent of a source's owner, as it was read from the source.
type Consent struct {
	Source types.NamespacedName
	// Allowed are the names and globs of the namespaces that are allowed to have a copy; none if it is empty.
	Allowed []string
	// KeysWithdrawn is true if copies can have keys that are no longer allowed, see [KeysWithdrawn].
	KeysWithdrawn bool
	// Template has only keys that are allowed. It is nil if there is no source to copy.
	Template *Template
}

// denials returns a function that reports whether an object is a copy of the source in a namespace that its owner does not
// allow, or with keys that may not be allowed. Without a consent, nothing is known and nothing is denied.
func (c *Consent) denials() func(*Observed) bool {
	if c == nil {
		return func(*Observed) bool { return false }
	}
	allowed := NewPatterns(c.Allowed)
	return func(object *Observed) bool {
		return object.Origin.Value().Source == c.Source &&
			(!allowed.Match(object.Namespace) || c.KeysWithdrawn && !c.Template.hasDataOf(object))
	}
}

// hasDataOf reports whether the copy has the template's keys and no others, with the same values.
func (t *Template) hasDataOf(object *Observed) bool {
	return t != nil && !slices.ContainsFunc(t.Digests.Differing(object.Digests), func(field string) bool {
		return slices.Contains(dataFields, field)
	})
}

// PlanSuspended returns the actions for a suspended Replika, sorted as those of [Plan]. It prunes the copies that are no longer
// allowed where they are: consent wins over suspension. All other copies stay as they are, whatever the spec selects, and so
// does a copy in a namespace that is not in the list yet.
func PlanSuspended(in *Input, consent *Consent) []Action {
	namespaces := in.NamespacesByName()
	denied := consent.denials()
	var actions []Action
	for _, object := range in.Observed {
		namespace, found := namespaces[object.Namespace]
		if !found || in.isProtected(object) {
			continue
		}
		if !namespace.Excluded && !namespace.optedOut() && !denied(object) {
			continue
		}
		if action, needed := in.prune(namespace, object); needed {
			actions = append(actions, action)
		}
	}
	slices.SortFunc(actions, func(a, b Action) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return actions
}
