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

package commands

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// eachMetadata calls visit for the metadata of each object of a list in all namespaces, one page after the other.
func (e *environment) eachMetadata(
	ctx context.Context, resource schema.GroupVersionResource, options metav1.ListOptions, visit func(*metav1.PartialObjectMetadata),
) error {
	objects, err := e.metadata()
	if err != nil {
		return err
	}
	progress := e.startProgress("Reading " + resource.Resource)
	defer progress.done()
	options.Limit = pageSize
	for {
		page, err := objects.Resource(resource).List(ctx, options)
		if err != nil {
			return err
		}
		for i := range page.Items {
			visit(&page.Items[i])
		}
		progress.add(len(page.Items))
		if options.Continue = page.Continue; options.Continue == "" {
			return nil
		}
	}
}
