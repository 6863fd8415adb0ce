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
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/prosimcorp/replika/controllers/planner"
)

var errConnectionDropped = errors.New("the connection was dropped")

// response returns a response of a proxy, or of a failing API server.
func response(code int, headers ...string) *http.Response {
	response := &http.Response{
		StatusCode: code, Status: http.StatusText(code), Header: http.Header{}, Body: io.NopCloser(strings.NewReader("failure")),
	}
	for i := 0; i < len(headers); i += 2 {
		response.Header.Set(headers[i], headers[i+1])
	}
	return response
}

// failingReader is the rest of the body after the connection broke.
type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

var _ = Describe("API server failures", func() {
	// actions prepare an action on an existing copy.
	actions := map[string]func(SpecContext, *env, *planner.Template, *planner.Observed) planner.Action{
		"create": func(ctx SpecContext, e *env, template *planner.Template, _ *planner.Observed) planner.Action {
			e.remove(ctx, template)
			return e.createAction(template)
		},
		"update": func(_ SpecContext, e *env, template *planner.Template, observed *planner.Observed) planner.Action {
			return e.updateAction(observed, template)
		},
		"delete": func(_ SpecContext, e *env, _ *planner.Template, observed *planner.Observed) planner.Action {
			return e.action(planner.Delete, observed)
		},
		"release": func(_ SpecContext, e *env, _ *planner.Template, observed *planner.Observed) planner.Action {
			return e.action(planner.Release, observed)
		},
	}
	for _, name := range slices.Sorted(maps.Keys(actions)) {
		prepare := actions[name]
		Context(name, func() {
			var (
				e        *env
				template *planner.Template
				action   planner.Action
			)
			BeforeEach(func(ctx SpecContext) {
				e = newEnv(ctx)
				template = newTemplate(ctx, configMap(map[string]string{"mode": "fast"}))
				action = prepare(ctx, e, template, e.createCopy(ctx, template))
			})

			It("retries after Retry-After", func(ctx SpecContext) {
				var rejected time.Time
				e.interceptor.intercept = func(number int, request *http.Request) (*http.Response, error) {
					if number == 1 {
						rejected = time.Now()
						return response(http.StatusTooManyRequests, "Retry-After", "1"), nil
					}
					return e.interceptor.transport.RoundTrip(request)
				}

				expectOutcome(e.execute(ctx, template.Kind, action), planner.Done)

				Expect(time.Since(rejected)).To(BeNumerically(">=", time.Second))
				Expect(e.interceptor.requests()).To(HaveLen(2))
			})

			DescribeTable("returns Unavailable", func(ctx SpecContext, fault func() (*http.Response, error)) {
				e.interceptor.intercept = func(int, *http.Request) (*http.Response, error) { return fault() }

				result := e.execute(ctx, template.Kind, action)

				expectOutcome(result, planner.Unavailable)
				Expect(result.Err).To(HaveOccurred())
				Expect(result.Object).To(BeNil())
				Expect(e.interceptor.requests()).To(HaveLen(1))
			},
				Entry("connection dropped", func() (*http.Response, error) { return nil, errConnectionDropped }),
				Entry("internal error", func() (*http.Response, error) { return response(http.StatusInternalServerError), nil }),
				Entry("bad gateway", func() (*http.Response, error) { return response(http.StatusBadGateway), nil }),
				Entry("unavailable", func() (*http.Response, error) { return response(http.StatusServiceUnavailable), nil }),
				Entry("gateway timeout", func() (*http.Response, error) { return response(http.StatusGatewayTimeout), nil }),
				Entry("too many requests without Retry-After", func() (*http.Response, error) {
					return response(http.StatusTooManyRequests), nil
				}),
			)

			It("returns Unavailable without an object when the read after a conflict fails", func(ctx SpecContext) {
				e.interceptor.intercept = func(int, *http.Request) (*http.Response, error) { return response(http.StatusConflict), nil }

				result := e.execute(ctx, template.Kind, action)

				expectOutcome(result, planner.Unavailable)
				Expect(result.Object).To(BeNil())
				Expect(e.interceptor.requests()).To(HaveLen(2), "a write and a read")
			})

			It("handles a request that succeeded but whose response was lost", func(ctx SpecContext) {
				e.interceptor.intercept = func(_ int, request *http.Request) (*http.Response, error) {
					response, err := e.interceptor.transport.RoundTrip(request)
					if err != nil {
						return nil, err
					}
					return nil, errors.Join(errConnectionDropped, response.Body.Close())
				}
				expectOutcome(e.execute(ctx, template.Kind, action), planner.Unavailable)
				e.interceptor.intercept = nil

				result := e.execute(ctx, template.Kind, action)

				switch action.Type {
				case planner.Create:
					expectOutcome(result, planner.Stale)
					expectInSync(result.Object, template)
				case planner.Update:
					expectOutcome(result, planner.Done)
					expectInSync(result.Object, template)
				case planner.Delete:
					expectOutcome(result, planner.Done)
					e.expectNotFound(ctx, template)
				default:
					expectOutcome(result, planner.Stale)
					Expect(result.Object.HasAnyMark).To(BeFalse())
				}
			})

			It("returns Unavailable when the response is cut off", func(ctx SpecContext) {
				e.interceptor.intercept = func(_ int, request *http.Request) (*http.Response, error) {
					response, err := e.interceptor.transport.RoundTrip(request)
					if err != nil {
						return nil, err
					}
					body, err := io.ReadAll(response.Body)
					response.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:len(body)/2]), failingReader{}))
					return response, err
				}

				expectOutcome(e.execute(ctx, template.Kind, action), planner.Unavailable)
			})

			It("returns Unavailable when there is no response before the context ends", func(ctx SpecContext) {
				var deadline, sent time.Time
				e.interceptor.intercept = func(_ int, request *http.Request) (*http.Response, error) {
					deadline, _ = request.Context().Deadline()
					sent = time.Now()
					<-request.Context().Done()
					return nil, request.Context().Err()
				}
				shortContext, cancel := context.WithCancel(ctx)
				time.AfterFunc(100*time.Millisecond, cancel)
				const requestTimeout = 30 * time.Second // the default
				earliest := time.Now().Add(requestTimeout)

				result := e.execute(shortContext, template.Kind, action)

				expectOutcome(result, planner.Unavailable)
				Expect(result.Err).To(MatchError(context.Canceled))
				Expect(deadline).To(And(BeTemporally(">=", earliest), BeTemporally("<=", sent.Add(requestTimeout))))
			})
		})
	}

	It("does not wait for Retry-After longer than the context allows", func(ctx SpecContext) {
		e := newEnv(ctx)
		template := newTemplate(ctx, configMap(nil))
		e.interceptor.intercept = func(int, *http.Request) (*http.Response, error) {
			return response(http.StatusTooManyRequests, "Retry-After", "3600"), nil
		}
		shortContext, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		start := time.Now()

		expectOutcome(e.execute(shortContext, template.Kind, e.createAction(template)), planner.Unavailable)

		Expect(time.Since(start)).To(BeNumerically("<", 10*time.Minute))
	})

	It("returns Unavailable when there is no response before RequestTimeout", func(ctx SpecContext) {
		e := newEnv(ctx)
		template := newTemplate(ctx, configMap(nil))
		e.executor.RequestTimeout = 100 * time.Millisecond
		e.interceptor.intercept = func(_ int, request *http.Request) (*http.Response, error) {
			<-request.Context().Done()
			return nil, request.Context().Err()
		}

		result := e.execute(ctx, template.Kind, e.createAction(template))

		expectOutcome(result, planner.Unavailable)
		Expect(result.Err).To(MatchError(context.DeadlineExceeded))
	})

	It("returns Unavailable when the read of the existing object fails", func(ctx SpecContext) {
		e := newEnv(ctx)
		template := newTemplate(ctx, configMap(nil))
		e.createCopy(ctx, template)
		e.interceptor.intercept = func(number int, request *http.Request) (*http.Response, error) {
			if number == 2 {
				return nil, errConnectionDropped
			}
			return e.interceptor.transport.RoundTrip(request)
		}

		result := e.execute(ctx, template.Kind, e.createAction(template))

		expectOutcome(result, planner.Unavailable)
	})

	It("returns Unavailable, not Immutable, when the dry run fails", func(ctx SpecContext) {
		e := newEnv(ctx)
		source := immutableConfigMap(map[string]string{"mode": "fast"})
		observed := e.createCopy(ctx, newTemplate(ctx, source))
		source.Data["mode"] = "slow"
		template := newTemplate(ctx, source)
		e.interceptor.intercept = func(number int, request *http.Request) (*http.Response, error) {
			if number == 2 {
				return nil, errConnectionDropped
			}
			return e.interceptor.transport.RoundTrip(request)
		}

		expectOutcome(e.execute(ctx, template.Kind, e.updateAction(observed, template)), planner.Unavailable)
	})
})
