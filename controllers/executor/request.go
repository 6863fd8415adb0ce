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

package executor

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/prosimcorp/replika/controllers/planner"
)

// get observes the current object; nil when it does not exist.
func (t target) get(ctx context.Context) (*planner.Observed, error) {
	object, err := t.read(ctx)
	if err != nil || object == nil {
		return nil, err
	}
	return t.executor.cleaner.Observe(t.resource.GroupResource(), object)
}

// read reads the current object with all its content; nil when it does not exist.
func (t target) read(ctx context.Context) (*unstructured.Unstructured, error) {
	response, err := t.request(ctx, t.executor.client.Get(), t.name)
	if t.isGone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decode(response)
}

// post sends a create of the template.
func (t target) post(ctx context.Context, template *planner.Template, dryRun ...string) ([]byte, error) {
	body, err := template.Render(t.namespace)
	if err != nil {
		return nil, err
	}
	return t.postBody(ctx, body, dryRun...)
}

// postBody sends a create of the rendered template.
func (t target) postBody(ctx context.Context, body []byte, dryRun ...string) ([]byte, error) {
	request := t.executor.client.Post().Body(body).SetHeader("Content-Type", "application/json")
	for _, directive := range dryRun {
		request.Param("dryRun", directive)
	}
	return t.request(ctx, request)
}

// request sends the request to the resource in the namespace, or to the object if a name is given.
func (t target) request(ctx context.Context, request *rest.Request, name ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(t.executor.RequestTimeout, 30*time.Second))
	defer cancel()

	prefix := "/apis/" + t.resource.Group
	if t.resource.Group == "" {
		prefix = "/api"
	}
	segments := append([]string{prefix, t.resource.Version, "namespaces", t.namespace, t.resource.Resource}, name...)
	result := request.AbsPath(segments...).Do(ctx)
	// Error, and not Raw, decodes the reason and the causes of a Status.
	if err := result.Error(); err != nil {
		return nil, err
	}
	return result.Raw()
}

func decode(response []byte) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(response); err != nil {
		return nil, fmt.Errorf("decode the response of the API server: %w", err)
	}
	return object, nil
}
