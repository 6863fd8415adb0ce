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
	"strings"
)

// assetsEnv is the environment variable that envtest uses, too. Users who have
// set it for other projects get the same binaries here.
const assetsEnv = "KUBEBUILDER_ASSETS"

// binary is one program of the control plane and the package it is built from.
type binary struct {
	name, pkg string
}

var binaries = []binary{
	{"etcd", "go.etcd.io/etcd/server/v3"},
	{"kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"},
	{"kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"},
}

// missing returns the binaries that dir does not hold as executable files.
func missing(dir string) []binary {
	var out []binary
	for _, b := range binaries {
		info, err := os.Stat(filepath.Join(dir, b.name))
		if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			out = append(out, b)
		}
	}
	return out
}

// joinNames returns the names of the binaries, separated by commas.
func joinNames(list []binary) string {
	var out []string
	for _, b := range list {
		out = append(out, b.name)
	}
	return strings.Join(out, ", ")
}

// fromEnvironment returns the directory from the environment variable. It fails
// if a binary is missing there, because a fallback would run other binaries than
// the user expects.
func fromEnvironment(dir string) (string, error) {
	if !filepath.IsAbs(dir) { // this program and the tests have different working directories
		return "", fmt.Errorf("%s=%s must be an absolute path", assetsEnv, dir)
	}
	if lacking := missing(dir); len(lacking) > 0 {
		return "", fmt.Errorf("%s=%s lacks %s: add the missing binaries, or unset %s to download or build all of them",
			assetsEnv, dir, joinNames(lacking), assetsEnv)
	}
	return dir, nil
}
