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
	"fmt"
	"image/color"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

var (
	operatorColor = color.RGBA{R: 0x1f, G: 0x6f, B: 0xb4, A: 0xff}
	baselineColor = color.RGBA{R: 0x80, G: 0x80, B: 0x80, A: 0xff}
	residentColor = color.RGBA{R: 0xd9, G: 0x72, B: 0x1e, A: 0xff}
)

// line is one line of a plot: a value for each size.
type line struct {
	name   string
	color  color.Color
	dashed bool
	of     func(*fanOut) float64
}

// drawGrowth draws time and memory against namespaces, side by side.
func drawGrowth(series []*fanOut, path string) error {
	if len(series) < 2 {
		return fmt.Errorf("drawing the plot: need at least 2 sizes, have %d", len(series))
	}
	seconds := func(rounds func(*fanOut) []round, of func(round) phase) func(*fanOut) float64 {
		return func(f *fanOut) float64 {
			var values []float64
			for _, round := range rounds(f) {
				values = append(values, of(round).Seconds)
			}
			return median(values)
		}
	}
	operator, baseline := func(f *fanOut) []round { return f.Operator }, func(f *fanOut) []round { return f.Baseline }
	first, edit := func(r round) phase { return r.Create }, func(r round) phase { return r.Edit }
	times, err := newPlot("Time to the last copy", "seconds", series, []line{
		{"first fan-out", operatorColor, false, seconds(operator, first)},
		{"first fan-out, baseline", baselineColor, false, seconds(baseline, first)},
		{"edit", operatorColor, true, seconds(operator, edit)},
		{"edit, baseline", baselineColor, true, seconds(baseline, edit)},
	})
	if err != nil {
		return err
	}
	memory, err := newPlot("Memory of the operator", "MiB", series, []line{
		{"RssAnon", residentColor, false, func(f *fanOut) float64 { return float64(f.Memory.Anonymous) / (1 << 20) }},
		{"live heap", operatorColor, false, func(f *fanOut) float64 { return float64(f.Memory.Heap) / (1 << 20) }},
	})
	if err != nil {
		return err
	}
	return saveSVG(path, times, memory)
}

func newPlot(title, unit string, series []*fanOut, lines []line) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, "namespaces, one copy each", unit
	p.X.Min, p.Y.Min = 0, 0
	p.Legend.Top, p.Legend.Left, p.Legend.XOffs = true, true, vg.Points(6)
	p.Add(plotter.NewGrid())
	for _, line := range lines {
		points := make(plotter.XYs, len(series))
		for i, size := range series {
			points[i] = plotter.XY{X: float64(size.Namespaces), Y: line.of(size)}
		}
		drawn, symbols, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, err
		}
		drawn.Color, symbols.Color, symbols.Shape = line.color, line.color, draw.CircleGlyph{}
		if line.dashed {
			drawn.Dashes = []vg.Length{vg.Points(5), vg.Points(3)}
		}
		p.Add(drawn, symbols)
		p.Legend.Add(line.name, drawn, symbols)
	}
	p.Y.Max *= legendRoom
	return p, nil
}

// legendRoom scales the height of a plot, to make room for the legend above the lines.
const legendRoom = 1.3

// saveSVG draws the plots side by side.
func saveSVG(path string, plots ...*plot.Plot) error {
	const width, height = 12 * vg.Centimeter, 9 * vg.Centimeter
	picture := vgsvg.New(vg.Length(len(plots))*width, height)
	page := draw.New(picture)
	page.SetColor(color.White)
	page.Fill(page.Path())
	tiles := draw.Tiles{
		Rows: 1, Cols: len(plots), PadX: vg.Centimeter,
		PadTop: vg.Points(4), PadBottom: vg.Points(4), PadLeft: vg.Points(4), PadRight: vg.Points(10),
	}
	canvases := plot.Align([][]*plot.Plot{plots}, tiles, page)
	for i, p := range plots {
		p.Draw(canvases[0][i])
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := picture.WriteTo(file); err != nil {
		_ = file.Close() // the first error matters more
		return err
	}
	return file.Close()
}
