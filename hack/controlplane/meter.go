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

// meter follows a compilation by what the go command says: with -v it names
// every package that it compiles, and always every module that it downloads.
type meter struct {
	start time.Time

	mu        sync.Mutex
	name      string
	packages  map[string]bool // all packages of the program, true: compiled in this run
	compiled  int
	downloads int
	other     []string
	began     time.Time
}

// begin starts the count for one program.
func (m *meter) begin(name string, packages []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.name, m.compiled, m.other, m.began = name, 0, nil, time.Now()
	m.packages = make(map[string]bool, len(packages))
	for _, p := range packages {
		m.packages[p] = false
	}
}

// line takes one line of the go command's stderr.
func (m *meter) line(s string) {
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

// complaints returns what the go command said beside its progress.
func (m *meter) complaints() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	const last = 20 // the cause stands at the end
	return strings.Join(m.other[max(0, len(m.other)-last):], "\n")
}

// String says how far it is. Packages found in Go's build cache are never
// named, so the number compiled may stay below the total.
func (m *meter) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	elapsed := time.Since(m.start).Round(time.Second)
	if m.name == "" {
		return fmt.Sprintf("%6s  resolving, %d modules downloaded", elapsed, m.downloads)
	}
	return fmt.Sprintf("%6s  %s: %d of at most %d packages compiled", elapsed, m.name, m.compiled, len(m.packages))
}

// done says that the program of the last begin is ready.
func (m *meter) done() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprintf("%6s  %s: ready after %s, %d packages compiled, %d taken from Go's build cache",
		time.Since(m.start).Round(time.Second), m.name, time.Since(m.began).Round(time.Second),
		m.compiled, len(m.packages)-m.compiled)
}

// report says every so often how far it is, until stop is called.
func (m *meter) report(w io.Writer, every time.Duration) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				fmt.Fprintln(w, m)
			}
		}
	}()
	return func() { close(done); <-ended }
}

// lines is a writer that hands on whole lines.
type lines struct {
	each func(string)
	rest []byte
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
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

// flush hands on a last line that has no newline.
func (l *lines) flush() {
	if len(l.rest) > 0 {
		l.each(string(l.rest))
		l.rest = nil
	}
}
