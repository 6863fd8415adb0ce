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

// watchdog kills the cluster's programs when killAll is called, and also when
// this process ends without a cleanup, as after a panic, a test timeout or a
// kill. It is a named pipe that only this process holds open for writing. When
// the process ends, the kernel closes the pipe, and a reader beside each program
// kills it.
type watchdog struct {
	path string
	once sync.Once
	pipe *os.File
}

// watchdogPipe is the name of the pipe in Cluster.Dir.
const watchdogPipe = "watchdog"

// pidSuffix is the suffix of the files in Cluster.Dir that hold the programs'
// process IDs.
const pidSuffix = ".pid"

func newWatchdog(dir string) (*watchdog, error) {
	w := &watchdog{path: filepath.Join(dir, watchdogPipe)}
	// The pipe gets its name only after it is open: removeStaleDirs takes a pipe
	// that no process has open for that of a killed process.
	temporary := w.path + ".new"
	if err := syscall.Mkfifo(temporary, 0o600); err != nil {
		return nil, fmt.Errorf("creating the pipe %s: %w", w.path, err)
	}
	// Also for reading: otherwise opening it blocks until there is a reader.
	pipe, err := os.OpenFile(temporary, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the pipe %s: %w", w.path, err)
	}
	if err := os.Rename(temporary, w.path); err != nil {
		return nil, errors.Join(fmt.Errorf("renaming the pipe %s: %w", w.path, err), pipe.Close())
	}
	w.pipe = pipe
	return w, nil
}

// removeStaleDirs removes the folders of clusters whose process was killed,
// because each holds the state of an etcd. It ignores errors.
func removeStaleDirs() {
	pipes, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*", watchdogPipe))
	for _, path := range pipes {
		// The owner has it open for reading too, so this fails only if the owner has
		// ended.
		f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		switch {
		case err == nil:
			_ = f.Close()
		case errors.Is(err, syscall.ENXIO):
			_ = os.RemoveAll(filepath.Dir(path))
		}
	}
}

// killAll kills all wrapped programs, and each that starts later, because its
// reader finds no pipe.
func (w *watchdog) killAll() {
	w.once.Do(func() {
		_ = os.Remove(w.path)
		_ = w.pipe.Close()
	})
}

// wrap returns the path of a shell script to start instead of the program. The
// script writes its process ID to a file, starts the reader in the background and
// then executes the program. The reader kills the whole process group, so the
// script has to be started as the leader of a group. For --help, which envtest
// runs without a group, the script starts no reader. GOGC trades memory, of which
// a test machine has enough, for processor time.
func (w *watchdog) wrap(program string) (string, error) {
	script := filepath.Join(filepath.Dir(w.path), "run-"+filepath.Base(program))
	text := fmt.Sprintf(`#!/bin/sh
case "$1" in --help) ;; *)
	echo $$ >%s
	{ read -r _ <%s; kill -s KILL -- -$$; } >/dev/null 2>&1 &
esac
exec env GOGC=300 %s "$@"
`, quote(filepath.Join(filepath.Dir(w.path), filepath.Base(program)+pidSuffix)), quote(w.path), quote(program))
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		return "", fmt.Errorf("wrapping %s: %w", filepath.Base(program), err)
	}
	return script, nil
}

// quote quotes s for the shell.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
