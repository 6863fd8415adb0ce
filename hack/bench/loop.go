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
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// loop sends requests in parallel over one connection. An informer like the operator's runs next to it, because its events
// compete for the same processors.
type loop struct {
	client   *http.Client
	host     string
	parallel int
}

func newLoop(ctx context.Context, task baselineTask) (*loop, error) {
	config, err := clientcmd.BuildConfigFromFlags("", task.Kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	config.UserAgent = baselineAgent
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	if err := startInformer(ctx, config, client); err != nil {
		return nil, err
	}
	return &loop{client: client, host: strings.TrimSuffix(config.Host, "/"), parallel: task.Parallel}, nil
}

// startInformer runs an informer for all copies, selected by label, that drops their content.
func startInformer(ctx context.Context, config *rest.Config, client *http.Client) error {
	objects, err := dynamic.NewForConfigAndClient(config, client)
	if err != nil {
		return err
	}
	informer := dynamicinformer.NewFilteredDynamicInformer(objects, corev1.SchemeGroupVersion.WithResource("configmaps"),
		metav1.NamespaceAll, 0, cache.Indexers{}, func(options *metav1.ListOptions) {
			options.LabelSelector = labels.Set{v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue}.String()
		}).Informer()
	if err := informer.SetTransform(dropContent); err != nil {
		return err
	}
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return context.Cause(ctx)
	}
	return nil
}

func dropContent(object any) (any, error) {
	full, ok := object.(*unstructured.Unstructured)
	if !ok {
		return object, nil
	}
	reduced := &metav1.PartialObjectMetadata{}
	reduced.Namespace, reduced.Name = full.GetNamespace(), full.GetName()
	reduced.UID, reduced.ResourceVersion = full.GetUID(), full.GetResourceVersion()
	return reduced, nil
}

// send sends all requests, and returns the decoded responses.
func (l *loop) send(ctx context.Context, requests []rawRequest) ([]*unstructured.Unstructured, error) {
	responses := make([]*unstructured.Unstructured, len(requests))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(l.parallel)
	for i := range requests {
		group.Go(func() (err error) {
			responses[i], err = l.sendRequest(ctx, &requests[i])
			return err
		})
	}
	return responses, group.Wait()
}

func (l *loop) sendRequest(ctx context.Context, r *rawRequest) (*unstructured.Unstructured, error) {
	sent, err := http.NewRequestWithContext(ctx, r.method, l.host+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	sent.Header = r.header
	response, err := l.client.Do(sent)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return nil, fmt.Errorf("%s %s: the API server returned %s: %s", r.method, r.path, response.Status, body)
	}
	object := &unstructured.Unstructured{}
	return object, object.UnmarshalJSON(body)
}
