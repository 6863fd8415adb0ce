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
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func TestLimitEvents(t *testing.T) {
	events := make(chan struct{}, 2*maxConcurrentEvents)
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		if request.Method == http.MethodPost {
			events <- struct{}{}
			<-hang
		}
		http.Error(writer, "no such object", http.StatusNotFound)
	}))
	defer server.Close()
	defer close(hang)
	config := &rest.Config{Host: server.URL + "/proxy", QPS: -1}
	limitEvents(config)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}

	send := func(ctx context.Context) error {
		_, err := client.EventsV1().Events("team-a").Create(ctx, &eventsv1.Event{}, metav1.CreateOptions{})
		return err
	}
	for range maxConcurrentEvents {
		go func() { _ = send(t.Context()) }()
	}
	for range maxConcurrentEvents {
		<-events
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := send(ctx); ctx.Err() == nil || err == nil {
		t.Errorf("one more event: error %v", err)
	}
	if more := len(events); more != 0 {
		t.Errorf("%d events were sent at a time, want %d", maxConcurrentEvents+more, maxConcurrentEvents)
	}
	if _, err := client.CoordinationV1().Leases("replika").Get(t.Context(), "replika", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a request that is not about events: error %v", err)
	}
}
