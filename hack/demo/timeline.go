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
	"io"
	"time"
)

// timeline prints what happens, with the time since the start.
type timeline struct {
	out   io.Writer
	start time.Time
}

func newTimeline(out io.Writer) *timeline {
	return &timeline{out: out, start: time.Now()}
}

// heading prints the title of a step.
func (t *timeline) heading(title string) {
	fmt.Fprintf(t.out, "\n%s\n", title)
}

// log prints one sentence.
func (t *timeline) log(format string, args ...any) {
	fmt.Fprintf(t.out, "%8.2fs  %s\n", time.Since(t.start).Seconds(), fmt.Sprintf(format, args...))
}
