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
