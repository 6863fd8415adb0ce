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
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var (
	allowed = Succeed()
	// Each validation of the policy names the verb that the user needs.
	accountRequired  = MatchError(And(ContainSubstring("spec.serviceAccountName"), ContainSubstring(`"escalate"`)))
	accountForbidden = MatchError(And(ContainSubstring(`"`+tenant+`"`), ContainSubstring("impersonate"), Not(ContainSubstring(`"escalate"`))))
	forbiddenByRBAC  = MatchError(ContainSubstring("cannot"))
)

var _ = Describe("The policy", func() {
	DescribeTable("decides who can create a Replika", func(ctx SpecContext, user, account string, want gomegatypes.GomegaMatcher) {
		Expect(clientAs(user).Create(ctx, tenantReplika("new", account), client.DryRunAll)).To(want)
	},
		Entry("a cluster administrator, with the operator's own permissions", clusterAdmin, noAccount, allowed),
		Entry("a cluster administrator, with an account", clusterAdmin, copier, allowed),
		Entry("a tenant's administrator, with an account of the namespace", tenantAdmin, copier, allowed),
		Entry("a tenant's editor, with any account of the namespace, because the built-in role can impersonate them", tenantEditor, other, allowed),
		Entry("a user who can impersonate the account", tenantImpersonator, copier, allowed),
		Entry("not a user who can impersonate only another account", tenantImpersonator, other, accountForbidden),
		Entry("not a user who can impersonate no account", tenantWriter, copier, accountForbidden),
		Entry("not a tenant's administrator, with the operator's own permissions", tenantAdmin, noAccount, accountRequired),
		Entry("not a tenant's editor, with the operator's own permissions", tenantEditor, noAccount, accountRequired),
		Entry("not a user who can only write Replikas, with the operator's own permissions", tenantWriter, noAccount, accountRequired),
		Entry("not a viewer", tenantViewer, copier, forbiddenByRBAC),
	)

	It("requires an account even with --default-service-account", func(ctx SpecContext) {
		restartLeaderWith(ctx, "--default-service-account="+copier)
		Expect(clientAs(tenantEditor).Create(ctx, tenantReplika("by-default", noAccount))).To(accountRequired)

		began := time.Now()
		replika := tenantReplika("by-default", noAccount)
		expect.CreateForAttempt(ctx, clientAs(clusterAdmin), replika)
		expect.Ready(ctx, admin, replika, 1)
		Expect(operatorRequests(func(e cluster.AuditEvent) bool {
			return e.Verb == "create" && e.Namespace == annex && e.Name == "source" && e.Received.After(began)
		})).To(HaveEach(HaveField("User", accountUser(tenant, copier))))
		deleteReplika(ctx, replika)
	})

	Describe("on an update", Ordered, func() {
		const ofAdmin, ofTenant = "of-the-cluster-admin", "of-the-tenant"
		BeforeAll(func(ctx SpecContext) {
			createReplikas(ctx, ofAdmin, ofTenant)
		})

		It("lets the operator add its finalizer", func(ctx SpecContext) {
			Eventually(ctx, func(g Gomega) {
				replika := &v1alpha1.Replika{}
				g.Expect(admin.Get(ctx, client.ObjectKey{Namespace: tenant, Name: ofAdmin}, replika)).To(Succeed())
				g.Expect(replika.Finalizers).To(ContainElement(v1alpha1.Finalizer))
			}).Should(Succeed())
		})

		for _, field := range slices.Sorted(maps.Keys(specChanges)) {
			It("checks who changes "+field, func(ctx SpecContext) {
				change := specChanges[field]
				Expect(dryRunUpdate(ctx, clusterAdmin, ofAdmin, change)).To(Succeed())
				Expect(dryRunUpdate(ctx, tenantEditor, ofTenant, change)).To(Succeed())

				By("changing another user's Replika, which has more permissions")
				Expect(dryRunUpdate(ctx, tenantAdmin, ofAdmin, change)).To(accountRequired)
				Expect(dryRunUpdate(ctx, tenantWriter, ofTenant, change)).To(accountForbidden)
				Expect(dryRunUpdate(ctx, tenantViewer, ofTenant, change)).To(forbiddenByRBAC)
			})
		}

		It("is tested with every field of the spec", func() {
			Expect(slices.Sorted(maps.Keys(specChanges))).To(ConsistOf(slices.DeleteFunc(fieldsOfSpec(), func(field string) bool {
				return field == "serviceAccountName" // the next table tests it
			})))
		})

		DescribeTable("checks who changes the account", func(ctx SpecContext, user, name, account string, want gomegatypes.GomegaMatcher) {
			Expect(dryRunUpdate(ctx, user, name, func(spec *v1alpha1.ReplikaSpec) { spec.ServiceAccountName = account })).To(want)
		},
			Entry("to one that the user cannot impersonate", tenantImpersonator, ofTenant, other, accountForbidden),
			Entry("to none", tenantEditor, ofTenant, noAccount, accountRequired),
			Entry("to none, by a cluster administrator", clusterAdmin, ofTenant, noAccount, allowed),
			Entry("from none to one that the user can impersonate", tenantEditor, ofAdmin, copier, allowed),
		)

		DescribeTable("accepts an update that does not change the spec:", func(ctx SpecContext, patch string) {
			for _, name := range []string{ofAdmin, ofTenant} {
				replika := &v1alpha1.Replika{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: name}}
				Expect(clientAs(tenantWriter).Patch(ctx, replika, client.RawPatch(types.MergePatchType, []byte(patch)), client.DryRunAll)).To(Succeed())
			}
		},
			Entry("a label", `{"metadata": {"labels": {"a": "b"}}}`),
			Entry("an annotation", `{"metadata": {"annotations": {"a": "b"}}}`),
			Entry("the finalizer", `{"metadata": {"finalizers": null}}`),
		)

		It("accepts every deletion that RBAC allows", func(ctx SpecContext) {
			ofAdmin, ofTenant := "deleted-"+ofAdmin, "deleted-"+ofTenant
			createReplikas(ctx, ofAdmin, ofTenant)
			for _, name := range []string{ofAdmin, ofTenant} {
				replika := &v1alpha1.Replika{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: name}}
				Expect(clientAs(tenantWriter).Delete(ctx, replika)).To(Succeed())
				expect.Gone(ctx, admin, replika, tenant)
			}
		})
	})
})

