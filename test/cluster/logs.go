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

package cluster

import (
	"io"
	"sync"
)

// logs writes the output of all programs to one writer, which need not be safe
// for concurrent use.
type logs struct {
	mu sync.Mutex
	to io.Writer
}

func newLogs(to io.Writer) *logs {
	if to == nil {
		to = io.Discard
	}
	return &logs{to: to}
}

// writerFor returns the writer for one program.
func (l *logs) writerFor(program string) *programLog {
	return &programLog{logs: l, program: program}
}

// programLog keeps the end of a program's log, for the error if it does not
// start.
type programLog struct {
	logs    *logs
	program string
	last    []byte // guarded by logs.mu
}

// lastBytes is the size of the end of a log that an error includes.
const lastBytes = 4 << 10

// Write implements io.Writer.
func (p *programLog) Write(b []byte) (int, error) {
	p.logs.mu.Lock()
	defer p.logs.mu.Unlock()
	p.last = append(p.last, b...)
	if over := len(p.last) - lastBytes; over > 0 {
		p.last = append(p.last[:0], p.last[over:]...)
	}
	// An error of the log must not stop the program.
	_, _ = p.logs.to.Write(b)
	return len(b), nil
}

// String returns the end of the program's log.
func (p *programLog) String() string {
	p.logs.mu.Lock()
	defer p.logs.mu.Unlock()
	if len(p.last) == 0 {
		return p.program + " logged nothing"
	}
	return p.program + ": end of the log:\n" + string(p.last)
}
