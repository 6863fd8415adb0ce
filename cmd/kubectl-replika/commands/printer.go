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
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/yaml"
)

// Formats of the flag --output.
const (
	formatTable = "table"
	formatWide  = "wide"
	formatJSON  = "json"
	formatYAML  = "yaml"
	formatName  = "name"
)

var formats = []string{formatTable, formatWide, formatJSON, formatYAML, formatName}

// view is an answer in each form in which it can be printed.
type view struct {
	// object is the answer in JSON and YAML.
	object any
	// columns of the table. Those with a priority above 0 are only in the wide table.
	columns []metav1.TableColumnDefinition
	rows    [][]any
	// names are the objects of the answer, as resource.group/name.
	names []string
}

// column returns a column of each table.
func column(name string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: name, Type: "string"}
}

// wideColumn returns a column of the wide table.
func wideColumn(name string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: name, Type: "string", Priority: 1}
}

// printer prints views as the flags say.
type printer struct {
	format    string
	noHeaders bool
}

// bind adds the flags to a command.
func (p *printer) bind(command *cobra.Command) {
	command.Flags().StringVarP(&p.format, "output", "o", formatTable, "Output format: one of "+strings.Join(formats, ", ")+".")
	command.Flags().BoolVar(&p.noHeaders, "no-headers", false, "Print a table without its header.")
	err := command.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // the flag exists
	}
}

// validate returns an error if there is no such format. Commands call it before they read anything.
func (p *printer) validate(command *cobra.Command) error {
	if !slices.Contains(formats, p.format) {
		return usageError(command, fmt.Sprintf("--output: %q: must be one of %s", p.format, strings.Join(formats, ", ")))
	}
	return nil
}

// isTable reports whether the output is for people, so that a command can print more than the view.
func (p *printer) isTable() bool { return p.format == formatTable || p.format == formatWide }

// print prints the view.
func (p *printer) print(out io.Writer, v *view) error {
	switch p.format {
	case formatJSON:
		return printJSON(out, v.object)
	case formatYAML:
		return printYAML(out, v.object)
	case formatName:
		for _, name := range v.names {
			if _, err := fmt.Fprintln(out, name); err != nil {
				return err
			}
		}
		return nil
	}
	return p.printTable(out, v)
}

func (p *printer) printTable(out io.Writer, v *view) error {
	table := &metav1.Table{ColumnDefinitions: v.columns}
	for _, cells := range v.rows {
		table.Rows = append(table.Rows, metav1.TableRow{Cells: cells})
	}
	options := printers.PrintOptions{Wide: p.format == formatWide, NoHeaders: p.noHeaders}
	return printers.NewTablePrinter(options).PrintObj(table, out)
}

func printJSON(out io.Writer, object any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "    ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(object)
}

func printYAML(out io.Writer, object any) error {
	content, err := yaml.Marshal(object)
	if err != nil {
		return err
	}
	_, err = out.Write(content)
	return err
}
