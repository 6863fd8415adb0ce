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

package executor

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/controllers/planner"
)

// redact removes the data of a Secret from an error. Policies and webhooks may quote anything, also from the old object and
// in any encoding, so of their messages only the name of the policy or webhook remains.
func redact(resource schema.GroupResource, template *planner.Template, err error) error {
	if resource != (schema.GroupResource{Resource: "secrets"}) {
		return err
	}
	message := err.Error()
	if begin := freeTextPattern.FindStringIndex(message); begin != nil {
		return errors.New(message[:begin[1]] + "(details withheld because they may contain Secret data)")
	}
	if template == nil || !containsSecretValue(message, template.Content["data"]) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return errors.New("the API server rejected the copy; its message was withheld because it contains Secret data")
}

// minRedactLength is the length of the shortest value that is redacted. Shorter ones occur in messages by chance.
const minRedactLength = 4

// containsSecretValue reports whether the message contains a value of the data, plain or base64-encoded.
func containsSecretValue(message string, data json.RawMessage) bool {
	var values map[string]string
	if len(data) == 0 || json.Unmarshal(data, &values) != nil {
		return false
	}
	for _, encoded := range values {
		decoded, err := base64.StdEncoding.DecodeString(encoded)
		if err == nil && len(decoded) >= minRedactLength && strings.Contains(message, string(decoded)) {
			return true
		}
		if len(encoded) >= minRedactLength && strings.Contains(message, encoded) {
			return true
		}
	}
	return false
}

// freeTextPattern matches what the API server writes before the message of a policy or a webhook.
var freeTextPattern = regexp.MustCompile(`denied (the )?request: |failed calling webhook "[^"]*": `)
