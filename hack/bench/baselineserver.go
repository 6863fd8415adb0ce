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
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	corev1 "k8s.io/api/core/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// baselineServer runs in the baseline's process.
type baselineServer struct {
	task    baselineTask
	loop    *loop
	cleaner *planner.Cleaner
	// copies are the API server's last responses, in the order of Replikas and namespaces.
	copies []*unstructured.Unstructured
}

// serveBaseline reads steps and executes them until the input ends.
func serveBaseline(ctx context.Context, input io.Reader, output io.Writer) error {
	lines := json.NewDecoder(input)
	server := &baselineServer{cleaner: planner.NewCleaner()}
	err := lines.Decode(&server.task)
	if err != nil {
		return err
	}
	if server.loop, err = newLoop(ctx, server.task); err != nil {
		return err
	}
	fmt.Fprintln(output, replyReady)
	for {
		var step baselineStep
		err := lines.Decode(&step)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		requests, err := server.prepare(ctx, step)
		if err != nil {
			return err
		}
		fmt.Fprintln(output, replyReady)
		var command string
		if err := lines.Decode(&command); err != nil {
			return err
		}
		if server.copies, err = server.loop.send(ctx, requests); err != nil {
			return err
		}
		fmt.Fprintln(output, replyDone)
	}
}

// prepare returns the requests that the operator would send for the step. Those that write are byte-identical.
func (s *baselineServer) prepare(ctx context.Context, step baselineStep) ([]rawRequest, error) {
	if step.Action == stepRead {
		return readRequests(step.Sources), nil
	}
	var actions []planner.Action
	for i, replika := range s.task.Replikas {
		template, err := s.template(replika, step.Sources[i])
		if err != nil {
			return nil, err
		}
		for _, namespace := range s.task.Namespaces {
			action := planner.Action{Type: actionTypes[step.Action], Namespace: namespace, Name: template.Name, Template: template}
			if step.Action != stepCreate {
				if action.Observed, err = s.cleaner.Observe(configMaps, s.copies[len(actions)]); err != nil {
					return nil, err
				}
			}
			actions = append(actions, action)
		}
	}
	return captureRequests(ctx, s.cleaner, actions)
}

// readRequests returns a GET of each of the sources.
func readRequests(sources []*corev1.ConfigMap) []rawRequest {
	requests := make([]rawRequest, len(sources))
	for i, source := range sources {
		requests[i] = rawRequest{
			method: http.MethodGet, path: fmt.Sprintf("/api/v1/namespaces/%s/configmaps/%s", source.Namespace, source.Name),
			header: http.Header{"Accept": {"application/json"}},
		}
	}
	return requests
}

// actionTypes are the types of the operator's actions, by the action of the step.
var actionTypes = map[string]planner.ActionType{
	stepCreate: planner.Create, stepUpdate: planner.Update, stepDelete: planner.Delete,
}

// configMaps is the resource of the copies.
var configMaps = corev1.Resource("configmaps")

func (s *baselineServer) template(replika *v1alpha1.Replika, source *corev1.ConfigMap) (*planner.Template, error) {
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(source)
	if err != nil {
		return nil, err
	}
	typed := &unstructured.Unstructured{Object: object}
	typed.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	return s.cleaner.NewTemplate(configMaps, replika, typed)
}
