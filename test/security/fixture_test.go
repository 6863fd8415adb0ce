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

package security

import (
	"context"
	"encoding/json"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// object is what the JSON says.
func object(text string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(text), object); err != nil {
		panic(err) // while the tree of specs is built, there is no spec to fail
	}
	return object
}

func configMap(namespace, name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string]string{"key": "value"},
	}
}

func secret(namespace, name string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: map[string]string{"key": "value"},
	}
}

// replikaOf is a Replika beside the source, of its name.
func replikaOf(source client.Object, targets ...string) *v1alpha1.Replika {
	GinkgoHelper()
	kind := kindOf(source)
	return &v1alpha1.Replika{
		ObjectMeta: metav1.ObjectMeta{Namespace: source.GetNamespace(), Name: source.GetName()},
		Spec: v1alpha1.ReplikaSpec{
			Synchronization: v1alpha1.SynchronizationSpec{Time: metav1.Duration{Duration: time.Second}},
			Source:          v1alpha1.SourceSpec{Group: kind.Group, Version: kind.Version, Kind: kind.Kind, Name: source.GetName()},
			Target:          v1alpha1.TargetSpec{Namespaces: v1alpha1.TargetNamespaces{ReplicateIn: targets}},
		},
	}
}

func kindOf(object client.Object) schema.GroupVersionKind {
	GinkgoHelper()
	kind, err := admin.GroupVersionKindFor(object)
	Expect(err).NotTo(HaveOccurred())
	return kind
}

// in is the object of that kind and name in another namespace.
func copyIn(namespace string, like client.Object) client.Object {
	GinkgoHelper()
	kind := kindOf(like)
	var object client.Object = &unstructured.Unstructured{}
	if _, unknown := like.(*unstructured.Unstructured); !unknown {
		made, err := admin.Scheme().New(kind)
		Expect(err).NotTo(HaveOccurred())
		object = made.(client.Object)
	}
	object.GetObjectKind().SetGroupVersionKind(kind)
	object.SetNamespace(namespace)
	object.SetName(like.GetName())
	return object
}

// read reads what there is of that kind and name in the namespace; nil for
// nothing.
func getIfExists(ctx context.Context, g Gomega, like client.Object, namespace string) *unstructured.Unstructured {
	GinkgoHelper()
	found := &unstructured.Unstructured{}
	found.SetGroupVersionKind(kindOf(like))
	err := admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: like.GetName()}, found)
	if apierrors.IsNotFound(err) {
		return nil
	}
	g.Expect(err).NotTo(HaveOccurred())
	return found
}

func eventuallyCopy(ctx context.Context, like client.Object, namespace string, matches gomegatypes.GomegaMatcher) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		found := getIfExists(ctx, g, like, namespace)
		g.Expect(found).NotTo(BeNil(), "no %s in %s", like.GetName(), namespace)
		g.Expect(found).To(matches)
	}).Should(Succeed())
}

func eventuallyNone(ctx context.Context, like client.Object, namespaces ...string) {
	GinkgoHelper()
	for _, namespace := range namespaces {
		Eventually(ctx, func(g Gomega) { g.Expect(getIfExists(ctx, g, like, namespace)).To(BeNil(), "in %s", namespace) }).Should(Succeed())
	}
}

// eventuallySynced waits until the Replika says so of that many copies.
func eventuallySynced(ctx context.Context, replika *v1alpha1.Replika, copies int32) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(replika), replika)).To(Succeed())
		g.Expect(replika.Status.ObservedGeneration).To(Equal(replika.Generation))
		g.Expect(replika.Status.Conditions).To(ContainElement(And(
			HaveField("Type", v1alpha1.ConditionReady), HaveField("Reason", v1alpha1.ReasonSynced))))
		g.Expect(replika.Status.Copies).To(HaveValue(HaveField("Synced", copies)))
	}).Should(Succeed())
}

// edit changes what the operator may change at the same time.
func updateObject(ctx context.Context, object client.Object, change func()) {
	GinkgoHelper()
	Expect(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := admin.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		change()
		return admin.Update(ctx, object)
	})).To(Succeed())
}

// remove deletes the Replika and waits until it is gone.
func deleteReplika(ctx context.Context, replika *v1alpha1.Replika) {
	GinkgoHelper()
	Expect(client.IgnoreNotFound(admin.Delete(ctx, replika))).To(Succeed())
	eventuallyNone(ctx, replika, replika.Namespace)
}

// installKind has the API server serve a kind about which nothing matters but
// its name.
func installKind(ctx context.Context, group, version, kind, plural string) {
	GinkgoHelper()
	anything := true
	definition := &apiextensionsv1.CustomResourceDefinition{
		TypeMeta:   metav1.TypeMeta{APIVersion: apiextensionsv1.SchemeGroupVersion.String(), Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{Name: plural + "." + group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Kind: kind, ListKind: kind + "List", Plural: plural},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: version, Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
					Type: "object", XPreserveUnknownFields: &anything,
				}},
			}},
		},
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(definition)
	Expect(err).NotTo(HaveOccurred())
	unstructured.RemoveNestedField(content, "status")
	made := manifests{{Object: content}}
	Expect(made.apply(ctx)).To(Succeed())
	made.waitForCRDs(ctx)
}

// resourceOf is what a rule about one resource is about.
func resourceOf(rule rbacv1.PolicyRule) schema.GroupResource {
	return schema.GroupResource{Group: rule.APIGroups[0], Resource: rule.Resources[0]}
}
