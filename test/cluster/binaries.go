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
	"runtime"
	"strings"
)

// assetsEnv is the variable that envtest reads.
const assetsEnv = "KUBEBUILDER_ASSETS"

// binaries is the folder of the control plane's programs.
type binaries string

// Names of the programs that envtest starts.
const (
	etcdName      = "etcd"
	apiServerName = "kube-apiserver"
)

func (b binaries) etcd() string      { return filepath.Join(string(b), etcdName) }
func (b binaries) apiServer() string { return filepath.Join(string(b), apiServerName) }
func (b binaries) controllerManager() string {
	return filepath.Join(string(b), "kube-controller-manager")
}

// validate returns an error that names the first program that is missing.
func (b binaries) validate() error {
	for _, path := range []string{b.etcd(), b.apiServer(), b.controllerManager()} {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("control plane binary: %w", err)
		}
	}
	return nil
}

// findBinaries returns the folder that the environment names, or else the
// per-user cache of hack/controlplane. It does not build the binaries: a test
// must not compile Kubernetes implicitly.
func findBinaries() (binaries, error) {
	const advice = "run `make controlplane`, or `export KUBEBUILDER_ASSETS=\"$(make -s controlplane | tail -n 1)\"`"
	dir := os.Getenv(assetsEnv)
	if dir == "" {
		var err error
		if dir, err = cacheFolder(); err != nil {
			return "", fmt.Errorf("%s is not set, and the cache cannot be found (%s): %w", assetsEnv, advice, err)
		}
	}
	b := binaries(dir)
	if err := b.validate(); err != nil {
		return "", fmt.Errorf("%w: %s", err, advice)
	}
	return b, nil
}

// cacheFolder returns the folder where hack/controlplane keeps the binaries of
// the versions that its go.mod pins.
func cacheFolder() (string, error) {
	goMod, err := findUp(filepath.Join("hack", "controlplane", "go.mod"))
	if err != nil {
		return "", err
	}
	content, err := os.ReadFile(goMod)
	if err != nil {
		return "", fmt.Errorf("reading the control plane's versions: %w", err)
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the per-user cache folder: %w", err)
	}
	return filepath.Join(user, "replika", "controlplane", fmt.Sprintf("%s-etcd-%s-%s-%s",
		requiredVersion(string(content), "k8s.io/kubernetes"),
		requiredVersion(string(content), "go.etcd.io/etcd/server/v3"),
		runtime.GOOS, runtime.GOARCH)), nil
}

// findUp returns the path of a repository file, which it searches in the working
// folder and its parents.
func findUp(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	for {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("the working folder is outside the repository")
		}
		dir = parent
	}
}

// requiredVersion returns the version at which goMod requires module, or "".
func requiredVersion(goMod, module string) string {
	for line := range strings.Lines(goMod) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) >= 2 && fields[0] == module && strings.HasPrefix(fields[1], "v") {
			return fields[1]
		}
	}
	return ""
}