// createReplikas creates one Replika as the cluster administrator and one as the tenant, until the container or the spec ends.
func createReplikas(ctx context.Context, ofAdmin, ofTenant string) {
	GinkgoHelper()
	for replika, creator := range map[*v1alpha1.Replika]string{
		tenantReplika(ofAdmin, noAccount): clusterAdmin, tenantReplika(ofTenant, copier): tenantEditor,
	} {
		Expect(clientAs(creator).Create(ctx, replika)).To(Succeed())
		DeferCleanup(deleteReplika, replika)
	}
}

func tenantReplika(name, account string) *v1alpha1.Replika {
	GinkgoHelper()
	return kit.NewReplika(configMap(tenant, "source"), kit.WithName(name), kit.TargetNamespaces(annex), kit.ServiceAccount(account))
}

// dryRunUpdate updates a Replika's spec as the user, in a dry run.
func dryRunUpdate(ctx context.Context, user, name string, change func(*v1alpha1.ReplikaSpec)) error {
	GinkgoHelper()
	writer := clientAs(user)
	return retry.RetryOnConflict(retry.DefaultRetry, func() error { // the operator updates it too
		replika := &v1alpha1.Replika{}
		Expect(admin.Get(ctx, client.ObjectKey{Namespace: tenant, Name: name}, replika)).To(Succeed())
		before := replika.Spec.DeepCopy()
		change(&replika.Spec)
		Expect(replika.Spec).NotTo(Equal(*before))
		return writer.Update(ctx, replika, client.DryRunAll)
	})
}

