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

package controllers_test

import (
	"context"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// copier is the account of most specs. Permissions are bound to its name, so it does not have to exist.
const copier = "copier"

var (
	readConfigMaps  = policyRule("", "configmaps", "get")
	writeConfigMaps = policyRule("", "configmaps", "get", "create", "patch", "delete")
)

var _ = Describe("A Replika with a ServiceAccount", func() {
	It("Should read and write as that account, and report each namespace where it is not allowed to", func(ctx SpecContext) {
		f := newFixture()
		a, b, home := f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "source")
		f.grantImpersonation(ctx, home)
		f.grantAccount(ctx, home, copier, home, readConfigMaps)
		revoke := f.grantAccount(ctx, home, copier, a, writeConfigMaps)
		source := create(ctx, kit.ConfigMap(home, "settings", "one"))
		since := markAudit()
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b), kit.ServiceAccount(copier))

		failing := expect.Failures(ctx, api, replika, map[string]string{b: v1alpha1.FailureForbidden})
		Expect(failing.Status.Failures[0].Message).To(ContainSubstring(serviceAccountUser(home, copier)))
		expect.Copied(ctx, api, source, a)
		Expect(read(ctx, source, b)).To(BeNil())

		f.grantAccount(ctx, home, copier, b, writeConfigMaps)
		expect.Ready(ctx, api, replika, 2)

		revoke(ctx)
		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		expect.Copied(ctx, api, source, b)
		expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureForbidden})
		Expect(kit.Content(read(ctx, source, a))).To(HaveKeyWithValue("data", HaveKeyWithValue("key", "one")))

		for _, event := range f.requests(since, cluster.AuditEvent.Writes, isConfigMap) {
			Expect(event.User).To(Equal(serviceAccountUser(home, copier)), "%s %s", event.Verb, event.RequestURI)
		}
		for _, event := range f.requests(since, isConfigMap, func(event cluster.AuditEvent) bool { return event.Verb == "get" }) {
			Expect(event.User).To(Equal(serviceAccountUser(home, copier)), event.RequestURI)
		}
		f.grantAccount(ctx, home, copier, a, writeConfigMaps) // for the cleanup
	})

	It("Should need no permission of the operator but to watch the kind", func(ctx SpecContext) {
		f := newFixture()
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		f.grantImpersonation(ctx, home)
		f.grantAccount(ctx, home, copier, home, policyRule("", "podtemplates", "get"))
		f.grantAccount(ctx, home, copier, a, policyRule("", "podtemplates", "get", "create", "patch", "delete"))
		source := create(ctx, podTemplate(home))
		expect.Failures(ctx, api, f.replika(ctx, source, kit.TargetNamespaces(a), kit.WithName("without")), map[string]string{a: v1alpha1.FailureForbidden})
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.ServiceAccount(copier))
		expect.Ready(ctx, api, replika, 1)
		deleteAndWait(ctx, replika)
		Expect(read(ctx, source, a)).To(BeNil())
	})

	It("Should reveal nothing about a source that the account is not allowed to read, not even its existence", func(ctx SpecContext) {
		f := newFixture()
		a, home, vault := f.namespace(ctx, "a"), f.namespace(ctx, "home"), f.namespace(ctx, "vault")
		f.grantImpersonation(ctx, home)
		f.grantAccount(ctx, home, copier, a, writeConfigMaps)
		source := create(ctx, kit.ConfigMap(vault, "settings", "hidden-value"))
		absent := kit.ConfigMap(vault, "absent", "")
		replika := f.replika(ctx, source, kit.InNamespace(home), kit.TargetNamespaces(a), kit.ServiceAccount(copier))
		blind := f.replika(ctx, absent, kit.InNamespace(home), kit.TargetNamespaces(a), kit.ServiceAccount(copier))

		for _, replika := range []*v1alpha1.Replika{replika, blind} {
			denied := expect.Reason(ctx, api, replika, v1alpha1.ReasonForbidden)
			Expect(kit.Ready(denied).Message).To(And(ContainSubstring(home+"/"+copier), ContainSubstring("ConfigMap "+vault)))
			Expect(denied.Status.Source).To(BeNil())
			Expect(denied.Status.Copies).To(BeNil())
		}
		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "another-value" })
		barrier(ctx, source, replika)
		expectAbsent(ctx, source, a)
		Expect(eventNotes(ctx, home)).To(And(Not(BeEmpty()), Not(ContainElement(ContainSubstring("-value")))))

		revoke := f.grantAccount(ctx, home, copier, vault, readConfigMaps)
		expect.Ready(ctx, api, replika, 1)
		expect.Reason(ctx, api, blind, v1alpha1.ReasonSourceNotFound)
		expect.Copied(ctx, api, source, a)

		revoke(ctx)
		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "later" })
		expect.Reason(ctx, api, replika, v1alpha1.ReasonForbidden)
		Expect(kit.Content(read(ctx, source, a))).To(HaveKeyWithValue("data", HaveKeyWithValue("key", "another-value")))
	})

	It("Should report that the operator is not allowed to impersonate the account", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.ServiceAccount(copier))
		denied := expect.Reason(ctx, api, replika, v1alpha1.ReasonForbidden)
		Expect(kit.Ready(denied).Message).To(ContainSubstring("ServiceAccount " + source.Namespace + "/" + copier))
		Expect(read(ctx, source, a)).To(BeNil())
	})

	It("Should be reconciled as another account once its spec names that", func(ctx SpecContext) {
		f := newFixture()
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		f.grantImpersonation(ctx, home)
		f.grantAccount(ctx, home, "other", home, readConfigMaps)
		f.grantAccount(ctx, home, "other", a, writeConfigMaps)
		source := create(ctx, kit.ConfigMap(home, "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.ServiceAccount(copier))
		expect.Reason(ctx, api, replika, v1alpha1.ReasonForbidden)
		update(ctx, replika, kit.ServiceAccount("other"))
		expect.Ready(ctx, api, replika, 1)
	})

	It("Should retain copies that the account is not allowed to delete, with an event", func(ctx SpecContext) {
		f := newFixture()
		a, b, home := f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "source")
		f.grantImpersonation(ctx, home)
		f.grantAccount(ctx, home, copier, home, readConfigMaps)
		f.grantAccount(ctx, home, copier, a, writeConfigMaps)
		revoke := f.grantAccount(ctx, home, copier, b, writeConfigMaps)
		source := create(ctx, kit.ConfigMap(home, "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b), kit.ServiceAccount(copier))
		expect.Ready(ctx, api, replika, 2)

		revoke(ctx)
		deleteAndWait(ctx, replika)
		Expect(read(ctx, source, a)).To(BeNil())
		Expect(read(ctx, source, b)).NotTo(BeNil(), "the operator does not use its own permissions")
		Expect(expectRetainedCopiesEvent(ctx, home, replika.Name)).To(And(ContainSubstring(b), ContainSubstring(v1alpha1.FailureForbidden)))
	})

	It("Should be cleaned up by the operator when the account is deleted with its namespace", func(ctx SpecContext) {
		f := newFixture()
		a, home, vault := f.namespace(ctx, "a"), f.namespace(ctx, "home"), f.namespace(ctx, "vault")
		f.grantImpersonation(ctx, home)
		f.grantAccount(ctx, home, copier, vault, readConfigMaps)
		revoke := f.grantAccount(ctx, home, copier, a, writeConfigMaps)
		source := create(ctx, kit.ConfigMap(vault, "settings", "one"))
		expect.Ready(ctx, api, f.replika(ctx, source, kit.InNamespace(home), kit.TargetNamespaces(a), kit.ServiceAccount(copier)), 1)

		revoke(ctx)
		Expect(api.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: home}})).To(Succeed())
		expect.Gone(ctx, api, source, a)
		expect.DeleteNamespace(ctx, api, home)
	})

	It("Should take over a copy only where its account is allowed to write", func(ctx SpecContext) {
		f := newFixture()
		a, b, home := f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "source")
		f.grantImpersonation(ctx, home)
		f.grantAccount(ctx, home, copier, home, readConfigMaps)
		f.grantAccount(ctx, home, copier, a, writeConfigMaps)
		source, second := create(ctx, kit.ConfigMap(home, "settings", "one")), create(ctx, kit.ConfigMap(home, "second", "two"))
		first := f.replika(ctx, source, kit.TargetNamespaces(a, b), kit.TargetName("shared"))
		expect.Ready(ctx, api, first, 2)
		claimant := f.replika(ctx, second, kit.TargetNamespaces(a, b), kit.TargetName("shared"), kit.ServiceAccount(copier), kit.WithName("claimant"))
		expect.Failures(ctx, api, claimant, map[string]string{a: v1alpha1.FailureConflict, b: v1alpha1.FailureForbidden})
		shared := kit.ConfigMap("", "shared", "")
		uid := read(ctx, shared, a).GetUID()

		deleteAndWait(ctx, first)
		expect.CopiedAs(ctx, api, second, "shared", a)
		Expect(read(ctx, shared, a).GetUID()).To(Equal(uid), "handed over")
		expect.Gone(ctx, api, shared, b)
		expect.Failures(ctx, api, claimant, map[string]string{b: v1alpha1.FailureForbidden})
	})
})

