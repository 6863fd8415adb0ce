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

	"golang.org/x/sys/unix"
)

// memory is the memory of the operator, in bytes.
type memory struct {
	// Heap is the live heap: what remains after a garbage collection.
	Heap int64 `json:"liveHeap"`
	// Anonymous is the resident memory that is not backed by a file. Peak is the maximum resident memory so far; it includes
	// the pages of the binary.
	Anonymous int64 `json:"rssAnon"`
	Peak      int64 `json:"rssPeak"`
}

// The heap also contains temporary buffers, and watch events may still arrive. It is read until it no longer shrinks, and the
// lowest value counts.
const (
	stableReads  = 5
	maxReads     = 50
	readInterval = 200 * time.Millisecond
)

// memory measures the operator. RssAnon is read first, because the garbage collections that follow would reduce it.
func (o *instance) memory(ctx context.Context) (memory, error) {
	var m memory
	var err error
	if m.Anonymous, m.Peak, err = o.residentMemory(); err != nil {
		return m, err
	}
	for read, stable := 0, 0; read < maxReads && stable < stableReads; read++ {
		heap, err := o.liveHeap(ctx)
		if err != nil {
			return m, err
		}
		stable++
		if read == 0 || heap < m.Heap {
			m.Heap, stable = heap, 0
		}
		if err := sleep(ctx, readInterval); err != nil {
			return m, err
		}
	}
	return m, nil
}

func (o *instance) residentMemory() (anonymous, peak int64, err error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", o.PID()))
	if err != nil {
		return 0, 0, fmt.Errorf("reading the memory of the operator (only possible on Linux): %w", err)
	}
	defer file.Close() // read-only, no error to handle
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		kibibytes, _ := strconv.ParseInt(fields[1], 10, 64) // always a number in the two lines below
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

// liveHeap returns the operator's heap after garbage collections. It triggers more than one, because objects with
// finalizers are only freed by the second.
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
		return 0, errors.New("the operator's heap profile does not contain HeapAlloc")
	}
	return strconv.ParseInt(string(found[1]), 10, 64)
}

// cpuTime returns the CPU time that the operator has used.
func (o *instance) cpuTime() time.Duration { return cpuTime(o.PID()) }

// cpuTime returns the CPU time that the process has used, in user and in kernel mode, or 0 where the system does not provide it.
// It is the sum of utime and stime in /proc/PID/stat, but in nanoseconds: those are multiples of 10 ms, too coarse for one event.
func cpuTime(pid int) time.Duration {
	// How Linux numbers the clock of a process: clock_getcpuclockid(3) returns it.
	const scheduled = 2
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &used); err != nil {
		return 0
	}
	return time.Duration(used.Nano())
}
