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

package planner

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Controllers add entries to the imagePullSecrets of a ServiceAccount, whose Secrets exist in its namespace only. On a copy
// these entries belong to them and are kept, as labels and annotations of other clients are. See [Applied].

var serviceAccountKind = schema.GroupKind{Kind: "ServiceAccount"}

const (
	pullSecretsField = "imagePullSecrets"
	// generatedPullSecret is part of the names of the Secrets that OpenShift creates for each ServiceAccount.
	generatedPullSecret = "-dockercfg-" //nolint:gosec // part of a name, not a credential
)

// removeGeneratedPullSecrets removes the entries that OpenShift adds to each ServiceAccount.
func removeGeneratedPullSecrets(content map[string]any) {
	keepPullSecrets(content, func(name string) bool { return !strings.Contains(name, generatedPullSecret) })
}

// keepPullSecrets removes the entries with another name from the content. The list itself is not changed.
func keepPullSecrets(content map[string]any, keep func(name string) bool) {
	list, isList := content[pullSecretsField].([]any)
	if !isList {
		return
	}
	kept := make([]any, 0, len(list))
	for _, entry := range list {
		if keep(pullSecretName(entry)) {
			kept = append(kept, entry)
		}
	}
	if len(kept) == 0 {
		delete(content, pullSecretsField)
		return
	}
	content[pullSecretsField] = kept
}

// pullSecretNames returns the names of the entries, sorted.
func pullSecretNames(content map[string]any) []string {
	list, _ := content[pullSecretsField].([]any)
	names := map[string]bool{}
	for _, entry := range list {
		names[pullSecretName(entry)] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func pullSecretName(entry any) string {
	fields, _ := entry.(map[string]any)
	name, _ := fields["name"].(string)
	return name
}

// keepAppliedPullSecrets removes the entries that the template did not set from the content of a copy.
func keepAppliedPullSecrets(content map[string]any, applied Applied) {
	names := map[string]bool{}
	for _, name := range applied.among(imagePullSecretEntry, pullSecretNames(content)) {
		names[name] = true
	}
	keepPullSecrets(content, func(name string) bool { return names[name] })
}
