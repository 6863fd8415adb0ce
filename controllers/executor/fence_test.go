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
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/prosimcorp/replika/controllers/executor"
)

// errSent is returned by the transport below a fence, when the fence did not reject the request.
var errSent = errors.New("sent")

type sendingTransport struct{}

func (sendingTransport) RoundTrip(*http.Request) (*http.Response, error) { return nil, errSent }

var _ = Describe("Fence", func() {
	const maxPause = time.Second
	request := func(fence *executor.Fence, method string) error {
		_, err := fence.Wrap(sendingTransport{}).RoundTrip(httptest.NewRequest(method, "/", strings.NewReader("body")))
		return err
	}

	It("is open before the first heartbeat", func() {
		fence := executor.NewFence(executor.FenceLimits{})
		Expect(request(fence, http.MethodPatch)).To(MatchError(errSent))
	})

	It("is open while heartbeats are recorded", func(ctx SpecContext) {
		var elapsed, calls atomic.Int64
		began := time.Now()
		fence := executor.NewFenceWithClock(executor.FenceLimits{MaxPause: maxPause}, func() time.Time {
			calls.Add(1)
			return began.Add(time.Duration(elapsed.Load()))
		})
		go func() { _ = fence.Start(ctx) }()
		for range 5 {
			// A heartbeat reads the clock twice. After four more reads, one has begun after the last change of the clock.
			Eventually(calls.Load).Should(BeNumerically(">=", calls.Load()+4))
			Expect(request(fence, http.MethodPatch)).To(MatchError(errSent))
			elapsed.Add(int64(maxPause) * 9 / 10)
		}
	})

	DescribeTable("stays closed after a pause",
		func(ctx SpecContext, method string, rejected bool) {
			now := time.Now()
			fence := executor.NewFenceWithClock(executor.FenceLimits{MaxPause: maxPause}, func() time.Time { return now })
			Expect(fence.Heartbeat()).To(Succeed())
			now = now.Add(maxPause)
			Expect(request(fence, method)).To(MatchError(errSent), "after a pause of maxPause")
			now = now.Add(time.Millisecond)

			want := MatchError(errSent)
			if rejected {
				want = MatchError(ContainSubstring("1.001s"))
			}
			Expect(request(fence, method)).To(want)
			Expect(fence.Heartbeat()).To(MatchError(ContainSubstring("paused")))
			Expect(request(fence, method)).To(want, "after another heartbeat")
			Expect(fence.Start(ctx)).To(MatchError(ContainSubstring("paused")))
		},
		Entry("POST", http.MethodPost, true),
		Entry("PATCH", http.MethodPatch, true),
		Entry("DELETE", http.MethodDelete, true),
		Entry("PUT", http.MethodPut, true),
		Entry("GET", http.MethodGet, false),
	)
})
