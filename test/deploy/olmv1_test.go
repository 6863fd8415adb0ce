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

package deploy

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// installerName is the ServiceAccount with whose rights OLM v1 installs the bundle.
var installerName = client.ObjectKey{Namespace: "replika", Name: "replika-installer"}

// ownerLabels are the labels by which OLM v1 watches what it has installed.
var ownerLabels = client.MatchingLabels{"olm.operatorframework.io/owner-kind": "ClusterExtension", "olm.operatorframework.io/owner-name": "replika"}

// The suite has no OLM. So it sends the requests that OLM v1 sends, with the ServiceAccount of the sample.
var _ = Describe("The ClusterExtension for OLM v1", func() {
	It("installs the package from its default channel, into the suggested namespace", func() {
		var extension *unstructured.Unstructured
		for _, object := range byKindAndName(filepath.Join(repository, "config", "samples", "olm")) {
			if object.GetKind() == "ClusterExtension" {
				extension = object
			}
		}
		Expect(extension).NotTo(BeNil())
		Expect(extension.Object["spec"]).To(And(
			HaveKeyWithValue("namespace", installerName.Namespace),
			HaveKeyWithValue("serviceAccount", map[string]any{"name": installerName.Name}),
			HaveKeyWithValue("source", HaveKeyWithValue("catalog", And(
				HaveKeyWithValue("packageName", bundleAnnotation("package.v1")),
				HaveKeyWithValue("channels", ConsistOf(bundleAnnotation("channel.default.v1"))),
			))),
		))
		Expect(readCSV().Metadata.Annotations).To(HaveKeyWithValue("operatorframework.io/suggested-namespace", installerName.Namespace))
	})

	It("grants its installer what the bundle requires, and no more", func() {
		Expect(grantedToInstaller()).To(ConsistOf(requiredOfInstaller(bundleObjects())))
	})

	It("can be installed, upgraded and removed with the rights of its installer", func(ctx SpecContext) {
		DeferCleanup(removeExtension)
		terminal.Run(ctx, workDir, block("console", "config/samples/olm"))
		installer := newInstaller(ctx)
		objects := bundleObjects()
		for _, object := range objects {
			By("installing " + object.GetKind() + " " + object.GetName())
			// The API server may not know the new roles yet.
			Eventually(ctx, func() error { return installer.Get(ctx, client.ObjectKeyFromObject(object), object.DeepCopy()) }).
				Should(Satisfy(apierrors.IsNotFound))
			Eventually(ctx, func() error { return installer.Create(ctx, object.DeepCopy()) }).Should(Succeed())
		}
		Eventually(ctx, mayReadSecrets).Should(BeTrue(), "the operator has its permissions")
		for _, object := range objects {
			By("upgrading " + object.GetKind() + " " + object.GetName())
			patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"patched":"true"}}}`))
			Expect(installer.Patch(ctx, object.DeepCopy(), patch)).To(Succeed())
			expect.Update(ctx, installer, object.DeepCopy(), func(object *unstructured.Unstructured) {
				object.SetAnnotations(map[string]string{"updated": "true"})
			})
			expectWatchable(ctx, installer, object.GroupVersionKind())
		}
		for _, object := range slices.Backward(objects) {
			By("removing " + object.GetKind() + " " + object.GetName())
			Expect(installer.Delete(ctx, object.DeepCopy())).To(Succeed())
		}
	})
})

// removeExtension removes the sample and everything that was installed with it.
func removeExtension(ctx SpecContext) {
	remove := strings.Replace(block("console", "config/samples/olm"), "apply", "delete --ignore-not-found", 1)
	terminal.Run(ctx, workDir, remove)
	for _, object := range bundleObjects() {
		expect.Delete(ctx, admin, object)
	}
	expect.DeleteNamespace(ctx, env.Admin, installerName.Namespace)
}

// newInstaller returns a client with the token of the installer's ServiceAccount.
func newInstaller(ctx context.Context) client.WithWatch {
	GinkgoHelper()
	token, err := env.Token(ctx, installerName)
	Expect(err).NotTo(HaveOccurred())
	access := rest.AnonymousClientConfig(env.Config)
	access.BearerToken = token
	installer, err := client.NewWithWatch(access, client.Options{Scheme: kit.Scheme()})
	Expect(err).NotTo(HaveOccurred())
	return installer
}

// mayReadSecrets reports whether the operator's ServiceAccount has a permission that the bundle grants it.
func mayReadSecrets(ctx context.Context) (bool, error) {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:               "system:serviceaccount:" + accountName.Namespace + ":" + accountName.Name,
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "secrets", Namespace: "default"},
	}}
	err := admin.Create(ctx, review)
	return review.Status.Allowed, err
}

// expectWatchable lists and watches the kind in all namespaces, as OLM v1 does.
func expectWatchable(ctx context.Context, installer client.WithWatch, kind schema.GroupVersionKind) {
	GinkgoHelper()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(kind)
	Expect(installer.List(ctx, list, ownerLabels)).To(Succeed(), kind.Kind)
	events, err := installer.Watch(ctx, list, ownerLabels)
	Expect(err).NotTo(HaveOccurred(), kind.Kind)
	events.Stop()
}

// csv is the part of a ClusterServiceVersion from which OLM makes objects.
type csv struct {
	Metadata metav1.ObjectMeta
	Spec     struct {
		Install struct {
			Spec struct {
				ClusterPermissions, Permissions []csvPermission
				Deployments                     []struct {
					Name  string
					Label map[string]string
					Spec  appsv1.DeploymentSpec
				}
			}
		}
	}
}

type csvPermission struct {
	ServiceAccountName string
	Rules              []rbacv1.PolicyRule
}

func readCSV() *csv {
	GinkgoHelper()
	content, err := os.ReadFile(filepath.Join(repository, "bundle", "manifests", "replika.clusterserviceversion.yaml"))
	Expect(err).NotTo(HaveOccurred())
	read := &csv{}
	Expect(yaml.Unmarshal(content, read)).To(Succeed())
	return read
}

// bundleObjects returns the objects that OLM v1 makes from the bundle, if the operator is installed for all namespaces.
func bundleObjects() []*unstructured.Unstructured {
	GinkgoHelper()
	install := readCSV().Spec.Install.Spec
	objects := []client.Object{&corev1.ServiceAccount{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta: metav1.ObjectMeta{Namespace: accountName.Namespace, Name: accountName.Name},
	}}
	// The permissions of the Role are granted in all namespaces, and some on namespaces are added.
	for _, permission := range install.Permissions {
		onNamespaces := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"get", "list", "watch"}}
		permission.Rules = append(permission.Rules, onNamespaces)
		install.ClusterPermissions = append(install.ClusterPermissions, permission)
	}
	for i, permission := range install.ClusterPermissions {
		Expect(permission.ServiceAccountName).To(Equal(accountName.Name))
		name := metav1.ObjectMeta{Name: fmt.Sprintf("replika.%s-%d", release(), i)} // OLM appends a hash
		objects = append(objects,
			&rbacv1.ClusterRole{
				TypeMeta: metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole"}, ObjectMeta: name, Rules: permission.Rules,
			},
			&rbacv1.ClusterRoleBinding{
				TypeMeta: metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRoleBinding"}, ObjectMeta: name,
				RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name.Name},
				Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: accountName.Namespace, Name: accountName.Name}},
			})
	}
	for _, deployment := range install.Deployments {
		objects = append(objects, &appsv1.Deployment{
			TypeMeta:   metav1.TypeMeta{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "Deployment"},
			ObjectMeta: metav1.ObjectMeta{Namespace: deploymentName.Namespace, Name: deployment.Name, Labels: deployment.Label},
			Spec:       deployment.Spec,
		})
	}
	found := make([]*unstructured.Unstructured, 0, len(objects))
	for _, object := range objects {
		content, err := yaml.Marshal(object)
		Expect(err).NotTo(HaveOccurred())
		found = append(found, decodeObjects(string(content))...)
	}
	for _, object := range byKindAndName(filepath.Join(repository, "bundle", "manifests")) {
		switch object.GetKind() {
		case "ClusterServiceVersion":
			continue
		case "PodDisruptionBudget":
			object.SetNamespace(deploymentName.Namespace)
		}
		found = append(found, object)
	}
	for _, object := range found {
		labels := maps.Clone(ownerLabels)
		maps.Copy(labels, object.GetLabels())
		object.SetLabels(labels)
	}
	return found
}

// requiredOfInstaller returns the permissions, one for each verb, that OLM v1 requires of the installer of the objects. Its
// preflight check of permissions is the reference.
func requiredOfInstaller(objects []*unstructured.Unstructured) []string {
	GinkgoHelper()
	required := map[string]bool{
		"clusterextensions.olm.operatorframework.io/finalizers replika: update": true, // to be the owner of the objects
		"clusterroles.rbac.authorization.k8s.io: bind":                          true,
		"clusterroles.rbac.authorization.k8s.io: escalate":                      true,
	}
	for _, object := range objects {
		mapping, err := admin.RESTMapper().RESTMapping(object.GroupVersionKind().GroupKind(), object.GroupVersionKind().Version)
		Expect(err).NotTo(HaveOccurred())
		resource := mapping.Resource.GroupResource().String()
		named := resource + " " + object.GetName()
		if mapping.Resource.Group == rbacv1.GroupName {
			named = resource // some have generated names
		}
		scope := ""
		if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
			scope = "in " + object.GetNamespace() + ", "
		}
		for _, verb := range []string{"get", "update", "patch", "delete"} {
			required[scope+named+": "+verb] = true
		}
		required[scope+resource+": create"] = true
		required[resource+": list"], required[resource+": watch"] = true, true
	}
	return slices.Collect(maps.Keys(required))
}

// grantedToInstaller returns the permissions, one for each verb, that the sample grants.
func grantedToInstaller() []string {
	GinkgoHelper()
	var granted []string
	for _, object := range byKindAndName(filepath.Join(repository, "config", "samples", "olm")) {
		if object.GetKind() != "ClusterRole" && object.GetKind() != "Role" {
			continue
		}
		scope := ""
		if object.GetNamespace() != "" {
			scope = "in " + object.GetNamespace() + ", "
		}
		content, err := yaml.Marshal(object.Object["rules"])
		Expect(err).NotTo(HaveOccurred())
		var rules []rbacv1.PolicyRule
		Expect(yaml.Unmarshal(content, &rules)).To(Succeed())
		for _, rule := range rules {
			Expect(rule.APIGroups).To(HaveLen(1))
			Expect(rule.Resources).To(HaveLen(1))
			resource, subresource, _ := strings.Cut(rule.Resources[0], "/")
			name := schema.GroupResource{Group: rule.APIGroups[0], Resource: resource}.String()
			if subresource != "" {
				name += "/" + subresource
			}
			for _, verb := range rule.Verbs {
				granted = append(granted, scope+strings.Join(append([]string{name}, rule.ResourceNames...), " ")+": "+verb)
			}
		}
	}
	return granted
}
