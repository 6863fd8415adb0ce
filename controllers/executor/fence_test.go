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
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/prosimcorp/replika/controllers/executor"
)

// errPassed is what the transport below a fence answers: the fence has let the request through.
var errPassed = errors.New("passed")

type passing struct{}

func (passing) RoundTrip(*http.Request) (*http.Response, error) { return nil, errPassed }

var _ = Describe("A fence", func() {
	const patience = time.Second // more than a busy machine lets a goroutine wait
	request := func(fence *executor.Fence, method string) error {
		_, err := fence.Wrap(passing{}).RoundTrip(httptest.NewRequest(method, "/", strings.NewReader("body")))
		return err
	}

	It("is open until it runs", func() {
		fence := executor.NewFence(0)
		Expect(request(fence, http.MethodPatch)).To(MatchError(errPassed))
	})

	It("is open while the pulse goes", func(ctx SpecContext) {
		fence := executor.NewFence(patience)
		go func() { _ = fence.Start(ctx) }()
		Consistently(request).WithArguments(fence, http.MethodPatch).WithTimeout(2 * patience).Should(MatchError(errPassed))
	})

	DescribeTable("comes down, for good, when the process stood still",
		func(ctx SpecContext, method string, refused bool) {
			now := time.Now()
			fence := executor.NewFenceWithClock(patience, func() time.Time { return now })
			Expect(fence.Heartbeat()).To(Succeed())
			now = now.Add(patience)
			Expect(request(fence, method)).To(MatchError(errPassed), "not for too long")
			now = now.Add(time.Millisecond)

			want := MatchError(errPassed)
			if refused {
				want = MatchError(ContainSubstring("1.001s"))
			}
			Expect(request(fence, method)).To(want)
			Expect(fence.Heartbeat()).To(MatchError(ContainSubstring("paused")))
			Expect(request(fence, method)).To(want, "although the pulse goes again")
			Expect(fence.Start(ctx)).To(MatchError(ContainSubstring("paused")))
		},
		Entry("POST", http.MethodPost, true),
		Entry("PATCH", http.MethodPatch, true),
		Entry("DELETE", http.MethodDelete, true),
		Entry("PUT", http.MethodPut, false),
		Entry("GET", http.MethodGet, false),
	)
})
