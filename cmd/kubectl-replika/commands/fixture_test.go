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

package commands

import (
	"context"
	"fmt"
	"maps"
	"strconv"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// specFixture is a ConfigMap in a namespace of its own, and target namespaces. The names are those of the spec: other specs look for
// Replikas whose copies have the same name.
type specFixture struct {
	name, namespace string
	targets         []string
	source          *corev1.ConfigMap
}

func newFixture(ctx context.Context, name string, targets int) *specFixture {
	GinkgoHelper()
	name = expect.NameOfAttempt(name)
	f := &specFixture{name: name, namespace: name + "-source"}
	expect.CreateForAttempt(ctx, admin, kit.Namespace(f.namespace))
	for i := range targets {
		f.targets = append(f.targets, fmt.Sprintf("%s-target-%d", name, i+1))
		expect.CreateForAttempt(ctx, admin, kit.Namespace(f.targets[i]))
	}
	f.source = expect.CreateForAttempt(ctx, admin, kit.ConfigMap(f.namespace, name, "x"))
	return f
}

// createReplika creates a Replika that selects the target namespaces by a glob.
func (f *specFixture) createReplika(ctx context.Context, options ...kit.ReplikaOption) *v1alpha1.Replika {
	GinkgoHelper()
	options = append([]kit.ReplikaOption{kit.TargetNamespaces(f.name + "-target-*")}, options...)
	return expect.CreateForAttempt(ctx, admin, kit.NewReplika(f.source, options...))
}

// createOperator creates an operator's Deployment, which no kubelet runs.
func createOperator(ctx context.Context, namespace string, args ...string) {
	GinkgoHelper()
	labels := map[string]string{"app.kubernetes.io/name": "replika", "control-plane": "controller-manager"}
	none := int32(0)
	deployment := expect.Create(ctx, admin, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "replika-controller-manager", Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: &none,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "manager", Image: "example.com/replika:v1.2.3", Args: args}}},
			},
		},
	})
	DeferCleanup(func(ctx SpecContext) { expect.Delete(ctx, admin, deployment) }) // other specs find it by its labels
}

// keepTerminating deletes the namespace, which stays until the spec ends.
func keepTerminating(ctx context.Context, namespace string) {
	GinkgoHelper()
	keeper := kit.ConfigMap(namespace, "keeper", "")
	keeper.Finalizers = []string{"example.com/keep"}
	expect.Create(ctx, admin, keeper)
	DeferCleanup(func(ctx SpecContext) { Expect(kit.SetFinalizers(ctx, admin, keeper)).To(Succeed()) })
	Expect(admin.Delete(ctx, kit.Namespace(namespace))).To(Succeed())
}

func (f *specFixture) setLabels(ctx context.Context, labels map[string]string) {
	GinkgoHelper()
	expect.Update(ctx, admin, f.source, func(source *corev1.ConfigMap) { source.Labels = maps.Clone(labels) })
}

func (f *specFixture) setAnnotations(ctx context.Context, annotations map[string]string) {
	GinkgoHelper()
	expect.Update(ctx, admin, f.source, func(source *corev1.ConfigMap) { source.Annotations = maps.Clone(annotations) })
}

// nameOfEntry returns a name for the entry of a table, by its line.
func nameOfEntry() string { return strconv.Itoa(CurrentSpecReport().LeafNodeLocation.LineNumber) }

var (
	replikaReader = rbacv1.PolicyRule{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"replikas"}, Verbs: []string{"get", "list"}}

	namespaceReader = rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"get", "list"}}
)

// createUser creates a user with the permissions in all namespaces, and returns the path of its kubeconfig.
func createUser(ctx context.Context, name string, rules ...rbacv1.PolicyRule) string {
	GinkgoHelper()
	config, err := env.User(name)
	Expect(err).NotTo(HaveOccurred())
	meta := metav1.ObjectMeta{Name: name}
	expect.CreateForAttempt(ctx, admin, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules})
	expect.CreateForAttempt(ctx, admin, &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
	})
	return kubeconfigOf(name, config)
}

// grantIn grants the ServiceAccount verbs on ConfigMaps of the namespace.
func grantIn(ctx context.Context, namespace string, account *corev1.ServiceAccount, verbs ...string) {
	GinkgoHelper()
	meta := metav1.ObjectMeta{Namespace: namespace, Name: account.Name}
	expect.CreateForAttempt(ctx, admin, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: verbs},
	}})
	expect.CreateForAttempt(ctx, admin, &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: account.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace, Name: account.Name}},
	})
}
