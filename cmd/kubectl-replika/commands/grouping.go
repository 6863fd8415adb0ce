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
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// maxRows is the number of objects that a table lists one by one, unless all are asked for.
	maxRows = 20
	// maxSuchAs is the number of namespaces that a row for many names.
	maxSuchAs = 3
)

// setObjectRows sets the table of objects. The first cell of each row is a namespace, and columns name the other ones. If there are many
// rows, those that differ only in the namespace become one, unless all are asked for.
func (v *view) setObjectRows(columns []metav1.TableColumnDefinition, rows [][]any, all bool) {
	if all || len(rows) <= maxRows {
		v.columns, v.rows = slices.Concat([]metav1.TableColumnDefinition{column("Namespace")}, columns), rows
		return
	}
	v.columns = slices.Concat([]metav1.TableColumnDefinition{column("Namespaces"), column("Such as")}, columns)
	v.rows = groupRows(rows)
}

// groupRows returns one row for all rows that differ only in the first cell: with their number, and the first of these cells. The largest
// group is the first.
func groupRows(rows [][]any) [][]any {
	type group struct {
		namespaces []string
		cells      []any
	}
	var groups []*group
	byCells := map[string]*group{}
	for _, row := range rows {
		key := fmt.Sprintf("%q", row[1:])
		if byCells[key] == nil {
			byCells[key] = &group{cells: row[1:]}
			groups = append(groups, byCells[key])
		}
		byCells[key].namespaces = append(byCells[key].namespaces, fmt.Sprint(row[0]))
	}
	slices.SortStableFunc(groups, func(a, b *group) int { return cmp.Compare(len(b.namespaces), len(a.namespaces)) })
	var grouped [][]any
	for _, group := range groups {
		suchAs := strings.Join(group.namespaces[:min(len(group.namespaces), maxSuchAs)], ",")
		if len(group.namespaces) > maxSuchAs {
			suchAs += ",…"
		}
		grouped = append(grouped, slices.Concat([]any{len(group.namespaces), suchAs}, group.cells))
	}
	return grouped
}
