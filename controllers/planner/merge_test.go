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
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// serviceAccount returns a ServiceAccount with these imagePullSecrets.
func serviceAccount(names ...string) *unstructured.Unstructured {
	return newObject("vault", "settings", func(o *unstructured.Unstructured) {
		o.SetKind("ServiceAccount")
		delete(o.Object, "data")
	}, withPullSecrets(names...))
}

func withPullSecrets(names ...string) func(*unstructured.Unstructured) {
	return func(o *unstructured.Unstructured) {
		var entries []any
		for _, name := range names {
			entries = append(entries, map[string]any{"name": name})
		}
		delete(o.Object, "imagePullSecrets")
		if entries != nil {
			o.Object["imagePullSecrets"] = entries
		}
	}
}

func TestMergeContent_PullSecrets(t *testing.T) {
	cases := map[string]struct {
		// earlier is the source when the copy was created, source the present one, and copied the entries of the copy.
		earlier, source, copied, want []string
		wantInSync                    bool
	}{
		"in sync":                                 {[]string{"pull"}, []string{"pull"}, []string{"pull"}, []string{"pull"}, true},
		"entry of a controller":                   {[]string{"pull"}, []string{"pull"}, []string{"theirs", "pull"}, []string{"pull", "theirs"}, true},
		"entry of OpenShift":                      {[]string{"a-dockercfg-1", "pull"}, []string{"a-dockercfg-1", "pull"}, []string{"pull", "a-dockercfg-2"}, []string{"pull", "a-dockercfg-2"}, true},
		"source without entries":                  {nil, nil, []string{"a-dockercfg-2", "theirs"}, []string{"a-dockercfg-2", "theirs"}, true},
		"entry removed from the source":           {[]string{"old", "pull"}, []string{"pull"}, []string{"old", "pull", "theirs"}, []string{"pull", "theirs"}, false},
		"all entries removed from the source":     {[]string{"old"}, nil, []string{"old"}, nil, false},
		"entry added to the source":               {[]string{"pull"}, []string{"pull", "new"}, []string{"pull", "theirs"}, []string{"pull", "new", "theirs"}, false},
		"entry removed from the copy":             {[]string{"pull"}, []string{"pull"}, []string{"theirs"}, []string{"pull", "theirs"}, false},
		"entry of a controller, now the source's": {nil, []string{"theirs"}, []string{"theirs"}, []string{"theirs"}, false},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			object := newCopy(t, mustTemplate(t, newReplika(), serviceAccount(testCase.earlier...)), "shop", withPullSecrets(testCase.copied...))
			template := mustTemplate(t, newReplika(), serviceAccount(testCase.source...))
			observed := mustObserve(t, object)
			if inSync := observed.Digests == template.Digests; inSync != testCase.wantInSync {
				t.Errorf("in sync: %v, differing %v", inSync, template.Digests.Differing(observed.Digests))
			}

			_, after, err := NewCleaner().MergeContent(&Action{Type: Update, Template: template, Observed: observed}, object)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]any{}
			withPullSecrets(testCase.want...)(&unstructured.Unstructured{Object: want})
			if diff := cmp.Diff(toJSON(t, want), toJSON(t, after)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func toJSON(t *testing.T, value any) string {
	t.Helper()
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// A copy of the 2022 release has the keys by which tools track its source. They are removed; what controllers and other
// clients set is kept.
func TestStaleKeys_LegacyCopy(t *testing.T) {
	template := mustTemplate(t, newReplika(func(r *v1alpha1.Replika) {
		r.Spec.Target.Labels = map[string]string{"app.kubernetes.io/managed-by": "replika"}
	}), newObject("vault", "settings", withLabels(newKeys("app"))))
	legacy := newObject("shop", "settings", withLegacyLabels("sync"),
		withLabels(newKeys("app", "app.kubernetes.io/instance", "helm.sh/chart", "app.kubernetes.io/managed-by", "theirs")),
		withAnnotations(newKeys("argocd.argoproj.io/tracking-id", "kubectl.kubernetes.io/last-applied-configuration",
			"meta.helm.sh/release-name", "pv.kubernetes.io/bind-completed", "theirs")),
	)
	in := newInput(t)
	in.Template = template
	action := in.Decide(Namespace{Name: "shop"}, mustObserve(t, legacy))
	if action.Type != Update || action.Adopt || !action.NeedsLiveObject() {
		t.Fatalf("%s, adopt %v, needs the live object %v", action.Type, action.Adopt, action.NeedsLiveObject())
	}
	want := Keys{
		Labels: []string{"app.kubernetes.io/instance", "helm.sh/chart"},
		Annotations: []string{
			"argocd.argoproj.io/tracking-id", "kubectl.kubernetes.io/last-applied-configuration", "meta.helm.sh/release-name",
		},
	}
	if diff := cmp.Diff(want, NewCleaner().StaleKeys(&action, legacy)); diff != "" {
		t.Error(diff)
	}

	adopted := action
	adopted.Adopt = true
	if got := NewCleaner().StaleKeys(&adopted, legacy); len(got.Labels)+len(got.Annotations) > 0 {
		t.Errorf("the adoption of a foreign object removes %v", got)
	}
}

// An adopted object loses the keys by which another replicator knows it. If that replicator copies all keys of its source, the
// keys by which tools track the source are removed, too.
func TestStaleKeys_AdoptedCopyOfReplicator(t *testing.T) {
	tracking := newKeys("app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "theirs", "app")
	cases := map[string]struct {
		labels, annotations map[string]string
		want                Keys
	}{
		"without labels and annotations": {},
		"of a user":                      {labels: tracking, annotations: newKeys("meta.helm.sh/release-name")},
		"a mirror of reflector that a user declares": {
			labels:      tracking,
			annotations: newKeys("reflector.v1.k8s.emberstack.com/reflects", "meta.helm.sh/release-name"),
			want:        Keys{Annotations: []string{"reflector.v1.k8s.emberstack.com/reflects"}},
		},
		"of kubernetes-replicator": {
			labels: tracking, annotations: newKeys("replicator.v1.mittwald.de/replicated-keys", "theirs"),
			want: Keys{Annotations: []string{"replicator.v1.mittwald.de/replicated-keys"}},
		},
		"of config-syncer": {
			labels:      mergeMaps(tracking, newKeys("kubed.appscode.com/origin.name")),
			annotations: newKeys("kubed.appscode.com/origin", "kubectl.kubernetes.io/last-applied-configuration", "theirs"),
			want: Keys{
				Labels:      []string{"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "kubed.appscode.com/origin.name"},
				Annotations: []string{"kubectl.kubernetes.io/last-applied-configuration", "kubed.appscode.com/origin"},
			},
		},
		"of a Kyverno policy": {
			labels: mergeMaps(tracking, newKeys("generate.kyverno.io/policy-name")),
			want: Keys{
				Labels: []string{"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "generate.kyverno.io/policy-name"},
			},
		},
		"of HNC": {
			labels: mergeMaps(tracking, newKeys("hnc.x-k8s.io/inherited-from")), annotations: newKeys("argocd.argoproj.io/tracking-id"),
			want: Keys{
				Labels:      []string{"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "hnc.x-k8s.io/inherited-from"},
				Annotations: []string{"argocd.argoproj.io/tracking-id"},
			},
		},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			foreign := newObject("shop", "settings", withLabels(testCase.labels), withAnnotations(testCase.annotations))
			in := newInput(t, withAdoptPolicy)
			in.Template = mustTemplate(t, newReplika(), newObject("vault", "settings", withLabels(newKeys("app"))))
			action := in.Decide(Namespace{Name: "shop"}, mustObserve(t, foreign))
			hasKeys := len(testCase.labels)+len(testCase.annotations) > 0
			if action.Type != Update || !action.Adopt || action.NeedsLiveObject() != hasKeys {
				t.Fatalf("%s, adopt %v, needs the live object %v", action.Type, action.Adopt, action.NeedsLiveObject())
			}
			if diff := cmp.Diff(testCase.want, NewCleaner().StaleKeys(&action, foreign), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
