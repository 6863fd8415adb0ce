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

package main

import (
	"math"
	"testing"
	"time"
)

func TestMillisecondsPerEvent(t *testing.T) {
	tests := map[string]struct {
		used, period time.Duration
		idle         float64
		events       int
		want         float64
	}{
		"nothing when idle":          {used: 100 * time.Millisecond, period: 2 * time.Second, events: 50, want: 2},
		"without what idle takes":    {used: 120 * time.Millisecond, period: 2 * time.Second, idle: 0.01, events: 50, want: 2},
		"less than idle, never zero": {used: 10 * time.Millisecond, period: 2 * time.Second, idle: 0.01, events: 50, want: 0.01},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := millisecondsPerEvent(test.used, test.period, test.idle, test.events)
			if math.Abs(got-test.want) > 1e-9 {
				t.Errorf("millisecondsPerEvent = %v, want %v", got, test.want)
			}
		})
	}
}
