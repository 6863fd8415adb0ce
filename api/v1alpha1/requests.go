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

package v1alpha1

import (
	"crypto/sha256"
	"encoding/hex"
)

// AnnotationRequestedAt requests a reconcile of the Replika that has it. The
// operator then reads everything anew, before synchronization.time is over. A
// new value is a new request, whatever it is; `kubectl replika sync` sets the time. The operator
// does not change it. When a reconcile has handled it, status.lastHandledRequest
// is HandledRequest of the value.
const AnnotationRequestedAt = KeyPrefix + "requested-at"

// maxHandledRequest is the maximum length of status.lastHandledRequest.
const maxHandledRequest = sha256.Size * 2

// HandledRequest returns the value of status.lastHandledRequest that records a
// request: the value of AnnotationRequestedAt or, if it is longer than 64
// bytes, its SHA-256 in hexadecimal.
func HandledRequest(requestedAt string) string {
	if len(requestedAt) <= maxHandledRequest {
		return requestedAt
	}
	sum := sha256.Sum256([]byte(requestedAt))
	return hex.EncodeToString(sum[:])
}
