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
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// options are the command line options.
type options struct {
	operator string
	config   string
	only     []string
	skip     []string
	// namespaces are numbers of target namespaces. All sections use the first one; only growth and events use the others.
	namespaces []int
	// replikas are numbers of Replikas. The section many uses the first one; only events uses the others.
	replikas       []int
	replikaTargets int
	// sources is the number of sources in the section sources.
	sources       int
	sourceTargets int
	// contentSize and coldStartSize are in KiB.
	contentSize   int
	coldStartSize int
	pairs         int
	growthPairs   int
	samples       int
	events        int
	interval      time.Duration
	loadTime      time.Duration
	loadRate      int
	unrelated     int
	parallel      int
	jsonFile      string
	plotFile      string
	profileDir    string
	timeout       time.Duration
}

func parseFlags(flags *flag.FlagSet, args []string) *options {
	o := &options{namespaces: []int{1000}, replikas: []int{100}}
	flags.StringVar(&o.operator, "operator", filepath.Join("bin", "manager"), "the operator's binary")
	flags.StringVar(&o.config, "config", "config", "the directory with the CRD (crd/bases) and the roles (rbac)")
	flags.Func("only", "run only these sections, separated by commas: "+strings.Join(sectionNames(), ", "), listOf(&o.only))
	flags.Func("skip", "skip these sections, separated by commas", listOf(&o.skip))
	flags.Func("namespaces", fmt.Sprintf("number of target namespaces, from %d to %d, in all sections but many and sources; "+
		"growth and events also use further numbers, separated by commas (default 1000)", minNamespaces, maxNamespaces), sizesOf(&o.namespaces))
	flags.Func("replikas", fmt.Sprintf("number of Replikas in the section many, and of Replikas that do not select a namespace in events, up to %d; "+
		"events also uses further numbers, separated by commas (default 100)", maxReplikas), sizesOf(&o.replikas))
	flags.IntVar(&o.replikaTargets, "replika-namespaces", 300, "number of namespaces per Replika in the section many")
	flags.IntVar(&o.sources, "sources", 50, fmt.Sprintf("number of sources of one Replika in the section sources, up to %d", v1alpha1.MaxSources))
	flags.IntVar(&o.sourceTargets, "source-namespaces", 200, "number of namespaces in the section sources")
	flags.IntVar(&o.contentSize, "size", 1, fmt.Sprintf("content of a source in all sections but memory and coldstart, in KiB, up to %d", maxContent))
	flags.IntVar(&o.coldStartSize, "coldstart-size", 900, fmt.Sprintf("content of the source in the section coldstart, in KiB, up to %d", maxContent))
	flags.IntVar(&o.pairs, "pairs", 5, "number of operator/baseline rounds")
	flags.IntVar(&o.growthPairs, "growth-pairs", 3, "number of operator/baseline rounds at the further sizes")
	flags.IntVar(&o.samples, "samples", 500, "latency samples per type")
	flags.IntVar(&o.events, "events", 50, "number of events of each type in the section events, at most half of the namespaces")
	flags.DurationVar(&o.interval, "interval", 10*time.Second, "synchronization.time of the Replikas in the section rest")
	flags.DurationVar(&o.loadTime, "load-time", 30*time.Second, "duration of the edits in the section load")
	flags.IntVar(&o.loadRate, "load-rate", 10, "edits per second in the section load")
	flags.IntVar(&o.unrelated, "unrelated", 2000, "number of unrelated ConfigMaps, and of unrelated Secrets, of 10 KiB each")
	flags.IntVar(&o.parallel, "max-concurrent-writes", 16, "concurrent requests of operator and baseline")
	flags.StringVar(&o.jsonFile, "json", "", "write all results to this JSON file")
	flags.StringVar(&o.plotFile, "plot", "", "plot to this SVG file what the sections growth and events measured, against the number of namespaces or Replikas")
	flags.StringVar(&o.profileDir, "profiles", "", "write CPU and heap profiles of the operator to this directory; profiling takes time")
	flags.DurationVar(&o.timeout, "timeout", time.Hour, "maximum duration of the benchmark")
	_ = flags.Parse(args) // exits on an error
	return o
}

// listOf parses a list of sections.
func listOf(list *[]string) func(string) error {
	return func(text string) error {
		*list = strings.Split(text, ",")
		for _, name := range *list {
			if !slices.Contains(sectionNames(), name) {
				return fmt.Errorf("unknown section %q", name)
			}
		}
		return nil
	}
}

// sizesOf parses a list of sizes.
func sizesOf(sizes *[]int) func(string) error {
	return func(text string) (err error) {
		*sizes, err = parseSizes(text)
		return err
	}
}

func parseSizes(text string) ([]int, error) {
	var sizes []int
	for number := range strings.SplitSeq(text, ",") {
		size, err := strconv.Atoi(number)
		if err != nil {
			return nil, err
		}
		sizes = append(sizes, size)
	}
	if !slices.IsSorted(sizes) || len(slices.Compact(slices.Clone(sizes))) < len(sizes) {
		return nil, errors.New("the numbers must be in ascending order")
	}
	return sizes, nil
}

// validate returns an error for values that cannot be measured.
func (o *options) validate() error {
	for flag, value := range map[string]int{
		"pairs": o.pairs, "growth-pairs": o.growthPairs, "samples": o.samples, "events": o.events, "load-rate": o.loadRate,
		"unrelated": o.unrelated, "max-concurrent-writes": o.parallel,
	} {
		if value < 1 {
			return fmt.Errorf("--%s must be at least 1", flag)
		}
	}
	for _, bounded := range []struct {
		flag            string
		values          []int
		lowest, highest int
	}{
		{"namespaces", o.namespaces, minNamespaces, maxNamespaces},
		{"replikas", o.replikas, 1, maxReplikas},
		{"sources", []int{o.sources}, 1, v1alpha1.MaxSources},
		{"source-namespaces", []int{o.sourceTargets}, 1, maxNamespaces},
		{"replika-namespaces", []int{o.replikaTargets}, 1, maxNamespaces},
		{"size", []int{o.contentSize}, 1, maxContent},
		{"coldstart-size", []int{o.coldStartSize}, 1, maxContent},
	} {
		if slices.Min(bounded.values) < bounded.lowest || slices.Max(bounded.values) > bounded.highest {
			return fmt.Errorf("--%s must be from %d to %d", bounded.flag, bounded.lowest, bounded.highest)
		}
	}
	return nil
}

const (
	// The sections need the lowest number of namespaces. The six digits in the names of namespaces and Replikas allow more than the
	// highest ones, because sections create further ones.
	minNamespaces = 20
	maxNamespaces = 100_000
	maxReplikas   = 100_000
	// maxContent is in KiB. The API server rejects a ConfigMap with data of more than 1 MiB.
	maxContent = 1000
)

// targets is the number of target namespaces in all sections but growth, events and many.
func (o *options) targets() int { return o.namespaces[0] }

// contentBytes is the size of a source's content in the sections that do not vary it.
func (o *options) contentBytes() int { return o.contentSize << 10 }

// selected reports whether to run the section.
func (o *options) selected(section string) bool {
	return (len(o.only) == 0 || slices.Contains(o.only, section)) && !slices.Contains(o.skip, section)
}
