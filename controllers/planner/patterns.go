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
	"regexp"
	"strings"
)

// namespacePattern is the pattern of replicateIn in the CRD schema.
var namespacePattern = regexp.MustCompile(`^[a-z0-9*]([-a-z0-9*]*[a-z0-9*])?$`)

// maxPatternLength is the MaxLength of a pattern in the CRD schema: that of a namespace's name.
const maxPatternLength = 63

// IsNamespacePattern reports whether the string is a name of a namespace or a glob, as the CRD schema defines them.
func IsNamespacePattern(pattern string) bool {
	return len(pattern) <= maxPatternLength && namespacePattern.MatchString(pattern)
}

// Patterns are compiled names and globs of namespaces. A list can have thousands of entries, and is matched against every
// namespace, so most entries that do not match a name are not looked at.
type Patterns struct {
	names map[string]bool
	// globs are the globs by what is before the first `*` and after the last one.
	globs map[ends][]glob
	// lengths are those of the ends of all globs, without duplicates.
	lengths []endLengths
}

// ends are what a glob has before the first `*` and after the last one.
type ends struct{ prefix, suffix string }

// glob is a glob with what is between the first and the last `*` of it.
type glob struct {
	text    string
	between []string
}

type endLengths struct{ prefix, suffix int }

// NewPatterns compiles names and globs. In a glob, `*` matches any number of characters, including none; no other character
// is special.
func NewPatterns(patterns []string) *Patterns {
	compiled := &Patterns{names: make(map[string]bool, len(patterns)), globs: map[ends][]glob{}}
	seen, seenLengths := map[string]bool{}, map[endLengths]bool{}
	for _, pattern := range patterns {
		parts := strings.Split(pattern, "*")
		last := len(parts) - 1
		if last == 0 {
			compiled.names[pattern] = true
			continue
		}
		if seen[pattern] {
			continue
		}
		seen[pattern] = true
		around := ends{prefix: parts[0], suffix: parts[last]}
		compiled.globs[around] = append(compiled.globs[around], glob{text: pattern, between: parts[1:last]})
		if lengths := (endLengths{len(around.prefix), len(around.suffix)}); !seenLengths[lengths] {
			seenLengths[lengths] = true
			compiled.lengths = append(compiled.lengths, lengths)
		}
	}
	return compiled
}

// Match reports whether one of the patterns matches the name. None matches without a list.
func (p *Patterns) Match(name string) bool {
	_, found := p.Find(name)
	return found
}

// Find returns a pattern that matches the name, the name itself if it is one, or false if none matches.
func (p *Patterns) Find(name string) (pattern string, found bool) {
	if p == nil {
		return "", false
	}
	if p.names[name] {
		return name, true
	}
	for _, lengths := range p.lengths {
		end := len(name) - lengths.suffix
		if end < lengths.prefix {
			continue
		}
		for _, candidate := range p.globs[ends{prefix: name[:lengths.prefix], suffix: name[end:]}] {
			if containsInOrder(name[lengths.prefix:end], candidate.between) {
				return candidate.text, true
			}
		}
	}
	return "", false
}

// has reports whether the name itself is one of the patterns.
func (p *Patterns) has(name string) bool { return p.names[name] }

// containsInOrder reports whether the text contains all parts, one after the other.
func containsInOrder(text string, parts []string) bool {
	for _, part := range parts {
		found := strings.Index(text, part)
		if found < 0 {
			return false
		}
		text = text[found+len(part):]
	}
	return true
}
