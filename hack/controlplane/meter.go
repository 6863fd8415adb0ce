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
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progressMeter tracks the progress of a compilation by the output of the go
// command. With -v it prints each package that it compiles. It always prints
// each module that it downloads.
type progressMeter struct {
	start time.Time

	mu        sync.Mutex
	name      string
	packages  map[string]bool // all packages of the program; true if compiled by this process
	compiled  int
	downloads int
	other     []string
	started   time.Time
}

// begin starts counting for one program.
func (m *progressMeter) begin(name string, packages []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.name, m.compiled, m.other, m.started = name, 0, nil, time.Now()
	m.packages = make(map[string]bool, len(packages))
	for _, p := range packages {
		m.packages[p] = false
	}
}

// line processes one line of the go command's stderr.
func (m *progressMeter) line(s string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if compiled, known := m.packages[s]; known {
		if !compiled {
			m.packages[s] = true
			m.compiled++
		}
		return
	}
	if strings.HasPrefix(s, "go: downloading ") {
		m.downloads++
		return
	}
	m.other = append(m.other, s)
}

// otherOutput returns the end of the go command's output, without its progress.
func (m *progressMeter) otherOutput() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	const last = 20 // lines; the cause is at the end
	return strings.Join(m.other[max(0, len(m.other)-last):], "\n")
}

// String describes the progress. The go command does not print packages from
// its build cache, so the number of compiled packages can stay below the total.
func (m *progressMeter) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	elapsed := time.Since(m.start).Round(time.Second)
	if m.name == "" {
		return fmt.Sprintf("%6s  resolving packages: %d modules downloaded", elapsed, m.downloads)
	}
	return fmt.Sprintf("%6s  %s: %d of at most %d packages compiled", elapsed, m.name, m.compiled, len(m.packages))
}

// summary describes the completed compilation of the current program.
func (m *progressMeter) summary() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprintf("%6s  %s: completed in %s, %d packages compiled, %d found in Go's build cache",
		time.Since(m.start).Round(time.Second), m.name, time.Since(m.started).Round(time.Second),
		m.compiled, len(m.packages)-m.compiled)
}

// printEvery prints the progress at this interval until stop is called.
func (m *progressMeter) printEvery(w io.Writer, interval time.Duration) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				fmt.Fprintln(w, m)
			}
		}
	}()
	return func() { close(done); <-ended }
}

// lineWriter is an io.Writer that calls each with complete lines.
type lineWriter struct {
	each func(string)
	rest []byte
}

// Write implements io.Writer.
func (l *lineWriter) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		l.rest = rest
		l.each(string(line))
	}
}

// flush forwards a last line without a newline.
func (l *lineWriter) flush() {
	if len(l.rest) > 0 {
		l.each(string(l.rest))
		l.rest = nil
	}
}
