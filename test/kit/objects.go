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

package kit

import (
	"fmt"
	"maps"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/yaml"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// Scheme returns a scheme of the built-in kinds and Replikas.
func Scheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}

// scheme is where KindOf finds the kinds of typed objects.
var scheme = Scheme()

// KindOf returns the object's kind, also of a typed object whose kind is not set. It panics for a type that no scheme has.
func KindOf(object runtime.Object) schema.GroupVersionKind {
	kind, err := apiutil.GVKForObject(object, scheme)
	if err != nil {
		panic(fmt.Sprintf("kind of %T: %s", object, err))
	}
	return kind
}

// Namespace builds a namespace, with the union of the labels.
func Namespace(name string, labels ...map[string]string) *corev1.Namespace {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	for _, more := range labels {
		maps.Copy(namespace.Labels, more)
	}
	return namespace
}

// ConfigMap builds a ConfigMap whose data is the value under "key".
func ConfigMap(namespace, name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Data:       map[string]string{"key": value},
	}
}

// Secret builds an opaque Secret whose data is the value under "key".
func Secret(namespace, name, value string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Type:       corev1.SecretTypeOpaque,
		Data:       map[string][]byte{"key": []byte(value)},
	}
}

// FromYAML builds the object of the manifest, in YAML or JSON. It panics for a manifest that cannot be read, because tables
// call it before there is a test that could fail.
func FromYAML(manifest string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), object); err != nil {
		panic(fmt.Sprintf("manifest: %s\n%s", err, manifest))
	}
	return object
}

// ReadDefinition reads the CustomResourceDefinition in a file.
func ReadDefinition(path string) (*apiextensionsv1.CustomResourceDefinition, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	definition := &apiextensionsv1.CustomResourceDefinition{}
	return definition, yaml.UnmarshalStrict(content, definition)
}

// CopyIn returns an object of the source's type, kind and name in another namespace, without content: the key of a copy.
func CopyIn[T any, Object interface {
	*T
	client.Object
}](namespace string, source Object) Object {
	object := Object(new(T))
	object.GetObjectKind().SetGroupVersionKind(KindOf(source))
	object.SetNamespace(namespace)
	object.SetName(source.GetName())
	return object
}

// Content returns what copies have in common with their source: every top-level field but metadata and status.
func Content(object *unstructured.Unstructured) map[string]any {
	fields := maps.Clone(object.Object)
	for _, field := range []string{"apiVersion", "kind", "metadata", "status"} {
		delete(fields, field)
	}
	return fields
}

// OwnKeys returns the object's labels and annotations whose keys are the operator's.
func OwnKeys(object client.Object) map[string]string {
	keys := map[string]string{}
	for _, from := range []map[string]string{object.GetLabels(), object.GetAnnotations()} {
		for key, value := range from {
			if strings.HasPrefix(key, v1alpha1.KeyPrefix) {
				keys[key] = value
			}
		}
	}
	return keys
}
