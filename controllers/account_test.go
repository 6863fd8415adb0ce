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
)

// The account of these specs. Its rights are bound to its name; that it exists matters to nobody.
const copier = "copier"

var (
	readConfigMaps  = right("", "configmaps", "get")
	writeConfigMaps = right("", "configmaps", "get", "create", "patch", "delete")
)

var _ = Describe("A Replika with a ServiceAccount", func() {
	It("reads and writes as that account, and reports each namespace where it may not", func(ctx SpecContext) {
		allowImpersonation(ctx)
		s := newScene()
		a, b, home := s.namespace(ctx, "a"), s.namespace(ctx, "b"), s.namespace(ctx, "source")
		s.allowAccount(ctx, home, copier, home, readConfigMaps)
		revoke := s.allowAccount(ctx, home, copier, a, writeConfigMaps)
		source := create(ctx, configMap(home, "settings", "one"))
		since := thisMoment()
		replika := s.replika(ctx, source, into(a, b), as(copier))

		failing := eventuallyFailing(ctx, replika, map[string]string{b: v1alpha1.FailureForbidden})
		Expect(failing.Status.Failures[0].Message).To(ContainSubstring(userOf(home, copier)))
		eventuallyCopied(ctx, source, a)
		Expect(read(ctx, source, b)).To(BeNil())

		s.allowAccount(ctx, home, copier, b, writeConfigMaps)
		eventuallyReady(ctx, replika, 2)

		revoke(ctx)
		edit(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		eventuallyCopied(ctx, source, b)
		eventuallyFailing(ctx, replika, map[string]string{a: v1alpha1.FailureForbidden})
		Expect(content(read(ctx, source, a))).To(HaveKeyWithValue("data", HaveKeyWithValue("key", "one")))

		for _, event := range s.requests(since, cluster.AuditEvent.Writes, ofConfigMaps) {
			Expect(event.User).To(Equal(userOf(home, copier)), "%s %s", event.Verb, event.RequestURI)
		}
		for _, event := range s.requests(since, ofConfigMaps, func(event cluster.AuditEvent) bool { return event.Verb == "get" }) {
			Expect(event.User).To(Equal(userOf(home, copier)), event.RequestURI)
		}
		s.allowAccount(ctx, home, copier, a, writeConfigMaps) // to be cleared up after
	})

	It("needs no right of the operator's but to watch the kind", func(ctx SpecContext) {
		allowImpersonation(ctx)
		s := newScene()
		a, home := s.namespace(ctx, "a"), s.namespace(ctx, "source")
		s.allowAccount(ctx, home, copier, home, right("", "podtemplates", "get"))
		s.allowAccount(ctx, home, copier, a, right("", "podtemplates", "get", "create", "patch", "delete"))
		source := create(ctx, podTemplate(home))
		eventuallyFailing(ctx, s.replika(ctx, source, into(a), called("without")), map[string]string{a: v1alpha1.FailureForbidden})
		replika := s.replika(ctx, source, into(a), as(copier))
		eventuallyReady(ctx, replika, 1)
		remove(ctx, replika)
		Expect(read(ctx, source, a)).To(BeNil())
	})

	It("learns nothing of a source that the account may not read, not even whether there is one", func(ctx SpecContext) {
		allowImpersonation(ctx)
		s := newScene()
		a, home, vault := s.namespace(ctx, "a"), s.namespace(ctx, "home"), s.namespace(ctx, "vault")
		s.allowAccount(ctx, home, copier, a, writeConfigMaps)
		source := create(ctx, configMap(vault, "settings", "hidden-value"))
		absent := configMap(vault, "absent", "")
		replika := s.replika(ctx, source, living(home), into(a), as(copier))
		blind := s.replika(ctx, absent, living(home), into(a), as(copier))

		for _, replika := range []*v1alpha1.Replika{replika, blind} {
			denied := eventuallyNotReady(ctx, replika, v1alpha1.ReasonForbidden)
			Expect(messageOf(denied)).To(ContainSubstring("ServiceAccount " + home + "/" + copier + " may not read the source ConfigMap " + vault))
			Expect(denied.Status.Source).To(BeNil())
			Expect(denied.Status.Copies).To(BeNil())
		}
		edit(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "another-value" })
		consistentlyAbsent(ctx, source, a)
		Expect(eventNotes(ctx, home)).To(And(Not(BeEmpty()), Not(ContainElement(ContainSubstring("-value")))))

		revoke := s.allowAccount(ctx, home, copier, vault, readConfigMaps)
		eventuallyReady(ctx, replika, 1)
		eventuallyNotReady(ctx, blind, v1alpha1.ReasonSourceNotFound)
		eventuallyCopied(ctx, source, a)

		revoke(ctx)
		edit(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "later" })
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonForbidden)
		Expect(content(read(ctx, source, a))).To(HaveKeyWithValue("data", HaveKeyWithValue("key", "another-value")))
	})

	It("says so when the operator may not act as the account", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a), as(copier))
		denied := eventuallyNotReady(ctx, replika, v1alpha1.ReasonForbidden)
		Expect(messageOf(denied)).To(ContainSubstring("the operator may not act as ServiceAccount " + source.Namespace + "/" + copier))
		Expect(read(ctx, source, a)).To(BeNil())
	})

	It("is served as another account once its spec names that", func(ctx SpecContext) {
		allowImpersonation(ctx)
		s := newScene()
		a, home := s.namespace(ctx, "a"), s.namespace(ctx, "source")
		s.allowAccount(ctx, home, "other", home, readConfigMaps)
		s.allowAccount(ctx, home, "other", a, writeConfigMaps)
		source := create(ctx, configMap(home, "settings", "one"))
		replika := s.replika(ctx, source, into(a), as(copier))
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonForbidden)
		edit(ctx, replika, as("other"))
		eventuallyReady(ctx, replika, 1)
	})

	It("leaves, when it is deleted, what the account may not delete, and says so", func(ctx SpecContext) {
		allowImpersonation(ctx)
		s := newScene()
		a, b, home := s.namespace(ctx, "a"), s.namespace(ctx, "b"), s.namespace(ctx, "source")
		s.allowAccount(ctx, home, copier, home, readConfigMaps)
		s.allowAccount(ctx, home, copier, a, writeConfigMaps)
		revoke := s.allowAccount(ctx, home, copier, b, writeConfigMaps)
		source := create(ctx, configMap(home, "settings", "one"))
		replika := s.replika(ctx, source, into(a, b), as(copier))
		eventuallyReady(ctx, replika, 2)

		revoke(ctx)
		remove(ctx, replika)
		Expect(read(ctx, source, a)).To(BeNil())
		Expect(read(ctx, source, b)).NotTo(BeNil(), "the operator's own rights are not used in the account's place")
		Expect(eventuallyLeftBehind(ctx, home, replika.Name)).To(ContainSubstring(b + " (Forbidden)"))
	})

	It("is cleared up after by the operator when the account goes with its namespace", func(ctx SpecContext) {
		allowImpersonation(ctx)
		s := newScene()
		a, home, vault := s.namespace(ctx, "a"), s.namespace(ctx, "home"), s.namespace(ctx, "vault")
		s.allowAccount(ctx, home, copier, vault, readConfigMaps)
		revoke := s.allowAccount(ctx, home, copier, a, writeConfigMaps)
		source := create(ctx, configMap(vault, "settings", "one"))
		eventuallyReady(ctx, s.replika(ctx, source, living(home), into(a), as(copier)), 1)

		revoke(ctx)
		Expect(api.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: home}})).To(Succeed())
		eventuallyGone(ctx, source, a)
		removeNamespace(ctx, home)
	})

	It("inherits a copy only where its account may write", func(ctx SpecContext) {
		allowImpersonation(ctx)
		s := newScene()
		a, b, home := s.namespace(ctx, "a"), s.namespace(ctx, "b"), s.namespace(ctx, "source")
		s.allowAccount(ctx, home, copier, home, readConfigMaps)
		s.allowAccount(ctx, home, copier, a, writeConfigMaps)
		source, second := create(ctx, configMap(home, "settings", "one")), create(ctx, configMap(home, "second", "two"))
		first := s.replika(ctx, source, into(a, b), naming("shared"))
		eventuallyReady(ctx, first, 2)
		heir := s.replika(ctx, second, into(a, b), naming("shared"), as(copier), called("heir"))
		eventuallyFailing(ctx, heir, map[string]string{a: v1alpha1.FailureConflict, b: v1alpha1.FailureConflict})
		shared := configMap("", "shared", "")
		inherited := read(ctx, shared, a).GetUID()

		remove(ctx, first)
		eventuallyCopiedAs(ctx, second, "shared", a)
		Expect(read(ctx, shared, a).GetUID()).To(Equal(inherited), "handed over")
		eventuallyGone(ctx, shared, b)
		eventuallyFailing(ctx, heir, map[string]string{b: v1alpha1.FailureForbidden})
	})
})

