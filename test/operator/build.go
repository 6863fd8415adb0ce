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

package operator

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// Build compiles the operator into the folder, and returns the binary's path.
// The binary has the race detector if the test has it.
//
// It is `go run` with the program cp, because Go caches what `go run` links, unlike what `go build` does. So only the first of
// several suites links the binary.
func Build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "replika")
	args := []string{"run", "-exec=cp"}
	if race {
		args = append(args, "-race")
	}
	build := exec.CommandContext(ctx, "go", append(args, "github.com/prosimcorp/replika", binary)...)
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the operator: %w\n%s", err, output)
	}
	return binary, nil
}
