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
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// dataFields are the fields of a ConfigMap or Secret whose entries are keys. The API server never returns stringData.
var dataFields = []string{"data", "binaryData", "stringData"}

// keyPattern is the pattern of source.keys in the CRD schema, and maxKeyLength the MaxLength of an item.
var keyPattern = regexp.MustCompile(`^[.]?[-_a-zA-Z0-9*][-._a-zA-Z0-9*]*$`)

const maxKeyLength = 253

// isKeyPattern reports whether the string is a key or a glob, as the CRD schema defines them.
func isKeyPattern(pattern string) bool {
	return len(pattern) <= maxKeyLength && keyPattern.MatchString(pattern)
}

var (
	configMapKind = schema.GroupKind{Kind: "ConfigMap"}
	secretKind    = schema.GroupKind{Kind: "Secret"}
)

// hasDataKeys reports whether the objects of the kind have keys: ConfigMaps and Secrets.
func hasDataKeys(kind schema.GroupKind) bool {
	return kind == configMapKind || kind == secretKind
}

// keyRules are the rules by which a template gets its keys from the source.
type keyRules struct {
	// allowed are the names and globs that the source's owner allows. If it is nil, all keys are allowed.
	allowed *Patterns
	// chosen are the names and globs in spec.source.keys, and named the names among them. If it is nil, all keys are chosen.
	chosen *Patterns
	named  []string
	// renamed is spec.target.keys.
	renamed []v1alpha1.TargetKey
}

func newKeyRules(replika *v1alpha1.Replika, allowed []string) *keyRules {
	rules := &keyRules{renamed: replika.Spec.Target.Keys}
	if allowed != nil {
		rules.allowed = NewPatterns(allowed)
	}
	if chosen := replika.Spec.Source.Keys; len(chosen) > 0 {
		rules.chosen = NewPatterns(chosen)
		rules.named = slices.DeleteFunc(slices.Clone(chosen), IsGlob)
	}
	return rules
}

// apply returns the content of the copies: that of the source with the keys that the rules leave, under their names in the
// copies. A key stays in its field. What the owner does not allow is removed before the spec is looked at.
func (r *keyRules) apply(content map[string]any) (map[string]any, error) {
	if !r.inEffect() {
		return content, nil
	}
	content = filterKeys(content, r.allows)
	if denied := slices.DeleteFunc(r.namedKeys(), r.allows); len(denied) > 0 {
		return nil, &TemplateError{
			Reason: v1alpha1.ReasonSourceNotAllowed, Stalled: true, Denied: true,
			Message: "the source's annotation " + v1alpha1.AnnotationAllowedKeys + " does not allow " + keyList(denied) +
				": ask its owner to allow it, or remove it from the spec",
		}
	}
	if unchosen := slices.DeleteFunc(r.namedKeys(), r.chooses); len(unchosen) > 0 {
		return nil, &TemplateError{
			Reason: v1alpha1.ReasonKeyConflict, Stalled: true,
			Message: "spec.target.keys renames " + keyList(unchosen) + " of the source, but spec.source.keys does not choose it: add it there",
		}
	}
	content = filterKeys(content, r.chooses)
	if missing := r.missing(content); len(missing) > 0 {
		return nil, &TemplateError{
			Reason:  v1alpha1.ReasonKeyNotFound,
			Message: "the source does not have " + keyList(missing) + ", which the spec names; existing copies stay as they are",
		}
	}
	if len(r.renamed) == 0 {
		return content, nil
	}
	return r.rename(content)
}

// inEffect reports whether the copies can have other keys than the source.
func (r *keyRules) inEffect() bool {
	return r.allowed != nil || r.chosen != nil || len(r.renamed) > 0
}

// allows reports whether the source's owner allows the key to be copied.
func (r *keyRules) allows(key string) bool { return r.allowed == nil || r.allowed.Match(key) }

// chooses reports whether the spec asks for the key.
func (r *keyRules) chooses(key string) bool { return r.chosen == nil || r.chosen.Match(key) }

// namedKeys returns the keys that the spec names, other than by glob, sorted and without duplicates.
func (r *keyRules) namedKeys() []string {
	names := slices.Clone(r.named)
	for _, target := range r.renamed {
		names = append(names, target.From)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// missing returns the named keys that the content does not have.
func (r *keyRules) missing(content map[string]any) []string {
	return slices.DeleteFunc(r.namedKeys(), func(key string) bool { _, found := lookUpKey(content, key); return found })
}

// namesInCopies returns the names that the key of the source has in the copies.
func (r *keyRules) namesInCopies(key string) []string {
	var names []string
	for _, target := range r.renamed {
		if target.From == key {
			names = append(names, target.Name)
		}
	}
	if names == nil {
		return []string{key}
	}
	return names
}

// rename returns the content with the keys under their names in the copies. No two keys can have the same name, not even in
// different fields.
func (r *keyRules) rename(content map[string]any) (map[string]any, error) {
	renamed := maps.Clone(content)
	origins := map[string]string{}
	for _, field := range dataFields {
		entries, _ := content[field].(map[string]any)
		if len(entries) == 0 {
			continue
		}
		target := make(map[string]any, len(entries))
		for _, key := range slices.Sorted(maps.Keys(entries)) {
			for _, name := range r.namesInCopies(key) {
				if other, taken := origins[name]; taken {
					return nil, &TemplateError{
						Reason: v1alpha1.ReasonKeyConflict, Stalled: true,
						Message: fmt.Sprintf("%s would both be %q in the copies: choose other names in spec.target.keys, or fewer keys in spec.source.keys",
							keyList([]string{other, key}), name),
					}
				}
				origins[name] = key
				target[name] = entries[key]
			}
		}
		renamed[field] = target
	}
	return renamed, nil
}

// canHave reports whether the copies would have the key if the source had it.
func (r *keyRules) canHave(key string) bool {
	return slices.Contains(r.namesInCopies(key), key) && r.allows(key) && r.chooses(key) ||
		slices.ContainsFunc(r.renamed, func(target v1alpha1.TargetKey) bool { return target.Name == key })
}

// filterKeys returns the content with only those keys that are kept. A field without keys is removed, and so is one that is
// not a map. The argument is not changed.
func filterKeys(content map[string]any, keep func(key string) bool) map[string]any {
	filtered := maps.Clone(content)
	for _, field := range dataFields {
		entries, _ := content[field].(map[string]any)
		kept := maps.Clone(entries)
		maps.DeleteFunc(kept, func(key string, _ any) bool { return !keep(key) })
		filtered[field] = kept
		if len(kept) == 0 {
			delete(filtered, field)
		}
	}
	return filtered
}

// lookUpKey returns the value of the key, in whichever field it is.
func lookUpKey(content map[string]any, key string) (value any, found bool) {
	for _, field := range dataFields {
		entries, _ := content[field].(map[string]any)
		if value, found = entries[key]; found {
			return value, true
		}
	}
	return nil, false
}

// IsGlob reports whether the pattern is a glob, not a name.
func IsGlob(pattern string) bool { return strings.Contains(pattern, "*") }

// maxListedKeys is the number of keys that a message lists.
const maxListedKeys = 3

// keyList names keys in a message, which must not grow with them.
func keyList(keys []string) string {
	listed := make([]string, min(len(keys), maxListedKeys))
	for i := range listed {
		listed[i] = quoteEntry(keys[i])
	}
	text := strings.Join(listed, ", ")
	switch more := len(keys) - len(listed); {
	case more > 0:
		return fmt.Sprintf("the keys %s and %d more", text, more)
	case len(keys) == 1:
		return "the key " + text
	default:
		return "the keys " + text
	}
}
