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

package executor_test

import (
	"context"
	"maps"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

var (
	// replika owns the copies. Its sources are in namespace "sources".
	replika = types.NamespacedName{Namespace: "ops", Name: "sync"}
	// otherReplika takes copies over.
	otherReplika = types.NamespacedName{Namespace: "dev", Name: "sync"}

	cleaner = planner.NewCleaner()
)

// newTemplate returns the template of a source that the API server returned: with defaults and allocated values.
func newTemplate(ctx context.Context, source client.Object, changes ...func(*v1alpha1.Replika)) *planner.Template {
	GinkgoHelper()
	object := toUnstructured(source)
	object.SetNamespace(metav1.NamespaceDefault)
	Expect(api.Create(ctx, object, client.DryRunAll)).To(Succeed())
	return newRawTemplate(object, changes...)
}

// newRawTemplate returns the template of the source as it is, without defaults and without validation.
func newRawTemplate(source client.Object, changes ...func(*v1alpha1.Replika)) *planner.Template {
	GinkgoHelper()
	object := toUnstructured(source)
	object.SetNamespace("sources")
	owner := &v1alpha1.Replika{
		ObjectMeta: metav1.ObjectMeta{Namespace: replika.Namespace, Name: replika.Name},
		Spec:       v1alpha1.ReplikaSpec{Source: v1alpha1.SourceSpec{Name: object.GetName()}},
	}
	for _, change := range changes {
		change(owner)
	}
	template, err := cleaner.NewTemplate(resourceOf(object.GroupVersionKind()).GroupResource(), owner, object)
	Expect(err).NotTo(HaveOccurred())
	return template
}

// withLabels sets the target labels of a Replika.
func withLabels(labels map[string]string) func(*v1alpha1.Replika) {
	return func(replika *v1alpha1.Replika) { replika.Spec.Target.Labels = labels }
}

// withAnnotations sets the target annotations of a Replika.
func withAnnotations(annotations map[string]string) func(*v1alpha1.Replika) {
	return func(replika *v1alpha1.Replika) { replika.Spec.Target.Annotations = annotations }
}

func configMap(data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: data}
}

func immutableConfigMap(data map[string]string) *corev1.ConfigMap {
	immutable := true
	object := configMap(data)
	object.Immutable = &immutable
	return object
}

func secret(data map[string]string) *corev1.Secret {
	encoded := map[string][]byte{}
	for key, value := range data {
		encoded[key] = []byte(value)
	}
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "credentials"}, Type: corev1.SecretTypeOpaque, Data: encoded}
}

func persistentVolumeClaim(class, size string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "disk"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName: &class,
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}},
		},
	}
}

// customObject returns an object of one of the suite's own kinds with these top-level fields.
func customObject(kind schema.GroupVersionKind, fields map[string]any) *unstructured.Unstructured {
	object := newObject(kind, "", "custom")
	maps.Copy(object.Object, fields)
	return object
}

func newObject(kind schema.GroupVersionKind, namespace, name string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(kind)
	object.SetNamespace(namespace)
	object.SetName(name)
	return object
}

func toUnstructured(object client.Object) *unstructured.Unstructured {
	GinkgoHelper()
	if converted, ok := object.(*unstructured.Unstructured); ok {
		return converted.DeepCopy()
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	Expect(err).NotTo(HaveOccurred())
	converted := &unstructured.Unstructured{Object: content}
	kinds, _, err := clientgoscheme.Scheme.ObjectKinds(object)
	Expect(err).NotTo(HaveOccurred())
	converted.SetGroupVersionKind(kinds[0])
	return converted
}

func observe(object *unstructured.Unstructured) *planner.Observed {
	GinkgoHelper()
	observed, err := cleaner.Observe(resourceOf(object.GroupVersionKind()).GroupResource(), object)
	Expect(err).NotTo(HaveOccurred())
	return observed
}

func resourceOf(kind schema.GroupVersionKind) schema.GroupVersionResource {
	GinkgoHelper()
	mapping, err := api.RESTMapper().RESTMapping(kind.GroupKind(), kind.Version)
	Expect(err).NotTo(HaveOccurred())
	return mapping.Resource
}

func rbacRule(group string, resources []string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs}
}

// withKey returns the map with the key set.
func withKey(keys map[string]string, key, value string) map[string]string {
	changed := maps.Clone(keys)
	if changed == nil {
		changed = map[string]string{}
	}
	changed[key] = value
	return changed
}

// withoutKey returns the map without the key.
func withoutKey(keys map[string]string, key string) map[string]string {
	changed := maps.Clone(keys)
	delete(changed, key)
	return changed
}

// concurrentChange is a change by another client between the observation of a copy and a request about it.
type concurrentChange func(SpecContext, *env, *planner.Template)

func recreated(ctx SpecContext, e *env, template *planner.Template) { e.recreate(ctx, template) }

func removed(ctx SpecContext, e *env, template *planner.Template) { e.remove(ctx, template) }

func ownerMarkRemoved(ctx SpecContext, e *env, template *planner.Template) {
	e.modify(ctx, template, func(object *unstructured.Unstructured) {
		object.SetAnnotations(withoutKey(object.GetAnnotations(), v1alpha1.AnnotationOwner))
	})
}

func ownerChanged(ctx SpecContext, e *env, template *planner.Template) {
	e.modify(ctx, template, func(object *unstructured.Unstructured) {
		object.SetAnnotations(withKey(object.GetAnnotations(), v1alpha1.AnnotationOwner, otherReplika.String()))
	})
}

// marksVersionRaised is a write of a newer version of the operator.
func marksVersionRaised(ctx SpecContext, e *env, template *planner.Template) {
	e.modify(ctx, template, func(object *unstructured.Unstructured) {
		object.SetAnnotations(withKey(object.GetAnnotations(), v1alpha1.AnnotationMarksVersion, "1000"))
	})
}

func annotationsRemoved(ctx SpecContext, e *env, template *planner.Template) {
	e.modify(ctx, template, func(object *unstructured.Unstructured) { object.SetAnnotations(nil) })
}

func labelsRemoved(ctx SpecContext, e *env, template *planner.Template) {
	e.modify(ctx, template, func(object *unstructured.Unstructured) { object.SetLabels(nil) })
}

func dataChanged(ctx SpecContext, e *env, template *planner.Template) {
	e.modify(ctx, template, func(object *unstructured.Unstructured) { object.Object["data"] = map[string]any{"mine": "now"} })
}
