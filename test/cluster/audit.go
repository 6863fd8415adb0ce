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

package cluster

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// auditPolicy records the user, the request and the response's code, but not the
// objects. A request is recorded when its response is complete. A long-running
// request, such as a watch, is also recorded when its response starts. The
// requests of the control plane itself are left out: the deletion of one
// namespace takes about 80.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:apiserver", "system:kube-controller-manager"]
- level: None
  userGroups: ["system:serviceaccounts:kube-system"]
- level: None
  nonResourceURLs: ["/healthz*", "/livez*", "/readyz*"]
- level: Metadata
`

// Stages at which a request is recorded.
const (
	// StageStarted is the start of a long-running response, such as a watch's.
	StageStarted = "ResponseStarted"
	// StageComplete is the end of a response.
	StageComplete = "ResponseComplete"
	// StagePanic is a request during which the API server panicked.
	StagePanic = "Panic"
)

// ErrNoAuditLog is returned for a cluster that was started without
// Options.AuditLog.
var ErrNoAuditLog = errors.New("the cluster has no audit log: start it with Options.AuditLog")

// AuditEvent is one request as the API server recorded it, by its own clock.
type AuditEvent struct {
	// Verb is the Kubernetes verb: get, list, watch, create, update, patch,
	// delete, deletecollection.
	Verb      string
	UserAgent string
	// User is the user that the API server authorized: the impersonated user, if
	// any.
	User string
	// Sender is the user that authenticated. It differs from User if it
	// impersonates.
	Sender                       string
	Resource, Group, Subresource string
	Namespace, Name              string
	// Code is the response's HTTP status.
	Code int
	// Stage is StageComplete, except for long-running requests: a watch is
	// recorded with StageStarted when it starts, and again with StageComplete
	// when it ends.
	Stage               string
	Received, Completed time.Time
	RequestURI          string
}

// Writes reports whether the request is a write.
func (e AuditEvent) Writes() bool {
	return slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, e.Verb)
}

// Filter selects audit events.
type Filter func(AuditEvent) bool

// ByUserAgent selects the requests whose user agent begins with the prefix.
func ByUserAgent(prefix string) Filter {
	return func(e AuditEvent) bool { return strings.HasPrefix(e.UserAgent, prefix) }
}

// Mark returns the position in the audit log where the next request will be
// recorded.
func (c *Cluster) Mark() int64 {
	info, err := os.Stat(c.auditLog())
	if err != nil {
		return 0 // nothing recorded yet
	}
	return info.Size()
}

// AuditEvents returns the events since the mark that all filters select, oldest
// first. The API server records a request at about the time when it sends the
// response, so callers may have to poll for the event of a request that has just
// returned.
func (c *Cluster) AuditEvents(since int64, keep ...Filter) ([]AuditEvent, error) {
	return c.AuditEventsWith("", since, keep...)
}

// AuditEventsWith returns those of the events that contain the text, such as a
// namespace. That is faster, because it parses no others.
func (c *Cluster) AuditEventsWith(text string, since int64, keep ...Filter) ([]AuditEvent, error) {
	f, err := os.Open(c.auditLog())
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNoAuditLog
	}
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	defer func() { _ = f.Close() }()

	r := bufio.NewReaderSize(f, 1<<20)
	if err := skipTo(f, r, since); err != nil {
		return nil, fmt.Errorf("seeking in the audit log: %w", err)
	}
	var events []AuditEvent
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return events, nil // a line without its end is still being written
		}
		if err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		if !bytes.Contains(line, []byte(text)) {
			continue
		}
		e, err := parseAuditEvent(line)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(keep, func(f Filter) bool { return !f(e) }) {
			events = append(events, e)
		}
	}
}

// skipTo moves to the first line that begins at the mark or later: a mark that
// was taken while a line was being written points into that line.
func skipTo(f io.Seeker, r *bufio.Reader, mark int64) error {
	if mark <= 0 {
		return nil
	}
	if _, err := f.Seek(mark-1, io.SeekStart); err != nil {
		return err
	}
	if _, err := r.ReadBytes('\n'); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// parseAuditEvent parses one line of the log. The API server's own types would
// add a dependency for a dozen fields.
func parseAuditEvent(line []byte) (AuditEvent, error) {
	var raw struct {
		Stage, RequestURI, Verb, UserAgent string
		User, ImpersonatedUser             struct{ Username string }
		ObjectRef                          struct {
			Resource, Namespace, Name, APIGroup, Subresource string
		}
		ResponseStatus                           struct{ Code int }
		RequestReceivedTimestamp, StageTimestamp time.Time
	}
	if err := json.Unmarshal(line, &raw); err != nil {
		return AuditEvent{}, fmt.Errorf("parsing the audit log line %q: %w", line, err)
	}
	user := raw.User.Username
	if raw.ImpersonatedUser.Username != "" {
		user = raw.ImpersonatedUser.Username
	}
	return AuditEvent{
		Verb: raw.Verb, UserAgent: raw.UserAgent, User: user, Sender: raw.User.Username,
		Resource: raw.ObjectRef.Resource, Group: raw.ObjectRef.APIGroup, Subresource: raw.ObjectRef.Subresource,
		Namespace: raw.ObjectRef.Namespace, Name: raw.ObjectRef.Name,
		Code: raw.ResponseStatus.Code, Stage: raw.Stage,
		Received: raw.RequestReceivedTimestamp, Completed: raw.StageTimestamp,
		RequestURI: raw.RequestURI,
	}, nil
}

// auditLog returns the path of the audit log. It is in Dir, so that an attached
// cluster finds it too.
func (c *Cluster) auditLog() string {
	return c.path("audit.jsonl")
}
