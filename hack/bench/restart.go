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

// restartPatience is how long is counted after a restart.
const restartPatience = 5 * time.Second

// measureRestart counts what a restart asks for with every copy in sync.
func (b *bench) measureRestart(ctx context.Context) error {
	size := b.opts.size()
	if err := b.needNamespaces(ctx, size); err != nil {
		return err
	}
	if err := b.startOperator(ctx); err != nil {
		return err
	}
	subject := newSubject("restart", contentBytes, neverDue, firstTargets(size))
	if err := b.create(ctx, subject, size); err != nil {
		return err
	}
	if err := b.stopOperator(); err != nil {
		return err
	}
	mark := b.cluster.Mark()
	b.progress.say("restarting with %d copies in sync", size)
	if err := b.startOperator(ctx); err != nil {
		return err
	}
	if err := sleep(ctx, restartPatience); err != nil {
		return err
	}
	all, err := b.recordSince(mark)
	if err != nil {
		return err
	}
	b.tellRestart(all.only(byOperator, not(onLease)))
	return nil
}

func (b *bench) tellRestart(record record) {
	written := record.only(func(e cluster.AuditEvent) bool { return e.Writes() })
	b.report.add(row{
		Name: "restart with every copy in sync: writes", Goal: "0", Measured: fmt.Sprint(len(written)), Verdict: judged(len(written) == 0),
		Notes: []string{"a restart asks for: " + listed(record.tally())},
	})
	lists := initialLists(record)
	most := slices.Max(append(slices.Collect(maps.Values(lists)), 0))
	b.report.add(row{
		Name: "restart: lists per watch", Goal: "1", Measured: fmt.Sprintf("at most %d, %d watches", most, len(lists)), Verdict: judged(most == 1),
		Notes: []string{"a restart lists, by request or by a watch that begins with a list: " + listed(lists)},
	})
}

// queryOf is what a request's address asks for.
func queryOf(e cluster.AuditEvent) url.Values {
	address, err := url.ParseRequestURI(e.RequestURI)
	if err != nil {
		return nil
	}
	return address.Query()
}

// initialLists counts, by what is watched, the requests that deliver all of it: a list, or a watch that begins with one. A
// list that comes in pages counts once.
func initialLists(record record) map[string]int {
	counts := map[string]int{}
	for _, event := range record {
		query := queryOf(event)
		begins := event.Verb == "watch" && query.Get("sendInitialEvents") == "true"
		if (event.Verb != "list" || query.Has("continue")) && !begins {
			continue
		}
		what := []string{event.Resource, event.Namespace, query.Get("labelSelector"), query.Get("fieldSelector")}
		counts[strings.Join(slices.DeleteFunc(what, func(part string) bool { return part == "" }), " ")]++
	}
	return counts
}
