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
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// The modules whose versions in go.mod are the versions of the control plane.
const (
	kubernetesModule = "k8s.io/kubernetes"
	etcdModule       = "go.etcd.io/etcd/server/v3"
)

// newest is the Kubernetes version that this module's own go.mod pins.
const newest = "newest"

// versionsDir has a folder for each older version, with a go.mod.
const versionsDir = "versions"

// pins are the versions in a go.mod, the only place that defines them.
type pins struct {
	kubernetes, etcd string
	// dir is the folder of the go.mod.
	dir string
}

// findPins returns the pins of a Kubernetes minor version, such as 1.30, or of
// the newest.
func findPins(version string) (pins, error) {
	older, err := filepath.Glob(filepath.Join(versionsDir, "*"))
	if err != nil {
		return pins{}, fmt.Errorf("searching for versions: %w", err)
	}
	var known []string
	for _, dir := range append([]string{"."}, older...) {
		p, err := readPins(dir)
		if err != nil {
			return pins{}, err
		}
		major, minor, err := p.majorMinor()
		if err != nil {
			return pins{}, err
		}
		name := major + "." + minor
		if version == name || version == newest && dir == "." {
			return p, nil
		}
		known = append(known, name)
	}
	known[0] = newest
	return pins{}, fmt.Errorf("no go.mod pins Kubernetes %s: choose one of %s", version, strings.Join(known, ", "))
}

// readPins reads the versions from the go.mod in dir.
func readPins(dir string) (pins, error) {
	goMod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return pins{}, fmt.Errorf("reading the pinned versions (run it in hack/controlplane, or use make controlplane): %w", err)
	}
	p, err := parsePins(string(goMod))
	if err != nil {
		return pins{}, fmt.Errorf("%s: %w", filepath.Join(dir, "go.mod"), err)
	}
	p.dir = dir
	return p, nil
}

// parsePins reads the versions from the content of a go.mod file.
func parsePins(goMod string) (pins, error) {
	p := pins{kubernetes: required(goMod, kubernetesModule), etcd: required(goMod, etcdModule)}
	if p.kubernetes == "" || p.etcd == "" {
		return pins{}, fmt.Errorf("go.mod must require %s and %s (run it in hack/controlplane)", kubernetesModule, etcdModule)
	}
	if _, _, err := p.majorMinor(); err != nil {
		return pins{}, err
	}
	return p, nil
}

// required returns the version of a module that goMod requires, or "". Lines for
// tools contain the same path without a version and are ignored.
func required(goMod, module string) string {
	for line := range strings.Lines(goMod) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) >= 2 && fields[0] == module && strings.HasPrefix(fields[1], "v") {
			return fields[1]
		}
	}
	return ""
}

// majorMinor returns the parts of the Kubernetes version for the build flags.
func (p pins) majorMinor() (major, minor string, err error) {
	parts := strings.SplitN(strings.TrimPrefix(p.kubernetes, "v"), ".", 3)
	if len(parts) != 3 {
		return "", "", fmt.Errorf("version %q of %s in go.mod is not vMAJOR.MINOR.PATCH", p.kubernetes, kubernetesModule)
	}
	return parts[0], parts[1], nil
}

// dirName returns the name of the cache directory for these versions on this
// platform. test/cluster uses the same name.
func (p pins) dirName() string {
	return fmt.Sprintf("%s-etcd-%s-%s-%s", p.kubernetes, p.etcd, runtime.GOOS, runtime.GOARCH)
}
