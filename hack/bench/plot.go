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
	"errors"
	"image/color"
	"math"
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

// line is one line of a plot.
type line struct {
	name   string
	color  color.Color
	dashed bool
	points plotter.XYs
}

// pointsOf returns a point for each size.
func pointsOf[S any](series []S, x, y func(S) float64) plotter.XYs {
	points := make(plotter.XYs, len(series))
	for i, size := range series {
		points[i] = plotter.XY{X: x(size), Y: y(size)}
	}
	return points
}

// draw draws what was measured at two or more sizes, side by side.
func (r *report) draw(path string) error {
	var plots []*plot.Plot
	if len(r.Series) > 1 {
		growth, err := growthPlots(r.Series)
		if err != nil {
			return err
		}
		plots = append(plots, growth...)
	}
	for _, events := range []struct {
		series []*eventCosts
		label  string
		size   func(*eventCosts) float64
	}{
		{r.EventsByNamespaces, "namespaces that the Replika selects", func(c *eventCosts) float64 { return float64(c.Namespaces) }},
		{r.EventsByReplikas, "other Replikas", func(c *eventCosts) float64 { return float64(c.Others) }},
	} {
		if len(events.series) > 1 {
			drawn, err := eventPlot(events.series, events.label, events.size)
			if err != nil {
				return err
			}
			plots = append(plots, drawn)
		}
	}
	if len(plots) == 0 {
		return errors.New("drawing the plot: need at least 2 sizes in the section growth or events")
	}
	return saveSVG(path, plots...)
}

// growthPlots draw time and memory against namespaces.
func growthPlots(series []*fanOut) ([]*plot.Plot, error) {
	of := func(y func(*fanOut) float64) plotter.XYs {
		return pointsOf(series, func(f *fanOut) float64 { return float64(f.Namespaces) }, y)
	}
	seconds := func(rounds func(*fanOut) []round, phaseOf func(round) phase) plotter.XYs {
		return of(func(f *fanOut) float64 {
			var values []float64
			for _, round := range rounds(f) {
				values = append(values, phaseOf(round).Seconds)
			}
			return median(values)
		})
	}
	operator, baseline := func(f *fanOut) []round { return f.Operator }, func(f *fanOut) []round { return f.Baseline }
	first, edit := func(r round) phase { return r.Create }, func(r round) phase { return r.Edit }
	const label = "namespaces, one copy each"
	times, err := newPlot("Time to the last copy", label, "seconds", []line{
		{"first fan-out", operatorColor, false, seconds(operator, first)},
		{"first fan-out, baseline", baselineColor, false, seconds(baseline, first)},
		{"edit", operatorColor, true, seconds(operator, edit)},
		{"edit, baseline", baselineColor, true, seconds(baseline, edit)},
	})
	if err != nil {
		return nil, err
	}
	memory, err := newPlot("Memory of the operator", label, "MiB", []line{
		{"RssAnon", residentColor, false, of(func(f *fanOut) float64 { return float64(f.Memory.Anonymous) / (1 << 20) })},
		{"live heap", operatorColor, false, of(func(f *fanOut) float64 { return float64(f.Memory.Heap) / (1 << 20) })},
	})
	if err != nil {
		return nil, err
	}
	for _, p := range []*plot.Plot{times, memory} {
		p.X.Min, p.Y.Min = 0, 0
		p.Y.Max *= legendRoom
	}
	return []*plot.Plot{times, memory}, nil
}

// eventPlot draws the CPU time per event. Both axes are logarithmic: each size is a multiple of the one before, and an edit of the
// source costs much more than other events.
func eventPlot(series []*eventCosts, label string, size func(*eventCosts) float64) (*plot.Plot, error) {
	of := func(event string) plotter.XYs {
		return pointsOf(series, size, func(c *eventCosts) float64 { return median(c.Milliseconds[event]) })
	}
	p, err := newPlot("CPU time of the operator per event", label, "milliseconds", []line{
		{editedSource, residentColor, true, of(editedSource)},
		{newNamespace, operatorColor, false, of(newNamespace)},
		{editedCopy, residentColor, false, of(editedCopy)},
		{deletedCopy, baselineColor, false, of(deletedCopy)},
		{syncInterval, operatorColor, true, of(syncInterval)},
	})
	if err != nil {
		return nil, err
	}
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Scale, axis.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	p.Y.Max *= math.Pow(10, legendRoom)
	return p, nil
}

func newPlot(title, label, unit string, lines []line) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, label, unit
	p.Legend.Top, p.Legend.Left, p.Legend.XOffs = true, true, vg.Points(6)
	p.Add(plotter.NewGrid())
	for _, line := range lines {
		drawn, symbols, err := plotter.NewLinePoints(line.points)
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
