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
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
)

var errDropped = errors.New("the connection was dropped")

// answering is an answer that a proxy, or an API server in trouble, gives instead of the wanted one.
func answering(code int, headers ...string) *http.Response {
	answer := &http.Response{
		StatusCode: code, Status: http.StatusText(code), Header: http.Header{}, Body: io.NopCloser(strings.NewReader("in trouble")),
	}
	for i := 0; i < len(headers); i += 2 {
		answer.Header.Set(headers[i], headers[i+1])
	}
	return answer
}

var _ = Describe("An API server in trouble", func() {
	// each carries one of the requests out, on a copy that stands, and tells what came of it.
	each := map[string]func(SpecContext, *stage, *planner.Template, *planner.Observed) planner.Action{
		"create": func(ctx SpecContext, s *stage, template *planner.Template, _ *planner.Observed) planner.Action {
			s.removed(ctx, template)
			return s.create(template)
		},
		"update": func(_ SpecContext, s *stage, template *planner.Template, observed *planner.Observed) planner.Action {
			return s.update(observed, template)
		},
		"delete": func(_ SpecContext, s *stage, _ *planner.Template, observed *planner.Observed) planner.Action {
			return s.about(planner.Delete, observed)
		},
		"release": func(_ SpecContext, s *stage, _ *planner.Template, observed *planner.Observed) planner.Action {
			return s.about(planner.Release, observed)
		},
	}
	for _, name := range slices.Sorted(maps.Keys(each)) {
		prepare := each[name]
		Context("during "+name, func() {
			var (
				s        *stage
				template *planner.Template
				action   planner.Action
			)
			BeforeEach(func(ctx SpecContext) {
				s = newStage(ctx)
				template = templateOf(ctx, configMap(map[string]string{"mode": "fast"}))
				action = prepare(ctx, s, template, s.copied(ctx, template))
			})

			It("is obeyed when it asks for patience", func(ctx SpecContext) {
				var refused time.Time
				s.wire.meddle = func(number int, request *http.Request) (*http.Response, error) {
					if number == 1 {
						refused = time.Now()
						return answering(http.StatusTooManyRequests, "Retry-After", "1"), nil
					}
					return s.wire.transport.RoundTrip(request)
				}

				expectOutcome(s.do(ctx, template.Kind, action), planner.Done)

				Expect(time.Since(refused)).To(BeNumerically(">=", time.Second))
				Expect(s.wire.requests()).To(HaveLen(2))
			})

			DescribeTable("is waited for in another pass", func(ctx SpecContext, fault func() (*http.Response, error)) {
				s.wire.meddle = func(int, *http.Request) (*http.Response, error) { return fault() }

				result := s.do(ctx, template.Kind, action)

				expectOutcome(result, planner.Unavailable)
				Expect(result.Err).To(HaveOccurred())
				Expect(result.Object).To(BeNil())
				Expect(s.wire.requests()).To(HaveLen(1))
			},
				Entry("connection dropped", func() (*http.Response, error) { return nil, errDropped }),
				Entry("internal error", func() (*http.Response, error) { return answering(http.StatusInternalServerError), nil }),
				Entry("bad gateway", func() (*http.Response, error) { return answering(http.StatusBadGateway), nil }),
				Entry("unavailable", func() (*http.Response, error) { return answering(http.StatusServiceUnavailable), nil }),
				Entry("gateway timeout", func() (*http.Response, error) { return answering(http.StatusGatewayTimeout), nil }),
				Entry("too many requests, without a time to wait", func() (*http.Response, error) {
					return answering(http.StatusTooManyRequests), nil
				}),
			)

			It("tells nothing of the object when it does not let it be read", func(ctx SpecContext) {
				s.wire.meddle = func(int, *http.Request) (*http.Response, error) { return answering(http.StatusConflict), nil }

				result := s.do(ctx, template.Kind, action)

				expectOutcome(result, planner.Unavailable)
				Expect(result.Object).To(BeNil())
				Expect(s.wire.requests()).To(HaveLen(2), "the write, and a read")
			})

			It("may have done what was asked, although its answer was lost", func(ctx SpecContext) {
				s.wire.meddle = func(_ int, request *http.Request) (*http.Response, error) {
					answer, err := s.wire.transport.RoundTrip(request)
					if err != nil {
						return nil, err
					}
					return nil, errors.Join(errDropped, answer.Body.Close())
				}
				expectOutcome(s.do(ctx, template.Kind, action), planner.Unavailable)
				s.wire.meddle = nil

				result := s.do(ctx, template.Kind, action)

				switch action.Type {
				case planner.Create:
					expectOutcome(result, planner.Stale)
					expectInSync(result.Object, template)
				case planner.Update:
					expectOutcome(result, planner.Done)
					expectInSync(result.Object, template)
				case planner.Delete:
					expectOutcome(result, planner.Done)
					s.expectNothing(ctx, template)
				default:
					expectOutcome(result, planner.Stale)
					Expect(result.Object.HasAnyMark).To(BeFalse())
				}
			})

			It("may end in the middle of its answer", func(ctx SpecContext) {
				s.wire.meddle = func(_ int, request *http.Request) (*http.Response, error) {
					answer, err := s.wire.transport.RoundTrip(request)
					if err != nil {
						return nil, err
					}
					body, err := io.ReadAll(answer.Body)
					answer.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:len(body)/2]), broken{}))
					return answer, err
				}

				expectOutcome(s.do(ctx, template.Kind, action), planner.Unavailable)
			})

			It("may never answer", func(ctx SpecContext) {
				var deadline time.Time
				s.wire.meddle = func(_ int, request *http.Request) (*http.Response, error) {
					deadline, _ = request.Context().Deadline()
					<-request.Context().Done()
					return nil, request.Context().Err()
				}
				brief, cancel := context.WithCancel(ctx)
				time.AfterFunc(100*time.Millisecond, cancel)

				result := s.do(brief, template.Kind, action)

				expectOutcome(result, planner.Unavailable)
				Expect(result.Err).To(MatchError(context.Canceled))
				Expect(deadline).To(BeTemporally("~", time.Now().Add(30*time.Second), 5*time.Second), "a request has a limit of its own")
			})
		})
	}

	It("does not hold up for longer than the pass may take", func(ctx SpecContext) {
		s := newStage(ctx)
		template := templateOf(ctx, configMap(nil))
		s.wire.meddle = func(int, *http.Request) (*http.Response, error) {
			return answering(http.StatusTooManyRequests, "Retry-After", "3600"), nil
		}
		brief, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		began := time.Now()

		expectOutcome(s.do(brief, template.Kind, s.create(template)), planner.Unavailable)

		Expect(time.Since(began)).To(BeNumerically("<", 10*time.Second))
	})

	It("is still a failure of the read that was to tell what is in the way", func(ctx SpecContext) {
		s := newStage(ctx)
		template := templateOf(ctx, configMap(nil))
		s.copied(ctx, template)
		s.wire.meddle = func(number int, request *http.Request) (*http.Response, error) {
			if number == 2 {
				return nil, errDropped
			}
			return s.wire.transport.RoundTrip(request)
		}

		result := s.do(ctx, template.Kind, s.create(template))

		expectOutcome(result, planner.Unavailable)
	})

	It("is no reason to delete: without an answer to the dry run, nothing is immutable", func(ctx SpecContext) {
		s := newStage(ctx)
		yes := true
		from := configMap(map[string]string{"mode": "fast"})
		from.Immutable = &yes
		observed := s.copied(ctx, templateOf(ctx, from))
		from.Data["mode"] = "slow"
		template := templateOf(ctx, from)
		s.wire.meddle = func(number int, request *http.Request) (*http.Response, error) {
			if number == 2 {
				return nil, errDropped
			}
			return s.wire.transport.RoundTrip(request)
		}

		expectOutcome(s.do(ctx, template.Kind, s.update(observed, template)), planner.Unavailable)
	})
})

