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
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
)

func TestFindBinaries_Environment(t *testing.T) {
	g := NewWithT(t)
	folder := t.TempDir()
	t.Setenv(assetsEnv, folder)
	_, err := findBinaries()
	g.Expect(err).To(MatchError(And(ContainSubstring("etcd"), ContainSubstring("make controlplane"))))

	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager"} {
		g.Expect(os.WriteFile(filepath.Join(folder, name), nil, 0o755)).To(Succeed())
	}
	g.Expect(findBinaries()).To(Equal(binaries(folder)))
}

func TestFindBinaries_Cache(t *testing.T) {
	g := NewWithT(t)
	t.Setenv(assetsEnv, "")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", "")
	_, err := findBinaries()
	g.Expect(err).To(MatchError(ContainSubstring("make controlplane")))

	folder, err := cacheFolder()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(filepath.Base(folder)).To(MatchRegexp(`^v1\.\d+\.\d+-etcd-v\d+\.\d+\.\d+-[a-z0-9]+-[a-z0-9]+$`))
	g.Expect(os.MkdirAll(folder, 0o755)).To(Succeed())
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager"} {
		g.Expect(os.WriteFile(filepath.Join(folder, name), nil, 0o755)).To(Succeed())
	}
	g.Expect(findBinaries()).To(Equal(binaries(folder)))
}
