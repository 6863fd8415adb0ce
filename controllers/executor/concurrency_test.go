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
	"context"
	"net/http"
	"sync/atomic"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
)

var _ = Describe("Concurrency limit", func() {
	It("limits the concurrent requests of all Replikas together", func(ctx SpecContext) {
		const permits, copies = 3, 12
		e := newEnv(ctx)
		client, err := executor.NewClient(controlPlane.Config, &http.Client{Transport: e.interceptor})
		Expect(err).NotTo(HaveOccurred())
		limited := executor.New(client, cleaner, executor.NewFairSemaphore(permits, 0))
		template := newTemplate(ctx, configMap(nil))
		resource := resourceOf(template.Kind)
		var active, highest atomic.Int64
		allInUse := make(chan struct{})
		e.interceptor.intercept = func(_ int, request *http.Request) (*http.Response, error) {
			current := active.Add(1)
			defer active.Add(-1)
			for seen := highest.Load(); current > seen && !highest.CompareAndSwap(seen, current); seen = highest.Load() {
			}
			if current == permits {
				// All permits are in use: let the requests continue.
				select {
				case <-allInUse:
				default:
					close(allInUse)
				}
			}
			<-allInUse
			return e.interceptor.transport.RoundTrip(request)
		}

		results := make(chan executor.Result)
		for i := range copies {
			go func() {
				owner := types.NamespacedName{Namespace: "ops", Name: string(rune('a' + i%2))}
				action := e.createAction(template)
				results <- limited.Execute(ctx, resource, owner, &action)
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

		Expect(done).To(Equal(1), "a POST never overwrites an object")
		Expect(highest.Load()).To(BeEquivalentTo(permits))
	})

	It("does not block actions without requests", func(ctx SpecContext) {
		e := newEnv(ctx)
		template := newTemplate(ctx, configMap(nil))
		observed := e.createCopy(ctx, template)
		semaphore := executor.NewFairSemaphore(1, 0)
		release, err := semaphore.Acquire(ctx, otherReplika)
		Expect(err).NotTo(HaveOccurred())
		defer release()
		limited := executor.New(nil, cleaner, semaphore)
		for _, actionType := range []planner.ActionType{planner.Keep, planner.Wait, planner.Conflict} {
			action := e.action(actionType, observed)
			Expect(limited.Execute(ctx, resourceOf(template.Kind), replika, &action)).
				To(Equal(executor.Result{Outcome: planner.Unchanged, Object: observed}))
		}

		canceled, cancel := context.WithCancel(ctx)
		cancel()
		action := e.createAction(template)
		result := limited.Execute(canceled, resourceOf(template.Kind), replika, &action)
		expectOutcome(result, planner.Unavailable)
		Expect(result.Err).To(MatchError(context.Canceled))
	})
})
