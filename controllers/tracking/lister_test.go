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
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// A kind whose lists hang must not keep those of another kind from being sent.
func TestLister_TryAcquire(t *testing.T) {
	hanging := schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "recipes"}
	other := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	lister := &Lister{}
	var releases []func()
	for range maxConcurrentLists {
		release, acquired := lister.TryAcquire(hanging)
		if !acquired {
			t.Fatal("not acquired")
		}
		releases = append(releases, release)
	}
	if _, acquired := lister.TryAcquire(hanging); acquired {
		t.Errorf("more than %d lists of a resource at a time", maxConcurrentLists)
	}
	if _, acquired := lister.TryAcquire(other); !acquired {
		t.Error("a list of another resource: not acquired")
	}
	releases[0]()
	if _, acquired := lister.TryAcquire(hanging); !acquired {
		t.Error("after a list has ended: not acquired")
	}
}
