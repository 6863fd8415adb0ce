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

package controllers_test

import (
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
)

// measureStalls returns a function that returns the longest time since then in which the machine did not run this process. A
// spec adds it to what it tolerates.
func measureStalls() (longest func() time.Duration) {
	const period = 50 * time.Millisecond
	var stall atomic.Int64
	ticker, done := time.NewTicker(period), make(chan struct{})
	DeferCleanup(func() {
		ticker.Stop()
		close(done)
	})
	go func() {
		for last := time.Now(); ; {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			now := time.Now()
			stall.Store(max(stall.Load(), int64(now.Sub(last)-period)))
			last = now
		}
	}()
	return func() time.Duration { return time.Duration(stall.Load()) }
}
