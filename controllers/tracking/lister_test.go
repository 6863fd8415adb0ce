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

package tracking

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// A kind whose lists hang must not keep those of another kind from being sent.
func TestLister_Acquire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hanging := schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "recipes"}
		other := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
		lister := &Lister{}
		acquire := func(resource schema.GroupVersionResource) (func(), error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return lister.Acquire(ctx, resource)
		}
		var releases []func()
		for range maxConcurrentLists {
			release, err := acquire(hanging)
			if err != nil {
				t.Fatal(err)
			}
			releases = append(releases, release)
		}
		if _, err := acquire(hanging); err == nil {
			t.Errorf("more than %d lists of a resource at a time", maxConcurrentLists)
		}
		if _, err := acquire(other); err != nil {
			t.Errorf("a list of another resource: %v", err)
		}
		releases[0]()
		if _, err := acquire(hanging); err != nil {
			t.Errorf("after a list has ended: %v", err)
		}
	})
}
