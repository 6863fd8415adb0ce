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
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/prosimcorp/replika/test/cluster"
)

// auditPolling is the interval at which a spec waits for requests in the audit log. Each time, it parses all requests since a
// mark, which under the race detector takes a while.
const auditPolling = 300 * time.Millisecond

// quietPeriod is a few of the shortest intervals.
const quietPeriod = 2500 * time.Millisecond

// auditMark is a point in the audit log. A request that the API server received before may be recorded after it.
type auditMark struct {
	offset int64
	time   time.Time
}

func markAudit() auditMark {
	return auditMark{offset: controlPlane.Mark(), time: time.Now()}
}

// requests lists the operator's requests in the fixture's namespaces since the mark, without those about events.
func (f *fixture) requests(since auditMark, filters ...cluster.Filter) []cluster.AuditEvent {
	GinkgoHelper()
	filters = append(filters, cluster.ByUserAgent(operatorAgent), func(e cluster.AuditEvent) bool {
		return e.Received.After(since.time) && e.Resource != "events" && strings.HasPrefix(e.Namespace, f.id+"-")
	})
	events, err := controlPlane.AuditEventsWith(f.id+"-", since.offset, filters...)
	Expect(err).NotTo(HaveOccurred())
	return events
}

// writes lists, as text, the operator's writes in the fixture's namespaces since the mark.
func (f *fixture) writes(since auditMark) []string {
	GinkgoHelper()
	var written []string
	for _, event := range f.requests(since, cluster.AuditEvent.Writes) {
		written = append(written, fmt.Sprintf("%s %s/%s %s/%s: %d",
			event.Verb, event.Resource, event.Subresource, event.Namespace, event.Name, event.Code))
	}
	return written
}

// writesTo lists the operator's successful writes since the mark to the fixture's objects of the resource, and of the name
// unless that is empty: "create in team-a".
func (f *fixture) writesTo(since auditMark, resource, name string) []string {
	GinkgoHelper()
	changes := []string{}
	for _, event := range f.attemptedWrites(since, resource, name) {
		if event.Code < http.StatusMultipleChoices && !isDryRun(event) {
			changes = append(changes, event.Verb+" in "+event.Namespace)
		}
	}
	return changes
}

// eventuallyWrites polls writesTo: a write is recorded a little after other clients see its effect.
func (f *fixture) eventuallyWrites(ctx context.Context, since auditMark, resource, name string) AsyncAssertion {
	return Eventually(ctx, func() []string { return f.writesTo(since, resource, name) }).WithPolling(auditPolling)
}

// attemptedWrites lists the same writes, and those that were refused or were dry runs.
func (f *fixture) attemptedWrites(since auditMark, resource, name string) []cluster.AuditEvent {
	GinkgoHelper()
	return f.requests(since, cluster.AuditEvent.Writes, func(event cluster.AuditEvent) bool {
		return event.Resource == resource && (name == "" || event.Name == name)
	})
}

// isDryRun reports whether a request was a dry run.
func isDryRun(event cluster.AuditEvent) bool {
	return strings.Contains(event.RequestURI, "dryRun=")
}
