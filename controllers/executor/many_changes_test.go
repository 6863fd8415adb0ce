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

package executor_test

import (
	"fmt"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/controllers/planner"
)

// The API server accepts 10,000 operations in a JSON Patch. An update that needs more is a merge patch, guarded by the
// resourceVersion.
var _ = Describe("Update with more changes than a JSON Patch can have", func() {
	const many = 10_001
	// withFields returns an object with a top-level field for each number.
	withFields := func(prefix string, count int) *unstructured.Unstructured {
		fields := map[string]any{}
		for i := range count {
			fields[fmt.Sprintf("%s%05d", prefix, i)] = "x"
		}
		return customObject(widgetKind, fields)
	}
	// withNumberedLabels returns a ConfigMap with a label for each number.
	withNumberedLabels := func(prefix string, count int) *planner.Template {
		labels := map[string]string{}
		for i := range count {
			labels[fmt.Sprintf("%s%05d", prefix, i)] = ""
		}
		return newRawTemplate(configMap(nil), withLabels(labels))
	}
	mergeRequests := []string{"GET", "PATCH"}

	It("replaces all of its fields", func(ctx SpecContext) {
		e := newEnv(ctx)
		before := newRawTemplate(withFields("before", 3))
		observed := e.createCopy(ctx, before)
		e.modify(ctx, before, func(object *unstructured.Unstructured) {
			object.SetLabels(withKey(object.GetLabels(), "theirs", "stays"))
		})
		template := newRawTemplate(withFields("after", many))

		result := e.execute(ctx, template.Kind, e.updateAction(observed, template))

		expectOutcome(result, planner.Done)
		Expect(e.interceptor.requests()).To(Equal(mergeRequests))
		expectInSync(result.Object, template)
		now := e.get(ctx, template)
		Expect(now.GetLabels()).To(HaveKeyWithValue("theirs", "stays"))
		Expect(now.Object).To(HaveKey("after10000"))
		Expect(now.Object).NotTo(HaveKey("before00000"))
	})

	It("removes all of its fields", func(ctx SpecContext) {
		e := newEnv(ctx)
		observed := e.createCopy(ctx, newRawTemplate(withFields("before", many/2+1))) // two operations for each
		template := newRawTemplate(withFields("after", 1))

		result := e.execute(ctx, template.Kind, e.updateAction(observed, template))

		expectOutcome(result, planner.Done)
		Expect(e.interceptor.requests()).To(Equal(mergeRequests))
		expectInSync(result.Object, template)
	})

	It("replaces all of its labels", func(ctx SpecContext) {
		e := newEnv(ctx)
		before := withNumberedLabels("before", many/2)
		observed := e.createCopy(ctx, before)
		e.modify(ctx, before, func(object *unstructured.Unstructured) {
			object.SetLabels(withKey(object.GetLabels(), "theirs", "stays"))
		})
		template := withNumberedLabels("after", many/2)

		result := e.execute(ctx, template.Kind, e.updateAction(observed, template))

		expectOutcome(result, planner.Done)
		Expect(e.interceptor.requests()).To(Equal(mergeRequests))
		expectInSync(result.Object, template)
		Expect(e.get(ctx, template).GetLabels()).To(Equal(withKey(template.CopyLabels(), "theirs", "stays")))
	})

	It("returns Stale and changes nothing when the copy is modified between the requests", func(ctx SpecContext) {
		e := newEnv(ctx)
		before := newRawTemplate(withFields("before", 3))
		observed := e.createCopy(ctx, before)
		var modified *unstructured.Unstructured
		e.interceptor.before(2, func() {
			e.modify(ctx, before, func(object *unstructured.Unstructured) { object.Object["theirs"] = "now" })
			modified = e.get(ctx, before)
		})
		template := newRawTemplate(withFields("after", many))

		result := e.execute(ctx, template.Kind, e.updateAction(observed, template))

		expectOutcome(result, planner.Stale)
		Expect(e.get(ctx, template)).To(Equal(modified))
	})

	It("is a JSON Patch as long as that is not too long", func(ctx SpecContext) {
		e := newEnv(ctx)
		observed := e.createCopy(ctx, newRawTemplate(withFields("before", 3)))
		template := newRawTemplate(withFields("after", many/2))
		var contentType string
		e.interceptor.intercept = func(_ int, request *http.Request) (*http.Response, error) {
			contentType = request.Header.Get("Content-Type")
			return e.interceptor.transport.RoundTrip(request)
		}

		result := e.execute(ctx, template.Kind, e.updateAction(observed, template))

		expectOutcome(result, planner.Done)
		Expect(e.interceptor.requests()).To(Equal([]string{"PATCH"}))
		Expect(strings.Split(contentType, ";")[0]).To(Equal("application/json-patch+json"))
	})
})
