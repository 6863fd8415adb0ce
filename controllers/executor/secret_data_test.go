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
	"encoding/base64"
	"fmt"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/controllers/planner"
)

var _ = Describe("Redaction of Secret data", func() {
	const (
		old  = "correct horse battery"
		next = "staple of \"quoted\"\nlines"
	)
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

	for _, denier := range []string{"policy", "webhook", "failing webhook"} {
		It("removes data from the message of a "+denier, func(ctx SpecContext) {
			e := newEnv(ctx)
			before := newTemplate(ctx, secret(map[string]string{"password": old}))
			observed := e.createCopy(ctx, before)
			switch denier {
			case "policy":
				createDenyPolicy(ctx, e, denyPolicy{
					when: `request.resource.resource == "secrets"`,
					messageExpression: `"free text" + (has(oldObject.data) ? " " + oldObject.data.password : "")` +
						` + (object != null && has(object.data) ? " " + object.data.password : "")`,
					message: "free text",
				})
			default:
				createWebhook(ctx, e, func(request *admissionv1.AdmissionRequest) *metav1.Status {
					if request.Resource.Resource != "secrets" {
						return nil
					}
					message := fmt.Sprintf("free text %q %s %s", next, old, encode(old)+encode(next))
					if denier == "failing webhook" {
						panic(message)
					}
					return &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusForbidden, Message: message}
				})
			}
			template := newTemplate(ctx, secret(map[string]string{"password": next}))
			other := *template
			other.Name = "other"
			handOver := e.handOverAction(observed)

			for _, action := range []planner.Action{
				e.createAction(&other), e.updateAction(observed, template), e.action(planner.Delete, observed),
				e.action(planner.Release, observed), handOver,
			} {
				result := e.execute(ctx, template.Kind, action)

				want := planner.Rejected
				if denier == "failing webhook" {
					want = planner.Unavailable
				}
				expectOutcome(result, want)
				Expect(result.Err).To(MatchError(And(
					ContainSubstring(string(action.Type)), ContainSubstring(e.id), ContainSubstring("withheld"),
					Not(ContainSubstring("free text")), Not(ContainSubstring("staple")), Not(ContainSubstring(old)),
					Not(ContainSubstring(encode(old))), Not(ContainSubstring(encode(next))),
				)), "only the name of the policy or webhook")
			}
		})
	}

	It("keeps a message of the API server that contains no data", func(ctx SpecContext) {
		e := newEnv(ctx)
		immutable := true
		source := secret(map[string]string{"password": old})
		source.Immutable = &immutable
		observed := e.createCopy(ctx, newTemplate(ctx, source))
		source.Data["password"] = []byte(next)
		template := newTemplate(ctx, source)

		result := e.execute(ctx, template.Kind, e.updateAction(observed, template))

		expectOutcome(result, planner.Immutable)
		Expect(result.Err).To(MatchError(And(ContainSubstring("field is immutable"), Not(ContainSubstring(encode(next))))))
	})
})
