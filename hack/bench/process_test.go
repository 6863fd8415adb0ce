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
	"os"
	"runtime"
	"testing"
	"time"
)

func TestCPUTime(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux provides the CPU time of another process")
	}
	// Less than the 10 ms of a clock tick.
	const work = 2 * time.Millisecond
	before := cpuTime(os.Getpid())
	for deadline := time.Now().Add(10 * time.Second); cpuTime(os.Getpid())-before < work; {
		if time.Now().After(deadline) {
			t.Fatalf("the CPU time grew by %s, want %s", cpuTime(os.Getpid())-before, work)
		}
	}
	if used := cpuTime(os.Getpid()) - before; used > time.Second {
		t.Errorf("the CPU time grew by %s, want about %s", used, work)
	}
}