// No other spec may run while the operator has other options.
var _ = Describe("ServiceAccount policy", serial, func() {
	It("Should require a ServiceAccount of every Replika, and leave copies of others unchanged", func(ctx SpecContext) {
		f := newFixture()
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		f.grantImpersonation(ctx, home)
		f.grantAccount(ctx, home, copier, home, readConfigMaps)
		f.grantAccount(ctx, home, copier, a, writeConfigMaps)
		source, other := create(ctx, kit.ConfigMap(home, "settings", "one")), create(ctx, kit.ConfigMap(home, "other", "one"))
		without, with := f.replika(ctx, source, kit.TargetNamespaces(a)), f.replika(ctx, other, kit.TargetNamespaces(a), kit.ServiceAccount(copier))
		expect.Ready(ctx, api, without, 1)
		expect.Ready(ctx, api, with, 1)

		restartWith(func(options *controllers.Options) { options.Policy.RequireServiceAccount = true })
		refused := expect.Reason(ctx, api, without, v1alpha1.ReasonServiceAccountRequired)
		Expect(kit.Ready(refused).Message).To(ContainSubstring("--require-service-account"))
		for _, edited := range []*corev1.ConfigMap{source, other} {
			update(ctx, edited, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		}
		expect.Copied(ctx, api, other, a)
		Expect(kit.Content(read(ctx, source, a))).To(HaveKeyWithValue("data", HaveKeyWithValue("key", "one")))

		update(ctx, without, kit.ServiceAccount(copier))
		expect.Ready(ctx, api, without, 1)
		expect.Copied(ctx, api, source, a)
		update(ctx, without, kit.ServiceAccount(""))
		expect.Reason(ctx, api, without, v1alpha1.ReasonServiceAccountRequired)
		deleteAndWait(ctx, without)
		Expect(read(ctx, source, a)).To(BeNil(), "copies of a refused Replika are deleted")
	})

	It("Should apply a default ServiceAccount", func(ctx SpecContext) {
		f := newFixture()
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		f.grantImpersonation(ctx, home)
		f.grantAccount(ctx, home, "standard", home, readConfigMaps)
		f.grantAccount(ctx, home, "standard", a, writeConfigMaps)
		source := create(ctx, kit.ConfigMap(home, "settings", "one"))
		restartWith(func(options *controllers.Options) {
			options.Policy.DefaultServiceAccount, options.Policy.RequireServiceAccount = "standard", true
		})
		since := markAudit()
		expect.Ready(ctx, api, f.replika(ctx, source, kit.TargetNamespaces(a)), 1)
		expect.Reason(ctx, api, f.replika(ctx, source, kit.TargetNamespaces(a), kit.ServiceAccount(copier), kit.WithName("named")), v1alpha1.ReasonForbidden)
		for _, event := range f.requests(since, cluster.AuditEvent.Writes, isConfigMap) {
			Expect(event.User).To(Equal(serviceAccountUser(home, "standard")))
			Expect(event.Code).To(BeNumerically("<", http.StatusMultipleChoices))
		}
	})
})

// grantAccount gives a ServiceAccount permissions in a namespace until the fixture's Replikas are deleted, which needs them.
func (f *fixture) grantAccount(
	ctx context.Context, home, account, namespace string, rules ...rbacv1.PolicyRule,
) (revoke func(context.Context)) {
	GinkgoHelper()
	revoke = grantUser(ctx, serviceAccountUser(home, account), namespace, rules...)
	DeferCleanup(f.deleteReplikas)
	return revoke
}

// serviceAccountUser returns the user name of a ServiceAccount.
func serviceAccountUser(namespace, account string) string {
	return "system:serviceaccount:" + namespace + ":" + account
}

// grantImpersonation lets the operator impersonate the ServiceAccounts of a namespace until the fixture's Replikas are
// deleted.
func (f *fixture) grantImpersonation(ctx context.Context, namespace string) {
	GinkgoHelper()
	grant(ctx, namespace, policyRule("", "serviceaccounts", "impersonate"))
	DeferCleanup(f.deleteReplikas)
}

func isConfigMap(event cluster.AuditEvent) bool { return event.Resource == "configmaps" }

// eventNotes lists the notes of the events in a namespace, once there are some.
func eventNotes(ctx context.Context, namespace string) []string {
	GinkgoHelper()
	var notes []string
	Eventually(ctx, func(g Gomega) {
		list := &eventsv1.EventList{}
		g.Expect(api.List(ctx, list, client.InNamespace(namespace))).To(Succeed())
		for i := range list.Items {
			notes = append(notes, list.Items[i].Note)
		}
		g.Expect(notes).NotTo(BeEmpty())
	}).WithTimeout(30 * time.Second).Should(Succeed())
	return notes
}
