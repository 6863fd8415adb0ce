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
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

const (
	// krewName is the name of the manifest for krew. In krew's index, it is replika.yaml.
	krewName = "kubectl-replika_krew.yaml"
	homepage = "https://github.com/prosimcorp/replika"
)

// krewPlugin is a manifest of krew (https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest).
type krewPlugin struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Metadata   krewMetadata `json:"metadata"`
	Spec       krewSpec     `json:"spec"`
}

type krewMetadata struct {
	Name string `json:"name"`
}

type krewSpec struct {
	Version          string         `json:"version"`
	Homepage         string         `json:"homepage"`
	ShortDescription string         `json:"shortDescription"`
	Description      string         `json:"description"`
	Platforms        []krewPlatform `json:"platforms"`
}

type krewPlatform struct {
	Selector krewSelector `json:"selector"`
	URI      string       `json:"uri"`
	SHA256   string       `json:"sha256"`
	Bin      string       `json:"bin"`
}

type krewSelector struct {
	MatchLabels map[string]string `json:"matchLabels"`
}

// krewManifest returns the manifest.
func (r *release) krewManifest(archives []archive) krewPlugin {
	plugin := krewPlugin{
		APIVersion: "krew.googlecontainertools.github.com/v1alpha2",
		Kind:       "Plugin",
		Metadata:   krewMetadata{Name: "replika"},
		Spec: krewSpec{
			Version:          r.version,
			Homepage:         homepage,
			ShortDescription: "Show what Replikas do, and why",
			Description: "Replika is an operator that copies objects of any kind to other namespaces.\n" +
				"This plugin shows what its Replikas do, where copies are and where they come from,\n" +
				"finds copies whose Replika is gone, and prints the permissions that Replikas need.\n",
		},
	}
	for _, built := range archives {
		plugin.Spec.Platforms = append(plugin.Spec.Platforms, krewPlatform{
			Selector: krewSelector{MatchLabels: map[string]string{"os": built.os, "arch": built.arch}},
			URI:      homepage + "/releases/download/" + r.version + "/" + built.archive(),
			SHA256:   built.sha256,
			Bin:      built.binary(),
		})
	}
	return plugin
}

func (r *release) writeKrewManifest(archives []archive) error {
	content, err := yaml.Marshal(r.krewManifest(archives))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.output, krewName), content, 0o644)
}
