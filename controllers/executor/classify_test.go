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
	"fmt"
	"net/http"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/controllers/planner"
)

// Error responses that are hard to get from a real API server. The suite tests all others.
func TestClassify(t *testing.T) {
	configMaps := schema.GroupResource{Resource: "configmaps"}
	forbidden := func(message string) error {
		return apierrors.NewForbidden(configMaps, "settings", errors.New(message))
	}
	status := func(code int32) error { return &apierrors.StatusError{ErrStatus: metav1.Status{Code: code}} }
	tests := map[string]struct {
		err  error
		want planner.Outcome
	}{
		"no response":                  {errors.New("broken pipe"), planner.Unavailable},
		"wrapped":                      {fmt.Errorf("while: %w", apierrors.NewAlreadyExists(configMaps, "settings")), planner.Stale},
		"quota with limited resources": {forbidden("insufficient quota to consume: pods"), planner.QuotaExceeded},
		"quota with missing limits":    {forbidden("failed quota: q: must specify limits.cpu"), planner.QuotaExceeded},
		"quota with negative usage":    {forbidden("quota usage is negative for resource(s): pods"), planner.QuotaExceeded},
		"unknown admission plugin":     {forbidden("User data is missing"), planner.Rejected},
		"422 without details":          {status(http.StatusUnprocessableEntity), planner.Stale},
		"404 without details":          {status(http.StatusNotFound), planner.KindGone},
		"410":                          {status(http.StatusGone), planner.Unavailable},
		"429":                          {status(http.StatusTooManyRequests), planner.Unavailable},
		"405":                          {status(http.StatusMethodNotAllowed), planner.Rejected},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Classify(test.err); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// Each row of the table of classify. The messages are those of the API server 1.37, unless the name says otherwise.
func TestClassify_AboutAnObject(t *testing.T) {
	about := target{
		resource:  schema.GroupVersionResource{Version: "v1", Resource: "configmaps"},
		namespace: "shop", name: "settings",
	}
	status := func(code int32, message string, details *metav1.StatusDetails) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: code, Message: message, Details: details}}
	}
	details := func(kind, name string) *metav1.StatusDetails { return &metav1.StatusDetails{Kind: kind, Name: name} }
	cause := &metav1.StatusDetails{Causes: []metav1.StatusCause{{Field: "data"}}}
	tests := map[string]struct {
		err  error
		want planner.Outcome
	}{
		"object not found":                {status(404, `configmaps "settings" not found`, details("configmaps", "settings")), planner.Stale},
		"object of another name":          {status(404, `configmaps "other" not found`, details("configmaps", "other")), planner.Rejected},
		"object of another kind":          {status(404, `secrets "settings" not found`, details("secrets", "settings")), planner.Rejected},
		"object of another group":         {status(404, "", &metav1.StatusDetails{Group: "example.com", Kind: "configmaps", Name: "settings"}), planner.Rejected},
		"namespace not found":             {status(404, `namespaces "shop" not found`, details("namespaces", "shop")), planner.NamespaceGone},
		"another namespace not found":     {status(404, `namespaces "tenant" not found`, details("namespaces", "tenant")), planner.Rejected},
		"path not found":                  {status(404, "the server could not find the requested resource", &metav1.StatusDetails{}), planner.KindGone},
		"object modified":                 {status(409, "Operation cannot be fulfilled", details("configmaps", "settings")), planner.Stale},
		"object exists":                   {status(409, `configmaps "settings" already exists`, details("configmaps", "settings")), planner.Stale},
		"failed precondition":             {status(409, "Operation cannot be fulfilled on ConfigMap", details("ConfigMap", "settings")), planner.Stale},
		"quota modified":                  {status(409, "Operation cannot be fulfilled", details("resourcequotas", "compute")), planner.Unavailable},
		"failed test of a JSON Patch":     {status(422, "the server rejected our request due to an error in our request", &metav1.StatusDetails{}), planner.Stale},
		"validation":                      {status(422, `ConfigMap "settings" is invalid: data: Invalid value`, cause), planner.Rejected},
		"definition being deleted":        {status(403, `configmaps "settings" is forbidden: create not allowed while custom resource definition is terminating`, details("configmaps", "settings")), planner.KindGone},
		"definition being deleted, 1.33":  {status(405, "create not allowed while custom resource definition is terminating", &metav1.StatusDetails{Kind: "configmaps"}), planner.KindGone},
		"method not allowed":              {status(405, "the server does not allow this method on the requested resource", nil), planner.Rejected},
		"unauthorized":                    {status(401, "Unauthorized", nil), planner.Forbidden},
		"too many requests":               {status(429, "too many requests", nil), planner.Unavailable},
		"webhook does not respond":        {status(500, `Internal error occurred: failed calling webhook "policy.example.com": failed to call webhook: timeout`, nil), planner.Unavailable},
		"webhook timeout":                 {status(504, "Timeout: request did not complete within requested timeout", nil), planner.Unavailable},
		"etcd does not accept the size":   {status(500, "etcdserver: request is too large", nil), planner.Rejected},
		"gRPC does not accept the size":   {status(500, "rpc error: code = ResourceExhausted desc = trying to send message larger than max (2100000 vs. 2097152)", nil), planner.Rejected},
		"request larger than the limit":   {status(413, "Request entity too large: limit is 3145728", nil), planner.Rejected},
		"too many operations":             {status(413, "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001", nil), planner.Rejected},
		"free text of an unknown origin":  {status(404, `object says: admission webhook "a" denied the request`, details("configmaps", "settings")), planner.Stale},
		"policy with its default code":    {status(422, `configmaps "settings" is forbidden: ValidatingAdmissionPolicy 'tenants' with binding 'all' denied request: no`, nil), planner.Rejected},
		"policy that says exceeded quota": {status(403, `configmaps "settings" is forbidden: ValidatingAdmissionPolicy 'tenants' with binding 'all' denied request: exceeded quota: q`, nil), planner.Rejected},
	}
	for _, code := range []int32{400, 401, 403, 404, 409, 410, 413, 422, 429, 500, 503} {
		for _, text := range []string{`: tenants.example.com "acme" not found`, " without explanation"} {
			tests[fmt.Sprintf("denied by a webhook with %d%s", code, text)] = struct {
				err  error
				want planner.Outcome
			}{
				status(code, `admission webhook "tenants.example.com" denied the request`+text, details("configmaps", "settings")), planner.Rejected,
			}
		}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := classify(test.err, about); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if gone := about.isGone(test.err); gone != (name == "object not found" || name == "free text of an unknown origin") {
				t.Errorf("isGone() = %t", gone)
			}
		})
	}
}

func TestIsImpersonationForbidden(t *testing.T) {
	forbidden := func(resource, message string) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "copier", errors.New(message))
	}
	impersonation := forbidden("serviceaccounts", `User "operator" cannot impersonate resource "serviceaccounts"`)
	tests := map[string]struct {
		err  error
		want bool
	}{
		"impersonation":     {impersonation, true},
		"wrapped":           {fmt.Errorf("create: %w", impersonation), true},
		"other permission":  {forbidden("configmaps", `User "copier" cannot create resource "configmaps"`), false},
		"other status code": {errors.New("cannot impersonate"), false},
		"no error":          {nil, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := IsImpersonationForbidden(test.err); got != test.want {
				t.Errorf("got %t, want %t", got, test.want)
			}
		})
	}
}
