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

package controllers

import (
	"context"
	"slices"
	"testing"
	"time"
)

func TestDiscoveryRefresher(t *testing.T) {
	groups := make(chan string, 10)
	delays := []time.Duration{0, time.Millisecond, 2 * time.Millisecond}
	refresher := newDiscoveryRefresher(delays, func(_ context.Context, group string) { groups <- group })
	refresher.schedule("music.example.com")

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- refresher.Start(ctx) }()
	var got []string
	for range refresher.delays {
		got = append(got, <-groups)
	}
	if want := slices.Repeat([]string{"music.example.com"}, 3); !slices.Equal(got, want) {
		t.Errorf("refreshed %v, want %v", got, want)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
