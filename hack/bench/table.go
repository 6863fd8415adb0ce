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

package main

import (
	"strings"
	"unicode/utf8"
)

// markdown renders an aligned Markdown table. The first row is the heading.
func markdown(cells [][]string) string {
	widths := make([]int, len(cells[0]))
	for _, row := range cells {
		for column, cell := range row {
			widths[column] = max(widths[column], utf8.RuneCountInString(cell))
		}
	}
	var table strings.Builder
	writeRow := func(row []string, fill string) {
		for column, cell := range row {
			table.WriteString("|" + fill + cell + strings.Repeat(fill, widths[column]-utf8.RuneCountInString(cell)) + fill)
		}
		table.WriteString("|\n")
	}
	writeRow(cells[0], " ")
	writeRow(make([]string, len(widths)), "-")
	for _, row := range cells[1:] {
		writeRow(row, " ")
	}
	return table.String()
}
