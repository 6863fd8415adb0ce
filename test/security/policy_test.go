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
	"maps"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
)

var (
	allowed        = Succeed()
	wantsAnAccount = MatchError(ContainSubstring("spec.serviceAccountName is required"))
	notThatAccount = MatchError(ContainSubstring("you are not allowed to impersonate ServiceAccount"))
	notAtAll       = MatchError(ContainSubstring("cannot"))
)

var _ = Describe("The policy", func() {
	DescribeTable("lets a Replika be created", func(ctx SpecContext, user, account string, wanted gomegatypes.GomegaMatcher) {
		Expect(as(user).Create(ctx, tenantReplika("new", account), client.DryRunAll)).To(wanted)
	},
		Entry("by a cluster administrator, for the operator's own rights", clusterAdmin, nobody, allowed),
		Entry("by a cluster administrator, for an account", clusterAdmin, copier, allowed),
		Entry("by a tenant's administrator, for an account of theirs", tenantAdmin, copier, allowed),
		Entry("by a tenant's editor, for any account of the namespace: so is the built-in role", tenantEditor, other, allowed),
		Entry("by who may act as that account", tenantDeputy, copier, allowed),
		Entry("not by who may act as another one only", tenantDeputy, other, notThatAccount),
		Entry("not by who may act as none", tenantWriter, copier, notThatAccount),
		Entry("not by a tenant's administrator, for the operator's own rights", tenantAdmin, nobody, wantsAnAccount),
		Entry("not by a tenant's editor, for the operator's own rights", tenantEditor, nobody, wantsAnAccount),
		Entry("not by who writes nothing but Replikas, for the operator's own rights", tenantWriter, nobody, wantsAnAccount),
		Entry("not by a viewer", tenantViewer, copier, notAtAll),
	)

	It("wants the account named under --default-service-account too", func(ctx SpecContext) {
		restartLeader(ctx, "--default-service-account="+copier)
		Expect(as(tenantEditor).Create(ctx, tenantReplika("by-default", nobody))).To(wantsAnAccount)

		replika := tenantReplika("by-default", nobody)
		Expect(as(clusterAdmin).Create(ctx, replika)).To(Succeed())
		eventuallySynced(ctx, replika, 1)
		Expect(requests(func(e cluster.AuditEvent) bool {
			return e.Verb == "create" && e.Namespace == annex && e.Name == "source"
		})).To(HaveEach(HaveField("User", accountUser(tenant, copier))))
		remove(ctx, replika)
	})

	Describe("on an update", Ordered, func() {
		const trusted, lent = "of-the-cluster-admin", "of-the-tenant"
		BeforeAll(func(ctx SpecContext) {
			Expect(as(clusterAdmin).Create(ctx, tenantReplika(trusted, nobody))).To(Succeed())
			Expect(as(tenantEditor).Create(ctx, tenantReplika(lent, copier))).To(Succeed())
		})

		It("lets the operator put its finalizer on", func(ctx SpecContext) {
			Eventually(ctx, func(g Gomega) {
				replika := &v1alpha1.Replika{}
				g.Expect(admin.Get(ctx, client.ObjectKey{Namespace: tenant, Name: trusted}, replika)).To(Succeed())
				g.Expect(replika.Finalizers).To(ContainElement(v1alpha1.Finalizer))
			}).Should(Succeed())
		})

		for _, field := range slices.Sorted(maps.Keys(changes)) {
			It("checks who writes "+field, func(ctx SpecContext) {
				change := changes[field]
				Expect(update(ctx, clusterAdmin, trusted, change)).To(Succeed())
				Expect(update(ctx, tenantEditor, lent, change)).To(Succeed())

				By("somebody else's Replika, which may do what they may not")
				Expect(update(ctx, tenantAdmin, trusted, change)).To(wantsAnAccount)
				Expect(update(ctx, tenantWriter, lent, change)).To(notThatAccount)
				Expect(update(ctx, tenantViewer, lent, change)).To(notAtAll)
			})
		}

		It("knows every field of the spec", func() {
			Expect(slices.Sorted(maps.Keys(changes))).To(ConsistOf(slices.DeleteFunc(fieldsOfSpec(), func(field string) bool {
				return field == "serviceAccountName" // see below
			})))
		})

		DescribeTable("checks who names another account", func(ctx SpecContext, user, name, account string, wanted gomegatypes.GomegaMatcher) {
			Expect(update(ctx, user, name, func(spec *v1alpha1.ReplikaSpec) { spec.ServiceAccountName = account })).To(wanted)
		},
			Entry("one that they may not act as", tenantDeputy, lent, other, notThatAccount),
			Entry("none any more", tenantEditor, lent, nobody, wantsAnAccount),
			Entry("an administrator is trusted", clusterAdmin, lent, nobody, allowed),
			Entry("one of theirs, for what was the operator's own", tenantEditor, trusted, copier, allowed),
		)

		DescribeTable("lets pass what leaves the spec as it was", func(ctx SpecContext, patch string) {
			for _, name := range []string{trusted, lent} {
				replika := &v1alpha1.Replika{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: name}}
				Expect(as(tenantWriter).Patch(ctx, replika, client.RawPatch(types.MergePatchType, []byte(patch)), client.DryRunAll)).To(Succeed())
			}
		},
			Entry("a label", `{"metadata": {"labels": {"a": "b"}}}`),
			Entry("an annotation", `{"metadata": {"annotations": {"a": "b"}}}`),
			Entry("the finalizer", `{"metadata": {"finalizers": null}}`),
		)

		It("lets be deleted what RBAC lets be deleted", func(ctx SpecContext) {
			for _, name := range []string{trusted, lent} {
				replika := &v1alpha1.Replika{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: name}}
				Expect(as(tenantWriter).Delete(ctx, replika)).To(Succeed())
				eventuallyNone(ctx, replika, tenant)
			}
		})
	})
})

