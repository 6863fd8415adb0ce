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

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

func configMap(namespace, name string) *corev1.ConfigMap {
	return kit.ConfigMap(namespace, name, "value")
}

func secret(namespace, name string) *corev1.Secret { return kit.Secret(namespace, name, "value") }

// newReplika builds a Replika of the source for the target namespaces, with the source's name and namespace.
func newReplika(source client.Object, targets ...string) *v1alpha1.Replika {
	return kit.NewReplika(source, kit.TargetNamespaces(targets...))
}

func create(ctx context.Context, object client.Object) {
	GinkgoHelper()
	expect.CreateForAttempt(ctx, admin, object)
}

// deleteReplika deletes the Replika and waits until it is gone.
func deleteReplika(ctx context.Context, replika *v1alpha1.Replika) {
	GinkgoHelper()
	expect.Delete(ctx, admin, replika)
}

// eventuallyCopy waits until the copy of the source in the namespace matches.
func eventuallyCopy(ctx context.Context, source client.Object, namespace string, matches gomegatypes.GomegaMatcher) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		found, err := kit.Read(ctx, admin, source, namespace)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(found).NotTo(BeNil(), "no %s in %s", source.GetName(), namespace)
		g.Expect(found).To(matches)
	}).Should(Succeed())
}

// eventuallyFailed waits until a copy in this namespace is the only failure.
func eventuallyFailed(ctx context.Context, replika *v1alpha1.Replika, namespace, reason string) {
	GinkgoHelper()
	expect.Failures(ctx, admin, replika, map[string]string{namespace: reason})
}

// installKind installs a CRD without a schema.
func installKind(ctx context.Context, group, version, kind, plural string) {
	GinkgoHelper()
	definition := &apiextensionsv1.CustomResourceDefinition{
		TypeMeta:   metav1.TypeMeta{APIVersion: apiextensionsv1.SchemeGroupVersion.String(), Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{Name: plural + "." + group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Kind: kind, ListKind: kind + "List", Plural: plural},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: version, Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
					Type: "object", XPreserveUnknownFields: new(true),
				}},
			}},
		},
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(definition)
	Expect(err).NotTo(HaveOccurred())
	unstructured.RemoveNestedField(content, "status")
	crds := manifests{{Object: content}}
	Expect(crds.apply(ctx)).To(Succeed())
	crds.waitForCRDs(ctx)
}

// resourceOf returns the resource of a rule for one resource.
func resourceOf(rule rbacv1.PolicyRule) schema.GroupResource {
	return schema.GroupResource{Group: rule.APIGroups[0], Resource: rule.Resources[0]}
}