// specChanges has a change of each field of the spec, except for the account.
var specChanges = map[string]func(*v1alpha1.ReplikaSpec){
	"deletionPolicy":                   func(s *v1alpha1.ReplikaSpec) { s.DeletionPolicy = v1alpha1.DeletionPolicyRetain },
	"mode":                             func(s *v1alpha1.ReplikaSpec) { s.Mode = v1alpha1.ModeDryRun },
	"suspend":                          func(s *v1alpha1.ReplikaSpec) { s.Suspend = true },
	"source.group":                     func(s *v1alpha1.ReplikaSpec) { s.Source.Group = "apps" },
	"source.keys":                      func(s *v1alpha1.ReplikaSpec) { s.Source.Keys = []v1alpha1.DataKeyPattern{"key"} },
	"source.kind":                      func(s *v1alpha1.ReplikaSpec) { s.Source.Kind = "Secret" },
	"source.name":                      func(s *v1alpha1.ReplikaSpec) { s.Source.Name = "other" },
	"source.names":                     func(s *v1alpha1.ReplikaSpec) { s.Source.Name, s.Source.Names = "", []string{"*"} },
	"source.namespace":                 func(s *v1alpha1.ReplikaSpec) { s.Source.Namespace = "kube-system" },
	"source.version":                   func(s *v1alpha1.ReplikaSpec) { s.Source.Version = "v2" },
	"synchronization.time":             func(s *v1alpha1.ReplikaSpec) { s.Synchronization.Time.Duration = time.Hour },
	"synchronization.onSourceDeletion": func(s *v1alpha1.ReplikaSpec) { s.Synchronization.OnSourceDeletion = v1alpha1.SourceDeletionDelete },
	"target.annotations":               func(s *v1alpha1.ReplikaSpec) { s.Target.Annotations = map[string]string{"a": "b"} },
	"target.conflictPolicy":            func(s *v1alpha1.ReplikaSpec) { s.Target.ConflictPolicy = v1alpha1.ConflictPolicyAdopt },
	"target.immutableFields":           func(s *v1alpha1.ReplikaSpec) { s.Target.ImmutableFields = v1alpha1.ImmutableFieldsFail },
	"target.keys":                      func(s *v1alpha1.ReplikaSpec) { s.Target.Keys = []v1alpha1.TargetKey{{Name: "new", From: "old"}} },
	"target.labels":                    func(s *v1alpha1.ReplikaSpec) { s.Target.Labels = map[string]string{"a": "b"} },
	"target.name":                      func(s *v1alpha1.ReplikaSpec) { s.Target.Name = "other" },
	"target.namePrefix":                func(s *v1alpha1.ReplikaSpec) { s.Target.NamePrefix = "a-" },
	"target.nameSuffix":                func(s *v1alpha1.ReplikaSpec) { s.Target.NameSuffix = "-a" },
	"target.namespaces.excludeFrom":    func(s *v1alpha1.ReplikaSpec) { s.Target.Namespaces.ExcludeFrom = []string{"a"} },
	"target.namespaces.matchAll":       func(s *v1alpha1.ReplikaSpec) { s.Target.Namespaces.MatchAll = true },
	"target.namespaces.replicateIn":    func(s *v1alpha1.ReplikaSpec) { s.Target.Namespaces.ReplicateIn = []string{operatorNamespace} },
	"target.type": func(s *v1alpha1.ReplikaSpec) {
		s.Source.Kind, s.Target.Type = "Secret", "Opaque" // only Secrets have a type
	},
	"source.selector.matchLabels": func(s *v1alpha1.ReplikaSpec) {
		s.Source.Name, s.Source.Selector = "", &v1alpha1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
	},
	"source.selector.matchExpressions": func(s *v1alpha1.ReplikaSpec) {
		s.Source.Name, s.Source.Selector = "", &v1alpha1.LabelSelector{MatchExpressions: []v1alpha1.LabelRequirement{
			{Key: "a", Operator: metav1.LabelSelectorOpExists},
		}}
	},
	"target.namespaces.selector.matchLabels": func(s *v1alpha1.ReplikaSpec) {
		s.Target.Namespaces.Selector = &v1alpha1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
	},
	"target.namespaces.selector.matchExpressions": func(s *v1alpha1.ReplikaSpec) {
		s.Target.Namespaces.Selector = &v1alpha1.LabelSelector{MatchExpressions: []v1alpha1.LabelRequirement{
			{Key: "a", Operator: metav1.LabelSelectorOpExists},
		}}
	},
}

// fieldsOfSpec returns the paths of all fields in the CRD.
func fieldsOfSpec() []string {
	GinkgoHelper()
	definition := find[*apiextensionsv1.CustomResourceDefinition](deployed, "CustomResourceDefinition", "replikas.replika.prosimcorp.com")
	return leafPaths("", definition.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"])
}

func leafPaths(path string, schema apiextensionsv1.JSONSchemaProps) []string {
	if len(schema.Properties) == 0 {
		return []string{path}
	}
	var found []string
	for name, property := range schema.Properties {
		if path != "" {
			name = path + "." + name
		}
		found = append(found, leafPaths(name, property)...)
	}
	return found
}
