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
)

// options are the command line options.
type options struct {
	operator string
	config   string
	only     []string
	skip     []string
	// namespaces are the sizes. All sections use the first one; only the growth section uses the others.
	namespaces     []int
	pairs          int
	growthPairs    int
	samples        int
	interval       time.Duration
	loadTime       time.Duration
	loadRate       int
	replikas       int
	replikaTargets int
	unrelated      int
	largeSize      int
	parallel       int
	jsonFile       string
	plotFile       string
	profileDir     string
	timeout        time.Duration
}

func parseFlags(flags *flag.FlagSet, args []string) *options {
	o := &options{namespaces: []int{1000}}
	flags.StringVar(&o.operator, "operator", filepath.Join("bin", "manager"), "the operator's binary")
	flags.StringVar(&o.config, "config", "config", "the directory with the CRD (crd/bases) and the roles (rbac)")
	flags.Func("only", "run only these sections, separated by commas: "+strings.Join(sectionNames(), ", "), listOf(&o.only))
	flags.Func("skip", "skip these sections, separated by commas", listOf(&o.skip))
	flags.Func("namespaces", "number of target namespaces; the growth section also uses further sizes, separated by commas (default 1000)",
		func(text string) (err error) {
			o.namespaces, err = parseSizes(text)
			return err
		})
	flags.IntVar(&o.pairs, "pairs", 5, "number of operator/baseline rounds")
	flags.IntVar(&o.growthPairs, "growth-pairs", 3, "number of operator/baseline rounds at the further sizes")
	flags.IntVar(&o.samples, "samples", 500, "latency samples per type")
	flags.DurationVar(&o.interval, "interval", 10*time.Second, "synchronization.time of the Replikas in the section rest")
	flags.DurationVar(&o.loadTime, "load-time", 30*time.Second, "duration of the edits in the section load")
	flags.IntVar(&o.loadRate, "load-rate", 10, "edits per second in the section load")
	flags.IntVar(&o.replikas, "replikas", 100, "number of Replikas in the section many")
	flags.IntVar(&o.replikaTargets, "replika-namespaces", 300, "number of namespaces per Replika in the section many")
	flags.IntVar(&o.unrelated, "unrelated", 2000, "number of unrelated ConfigMaps, and of unrelated Secrets, of 10 KiB each")
	flags.IntVar(&o.largeSize, "large-size", 900, "size of the copies in the section coldstart, in KiB")
	flags.IntVar(&o.parallel, "max-concurrent-writes", 16, "concurrent requests of operator and baseline")
	flags.StringVar(&o.jsonFile, "json", "", "write all results to this JSON file")
	flags.StringVar(&o.plotFile, "plot", "", "plot time and memory against the number of namespaces to this SVG file; needs the section growth")
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

func parseSizes(text string) ([]int, error) {
	var sizes []int
	for number := range strings.SplitSeq(text, ",") {
		size, err := strconv.Atoi(number)
		if err != nil {
			return nil, err
		}
		sizes = append(sizes, size)
	}
	if !slices.IsSorted(sizes) {
		return nil, errors.New("sizes must be in ascending order")
	}
	return sizes, nil
}

// validate returns an error for values that cannot be measured.
func (o *options) validate() error {
	for flag, value := range map[string]int{
		"pairs": o.pairs, "growth-pairs": o.growthPairs, "samples": o.samples, "load-rate": o.loadRate, "replikas": o.replikas,
		"replika-namespaces": o.replikaTargets, "unrelated": o.unrelated, "large-size": o.largeSize, "max-concurrent-writes": o.parallel,
	} {
		if value < 1 {
			return fmt.Errorf("--%s must be at least 1", flag)
		}
	}
	if o.size() < minNamespaces || o.largest() > maxNamespaces {
		return fmt.Errorf("--namespaces must be from %d to %d", minNamespaces, maxNamespaces)
	}
	return nil
}

// The bounds of --namespaces: what the sections need, and what the six digits in the names of namespaces allow.
const (
	minNamespaces = 20
	maxNamespaces = 100_000
)

// size is the number of namespaces in all sections but growth and many.
func (o *options) size() int { return o.namespaces[0] }

func (o *options) largest() int { return o.namespaces[len(o.namespaces)-1] }

// selected reports whether to run the section.
func (o *options) selected(section string) bool {
	return (len(o.only) == 0 || slices.Contains(o.only, section)) && !slices.Contains(o.skip, section)
}
