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
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// What the cluster creates in every namespace is never created first, recreated or deleted.
func TestPlan_ObjectInEveryNamespace(t *testing.T) {
	objects := map[string]struct {
		kind   schema.GroupKind
		name   string
		create ActionType
		prune  ActionType
	}{
		"default ServiceAccount":  {serviceAccountKind, "default", LookUp, Release},
		"CA of the API server":    {configMapKind, "kube-root-ca.crt", LookUp, Release},
		"service CA of OpenShift": {configMapKind, "openshift-service-ca.crt", LookUp, Release},
		"other ServiceAccount":    {serviceAccountKind, "builder", Create, Delete},
		"Secret default":          {secretKind, "default", Create, Delete},
		"other ConfigMap":         {configMapKind, "settings", Create, Delete},
	}
	for name, testCase := range objects {
		t.Run(name, func(t *testing.T) {
			replika := newReplika(func(r *v1alpha1.Replika) { r.Spec.Source.Name = testCase.name })
			template := mustTemplate(t, replika, newObject("vault", testCase.name, func(o *unstructured.Unstructured) { o.SetKind(testCase.kind.Kind) }))
			in := newInput(t)
			in.Kind, in.Name, in.Template = testCase.kind, testCase.name, template
			in.ImmutableFields = v1alpha1.ImmutableFieldsRecreate
			shop := Namespace{Name: "shop"}

			if action := in.Decide(shop, nil); action.Type != testCase.create {
				t.Errorf("no object is known: %s", action.Type)
			}
			observed := mustObserve(t, newCopy(t, template, "shop"))
			update := Action{Type: Update, Namespace: "shop", Name: testCase.name, Desired: true, Template: template, Observed: observed}
			if _, recreated := in.NextAction(update, shop, Immutable, observed, 1); recreated != (testCase.prune == Delete) {
				t.Errorf("recreated after Immutable: %v", recreated)
			}
			if action, needed := in.prune(shop, observed); !needed || action.Type != testCase.prune {
				t.Errorf("not desired: %s", action.Type)
			}
		})
	}
}
