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

package commands

import (
	"fmt"
	"io"
	"time"
)

// progressInterval is the minimum time between two prints.
const progressInterval = 100 * time.Millisecond

// progress shows on a terminal how far a long read is. It prints nothing anywhere else.
type progress struct {
	out     io.Writer // nil if it is no terminal
	title   string
	count   int
	printed time.Time
}

// startProgress returns the progress of a read, such as "Reading configmaps". The caller ends it with done.
func (e *environment) startProgress(title string) *progress {
	p := &progress{title: title}
	if isTerminal(e.ErrOut) {
		p.out = e.ErrOut
		p.printed = time.Now() // what takes less than the interval shows nothing
	}
	return p
}

// add counts objects that were read.
func (p *progress) add(count int) {
	p.count += count
	if p.out == nil || time.Since(p.printed) < progressInterval {
		return
	}
	p.printed = time.Now()
	fmt.Fprintf(p.out, "\r%s: %d\x1b[K", p.title, p.count)
}

// done removes the progress from the terminal.
func (p *progress) done() {
	if p.out != nil {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
