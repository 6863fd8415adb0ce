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
	"fmt"
	"slices"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// tokenSecretTypes are the types of Secrets that hold a token: a copy would give its identity to another namespace.
var tokenSecretTypes = []string{"kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"}

// requiredKeys are the keys that the API server requires in a Secret of a type, and rejects the Secret without.
var requiredKeys = map[string]struct {
	keys []string
	// any is true if one of the keys is enough.
	any bool
	// notEmpty is true if the key must have a value.
	notEmpty bool
}{
	"kubernetes.io/tls":              {keys: []string{"tls.crt", "tls.key"}},
	"kubernetes.io/basic-auth":       {keys: []string{"username", "password"}, any: true},
	"kubernetes.io/ssh-auth":         {keys: []string{"ssh-privatekey"}, notEmpty: true},
	"kubernetes.io/dockerconfigjson": {keys: []string{".dockerconfigjson"}},
	"kubernetes.io/dockercfg":        {keys: []string{".dockercfg"}},
}

// setSecretType sets the type of the copies of a Secret.
func setSecretType(content map[string]any, secretType string) error {
	if slices.Contains(tokenSecretTypes, secretType) {
		return &TemplateError{
			Reason: v1alpha1.ReasonSourceNotAllowed, Stalled: true,
			Message: fmt.Sprintf("spec.target.type is %s; token Secrets cannot be created", secretType),
		}
	}
	if secretType != "" {
		content["type"] = secretType
	}
	return nil
}

// validateSecretType returns an error if the copies lack keys that their type requires. The API server would reject every
// copy. If the source only lacks the keys for now, they are waited for.
func (r *keyRules) validateSecretType(content map[string]any) error {
	secretType, _ := content["type"].(string)
	required, found := requiredKeys[secretType]
	if !found {
		return nil
	}
	missing := slices.DeleteFunc(slices.Clone(required.keys), func(key string) bool {
		value, found := lookUpKey(content, key)
		return found && (!required.notEmpty || value != "" && value != nil)
	})
	if len(missing) == 0 || required.any && len(missing) < len(required.keys) {
		return nil
	}
	expected := slices.ContainsFunc(missing, r.canHave)
	if !required.any {
		expected = !slices.ContainsFunc(missing, func(key string) bool { return !r.canHave(key) })
	}
	message := fmt.Sprintf("the copies would not have %s, which Secrets of the type %s require", keyList(missing), secretType)
	if required.any {
		message = fmt.Sprintf("the copies would have neither of %s, one of which Secrets of the type %s require", keyList(missing), secretType)
	}
	if expected {
		return &TemplateError{
			Reason:  v1alpha1.ReasonKeyNotFound,
			Message: message + ": add what is missing to the source, or set spec.target.type to Opaque; existing copies stay as they are",
		}
	}
	return &TemplateError{
		Reason: v1alpha1.ReasonKeyConflict, Stalled: true,
		Message: message + ": set spec.target.type to Opaque, or copy what is missing (spec.source.keys, spec.target.keys)",
	}
}
