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

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	corev1 "k8s.io/api/core/v1"

	"github.com/prosimcorp/replika/controllers/planner"
)

// floorServer is the floor's own side.
type floorServer struct {
	task    floorTask
	loop    *loop
	cleaner *planner.Cleaner
	// copies are the API server's last answers, by the order of the namespaces.
	copies []*unstructured.Unstructured
}

// serveFloor does what it is told until there is nothing more to read.
func serveFloor(ctx context.Context, input io.Reader, output io.Writer) error {
	lines := json.NewDecoder(input)
	server := &floorServer{cleaner: planner.NewCleaner()}
	err := lines.Decode(&server.task)
	if err != nil {
		return err
	}
	if server.loop, err = newLoop(ctx, server.task); err != nil {
		return err
	}
	fmt.Fprintln(output, saysReady)
	for {
		var step floorStep
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
		fmt.Fprintln(output, saysReady)
		var started string
		if err := lines.Decode(&started); err != nil {
			return err
		}
		if server.copies, err = server.loop.send(ctx, requests); err != nil {
			return err
		}
		fmt.Fprintln(output, saysDone)
	}
}

// prepare makes the requests that the operator would send for the step, to the byte.
func (f *floorServer) prepare(ctx context.Context, step floorStep) ([]rawRequest, error) {
	template, err := f.template(step.Source)
	if err != nil {
		return nil, err
	}
	actions := make([]planner.Action, len(f.task.Namespaces))
	for i, namespace := range f.task.Namespaces {
		action := planner.Action{Namespace: namespace, Name: template.Name, Template: template}
		switch step.Action {
		case stepCreate:
			action.Type = planner.Create
		case stepUpdate:
			action.Type = planner.Update
		case stepDelete:
			action.Type = planner.Delete
		}
		if step.Action != stepCreate {
			if action.Observed, err = f.cleaner.Observe(f.copies[i]); err != nil {
				return nil, err
			}
		}
		actions[i] = action
	}
	return recordRequests(ctx, f.cleaner, actions)
}

func (f *floorServer) template(source *corev1.ConfigMap) (*planner.Template, error) {
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(source)
	if err != nil {
		return nil, err
	}
	typed := &unstructured.Unstructured{Object: object}
	typed.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	return f.cleaner.NewTemplate(f.task.Replika, typed)
}
