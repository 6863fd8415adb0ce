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

import "github.com/prosimcorp/replika/api/v1alpha1"

// Rule is a rule that decides whether a namespace is a target.
type Rule string

// Rules that select a namespace.
const (
	// RuleName means that replicateIn has the namespace's name.
	RuleName Rule = "Name"
	// RuleGlob means that replicateIn has a glob that matches the name.
	RuleGlob Rule = "Glob"
	// RuleSelector means that the label selector matches.
	RuleSelector Rule = "Selector"
	// RuleMatchAll means that the spec selects every namespace.
	RuleMatchAll Rule = "MatchAll"
	// RuleDefault means that it is the namespace default, and that the spec selects nothing, see [NamesAndGlobs].
	RuleDefault Rule = "Default"
)

// Rules by which a namespace is no target.
const (
	// RuleSourceNamespace means that it is the source's own namespace, which has to be named, with another name of the copy.
	RuleSourceNamespace Rule = "SourceNamespace"
	// RuleExcludeFrom means that excludeFrom has the name, or a glob that matches it.
	RuleExcludeFrom Rule = "ExcludeFrom"
	// RuleNotSelected means that nothing in the spec selects it.
	RuleNotSelected Rule = "NotSelected"
	// RuleTerminating means that it is being deleted.
	RuleTerminating Rule = "Terminating"
	// RuleExcludedNamespaces means that the administrator excludes it, for all Replikas.
	RuleExcludedNamespaces Rule = "ExcludedNamespaces"
	// RuleOptOut means that its owners refuse copies, by a label.
	RuleOptOut Rule = "OptOut"
	// RuleConsent means that the source's owner does not allow a copy in it.
	RuleConsent Rule = "Consent"
)

// decide returns the one rule that decides about the namespace, and whether it is a target. What the spec says comes first: a veto
// decides only about a namespace that the spec selects.
func (s *Selection) decide(namespace *Namespace) (rule Rule, selected bool) {
	if namespace.Name == s.sourceNamespace && !s.includesSource {
		return RuleSourceNamespace, false
	}
	if s.exclude.Match(namespace.Name) {
		return RuleExcludeFrom, false
	}
	rule = s.selectedBy(namespace)
	switch {
	case rule == RuleNotSelected:
		return rule, false
	case namespace.Terminating:
		return RuleTerminating, false
	case namespace.Excluded:
		return RuleExcludedNamespaces, false
	case namespace.optedOut():
		return RuleOptOut, false
	case !s.allows(namespace):
		return RuleConsent, false
	default:
		return rule, true
	}
}

// selectedBy returns the rule by which the spec selects the namespace, whatever it excludes, or [RuleNotSelected].
func (s *Selection) selectedBy(namespace *Namespace) Rule {
	if s.matchAll {
		return RuleMatchAll
	}
	switch pattern, found := s.include.Find(namespace.Name); {
	case found && s.includesDefault:
		return RuleDefault
	case found && pattern == namespace.Name:
		return RuleName
	case found:
		return RuleGlob
	case s.selector != nil && s.matchesLabels(*namespace):
		return RuleSelector
	default:
		return RuleNotSelected
	}
}

// matchesLabels reports whether the label selector matches. It allocates memory, so it is not called without a selector.
func (s *Selection) matchesLabels(namespace Namespace) bool {
	return s.selector.Matches(namespaceLabels{&namespace})
}

// Explanation is why a namespace is a target, or why it is none.
type Explanation struct {
	// Selected is true if the namespace is a target.
	Selected bool
	// Rule decided that, and Entry is the part of it that matched: a name, a glob or a label selector. It is empty if the rule has
	// only one part, or if no entry matched.
	Rule  Rule
	Entry string
	// Consent is the entry of the source's list that allows the namespace, if it is a target. It is empty if the source has no list.
	Consent string
}

// Explain returns why the namespace is a target, or why it is none. The patterns are those by which the administrator excludes
// namespaces: the namespace must be Excluded if one of them matches.
func (s *Selection) Explain(namespace Namespace, excluded *Patterns) Explanation {
	rule, selected := s.decide(&namespace)
	explanation := Explanation{Selected: selected, Rule: rule}
	switch rule {
	case RuleName, RuleGlob:
		explanation.Entry, _ = s.include.Find(namespace.Name)
	case RuleSelector:
		if explanation.Entry = s.selector.String(); explanation.Entry == "" {
			explanation.Entry = "{}" // an empty selector matches every namespace
		}
	case RuleExcludeFrom:
		explanation.Entry, _ = s.exclude.Find(namespace.Name)
	case RuleExcludedNamespaces:
		explanation.Entry, _ = excluded.Find(namespace.Name)
	case RuleOptOut:
		explanation.Entry = v1alpha1.LabelOptOut + "=" + v1alpha1.OptOutValue
	default:
	}
	if selected {
		explanation.Consent, _ = s.allowed.Find(namespace.Name)
	}
	return explanation
}

// String returns the explanation as a human-readable reason. It is the same for all namespaces that are named one by one.
func (e Explanation) String() string {
	switch e.Rule {
	case RuleName, RuleGlob:
		return "replicateIn has " + quotePattern(e.Entry) + e.consent()
	case RuleSelector:
		return "the label selector matches: " + e.Entry + e.consent()
	case RuleMatchAll:
		return "matchAll is true" + e.consent()
	case RuleDefault:
		return "the spec selects nothing, which meant namespace default in the releases before 0.5.0" + e.consent()
	case RuleSourceNamespace:
		return "it is the source's own namespace, which receives a copy only by its name in replicateIn and under another name"
	case RuleExcludeFrom:
		return "excludeFrom has " + quotePattern(e.Entry)
	case RuleNotSelected:
		return "nothing in spec.target.namespaces selects it"
	case RuleTerminating:
		return "it is being deleted"
	case RuleExcludedNamespaces:
		return "the administrator excludes it: --excluded-namespaces has " + quotePattern(e.Entry)
	case RuleOptOut:
		return "its owners refuse copies by the label " + e.Entry
	case RuleConsent:
		return "the source's owner does not allow it by the annotation " + v1alpha1.AnnotationAllowedNamespaces
	default:
		return string(e.Rule)
	}
}

// consent returns, as the end of a reason, what the source's list has for a target.
func (e Explanation) consent() string {
	if e.Consent == "" {
		return ""
	}
	return ", and the source allows " + quotePattern(e.Consent)
}

// quotePattern returns how a reason names an entry of a list that matches a namespace.
func quotePattern(entry string) string {
	if IsGlob(entry) {
		return "the glob " + entry
	}
	return "its name"
}
