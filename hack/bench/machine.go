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
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// environment is what was measured, and where.
type environment struct {
	Date       string  `json:"date"`
	Operator   string  `json:"operator"`
	Kubernetes string  `json:"kubernetes"`
	Go         string  `json:"go"`
	System     string  `json:"system"`
	Processor  string  `json:"processor,omitempty"`
	Processors int     `json:"processors"`
	MemoryGiB  float64 `json:"memoryGiB,omitempty"`
	// Load is how many processes wanted a processor before the benchmark did: 0 is a quiet machine.
	Load float64 `json:"loadBefore"`
}

func describeMachine() environment {
	e := environment{
		Date: time.Now().UTC().Format(time.DateOnly), Go: runtime.Version(),
		System: runtime.GOOS + "/" + runtime.GOARCH, Processors: runtime.NumCPU(),
		Processor: find("/proc/cpuinfo", `(?m)^model name\s*: (.+)$`),
	}
	// Where these cannot be read they stay 0.
	kibibytes, _ := strconv.ParseFloat(find("/proc/meminfo", `(?m)^MemTotal:\s*(\d+) kB$`), 64)
	e.MemoryGiB = kibibytes / (1 << 20)
	e.Load, _ = strconv.ParseFloat(find("/proc/loadavg", `^(\S+)`), 64)
	return e
}

// find is the first group of a pattern in a file; empty if there is none.
func find(path, pattern string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	if found := regexp.MustCompile(pattern).FindSubmatch(text); found != nil {
		return strings.TrimSpace(string(found[1]))
	}
	return ""
}

func (e environment) String() string {
	return fmt.Sprintf("%s: Replika %s, Kubernetes %s, %s, %s, %d × %s, %.0f GiB, load before %.2f",
		e.Date, e.Operator, e.Kubernetes, e.Go, e.System, e.Processors, e.Processor, e.MemoryGiB, e.Load)
}
