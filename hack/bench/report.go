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
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// report is the result of a run.
type report struct {
	Run  runInfo `json:"run"`
	Rows []row   `json:"rows"`
	// Series has one fan-out per size.
	Series []*fanOut `json:"series,omitempty"`
	// The CPU time per event against the numbers of namespaces and of other Replikas.
	EventsByNamespaces []*eventCosts `json:"eventsByNamespaces,omitempty"`
	EventsByReplikas   []*eventCosts `json:"eventsByReplikas,omitempty"`

	section string
}

// row is one line of the table: one goal of the performance budget, or a value without a goal.
type row struct {
	Section  string `json:"section"`
	Name     string `json:"row"`
	Goal     string `json:"goal"`
	Measured string `json:"measured"`
	Baseline string `json:"baseline,omitempty"`
	// Ratio is that of the measured value to the baseline, or 0 without a baseline.
	Ratio float64 `json:"ratio,omitempty"`
	// Verdict reports whether the goal was met. It is empty without a goal.
	Verdict verdict  `json:"verdict,omitempty"`
	Notes   []string `json:"notes,omitempty"`
	// Data has the values that the row was computed from.
	Data any `json:"data,omitempty"`
}

func newReport() *report { return &report{} }

func (r *report) add(line row) {
	line.Section = r.section
	r.Rows = append(r.Rows, line)
}

func (r *report) addSeries(f *fanOut) { r.Series = append(r.Series, f) }

// verdict is the result for one goal.
type verdict string

const (
	goalMet    verdict = "met"
	goalMissed verdict = "MISSED"
)

func verdictOf(met bool) verdict {
	if met {
		return goalMet
	}
	return goalMissed
}

// print prints the table, and the notes below it.
func (r *report) print(out io.Writer) {
	cells := [][]string{{"what", "goal", "measured", "baseline", "ratio", ""}}
	for _, line := range r.Rows {
		cells = append(cells, []string{line.Name, line.Goal, line.Measured, line.Baseline, line.ratio(), string(line.Verdict)})
	}
	fmt.Fprintf(out, "\n%s\n\n%s\n", r.Run, markdown(cells))
	for _, line := range r.Rows {
		for _, note := range line.Notes {
			fmt.Fprintf(out, "- %s\n", note)
		}
	}
}

func (r *row) ratio() string {
	if r.Ratio == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", r.Ratio)
}

// save writes the files of --json and --plot.
func (r *report) save(opts *options) error {
	var errs []error
	if opts.jsonFile != "" {
		errs = append(errs, r.saveJSON(opts.jsonFile))
	}
	if opts.plotFile != "" {
		errs = append(errs, r.draw(opts.plotFile))
	}
	return errors.Join(errs...)
}

func (r *report) saveJSON(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