// broken is the end of a connection that broke.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

var _ = Describe("The limit", func() {
	It("bounds the requests of all Replikas together", func(ctx SpecContext) {
		const places, copies = 3, 12
		s := newStage(ctx)
		client, err := executor.NewClient(controlPlane.Config, &http.Client{Transport: s.wire})
		Expect(err).NotTo(HaveOccurred())
		writer := executor.New(client, cleaner, executor.NewFairSemaphore(places))
		template := templateOf(ctx, configMap(nil))
		resource := resourceOf(template.Kind)
		var now, most atomic.Int64
		full := make(chan struct{})
		s.wire.meddle = func(_ int, request *http.Request) (*http.Response, error) {
			under := now.Add(1)
			defer now.Add(-1)
			for seen := most.Load(); under > seen && !most.CompareAndSwap(seen, under); seen = most.Load() {
			}
			if under == places {
				// The first time that all places are taken, let those who hold them go on.
				select {
				case <-full:
				default:
					close(full)
				}
			}
			<-full
			return s.wire.transport.RoundTrip(request)
		}

		results := make(chan executor.Result)
		for i := range copies {
			go func() {
				owner := types.NamespacedName{Namespace: "ops", Name: string(rune('a' + i%2))}
				action := s.create(template)
				results <- writer.Execute(ctx, resource, owner, &action)
			}()
		}
		done := 0
		for range copies {
			result := <-results
			if result.Outcome == planner.Done {
				done++
			} else {
				expectOutcome(result, planner.Stale)
			}
		}

		Expect(done).To(Equal(1), "a POST never writes over anything")
		Expect(most.Load()).To(BeEquivalentTo(places))
	})

	It("does not concern what needs no request", func(ctx SpecContext) {
		s := newStage(ctx)
		template := templateOf(ctx, configMap(nil))
		observed := s.copied(ctx, template)
		limit := executor.NewFairSemaphore(1)
		release, err := limit.Acquire(ctx, theirs)
		Expect(err).NotTo(HaveOccurred())
		defer release()
		writer := executor.New(nil, cleaner, limit)
		for _, idle := range []planner.ActionType{planner.Keep, planner.Wait, planner.Conflict} {
			action := s.about(idle, observed)
			Expect(writer.Execute(ctx, resourceOf(template.Kind), ours, &action)).
				To(Equal(executor.Result{Outcome: planner.Unchanged, Object: observed}))
		}

		ended, cancel := context.WithCancel(ctx)
		cancel()
		action := s.create(template)
		result := writer.Execute(ended, resourceOf(template.Kind), ours, &action)
		expectOutcome(result, planner.Unavailable)
		Expect(result.Err).To(MatchError(context.Canceled))
	})
})
