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
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prosimcorp/replika/test/cluster"
)

// restartPeriod is how long requests are counted after a restart.
const restartPeriod = 5 * time.Second

// measureRestart counts the requests of an operator that starts with all copies in sync.
func (b *bench) measureRestart(ctx context.Context) error {
	size := b.opts.targets()
	if err := b.ensureNamespaces(ctx, size); err != nil {
		return err
	}
	if err := b.startOperator(ctx); err != nil {
		return err
	}
	workload := newWorkload("restart", b.opts.contentBytes(), noResync, targetGlobs(size))
	if err := b.create(ctx, workload, size); err != nil {
		return err
	}
	if err := b.stopOperator(); err != nil {
		return err
	}
	mark := b.cluster.Mark()
	b.progress.log("restarting with %d copies in sync", size)
	if err := b.startOperator(ctx); err != nil {
		return err
	}
	if err := sleep(ctx, restartPeriod); err != nil {
		return err
	}
	all, err := b.auditSince(mark)
	if err != nil {
		return err
	}
	b.reportRestart(all.only(byOperator, not(onLease)))
	return nil
}

func (b *bench) reportRestart(record auditRecord) {
	written := record.only(cluster.AuditEvent.Writes)
	b.report.add(row{
		Name: "restart with every copy in sync: writes", Goal: "0", Measured: fmt.Sprint(len(written)), Verdict: verdictOf(len(written) == 0),
		Notes: []string{"restart: requests of the operator: " + formatCounts(record.tally())},
	})
	lists := initialLists(record)
	most := slices.Max(append(slices.Collect(maps.Values(lists)), 0))
	b.report.add(row{
		Name: "restart: lists per watch", Goal: "1", Measured: fmt.Sprintf("at most %d, %d watches", most, len(lists)), Verdict: verdictOf(most == 1),
		Notes: []string{"restart: lists, and watches that start with a list: " + formatCounts(lists)},
	})
}

// queryOf returns the query parameters of a request.
func queryOf(e cluster.AuditEvent) url.Values {
	uri, err := url.ParseRequestURI(e.RequestURI)
	if err != nil {
		return nil
	}
	return uri.Query()
}

// initialLists counts, by resource, namespace and selectors, the lists and the watches that start with a list. A list in
// several pages counts once.
func initialLists(record auditRecord) map[string]int {
	counts := map[string]int{}
	for _, event := range record {
		query := queryOf(event)
		startsWithList := event.Verb == "watch" && query.Get("sendInitialEvents") == "true"
		if (event.Verb != "list" || query.Has("continue")) && !startsWithList {
			continue
		}
		what := []string{event.Resource, event.Namespace, query.Get("labelSelector"), query.Get("fieldSelector")}
		counts[strings.Join(slices.DeleteFunc(what, func(part string) bool { return part == "" }), " ")]++
	}
	return counts
}
