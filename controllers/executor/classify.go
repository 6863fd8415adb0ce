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

// Classify returns the outcome that an error of a request about no object in particular means, such as a list. This file is
// the only place where the code, reason, causes or message of an error response to a write are interpreted: all other code
// uses the outcome or the functions below.
func Classify(err error) planner.Outcome { return classify(err, target{}) }

// classify returns the outcome that an error of a request about the object means. Read in this order:
//
//	origin       response                                            outcome
//	none         the connection broke, or the request timed out      Unavailable
//	webhook      denied the request, with any code                   Rejected
//	policy       denied the request, with any code                   Rejected
//	storage      500: larger than etcd accepts                       Rejected
//	API server   404: the namespace of the object                    NamespaceGone
//	API server   404: the path                                       KindGone
//	API server   404: the object                                     Stale
//	API server   404: anything else, which the object refers to      Rejected
//	API server   409: the object                                     Stale
//	quota        409: the ResourceQuota was modified concurrently    Unavailable
//	namespace    403: being deleted                                  NamespaceGone
//	definition   403, or 405 before Kubernetes 1.34: being deleted   KindGone
//	quota        403                                                 QuotaExceeded
//	authorizer   403                                                 Forbidden
//	admission    403: any other plugin                               Rejected
//	API server   401                                                 Forbidden
//	API server   422 with causes: validation                         Rejected
//	API server   422 without causes: a failed test of a JSON Patch   Stale
//	API server   400, 405, 413                                       Rejected
//	webhook      500: it failed, or did not respond                  Unavailable
//	any          429 and everything else                             Unavailable
//
// A denial comes first, because a webhook chooses its code, reason and details freely: a 404 from a webhook that validates
// tenants says nothing about the object.
func classify(err error, about target) planner.Outcome {
	var apiStatus apierrors.APIStatus
	if !errors.As(err, &apiStatus) {
		return planner.Unavailable
	}
	status := apiStatus.Status()
	if isDenied(status) || isTooLarge(status) {
		return planner.Rejected
	}
	switch status.Code {
	case http.StatusNotFound:
		return classifyNotFound(status, about)
	case http.StatusConflict:
		// The details name the resource or, for a failed precondition, the kind.
		if about.isNamed() && status.Details != nil && status.Details.Name != "" && status.Details.Name != about.name {
			return planner.Unavailable
		}
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
	case http.StatusMethodNotAllowed:
		if strings.HasSuffix(status.Message, definitionTerminatingSuffix) {
			return planner.KindGone
		}
		return planner.Rejected
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return planner.Rejected
	default:
		return planner.Unavailable
	}
}

// classifyNotFound distinguishes a missing namespace, a missing kind, a missing object, and anything else that is missing. The
// details name the missing object and its resource, or nothing when the API server does not know the path.
func classifyNotFound(status metav1.Status, about target) planner.Outcome {
	details := status.Details
	switch {
	case details == nil || details.Name == "":
		return planner.KindGone
	case !about.isNamed():
		if details.Kind == "namespaces" {
			return planner.NamespaceGone
		}
		return planner.Stale
	case details.Kind == "namespaces" && details.Name == about.namespace:
		return planner.NamespaceGone
	case about.isIn(details):
		return planner.Stale
	default:
		return planner.Rejected
	}
}

// isNamed reports whether a request is about an object.
func (t target) isNamed() bool { return t.name != "" }

// isIn reports whether the details of an error name this object.
func (t target) isIn(details *metav1.StatusDetails) bool {
	return details != nil && details.Name == t.name && details.Kind == t.resource.Resource && details.Group == t.resource.Group
}

// denialPattern matches what the API server writes at the beginning of the message when a webhook or a policy denied a
// request. What follows is free text.
var denialPattern = regexp.MustCompile(`^(.* is (forbidden|invalid): |.* is invalid: : )?(admission webhook "[^"]*"|` +
	`ValidatingAdmissionPolicy '[^']*' with binding '[^']*') denied (the )?request`)

// failedWebhookPattern matches the message about a webhook that failed or did not respond.
var failedWebhookPattern = regexp.MustCompile(`failed calling webhook "[^"]*": `)

func isDenied(status metav1.Status) bool { return denialPattern.MatchString(status.Message) }

// isTooLarge reports whether etcd, or the connection to it, does not accept an object of this size. The API server returns
// these as internal errors.
func isTooLarge(status metav1.Status) bool {
	return status.Code == http.StatusInternalServerError &&
		(strings.HasSuffix(status.Message, "etcdserver: request is too large") ||
			strings.Contains(status.Message, "trying to send message larger than max"))
}

// quotaErrorPrefixes are the beginnings of the quota plugin's messages; see
// k8s.io/apiserver/pkg/admission/plugin/resourcequota.
var quotaErrorPrefixes = []string{
	"exceeded quota: ", "failed quota: ", "status unknown for quota: ", "insufficient quota to ", "quota usage is negative ",
}

// definitionTerminatingSuffix is the end of the message when the CustomResourceDefinition of the object is being deleted.
const definitionTerminatingSuffix = " not allowed while custom resource definition is terminating"

// classifyForbidden distinguishes what rejects a request: a terminating namespace or kind, a quota, missing permissions, or
// admission. It matches only the beginning of a message, because the rest may be the free text of a policy.
func classifyForbidden(err error, status metav1.Status) planner.Outcome {
	_, message, _ := strings.Cut(status.Message, " is forbidden: ")
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return planner.NamespaceGone
	case strings.HasSuffix(message, definitionTerminatingSuffix):
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

// isGone reports whether the API server says that the object of the request does not exist: neither another object that it
// refers to, nor its namespace or its kind, and not a webhook.
func (t target) isGone(err error) bool {
	return apierrors.IsNotFound(err) && classify(err, t) == planner.Stale
}

// isNameTaken reports whether a create failed because an object of this name exists.
func isNameTaken(err error) bool { return apierrors.IsAlreadyExists(err) }

// isFieldInvalid reports whether the API server considers a field of the content invalid. Metadata does not count: none of
// the metadata that we change is immutable, so it is invalid because of what other clients added to it. Policies and
// webhooks do not count either: they can return the same error for a field that is not immutable.
func isFieldInvalid(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || !apierrors.IsInvalid(err) || isDenied(status.Status()) ||
		failedWebhookPattern.MatchString(err.Error()) {
		return false
	}
	details := status.Status().Details
	return details != nil && slices.ContainsFunc(details.Causes, func(cause metav1.StatusCause) bool {
		return !strings.HasPrefix(cause.Field, "metadata.")
	})
}
