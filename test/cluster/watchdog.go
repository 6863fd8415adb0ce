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
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// lifeline ties the cluster's programs to this process: they are killed when
// it is cut, and also when this process dies without a chance to clean up, as
// in a panic, a test timeout or a kill. It is a named pipe that this process
// alone holds open for writing; the kernel closes it with the process, and a
// reader beside each program sees that at once.
type watchdog struct {
	path string
	once sync.Once
	pipe *os.File
}

// lifelineName is the pipe in Cluster.Dir.
const watchdogPipe = "lifeline"

// pidSuffix ends the names of the files in Cluster.Dir that hold the numbers of
// the programs' processes.
const pidSuffix = ".pid"

func newWatchdog(dir string) (*watchdog, error) {
	l := &watchdog{path: filepath.Join(dir, watchdogPipe)}
	// It gets its name when it is held: to sweep, one that nobody holds means
	// that its owner is dead.
	unnamed := l.path + ".new"
	if err := syscall.Mkfifo(unnamed, 0o600); err != nil {
		return nil, fmt.Errorf("make the lifeline %s: %w", l.path, err)
	}
	// For reading too: else open waits for a reader.
	pipe, err := os.OpenFile(unnamed, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("hold the lifeline %s: %w", l.path, err)
	}
	if err := os.Rename(unnamed, l.path); err != nil {
		return nil, errors.Join(fmt.Errorf("name the lifeline %s: %w", l.path, err), pipe.Close())
	}
	l.pipe = pipe
	return l, nil
}

// sweep removes the folders of clusters whose process was killed: each holds
// the state of an etcd, and nobody else will. What cannot be removed stays.
func removeStaleDirs() {
	pipes, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*", watchdogPipe))
	for _, path := range pipes {
		// An owner holds it for reading too, so this fails only if there is none.
		f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		switch {
		case err == nil:
			_ = f.Close()
		case errors.Is(err, syscall.ENXIO):
			_ = os.RemoveAll(filepath.Dir(path))
		}
	}
}

// cut kills all programs on the lifeline, and every one that starts later: its
// reader finds no pipe any more.
func (l *watchdog) killAll() {
	l.once.Do(func() {
		_ = os.Remove(l.path)
		_ = l.pipe.Close()
	})
}

// tie returns the path of a script to start instead of program. It becomes the
// program, and leaves behind a file with the number of the process, and the
// reader, which kills the whole process group. So the script has to be started
// as the leader of a group; where it is not, as when envtest asks for --help,
// there is no such group and nobody is hit.
func (l *watchdog) wrap(program string) (string, error) {
	script := filepath.Join(filepath.Dir(l.path), "run-"+filepath.Base(program))
	text := fmt.Sprintf(`#!/bin/sh
case "$1" in --help) ;; *)
	echo $$ >%s
	{ read -r _ <%s; kill -s KILL -- -$$; } >/dev/null 2>&1 &
esac
exec %s "$@"
`, quote(filepath.Join(filepath.Dir(l.path), filepath.Base(program)+pidSuffix)), quote(l.path), quote(program))
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		return "", fmt.Errorf("tie %s to the lifeline: %w", filepath.Base(program), err)
	}
	return script, nil
}

// quote makes s one word for the shell.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
