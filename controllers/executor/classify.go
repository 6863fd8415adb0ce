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
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/controllers/planner"
)

// Classify returns the outcome that an error of a request means. This file is the only place where the code, reason, causes
// or message of an error response to a write are interpreted: all other code uses the outcome or the functions below.
func Classify(err error) planner.Outcome {
	var apiStatus apierrors.APIStatus
	if !errors.As(err, &apiStatus) {
		// No response: the connection broke, or the request timed out.
		return planner.Unavailable
	}
	status := apiStatus.Status()
	switch status.Code {
	case http.StatusNotFound:
		return classifyNotFound(status)
	case http.StatusConflict:
		return planner.Stale
	case http.StatusForbidden:
		return classifyForbidden(err, status)
	case http.StatusUnprocessableEntity:
		// A failed test of a JSON Patch has no causes, a failed validation has one for each field.
		if status.Details == nil || len(status.Details.Causes) == 0 {
			return planner.Stale
		}
		return planner.Rejected
	case http.StatusUnauthorized:
		return planner.Forbidden
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge:
		return planner.Rejected
	default:
		return planner.Unavailable
	}
}

// classifyNotFound distinguishes a missing namespace, a missing kind and a missing object. The details name the missing
// object and its resource, or nothing when the API server does not know the path.
func classifyNotFound(status metav1.Status) planner.Outcome {
	switch {
	case status.Details != nil && status.Details.Kind == "namespaces":
		return planner.NamespaceGone
	case status.Details == nil || status.Details.Name == "":
		return planner.KindGone
	default:
		return planner.Stale
	}
}

// quotaErrorPrefixes are the beginnings of the quota plugin's messages; see
// k8s.io/apiserver/pkg/admission/plugin/resourcequota.
var quotaErrorPrefixes = []string{
	"exceeded quota: ", "failed quota: ", "status unknown for quota: ", "insufficient quota to ", "quota usage is negative ",
}

// classifyForbidden distinguishes what rejects a request: a terminating namespace or kind, a quota, missing permissions, or
// admission. It matches only the beginning of a message, because the rest may be the free text of a policy.
func classifyForbidden(err error, status metav1.Status) planner.Outcome {
	_, message, _ := strings.Cut(status.Message, " is forbidden: ")
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return planner.NamespaceGone
	case strings.HasSuffix(message, " not allowed while custom resource definition is terminating"):
		return planner.KindGone
	case slices.ContainsFunc(quotaErrorPrefixes, func(prefix string) bool { return strings.HasPrefix(message, prefix) }):
		return planner.QuotaExceeded
	case strings.HasPrefix(message, `User "`), strings.HasPrefix(message, `user "`):
		// The authorizer: User "…" cannot create resource "…" in API group "…". And RBAC itself: user "…" (groups=…) is
		// attempting to grant RBAC permissions not currently held.
		return planner.Forbidden
	default:
		return planner.Rejected
	}
}

// IsImpersonationForbidden reports whether a request failed because the operator is not allowed to impersonate the
// ServiceAccount, whatever the permissions of the ServiceAccount itself.
func IsImpersonationForbidden(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), " cannot impersonate")
}

// isObjectNotFound reports whether an object is missing, and not its namespace or its kind. In the response to a read or a
// delete that is the object of the request. In the response to another write it may also be an object that the copy refers to.
func isObjectNotFound(err error) bool {
	return err != nil && apierrors.IsNotFound(err) && Classify(err) == planner.Stale
}

// isNameTaken reports whether a create failed because an object of this name exists.
func isNameTaken(err error) bool { return apierrors.IsAlreadyExists(err) }

// isFieldInvalid reports whether the API server considers a field of the content invalid. Metadata does not count: none of
// the metadata that we change is immutable, so it is invalid because of what other clients added to it. Policies and
// webhooks do not count either: they can return the same error for a field that is not immutable.
func isFieldInvalid(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || !apierrors.IsInvalid(err) || denialPattern.MatchString(err.Error()) {
		return false
	}
	details := status.Status().Details
	return details != nil && slices.ContainsFunc(details.Causes, func(cause metav1.StatusCause) bool {
		return !strings.HasPrefix(cause.Field, "metadata.")
	})
}

// denialPattern matches the prefix that the API server adds to the message of a policy or a webhook.
var denialPattern = regexp.MustCompile(`denied (the )?request: |failed calling webhook "[^"]*": `)
