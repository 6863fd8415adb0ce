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

package planner

import (
	"testing"
	"time"
)

func TestRetryDelay(t *testing.T) {
	cases := map[string]struct {
		failures        int
		synchronization time.Duration
		want            time.Duration
	}{
		"first failure":              {1, time.Minute, 500 * time.Millisecond},
		"second failure":             {2, time.Minute, time.Second},
		"third failure":              {3, time.Minute, 2 * time.Second},
		"below the cap":              {7, time.Minute, 32 * time.Second},
		"capped":                     {8, time.Minute, time.Minute},
		"capped after many failures": {1 << 40, time.Minute, time.Minute},
		"synchronization below the initial backoff": {1, 100 * time.Millisecond, 100 * time.Millisecond},
		"shortest synchronization":                  {2, time.Second, time.Second},
		"longest synchronization":                   {1 << 40, 8760 * time.Hour, 8760 * time.Hour},
		"no failure":                                {0, time.Minute, 500 * time.Millisecond},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			if got := RetryDelay(testCase.failures, testCase.synchronization); got != testCase.want {
				t.Errorf("got %v, want %v", got, testCase.want)
			}
		})
	}
}

func TestRetryDelay_Doubles(t *testing.T) {
	for _, synchronization := range []time.Duration{time.Second, 20 * time.Second, 8760 * time.Hour} {
		for failures := 2; failures < 60; failures++ {
			before, delay := RetryDelay(failures-1, synchronization), RetryDelay(failures, synchronization)
			if delay > synchronization {
				t.Errorf("%d failures: %v is above %v", failures, delay, synchronization)
			}
			if delay != min(2*before, synchronization) {
				t.Errorf("%d failures: %v does not double %v", failures, delay, before)
			}
		}
	}
}