// The operator is everybody's, so no other spec may run while it has other options.
var _ = Describe("The administrator", Serial, func() {
	It("can require a ServiceAccount of every Replika, and what was copied without stays as it is", func(ctx SpecContext) {
		allowImpersonation(ctx)
		s := newScene()
		a, home := s.namespace(ctx, "a"), s.namespace(ctx, "source")
		s.allowAccount(ctx, home, copier, home, readConfigMaps)
		s.allowAccount(ctx, home, copier, a, writeConfigMaps)
		source, other := create(ctx, configMap(home, "settings", "one")), create(ctx, configMap(home, "other", "one"))
		without, with := s.replika(ctx, source, into(a)), s.replika(ctx, other, into(a), as(copier))
		eventuallyReady(ctx, without, 1)
		eventuallyReady(ctx, with, 1)

		withOptions(func(options *controllers.Options) { options.Policy.RequireServiceAccount = true })
		refused := eventuallyNotReady(ctx, without, v1alpha1.ReasonServiceAccountRequired)
		Expect(messageOf(refused)).To(ContainSubstring("--require-service-account"))
		for _, edited := range []*corev1.ConfigMap{source, other} {
			edit(ctx, edited, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		}
		eventuallyCopied(ctx, other, a)
		Expect(content(read(ctx, source, a))).To(HaveKeyWithValue("data", HaveKeyWithValue("key", "one")))

		edit(ctx, without, as(copier))
		eventuallyReady(ctx, without, 1)
		eventuallyCopied(ctx, source, a)
		edit(ctx, without, as(""))
		eventuallyNotReady(ctx, without, v1alpha1.ReasonServiceAccountRequired)
		remove(ctx, without)
		Expect(read(ctx, source, a)).To(BeNil(), "a refused Replika is cleared up after all the same")
	})

	It("can give every Replika that names none a ServiceAccount", func(ctx SpecContext) {
		allowImpersonation(ctx)
		s := newScene()
		a, home := s.namespace(ctx, "a"), s.namespace(ctx, "source")
		s.allowAccount(ctx, home, "standard", home, readConfigMaps)
		s.allowAccount(ctx, home, "standard", a, writeConfigMaps)
		source := create(ctx, configMap(home, "settings", "one"))
		withOptions(func(options *controllers.Options) {
			options.Policy.DefaultServiceAccount, options.Policy.RequireServiceAccount = "standard", true
		})
		since := thisMoment()
		eventuallyReady(ctx, s.replika(ctx, source, into(a)), 1)
		eventuallyNotReady(ctx, s.replika(ctx, source, into(a), as(copier), called("named")), v1alpha1.ReasonForbidden)
		for _, event := range s.requests(since, cluster.AuditEvent.Writes, ofConfigMaps) {
			Expect(event.User).To(Equal(userOf(home, "standard")))
			Expect(event.Code).To(BeNumerically("<", http.StatusMultipleChoices))
		}
	})
})

// as names the Replika's ServiceAccount.
func as(account string) change {
	return func(replika *v1alpha1.Replika) { replika.Spec.ServiceAccountName = account }
}

// allowAccount gives a ServiceAccount rights in a namespace. They last until the scene's Replikas are gone, which could not be
// cleared up after without.
func (s *scene) allowAccount(
	ctx context.Context, home, account, namespace string, rights ...rbacv1.PolicyRule,
) (revoke func(context.Context)) {
	GinkgoHelper()
	revoke = allowUser(ctx, userOf(home, account), namespace, rights...)
	DeferCleanup(s.removeReplikas)
	return revoke
}

// userOf is the user that a ServiceAccount is.
func userOf(namespace, account string) string {
	return "system:serviceaccount:" + namespace + ":" + account
}

// allowImpersonation lets the operator act as ServiceAccounts, until the spec is over.
func allowImpersonation(ctx context.Context) {
	GinkgoHelper()
	allow(ctx, everyNamespace, right("", "serviceaccounts", "impersonate"))
}

func ofConfigMaps(event cluster.AuditEvent) bool { return event.Resource == "configmaps" }

// eventNotes lists what the events in a namespace say, once there are some.
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
