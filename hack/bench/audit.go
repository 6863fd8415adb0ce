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
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/prosimcorp/replika/test/cluster"
)

// auditRecord is a part of the API server's audit log. It has one event per request: the event of the complete response,
// or, for a watch, the event of the started response.
type auditRecord []cluster.AuditEvent

// auditLag is the maximum delay between a response and its entry in the audit log.
const auditLag = 300 * time.Millisecond

// auditSince returns the events that were logged after the mark.
func (e *environment) auditSince(mark int64) (auditRecord, error) {
	time.Sleep(auditLag)
	return e.cluster.AuditEvents(mark, func(e cluster.AuditEvent) bool {
		return (e.Verb == "watch") == (e.Stage == cluster.StageStarted)
	})
}

// only returns the events that match all filters.
func (r auditRecord) only(filters ...cluster.Filter) auditRecord {
	var picked auditRecord
	for _, event := range r {
		if !slices.ContainsFunc(filters, func(f cluster.Filter) bool { return !f(event) }) {
			picked = append(picked, event)
		}
	}
	return picked
}

func not(filter cluster.Filter) cluster.Filter {
	return func(e cluster.AuditEvent) bool { return !filter(e) }
}

// Operator and baseline use the same account. The operator cannot be identified by its user agent, because some of its
// requests, such as those for leader election, have another one.
var (
	byBaseline = cluster.ByUserAgent(baselineAgent)
	byBench    = cluster.ByUserAgent(benchAgent)
)

func byOperator(e cluster.AuditEvent) bool { return e.User == accountUser && !byBaseline(e) }

// writes matches successful writes.
func writes(e cluster.AuditEvent) bool { return e.Writes() && succeeded(e) }

func succeeded(e cluster.AuditEvent) bool { return e.Code < 300 }

// onCopies matches requests for the copies of that name.
func onCopies(name string) cluster.Filter {
	return func(e cluster.AuditEvent) bool {
		return e.Resource == "configmaps" && e.Name == name && strings.HasPrefix(e.Namespace, "target-")
	}
}

// request matches requests with this verb for objects of this resource and name.
func request(verb, resource, name string) cluster.Filter {
	return func(e cluster.AuditEvent) bool { return e.Verb == verb && e.Resource == resource && e.Name == name }
}

func verb(verb string) cluster.Filter {
	return func(e cluster.AuditEvent) bool { return e.Verb == verb }
}

// onLease matches the requests of leader election: those for the lease and for its events.
func onLease(e cluster.AuditEvent) bool { return e.Namespace == accountNamespace }

// readsSource matches the GETs of sources.
func readsSource(e cluster.AuditEvent) bool {
	return e.Verb == "get" && e.Resource == "configmaps" && e.Namespace == sourceNamespace
}

// startsWatch matches the starts of watches. The API server and the client end each watch after some minutes, and the client
// starts it again.
func startsWatch(e cluster.AuditEvent) bool { return e.Verb == "watch" }

// receivedIn matches the requests that the API server received in this period. Reading the audit log takes time, in which the
// operator sends further requests.
func receivedIn(start time.Time, period time.Duration) cluster.Filter {
	return func(e cluster.AuditEvent) bool {
		return !e.Received.Before(start) && e.Received.Before(start.Add(period))
	}
}

// waitForRequests waits until the audit log has this number of requests of the operator that match the filters, and returns all
// that was recorded since the mark.
func (e *environment) waitForRequests(ctx context.Context, mark int64, count int, filters ...cluster.Filter) (record auditRecord, err error) {
	filters = append(filters, byOperator)
	timeout := syncTimeout + time.Duration(count)*syncTimeoutPerCopy
	err = wait.PollUntilContextTimeout(ctx, auditLag, timeout, true, func(context.Context) (bool, error) {
		all, err := e.auditSince(mark)
		record = all
		return len(all.only(filters...)) >= count, errors.Join(err, e.operator.exitError())
	})
	if err != nil {
		return nil, fmt.Errorf("waiting for %d requests of the operator: %w", count, err)
	}
	return record, nil
}

// waitForIdle waits until the operator sends no requests but those of leader election and GETs of sources, and uses less than a fifth of
// a core: it may still be reading a long list.
func (e *environment) waitForIdle(ctx context.Context) error {
	const (
		period  = 2 * time.Second
		timeout = 10 * time.Minute
	)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("the operator is not idle after %s", timeout))
	defer cancel()
	for {
		mark, used := e.cluster.Mark(), e.operator.cpuTime()
		if err := sleep(ctx, period); err != nil {
			return err
		}
		record, err := e.auditSince(mark)
		if err != nil {
			return err
		}
		busy := e.operator.cpuTime()-used > period/5
		if !busy && len(record.only(byOperator, not(onLease), not(readsSource), not(startsWatch))) == 0 {
			return e.operator.exitError()
		}
	}
}

// perCopy returns the lowest and the highest number of requests per copy.
func (r auditRecord) perCopy(copies int) (least, most int) {
	counts := map[string]int{}
	for _, event := range r {
		counts[event.Namespace+"/"+event.Name]++
	}
	all := slices.Collect(maps.Values(counts))
	if len(all) == 0 {
		return 0, 0
	}
	least, most = slices.Min(all), slices.Max(all)
	if len(all) < copies {
		least = 0
	}
	return least, most
}

// tally counts the requests by verb and resource.
func (r auditRecord) tally() map[string]int {
	counts := map[string]int{}
	for _, event := range r {
		resource := event.Resource
		if resource == "" {
			resource, _, _ = strings.Cut(event.RequestURI, "?")
		}
		if event.Subresource != "" {
			resource += "/" + event.Subresource
		}
		counts[event.Verb+" "+resource]++
	}
	return counts
}

// firstReceived returns when the API server received the first request.
func (r auditRecord) firstReceived() time.Time {
	return slices.MinFunc(r, func(a, b cluster.AuditEvent) int { return a.Received.Compare(b.Received) }).Received
}

// lastCompleted returns when the API server completed the last response.
func (r auditRecord) lastCompleted() time.Time {
	return slices.MaxFunc(r, func(a, b cluster.AuditEvent) int { return a.Completed.Compare(b.Completed) }).Completed
}
