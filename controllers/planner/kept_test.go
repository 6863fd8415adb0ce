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

package planner

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func TestCleaner_KeptFields(t *testing.T) {
	object := func(spec map[string]any, changes ...func(*unstructured.Unstructured)) *unstructured.Unstructured {
		return newObject("vault", "settings", append(changes, func(o *unstructured.Unstructured) { o.Object["spec"] = spec })...)
	}
	ports := func(ports ...int64) []any {
		var list []any
		for _, port := range ports {
			list = append(list, map[string]any{"port": port, "name": "web"})
		}
		return list
	}
	cases := map[string]struct {
		source, updated, created *unstructured.Unstructured
		want                     []string
	}{
		"equal": {
			source: object(map[string]any{"a": "new"}), updated: object(map[string]any{"a": "new"}), created: object(map[string]any{"a": "new"}),
		},
		"kept": {
			source:  object(map[string]any{"a": "new", "b": "new"}),
			updated: object(map[string]any{"a": "old", "b": "new"}),
			created: object(map[string]any{"a": "new", "b": "new"}),
			want:    []string{"spec.a"},
		},
		"not removed": {
			source:  object(map[string]any{"b": "new"}),
			updated: object(map[string]any{"a": map[string]any{"c": "old"}, "b": "new"}),
			created: object(map[string]any{"b": "new"}),
			want:    []string{"spec.a"},
		},
		"top-level field not removed": {
			source:  newObject("vault", "settings"),
			updated: object(map[string]any{"a": "old"}),
			created: newObject("vault", "settings"),
			want:    []string{"spec"},
		},
		"in a list": {
			source: object(map[string]any{"ports": ports(1, 2)}), updated: object(map[string]any{"ports": ports(1, 3)}),
			created: object(map[string]any{"ports": ports(1, 2)}), want: []string{"spec.ports[1].port"},
		},
		"list of another length": {
			source: object(map[string]any{"ports": ports(1, 2)}), updated: object(map[string]any{"ports": ports(1)}),
			created: object(map[string]any{"ports": ports(1, 2)}), want: []string{"spec.ports"},
		},
		"pinned by a policy": {
			source: object(map[string]any{"a": "new"}), updated: object(map[string]any{"a": "old"}), created: object(map[string]any{"a": "old"}),
		},
		"random value of a policy": {
			source: object(map[string]any{"a": "new"}), updated: object(map[string]any{"a": "x1"}), created: object(map[string]any{"a": "x2"}),
		},
		"default": {
			source:  object(map[string]any{"ports": ports(1)}),
			updated: object(map[string]any{"ports": ports(1), "affinity": "None"}),
			created: object(map[string]any{"ports": ports(1), "affinity": "None"}),
		},
		"one kept, one pinned": {
			source:  object(map[string]any{"a": "new", "b": "new"}),
			updated: object(map[string]any{"a": "old", "b": "old"}),
			created: object(map[string]any{"a": "new", "b": "old"}),
			want:    []string{"spec.a"},
		},
		"metadata and status": {
			source:  object(map[string]any{"a": "new"}, withLabels(newKeys("one"))),
			updated: object(map[string]any{"a": "new"}, withField("old", "status", "phase")),
			created: object(map[string]any{"a": "new"}, withLabels(newKeys("one"))),
		},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			template := mustTemplate(t, newReplika(), testCase.source)
			got, err := NewCleaner().KeptFields(template, testCase.updated, testCase.created)
			if diff := cmp.Diff(testCase.want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestTemplate_MayKeepFields(t *testing.T) {
	template := mustTemplate(t, newReplika(), newObject("vault", "settings", withField("new", "data", "mode")))
	former := mustTemplate(t, newReplika(), newObject("vault", "settings", withField("old", "data", "mode")))
	observe := func(mode string, accepted Digests, changes ...func(*unstructured.Unstructured)) *Observed {
		observed := mustObserve(t, newCopy(t, template, "shop", append(changes, withField(mode, "data", "mode"))...))
		observed.AcceptedDigests = accepted
		return observed
	}
	cases := map[string]struct {
		before, updated *Observed
		want            bool
	}{
		"in sync":                               {observe("old", ""), observe("new", ""), false},
		"kept":                                  {observe("old", ""), observe("old", template.Digests), true},
		"kept, and changed on admission before": {observe("old", former.Digests), observe("old", template.Digests), true},
		"changed":                               {observe("old", ""), observe("other", template.Digests), true},
		"changed, and changed on admission before": {observe("old", former.Digests), observe("other", template.Digests), false},
		"only metadata": {
			observe("old", ""), observe("new", template.Digests, withAnnotations(map[string]string{v1alpha1.AnnotationSource: "vault/pinned"})), false,
		},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			if got := template.MayKeepFields(testCase.before, testCase.updated); got != testCase.want {
				t.Errorf("got %t, want %t", got, testCase.want)
			}
		})
	}
}

func TestTemplate_RenderProbe(t *testing.T) {
	cases := map[string]string{
		"settings":                               "settings-",
		strings.Repeat("a", 253):                 strings.Repeat("a", 57) + "-",
		strings.Repeat("a", 56) + ".example.com": strings.Repeat("a", 56) + "-",
	}
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			template := mustTemplate(t, newReplika(func(r *v1alpha1.Replika) { r.Spec.Target.Name = name }), newObject("vault", "settings"))
			rendered, err := template.RenderProbe("shop")
			if err != nil {
				t.Fatal(err)
			}
			probe := &unstructured.Unstructured{}
			if err := probe.UnmarshalJSON(rendered); err != nil {
				t.Fatal(err)
			}
			if probe.GetGenerateName() != want || probe.GetName() != "" || probe.GetNamespace() != "shop" {
				t.Errorf("got %s", rendered)
			}
			if diff := cmp.Diff(newCopy(t, template, "shop").Object["data"], probe.Object["data"]); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
		})
	}
}
