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

// runInfo describes a run: its date, the versions and the machine.
type runInfo struct {
	Date       string  `json:"date"`
	Operator   string  `json:"operator"`
	Kubernetes string  `json:"kubernetes"`
	Go         string  `json:"go"`
	System     string  `json:"system"`
	Processor  string  `json:"processor,omitempty"`
	Processors int     `json:"processors"`
	MemoryGiB  float64 `json:"memoryGiB,omitempty"`
	// Load is the load average before the start. It is 0 on an idle machine.
	Load float64 `json:"loadBefore"`
}

func newRunInfo() runInfo {
	r := runInfo{
		Date: time.Now().UTC().Format(time.DateOnly), Go: runtime.Version(),
		System: runtime.GOOS + "/" + runtime.GOARCH, Processors: runtime.NumCPU(),
		Processor: firstMatch("/proc/cpuinfo", `(?m)^model name\s*: (.+)$`),
	}
	// Both stay 0 where the files do not exist.
	kibibytes, _ := strconv.ParseFloat(firstMatch("/proc/meminfo", `(?m)^MemTotal:\s*(\d+) kB$`), 64)
	r.MemoryGiB = kibibytes / (1 << 20)
	r.Load, _ = strconv.ParseFloat(firstMatch("/proc/loadavg", `^(\S+)`), 64)
	return r
}

// firstMatch returns the first group of the pattern's first match in the file, or "" without a match.
func firstMatch(path, pattern string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	if found := regexp.MustCompile(pattern).FindSubmatch(text); found != nil {
		return strings.TrimSpace(string(found[1]))
	}
	return ""
}

func (r runInfo) String() string {
	return fmt.Sprintf("%s: Replika %s, Kubernetes %s, %s, %s, %d × %s, %.0f GiB, load before %.2f",
		r.Date, r.Operator, r.Kubernetes, r.Go, r.System, r.Processors, r.Processor, r.MemoryGiB, r.Load)
}
