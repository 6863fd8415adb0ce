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
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/controllers/planner"
)

var _ = Describe("A webhook", func() {
	It("that finds a field invalid is no immutable field: the copy must not be deleted to get round it", func(ctx SpecContext) {
		s := newStage(ctx)
		observed := s.copied(ctx, templateOf(ctx, configMap(map[string]string{"mode": "fast"})))
		// As every webhook answers that is made with controller-runtime.
		hook(ctx, s, func(request *admissionv1.AdmissionRequest) *metav1.Status {
			if request.Operation != admissionv1.Update {
				return nil
			}
			return &metav1.Status{
				Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid, Message: "not in May",
				Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: metav1.CauseTypeFieldValueInvalid, Field: "data"}}},
			}
		})
		template := templateOf(ctx, configMap(map[string]string{"mode": "slow"}))

		result := s.do(ctx, template.Kind, s.update(observed, template))

		expectOutcome(result, planner.Rejected)
		Expect(result.Err).To(MatchError(ContainSubstring("not in May")))
		Expect(s.wire.requests()).To(Equal([]string{"PATCH"}))
	})

	It("that breaks down is waited for", func(ctx SpecContext) {
		s := newStage(ctx)
		hook(ctx, s, func(*admissionv1.AdmissionRequest) *metav1.Status { panic(http.ErrAbortHandler) })
		template := rawTemplateOf(configMap(nil))

		expectOutcome(s.do(ctx, template.Kind, s.create(template)), planner.Unavailable)
	})
})

var _ = Describe("A Secret's content", func() {
	const (
		old  = "correct horse battery"
		next = "staple of \"quoted\"\nlines"
	)
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

	for _, how := range []string{"policy", "webhook", "broken webhook"} {
		It("is never passed on when quoted by a "+how, func(ctx SpecContext) {
			s := newStage(ctx)
			before := templateOf(ctx, secret(map[string]string{"password": old}))
			observed := s.copied(ctx, before)
			switch how {
			case "policy":
				deny(ctx, s, denialPattern{
					when: `request.resource.resource == "secrets"`,
					expression: `"I refuse" + (has(oldObject.data) ? " " + oldObject.data.password : "")` +
						` + (object != null && has(object.data) ? " " + object.data.password : "")`,
					message: "I refuse",
				})
			default:
				hook(ctx, s, func(request *admissionv1.AdmissionRequest) *metav1.Status {
					if request.Resource.Resource != "secrets" {
						return nil
					}
					words := fmt.Sprintf("I refuse %q %s %s", next, old, encode(old)+encode(next))
					if how == "broken webhook" {
						panic(words)
					}
					return &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusForbidden, Message: words}
				})
			}
			template := templateOf(ctx, secret(map[string]string{"password": next}))
			fresh := *template
			fresh.Name = "another"
			handOver := s.about(planner.HandOver, observed)
			handOver.NewOwner = theirs

			for _, action := range []planner.Action{
				s.create(&fresh), s.update(observed, template), s.about(planner.Delete, observed),
				s.about(planner.Release, observed), handOver,
			} {
				result := s.do(ctx, template.Kind, action)

				wanted := planner.Rejected
				if how == "broken webhook" {
					wanted = planner.Unavailable
				}
				expectOutcome(result, wanted)
				Expect(result.Err).To(MatchError(And(
					ContainSubstring(string(action.Type)), ContainSubstring(s.id), ContainSubstring("withheld"),
					Not(ContainSubstring("refuse")), Not(ContainSubstring("staple")), Not(ContainSubstring(old)),
					Not(ContainSubstring(encode(old))), Not(ContainSubstring(encode(next))),
				)), "who refuses what is told, and no more")
			}
		})
	}

	It("is not what the API server itself says of a Secret", func(ctx SpecContext) {
		s := newStage(ctx)
		yes := true
		from := secret(map[string]string{"password": old})
		from.Immutable = &yes
		observed := s.copied(ctx, templateOf(ctx, from))
		from.Data["password"] = []byte(next)
		template := templateOf(ctx, from)

		result := s.do(ctx, template.Kind, s.update(observed, template))

		expectOutcome(result, planner.Immutable)
		Expect(result.Err).To(MatchError(And(ContainSubstring("field is immutable"), Not(ContainSubstring(encode(next))))))
	})
})

// hook puts a webhook in force in the stage's namespace; it lets pass what it answers nil to. One that panics with a text
// breaks down and says so.
func hook(ctx SpecContext, s *stage, judge func(*admissionv1.AdmissionRequest) *metav1.Status) {
	GinkgoHelper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		review := &admissionv1.AdmissionReview{}
		if err := json.NewDecoder(request.Body).Decode(review); err != nil {
			http.Error(answer, err.Error(), http.StatusBadRequest)
			return
		}
		defer func() {
			if words, broke := recover().(string); broke {
				http.Error(answer, words, http.StatusInternalServerError)
			}
		}()
		refusal := judge(review.Request)
		if review.Request.Name == "probe" {
			refusal = &metav1.Status{Message: "the probe is seen"}
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: refusal == nil, Result: refusal}
		answer.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(answer).Encode(review)
	}))
	DeferCleanup(server.Close)
	url, none := server.URL, admissionregistrationv1.SideEffectClassNone
	matches := constraints(s)
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: s.id + "-hook"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: s.id + ".example.com", SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
			NamespaceSelector: matches.NamespaceSelector,
			Rules:             []admissionregistrationv1.RuleWithOperations{matches.ResourceRules[0].RuleWithOperations},
			ClientConfig: admissionregistrationv1.WebhookClientConfig{
				URL:      &url,
				CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
			},
		}},
	}
	Expect(api.Create(ctx, configuration)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(api.Delete(ctx, configuration)).To(Succeed()) })
	probe := configMap(nil)
	probe.Namespace, probe.Name = s.namespace, "probe"
	Eventually(ctx, func() error { return api.Create(ctx, probe.DeepCopy(), client.DryRunAll) }).
		Should(MatchError(ContainSubstring("webhook")))
}