func tenantReplika(name, account string) *v1alpha1.Replika {
	GinkgoHelper()
	replika := replikaOf(configMap(tenant, "source"), annex)
	replika.Name = name
	replika.Spec.ServiceAccountName = account
	return replika
}

// update has the API server say what it would to the user's update of a
// Replika's spec.
func update(ctx context.Context, user, name string, change func(*v1alpha1.ReplikaSpec)) error {
	GinkgoHelper()
	writer := as(user)
	return retry.RetryOnConflict(retry.DefaultRetry, func() error { // the operator writes to it too
		replika := &v1alpha1.Replika{}
		Expect(admin.Get(ctx, client.ObjectKey{Namespace: tenant, Name: name}, replika)).To(Succeed())
		before := replika.Spec.DeepCopy()
		change(&replika.Spec)
		Expect(replika.Spec).NotTo(Equal(*before))
		return writer.Update(ctx, replika, client.DryRunAll)
	})
}

// changes change one field of the spec each, but for the account.
var changes = map[string]func(*v1alpha1.ReplikaSpec){
	"deletionPolicy":                   func(s *v1alpha1.ReplikaSpec) { s.DeletionPolicy = v1alpha1.DeletionPolicyRetain },
	"suspend":                          func(s *v1alpha1.ReplikaSpec) { s.Suspend = true },
	"source.group":                     func(s *v1alpha1.ReplikaSpec) { s.Source.Group = "apps" },
	"source.kind":                      func(s *v1alpha1.ReplikaSpec) { s.Source.Kind = "Secret" },
	"source.name":                      func(s *v1alpha1.ReplikaSpec) { s.Source.Name = "other" },
	"source.namespace":                 func(s *v1alpha1.ReplikaSpec) { s.Source.Namespace = "kube-system" },
	"source.version":                   func(s *v1alpha1.ReplikaSpec) { s.Source.Version = "v2" },
	"synchronization.time":             func(s *v1alpha1.ReplikaSpec) { s.Synchronization.Time.Duration = time.Hour },
	"synchronization.onSourceDeletion": func(s *v1alpha1.ReplikaSpec) { s.Synchronization.OnSourceDeletion = v1alpha1.SourceDeletionDelete },
	"target.annotations":               func(s *v1alpha1.ReplikaSpec) { s.Target.Annotations = map[string]string{"a": "b"} },
	"target.conflictPolicy":            func(s *v1alpha1.ReplikaSpec) { s.Target.ConflictPolicy = v1alpha1.ConflictPolicyAdopt },
	"target.immutableFields":           func(s *v1alpha1.ReplikaSpec) { s.Target.ImmutableFields = v1alpha1.ImmutableFieldsFail },
	"target.labels":                    func(s *v1alpha1.ReplikaSpec) { s.Target.Labels = map[string]string{"a": "b"} },
	"target.name":                      func(s *v1alpha1.ReplikaSpec) { s.Target.Name = "other" },
	"target.namespaces.excludeFrom":    func(s *v1alpha1.ReplikaSpec) { s.Target.Namespaces.ExcludeFrom = []string{"a"} },
	"target.namespaces.matchAll":       func(s *v1alpha1.ReplikaSpec) { s.Target.Namespaces.MatchAll = true },
	"target.namespaces.replicateIn":    func(s *v1alpha1.ReplikaSpec) { s.Target.Namespaces.ReplicateIn = []string{operatorNamespace} },
	"target.namespaces.selector.matchLabels": func(s *v1alpha1.ReplikaSpec) {
		s.Target.Namespaces.Selector = &v1alpha1.NamespaceSelector{MatchLabels: map[string]string{"a": "b"}}
	},
	"target.namespaces.selector.matchExpressions": func(s *v1alpha1.ReplikaSpec) {
		s.Target.Namespaces.Selector = &v1alpha1.NamespaceSelector{MatchExpressions: []v1alpha1.NamespaceRequirement{
			{Key: "a", Operator: metav1.LabelSelectorOpExists},
		}}
	},
}

// fieldsOfSpec are all fields that the CRD allows, by their paths.
func fieldsOfSpec() []string {
	GinkgoHelper()
	definition := find[*apiextensionsv1.CustomResourceDefinition](shipped, "CustomResourceDefinition", "replikas.replika.prosimcorp.com")
	return leaves("", definition.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"])
}

func leaves(path string, schema apiextensionsv1.JSONSchemaProps) []string {
	if len(schema.Properties) == 0 {
		return []string{path}
	}
	var found []string
	for name, property := range schema.Properties {
		if path != "" {
			name = path + "." + name
		}
		found = append(found, leaves(name, property)...)
	}
	return found
}
