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

package commands

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// ruleNotFound means that replicateIn names a namespace that does not exist.
const ruleNotFound planner.Rule = "NotFound"

// explanation is the answer of explain.
type explanation struct {
	Replika string `json:"replika"`
	// Notes say what concerns all namespaces.
	Notes      []string              `json:"notes,omitempty"`
	Namespaces []*explainedNamespace `json:"namespaces"`
}

// explainedNamespace is the answer for one namespace.
type explainedNamespace struct {
	Namespace string `json:"namespace"`
	// Sources are those to which the answer applies; none if it applies to all.
	Sources []string `json:"sources,omitempty"`
	// Copied is true if the namespace is selected, and nobody who is asked refuses copies.
	Copied bool         `json:"copied"`
	Rule   planner.Rule `json:"rule"`
	// Entry is the part of the rule that matched.
	Entry string `json:"entry,omitempty"`
	// Consent is the entry of the source's list that allows the namespace.
	Consent string `json:"consent,omitempty"`
	Reason  string `json:"reason"`
	// MissingRights are the verbs that the ServiceAccount may not use on the copy.
	MissingRights []string `json:"missingRights,omitempty"`
	// HeldBy are other Replikas that have the object.
	HeldBy []string `json:"heldBy,omitempty"`
	// Failure is what the operator reported.
	Failure string `json:"failure,omitempty"`
}

func (e *explanation) note(format string, args ...any) {
	e.Notes = append(e.Notes, fmt.Sprintf(format, args...))
}

// printNotes prints the notes above a table.
func (e *explanation) printNotes(out io.Writer) {
	for _, note := range e.Notes {
		fmt.Fprintln(out, note)
	}
	if len(e.Notes) > 0 {
		fmt.Fprintln(out)
	}
}

// copies counts the copies that should exist.
func (e *explanation) copies(consents []consent) int {
	count := 0
	for _, answer := range e.Namespaces {
		switch {
		case !answer.Copied:
		case len(answer.Sources) > 0:
			count += len(answer.Sources)
		default:
			count += sourceCount(consents)
		}
	}
	return count
}

// selected returns the answers that are yes, by namespace.
func (e *explanation) selected() map[string][]*explainedNamespace {
	selected := map[string][]*explainedNamespace{}
	for _, answer := range e.Namespaces {
		if answer.Copied {
			selected[answer.Namespace] = append(selected[answer.Namespace], answer)
		}
	}
	return selected
}

// addFailures adds what the operator reported about the namespaces.
func (e *explanation) addFailures(replika *v1alpha1.Replika) {
	selected := e.selected()
	for i := range replika.Status.Failures {
		failure := &replika.Status.Failures[i]
		for _, answer := range selected[failure.Namespace] {
			if failure.Name == "" || len(answer.Sources) == 0 || slices.Contains(answer.Sources, failure.Name) {
				answer.Failure = failure.Reason + ": " + failure.Message
			}
		}
	}
}

func (n *explainedNamespace) compare(other *explainedNamespace) int {
	return cmp.Or(cmp.Compare(n.Namespace, other.Namespace), slices.Compare(n.Sources, other.Sources))
}

// problem is what keeps the copy out of a namespace that is selected.
func (n *explainedNamespace) problem() string {
	var problems []string
	if len(n.MissingRights) > 0 {
		problems = append(problems, "the ServiceAccount may not "+strings.Join(n.MissingRights, ", "))
	}
	if len(n.HeldBy) > 0 {
		problems = append(problems, "the object belongs to Replika "+strings.Join(n.HeldBy, ", "))
	}
	if n.Failure != "" {
		problems = append(problems, n.Failure)
	}
	return strings.Join(problems, "; ")
}

// yes is the answer as a word.
func (n *explainedNamespace) yes() string {
	if n.Copied {
		return "yes"
	}
	return "no"
}

// view returns the answer for the printer: a row for each namespace or, if there are many, for each reason.
func (e *explanation) view(all bool) *view {
	v := &view{object: e}
	for name := range e.selected() {
		v.names = append(v.names, "namespace/"+name)
	}
	slices.Sort(v.names)
	columns, listed := e.columns(), all || len(e.Namespaces) <= maxRows
	if listed {
		columns = append(columns, wideColumn("Entry"), wideColumn("Consent"))
	}
	rows := make([][]any, len(e.Namespaces))
	for i, answer := range e.Namespaces {
		rows[i] = append([]any{answer.Namespace}, e.cells(answer)...)
		if listed {
			rows[i] = append(rows[i], orNone(answer.Entry), orNone(answer.Consent))
		}
	}
	v.setObjectRows(columns, rows, all)
	return v
}

// columns returns those of every table. Columns that would be empty are left out.
func (e *explanation) columns() []metav1.TableColumnDefinition {
	columns := []metav1.TableColumnDefinition{column("Copy"), column("Rule")}
	if e.bySource() {
		columns = append(columns, column("Sources"))
	}
	columns = append(columns, column("Reason"))
	if e.hasProblems() {
		columns = append(columns, column("Problem"))
	}
	return columns
}

func (e *explanation) cells(answer *explainedNamespace) []any {
	cells := []any{answer.yes(), string(answer.Rule)}
	if e.bySource() {
		cells = append(cells, sourcesCell(answer.Sources))
	}
	cells = append(cells, answer.Reason)
	if e.hasProblems() {
		cells = append(cells, orNone(answer.problem()))
	}
	return cells
}

// bySource reports whether not all sources have the same answers.
func (e *explanation) bySource() bool {
	return slices.ContainsFunc(e.Namespaces, func(answer *explainedNamespace) bool { return len(answer.Sources) > 0 })
}

func (e *explanation) hasProblems() bool {
	return slices.ContainsFunc(e.Namespaces, func(answer *explainedNamespace) bool { return answer.problem() != "" })
}

// sourcesCell names the sources of an answer, of which a table has only the first ones.
func sourcesCell(names []string) string {
	switch {
	case len(names) == 0:
		return "all"
	case len(names) <= maxSuchAs:
		return strings.Join(names, ",")
	default:
		return fmt.Sprintf("%s,… (%d)", strings.Join(names[:maxSuchAs], ","), len(names))
	}
}

func orNone(text string) string {
	if text == "" {
		return "<none>"
	}
	return text
}

// plural returns a count with its noun.
func plural(count int, noun string) string {
	if count == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", count, noun)
}
