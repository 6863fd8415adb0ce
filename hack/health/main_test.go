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
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// healthCheck returns the Argo CD health check in the README.
func healthCheck(t *testing.T) string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(string(readme), -1) {
		var config struct{ Data map[string]string }
		if !strings.Contains(block[1], "name: argocd-cm") {
			continue
		}
		if err := yaml.Unmarshal([]byte(block[1]), &config); err != nil {
			t.Fatal(err)
		}
		if check := config.Data["resource.customizations.health.replika.prosimcorp.com_Replika"]; check != "" {
			return check
		}
	}
	t.Fatal("the README has no health check")
	return ""
}

func TestHealth(t *testing.T) {
	check := healthCheck(t)
	cases := map[string]struct {
		metadata, status string
		wantArgoCD       string
		wantKstatus      string
	}{
		"not reconciled yet": {
			metadata: `{generation: 1}`, status: `{observedGeneration: -1}`,
			wantArgoCD: "Progressing", wantKstatus: "InProgress",
		},
		"in sync": {
			metadata:   `{generation: 1}`,
			status:     `{observedGeneration: 1, conditions: [{type: Ready, status: "True", reason: Synced, message: fine}]}`,
			wantArgoCD: "Healthy", wantKstatus: "Current",
		},
		"new generation not reconciled yet": {
			metadata:   `{generation: 2}`,
			status:     `{observedGeneration: 1, conditions: [{type: Ready, status: "True", reason: Synced, message: fine}]}`,
			wantArgoCD: "Progressing", wantKstatus: "InProgress",
		},
		"reconciling": {
			metadata: `{generation: 1}`,
			status: `{observedGeneration: 1, conditions: [{type: Ready, status: Unknown, reason: Progressing, message: working},
				{type: Reconciling, status: "True", reason: Progressing, message: working}]}`,
			wantArgoCD: "Progressing", wantKstatus: "InProgress",
		},
		"source not found": {
			metadata: `{generation: 1}`,
			status: `{observedGeneration: 1, conditions: [{type: Reconciling, status: "True", reason: SourceNotFound, message: waiting},
				{type: Ready, status: "False", reason: SourceNotFound, message: waiting}]}`,
			wantArgoCD: "Progressing", wantKstatus: "InProgress",
		},
		"failed copies": {
			metadata: `{generation: 1}`,
			status: `{observedGeneration: 1, conditions: [{type: Ready, status: "False", reason: CopiesFailed, message: conflict},
				{type: Reconciling, status: "True", reason: CopiesFailed, message: conflict}]}`,
			wantArgoCD: "Degraded", wantKstatus: "InProgress",
		},
		"stalled": {
			metadata: `{generation: 1}`,
			status: `{observedGeneration: 1, conditions: [{type: Ready, status: "False", reason: KindNotAllowed, message: never},
				{type: Stalled, status: "True", reason: KindNotAllowed, message: never}]}`,
			wantArgoCD: "Degraded", wantKstatus: "Failed",
		},
		"suspended": {
			metadata:   `{generation: 1}`,
			status:     `{observedGeneration: 1, conditions: [{type: Ready, status: "True", reason: Suspended, message: on hold}]}`,
			wantArgoCD: "Suspended", wantKstatus: "Current",
		},
		"dry run": {
			metadata:   `{generation: 1}`,
			status:     `{observedGeneration: 1, conditions: [{type: Ready, status: "Unknown", reason: DryRun, message: planned}]}`,
			wantArgoCD: "Suspended", wantKstatus: "InProgress",
		},
		"being deleted": {
			metadata:   `{generation: 2, deletionTimestamp: "2026-01-01T00:00:00Z"}`,
			status:     `{observedGeneration: 2, conditions: [{type: Ready, status: "True", reason: Synced, message: fine}]}`,
			wantArgoCD: "Progressing", wantKstatus: "Terminating",
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			object := map[string]any{}
			manifest := "{apiVersion: replika.prosimcorp.com/v1alpha1, kind: Replika, metadata: " + test.metadata + ", status: " + test.status + "}"
			if err := yaml.Unmarshal([]byte(manifest), &object); err != nil {
				t.Fatal(err)
			}
			got, err := argoCD(check, object)
			if err != nil || got != test.wantArgoCD {
				t.Errorf("Argo CD health is %s (%v), want %s", got, err, test.wantArgoCD)
			}
			got, err = kstatus(object)
			if err != nil || got != test.wantKstatus {
				t.Errorf("kstatus is %s (%v), want %s", got, err, test.wantKstatus)
			}
		})
	}
}

func TestArgoCD_InvalidHealthCheck(t *testing.T) {
	for _, check := range []string{"return 1", "return {status = 'Fine', message = ''}", "return {status = 'Healthy'}", "oops("} {
		if got, err := argoCD(check, map[string]any{}); err == nil {
			t.Errorf("%s: got status %s, want an error", check, got)
		}
	}
}
