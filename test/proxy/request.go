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

package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// writeTimeout limits how long the API server takes to respond to a write.
const writeTimeout = time.Minute

// Request is a recorded request.
type Request struct {
	// Verb is the Kubernetes verb: get, list, watch, create, update, patch,
	// delete, deletecollection. For a non-resource URL, it is the HTTP method in
	// lower case.
	Verb                     string
	Group, Version, Resource string
	Namespace, Name          string
	Subresource              string
	UserAgent                string
	// URI is the path with the query.
	URI    string
	DryRun bool
	// Status is the response's HTTP status; 0 without a response.
	Status int
	// Fault is the fault that the proxy injected; empty for none.
	Fault    FaultKind
	Received time.Time
}

// Writes reports whether the request is a write and not a dry run.
func (r Request) Writes() bool {
	return !r.DryRun && slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, r.Verb)
}

// TookEffect reports whether the request is a write that the API server accepted.
func (r Request) TookEffect() bool {
	return r.Writes() && r.Fault != Responded && r.Status >= 200 && r.Status < 300
}

// String returns the request in one line.
func (r Request) String() string {
	what := r.Resource
	if r.Subresource != "" {
		what += "/" + r.Subresource
	}
	text := fmt.Sprintf("%s %s %s/%s: %d", r.Verb, what, r.Namespace, r.Name, r.Status)
	if r.Fault != "" {
		text += " (" + string(r.Fault) + ")"
	}
	return text
}

// describe parses the request. It reads the body for the name of an object to
// create and the dry run of a delete, and replaces it by a copy.
func describe(r *http.Request) (Request, error) {
	query := r.URL.Query()
	request := parsePath(r.URL.Path)
	request.UserAgent = r.UserAgent()
	request.URI = r.URL.RequestURI()
	request.DryRun = query.Has("dryRun")
	request.Received = time.Now()
	request.Verb = verb(r.Method, &request, query.Get("watch"))
	if request.Verb != "create" && request.Verb != "delete" || r.Body == nil {
		return request, nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return request, fmt.Errorf("reading the request: %w", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var content struct {
		Metadata struct{ Name string }
		DryRun   []string
	}
	_ = json.Unmarshal(body, &content) // a body in another format gives no name
	if request.Verb == "create" && request.Name == "" {
		request.Name = content.Metadata.Name
	}
	request.DryRun = request.DryRun || request.Verb == "delete" && len(content.DryRun) > 0
	return request, nil
}

// parsePath parses /api/v1/… and /apis/GROUP/VERSION/… as the API server does.
func parsePath(path string) Request {
	var request Request
	segments := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case segments[0] == "api" && len(segments) > 2:
		request.Version, segments = segments[1], segments[2:]
	case segments[0] == "apis" && len(segments) > 3:
		request.Group, request.Version, segments = segments[1], segments[2], segments[3:]
	default:
		return request
	}
	if segments[0] == "namespaces" && len(segments) > 1 {
		request.Namespace = segments[1]
		if len(segments) > 2 && !slices.Contains([]string{"status", "finalize"}, segments[2]) {
			segments = segments[2:]
		}
	}
	at := func(i int) string {
		if i < len(segments) {
			return segments[i]
		}
		return ""
	}
	request.Resource, request.Name, request.Subresource = at(0), at(1), at(2)
	return request
}

func verb(method string, request *Request, watch string) string {
	if request.Resource == "" {
		return strings.ToLower(method)
	}
	switch method {
	case http.MethodGet, http.MethodHead:
		switch {
		case watch == "true" || watch == "1":
			return "watch"
		case request.Name == "":
			return "list"
		}
		return "get"
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodDelete:
		if request.Name == "" {
			return "deletecollection"
		}
	}
	return strings.ToLower(method)
}

// keepBody reads the whole body and replaces it by a copy, so that the response is
// known to be complete.
func keepBody(response *http.Response) error {
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return fmt.Errorf("reading the API server's response: %w", err)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}
