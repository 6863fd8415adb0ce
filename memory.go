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
	"context"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// maxGarbage is how much a large heap may grow between two garbage collections. With GOGC alone it is a share of the heap, so that a
	// cluster of 100,000 copies needs tens of MiB for garbage.
	maxGarbage = 12 << 20
	// minGCPercent limits the processor time that this costs.
	minGCPercent = 20
	// tuneInterval is how often the size of the heap is read.
	tuneInterval = time.Second
	// An operator that allocates less than idleAllocation in each of idleIntervals intervals returns what it does not use, if that is at
	// least minReturned. Otherwise it would keep the memory of a fan-out until the next garbage collection, for up to two minutes.
	idleIntervals  = 2
	idleAllocation = 512 << 10
	minReturned    = 4 << 20
)

// memoryTuner keeps the garbage of a large heap small, and returns unused memory to the operating system after much work. It runs on every
// instance.
type memoryTuner struct{}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (memoryTuner) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (memoryTuner) Start(ctx context.Context) error {
	usage := newHeapUsage()
	last := usage.read()
	configured, current := last.gogc, last.gogc
	ticker := time.NewTicker(tuneInterval)
	defer ticker.Stop()
	for idle := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := usage.read()
		if percent := gcPercent(now.live, configured); percent != current {
			debug.SetGCPercent(int(percent)) //nolint:gosec // at most MaxInt32, see gcPercent
			current = percent
		}
		allocated := now.allocated - last.allocated
		last = now
		if allocated >= idleAllocation {
			idle = 0
			continue
		}
		if idle++; idle == idleIntervals && now.unused() >= minReturned {
			debug.FreeOSMemory()
		}
	}
}

// gcPercent returns the value of GOGC for a heap with so many live bytes.
func gcPercent(live, configured uint64) uint64 {
	if live == 0 || configured > math.MaxInt32 { // GOGC=off
		return configured
	}
	return min(configured, max(minGCPercent, maxGarbage*100/live))
}

// heap is the memory of the heap, in bytes, and the value of GOGC.
type heap struct {
	gogc, live, objects, free, allocated uint64
}

// unused is what the heap has of garbage and free memory that was not returned to the operating system.
func (h *heap) unused() uint64 { return h.objects - min(h.live, h.objects) + h.free }

// heapUsage are the metrics of the runtime from which the heap is read, in the order of its fields.
type heapUsage []metrics.Sample

func newHeapUsage() heapUsage {
	return heapUsage{
		{Name: "/gc/gogc:percent"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/gc/heap/allocs:bytes"},
	}
}

func (u heapUsage) read() heap {
	metrics.Read(u)
	value := func(i int) uint64 { return u[i].Value.Uint64() }
	return heap{gogc: value(0), live: value(1), objects: value(2), free: value(3), allocated: value(4)}
}
