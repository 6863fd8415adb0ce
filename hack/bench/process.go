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
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// memory is what the operator holds at one moment, in bytes.
type memory struct {
	// Heap is live: what is left right after a garbage collection.
	Heap int64 `json:"liveHeap"`
	// Anonymous is what the operating system counts: memory that no file backs. Peak is the most it has been, with the
	// binary's pages.
	Anonymous int64 `json:"rssAnon"`
	Peak      int64 `json:"rssPeak"`
}

// Buffers come and go, and events of what was written may still be on their way: the heap is looked at until it no longer
// gets less, and the least is what is really kept.
const (
	steadyLooks = 5
	mostLooks   = 50
	lookPause   = 200 * time.Millisecond
)

// memory measures the operator. RssAnon is read first: a garbage collection that nobody asked for in real life must not
// make it small.
func (o *instance) memory(ctx context.Context) (memory, error) {
	var m memory
	var err error
	if m.Anonymous, m.Peak, err = o.resident(); err != nil {
		return m, err
	}
	for look, steady := 0, 0; look < mostLooks && steady < steadyLooks; look++ {
		heap, err := o.liveHeap(ctx)
		if err != nil {
			return m, err
		}
		steady++
		if look == 0 || heap < m.Heap {
			m.Heap, steady = heap, 0
		}
		if err := sleep(ctx, lookPause); err != nil {
			return m, err
		}
	}
	return m, nil
}

func (o *instance) resident() (anonymous, peak int64, err error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", o.PID()))
	if err != nil {
		return 0, 0, fmt.Errorf("memory is measured on Linux alone: %w", err)
	}
	defer file.Close() // only read
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		kibibytes, _ := strconv.ParseInt(fields[1], 10, 64) // of the two below it is a number
		switch fields[0] {
		case "RssAnon:":
			anonymous = kibibytes << 10
		case "VmHWM:":
			peak = kibibytes << 10
		}
	}
	return anonymous, peak, nil
}

var heapAlloc = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)

// liveHeap collects the operator's garbage, twice, as what a finalizer frees goes with the second time, and tells what is
// left.
func (o *instance) liveHeap(ctx context.Context) (int64, error) {
	for range 2 {
		if _, err := o.profile(ctx, "heap?gc=1&debug=1"); err != nil {
			return 0, err
		}
	}
	text, err := o.profile(ctx, "heap?gc=1&debug=1")
	if err != nil {
		return 0, err
	}
	found := heapAlloc.FindSubmatch(text)
	if found == nil {
		return 0, errors.New("the operator's heap profile does not tell HeapAlloc")
	}
	return strconv.ParseInt(string(found[1]), 10, 64)
}

// cpuTime is how long the operator has kept a processor busy.
func (o *instance) cpuTime() time.Duration { return cpuTime(o.PID()) }

// cpuTime is how long the process has kept a processor busy; 0 where that cannot be told.
func cpuTime(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// What comes before, the program's name in parentheses, may hold spaces.
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after)
	const user, system, ticksPerSecond = 11, 12, 100
	if len(fields) <= system {
		return 0
	}
	var ticks int64
	for _, field := range []int{user, system} {
		number, _ := strconv.ParseInt(fields[field], 10, 64) // the kernel writes numbers
		ticks += number
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond
}
