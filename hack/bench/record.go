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
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prosimcorp/replika/test/cluster"
)

// record is what the API server wrote into its audit log over some time: each request once, when it was answered, or,
// if it lasts, as a watch does, when its answer began.
type record []cluster.AuditEvent

// recordLag is how long after an answer the API server may take to record it.
const recordLag = 300 * time.Millisecond

// recordSince reads what was recorded since the mark.
func (s *stage) recordSince(mark int64) (record, error) {
	time.Sleep(recordLag)
	return s.cluster.AuditEvents(mark, func(e cluster.AuditEvent) bool {
		return (e.Verb == "watch") == (e.Stage == cluster.StageStarted)
	})
}

// only is the part of the record that all filters pick.
func (r record) only(filters ...cluster.Filter) record {
	var picked record
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

// Operator and floor have one account. By that, and not by its user agent, the operator is known: some of its requests, such
// as those for leader election, bear another.
var (
	byFloor = cluster.ByUserAgent(floorAgent)
	byBench = cluster.ByUserAgent(benchAgent)
)

func byOperator(e cluster.AuditEvent) bool { return e.User == accountUser && !byFloor(e) }

func writes(e cluster.AuditEvent) bool { return e.Writes() && e.Code < 300 }

// onCopies picks requests about the copies of that name.
func onCopies(name string) cluster.Filter {
	return func(e cluster.AuditEvent) bool {
		return e.Resource == "configmaps" && e.Name == name && strings.HasPrefix(e.Namespace, "target-")
	}
}

// request picks requests of one sort about objects of one name.
func request(verb, resource, name string) cluster.Filter {
	return func(e cluster.AuditEvent) bool { return e.Verb == verb && e.Resource == resource && e.Name == name }
}

// onLease picks what leader election asks for: the lease, and an event that tells of it.
func onLease(e cluster.AuditEvent) bool { return e.Namespace == accountNamespace }

// perCopy is the least and the most requests about any of so many copies.
func (r record) perCopy(copies int) (least, most int) {
	counts := map[string]int{}
	for _, event := range r {
		counts[event.Namespace]++
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

// tally counts requests by what they ask for.
func (r record) tally() map[string]int {
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

// begun is when the first request was received, ended when the last was answered.
func (r record) begun() time.Time {
	return slices.MinFunc(r, func(a, b cluster.AuditEvent) int { return a.Received.Compare(b.Received) }).Received
}

func (r record) ended() time.Time {
	return slices.MaxFunc(r, func(a, b cluster.AuditEvent) int { return a.Completed.Compare(b.Completed) }).Completed
}
