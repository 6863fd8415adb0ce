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
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// customization is the folder of the health check, with the path and the files that Argo CD's repository has for it.
const customization = "../../config/argocd/resource_customizations/replika.prosimcorp.com/Replika"

// wantKstatus has the kstatus of each object of the test data, for which Argo CD's form has no place.
var wantKstatus = map[string]string{
	"testdata/healthy.yaml":                      "Current",
	"testdata/progressing-not-reconciled.yaml":   "InProgress",
	"testdata/progressing-new-generation.yaml":   "InProgress",
	"testdata/progressing-reconciling.yaml":      "InProgress",
	"testdata/progressing-source-not-found.yaml": "InProgress",
	"testdata/progressing-deleted.yaml":          "Terminating",
	"testdata/degraded-copies-failed.yaml":       "InProgress",
	"testdata/degraded-stalled.yaml":             "Failed",
	"testdata/suspended.yaml":                    "Current",
	"testdata/suspended-dry-run.yaml":            "InProgress",
}

func healthCheck(t *testing.T) string {
	t.Helper()
	check, err := os.ReadFile(filepath.Join(customization, "health.lua"))
	if err != nil {
		t.Fatal(err)
	}
	return string(check)
}

func TestHealth(t *testing.T) {
	var cases struct {
		Tests []struct {
			InputPath    string       `json:"inputPath"`
			HealthStatus healthStatus `json:"healthStatus"`
		} `json:"tests"`
	}
	if err := readYAML(filepath.Join(customization, "health_test.yaml"), &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases.Tests) != len(wantKstatus) {
		t.Errorf("health_test.yaml has %d tests, want %d", len(cases.Tests), len(wantKstatus))
	}
	check := healthCheck(t)
	for _, test := range cases.Tests {
		t.Run(test.InputPath, func(t *testing.T) {
			object := map[string]any{}
			if err := readYAML(filepath.Join(customization, test.InputPath), &object); err != nil {
				t.Fatal(err)
			}
			health, err := argoCD(check, object)
			if err != nil || health != test.HealthStatus {
				t.Errorf("Argo CD health is %+v (%v), want %+v", health, err, test.HealthStatus)
			}
			got, err := kstatus(object)
			if want := wantKstatus[test.InputPath]; err != nil || got != want {
				t.Errorf("kstatus is %s (%v), want %s", got, err, want)
			}
		})
	}
}

func TestHealth_AllTestData(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(customization, "testdata", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := "testdata/" + filepath.Base(file); wantKstatus[name] == "" {
			t.Errorf("%s is not tested", name)
		}
	}
}

func TestHealth_README(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(string(readme), -1) {
		if !strings.Contains(block[1], "name: argocd-cm") {
			continue
		}
		var config struct{ Data map[string]string }
		if err := yaml.Unmarshal([]byte(block[1]), &config); err != nil {
			t.Fatal(err)
		}
		if config.Data["resource.customizations.health.replika.prosimcorp.com_Replika"] != healthCheck(t) {
			t.Error("the health check in the README is not health.lua")
		}
		return
	}
	t.Error("the README has no health check")
}

func TestArgoCD_InvalidHealthCheck(t *testing.T) {
	for _, check := range []string{"return 1", "return {status = 'Fine', message = ''}", "return {status = 'Healthy'}", "oops(", "return {status = 'Healthy', message = string.upper('no library')}"} {
		if got, err := argoCD(check, map[string]any{}); err == nil {
			t.Errorf("%s: got %+v, want an error", check, got)
		}
	}
}
