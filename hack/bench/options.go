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
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are what can be chosen on the command line.
type options struct {
	operator string
	config   string
	only     []string
	skip     []string
	// namespaces are the sizes: the first is that of all sections, the others are for the growth alone.
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
	parallel       int
	jsonFile       string
	plotFile       string
	profileFolder  string
	timeout        time.Duration
}

func parseFlags(flags *flag.FlagSet, args []string) *options {
	o := &options{namespaces: []int{1000}}
	flags.StringVar(&o.operator, "operator", filepath.Join("bin", "manager"), "the operator's binary")
	flags.StringVar(&o.config, "config", "config", "the folder with the CRD (crd/bases) and the roles (rbac)")
	flags.Func("only", "measure these sections alone, separated by commas: "+strings.Join(sectionNames(), ", "), listOf(&o.only))
	flags.Func("skip", "leave these sections out", listOf(&o.skip))
	flags.Func("namespaces", "how many namespaces; further sizes, separated by commas, show the growth (default 1000)",
		func(text string) (err error) {
			o.namespaces, err = parseSizes(text)
			return err
		})
	flags.IntVar(&o.pairs, "pairs", 5, "how often operator and floor take turns")
	flags.IntVar(&o.growthPairs, "growth-pairs", 3, "how often they do at the further sizes")
	flags.IntVar(&o.samples, "samples", 500, "how many latencies of each sort are measured")
	flags.DurationVar(&o.interval, "interval", 10*time.Second, "the synchronization.time of Replikas at rest")
	flags.DurationVar(&o.loadTime, "load-time", 30*time.Second, "how long the source is edited under load")
	flags.IntVar(&o.loadRate, "load-rate", 10, "how many edits a second that are")
	flags.IntVar(&o.replikas, "replikas", 100, "how many Replikas share one operator")
	flags.IntVar(&o.replikaTargets, "replika-namespaces", 300, "how many namespaces each of these has")
	flags.IntVar(&o.unrelated, "unrelated", 2000, "how many unrelated ConfigMaps, and as many Secrets, of 10 KiB")
	flags.IntVar(&o.parallel, "max-concurrent-writes", 16, "how many requests operator and floor send at once")
	flags.StringVar(&o.jsonFile, "json", "", "write everything that was measured to this file")
	flags.StringVar(&o.plotFile, "plot", "", "draw time and memory against namespaces into this SVG file")
	flags.StringVar(&o.profileFolder, "profiles", "", "write CPU and heap profiles of the operator to this folder; they cost time")
	flags.DurationVar(&o.timeout, "timeout", time.Hour, "give up after this time")
	_ = flags.Parse(args) // it exits on an error
	return o
}

func listOf(list *[]string) func(string) error {
	return func(text string) error {
		*list = strings.Split(text, ",")
		for _, name := range *list {
			if !slices.Contains(sectionNames(), name) {
				return fmt.Errorf("there is no section %q", name)
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
		return nil, fmt.Errorf("the sizes do not grow")
	}
	return sizes, nil
}

// check refuses what could not be measured.
func (o *options) check() error {
	for flag, value := range map[string]int{
		"pairs": o.pairs, "growth-pairs": o.growthPairs, "samples": o.samples, "load-rate": o.loadRate, "replikas": o.replikas,
		"replika-namespaces": o.replikaTargets, "unrelated": o.unrelated, "max-concurrent-writes": o.parallel,
	} {
		if value < 1 {
			return fmt.Errorf("--%s must be at least 1", flag)
		}
	}
	if o.size() < smallest || o.largest() > largest {
		return fmt.Errorf("--namespaces must be from %d to %d", smallest, largest)
	}
	return nil
}

// The bounds of what namespaces are named for and of what a section needs.
const (
	smallest = 20
	largest  = 100_000
)

// size is how many namespaces most sections use.
func (o *options) size() int { return o.namespaces[0] }

func (o *options) largest() int { return o.namespaces[len(o.namespaces)-1] }

// wants tells whether a section was asked for.
func (o *options) wants(section string) bool {
	return (len(o.only) == 0 || slices.Contains(o.only, section)) && !slices.Contains(o.skip, section)
}
