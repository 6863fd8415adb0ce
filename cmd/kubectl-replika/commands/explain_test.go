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
	"encoding/json"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// suspendedNote is on every answer about a Replika that must not write to the namespaces of other specs.
const suspendedNote = "The Replika is suspended"

var _ = Describe("explain", func() {
	Describe("a rule", Ordered, func() {
		var (
			prefix  string
			replika *v1alpha1.Replika
		)
		BeforeAll(func(ctx SpecContext) {
			prefix = expect.NameOfAttempt("explain-rule")
			for name, labels := range map[string]map[string]string{
				"vault": nil, "named": nil, "glob-a": nil, "labeled": {prefix: "yes"}, "glob-excluded": nil, "glob-dropped-1": nil, "other": nil,
				"glob-going": nil, "glob-system": nil, "glob-out": {v1alpha1.LabelOptOut: "true"}, "glob-denied": nil,
			} {
				expect.CreateForAttempt(ctx, admin, kit.Namespace(prefix+"-"+name, labels))
			}
			createOperator(ctx, prefix+"-vault", "--zap-log-level=debug", "--excluded-namespaces=kube-*,*-system", "--leader-elect")
			keepTerminating(ctx, prefix+"-glob-going")
			source := kit.ConfigMap(prefix+"-vault", prefix, "secret")
			allowed := []string{prefix + "-named", prefix + "-labeled", prefix + "-glob-a*"}
			source.Annotations = map[string]string{v1alpha1.AnnotationAllowedNamespaces: strings.Join(allowed, ",")}
			expect.CreateForAttempt(ctx, admin, source)
			replika = expect.CreateForAttempt(ctx, admin, kit.NewReplika(source, kit.Suspended(),
				kit.TargetNamespaces(prefix+"-named", prefix+"-gone", prefix+"-glob-*"), kit.SelectNamespaces(map[string]string{prefix: "yes"}),
				kit.ExcludeNamespaces(prefix+"-glob-excluded", prefix+"-glob-drop*")))
		})

		DescribeTable("decides about a namespace", func(ctx SpecContext, name string, want explainedNamespace) {
			want.Namespace = prefix + "-" + name
			for _, text := range []*string{&want.Entry, &want.Consent} {
				*text = strings.ReplaceAll(*text, "PREFIX", prefix)
			}
			got := explainIn(ctx, replika, want.Namespace, "--operator-namespace="+prefix+"-vault")
			Expect(got.Reason).NotTo(BeEmpty())
			got.Reason = ""
			Expect(got).To(Equal(want))
			rows := succeed(ctx, "explain", replika.Name, "-n", replika.Namespace, "--in", want.Namespace, "--no-headers", "--operator-namespace="+prefix+"-vault")
			Expect(rows).To(ContainSubstring(suspendedNote))
			Expect(rows).To(MatchRegexp(`(?m)^%s +%s +%s +\w`, want.Namespace, want.yes(), want.Rule))
		},
			Entry("its name", "named", explainedNamespace{Copied: true, Rule: planner.RuleName, Entry: "PREFIX-named", Consent: "PREFIX-named"}),
			Entry("a glob", "glob-a", explainedNamespace{Copied: true, Rule: planner.RuleGlob, Entry: "PREFIX-glob-*", Consent: "PREFIX-glob-a*"}),
			Entry("the label selector", "labeled", explainedNamespace{Copied: true, Rule: planner.RuleSelector, Entry: "PREFIX=yes", Consent: "PREFIX-labeled"}),
			Entry("excludeFrom by name", "glob-excluded", explainedNamespace{Rule: planner.RuleExcludeFrom, Entry: "PREFIX-glob-excluded"}),
			Entry("excludeFrom by glob", "glob-dropped-1", explainedNamespace{Rule: planner.RuleExcludeFrom, Entry: "PREFIX-glob-drop*"}),
			Entry("no rule", "other", explainedNamespace{Rule: planner.RuleNotSelected}),
			Entry("the source's own namespace", "vault", explainedNamespace{Rule: planner.RuleSourceNamespace}),
			Entry("deletion", "glob-going", explainedNamespace{Rule: planner.RuleTerminating}),
			Entry("the administrator's exclusion", "glob-system", explainedNamespace{Rule: planner.RuleExcludedNamespaces, Entry: "*-system"}),
			Entry("the opt-out label", "glob-out", explainedNamespace{Rule: planner.RuleOptOut, Entry: "replika.prosimcorp.com/opt-out=true"}),
			Entry("the source's consent", "glob-denied", explainedNamespace{Rule: planner.RuleConsent}),
			Entry("a name without a namespace", "gone", explainedNamespace{Rule: ruleNotFound, Entry: "PREFIX-gone"}),
		)

		It("decides about every namespace of the cluster", func(ctx SpecContext) {
			explained := explainJSON(ctx, replika, "--operator-namespace="+prefix+"-vault")
			rules := map[string]planner.Rule{}
			for _, answer := range explained.Namespaces {
				rules[answer.Namespace] = answer.Rule
			}
			Expect(rules).To(And(HaveKeyWithValue(prefix+"-named", planner.RuleName), HaveKeyWithValue(prefix+"-gone", ruleNotFound),
				HaveKeyWithValue("kube-system", planner.RuleNotSelected), HaveKeyWithValue("default", planner.RuleNotSelected)))
			Expect(succeed(ctx, "explain", replika.Name, "-n", replika.Namespace, "-o", "name", "--operator-namespace="+prefix+"-vault")).
				To(Equal("namespace/" + prefix + "-glob-a\nnamespace/" + prefix + "-labeled\nnamespace/" + prefix + "-named\n"))
		})

		It("refuses a namespace that does not exist and is not named", func(ctx SpecContext) {
			result := run(ctx, "explain", replika.Name, "-n", replika.Namespace, "--in", "nowhere", "--operator-namespace="+prefix+"-vault")
			Expect(result).To(Equal(output{code: exitError, errOut: "error: there is no namespace nowhere: name another one with --in\n"}))
		})

		It("is the one of a user who may not list namespaces", func(ctx SpecContext) {
			user := createUser(ctx, prefix+"-no-list", replikaReader, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list"}})
			explained := explainJSON(ctx, replika, "--kubeconfig="+user)
			var names []string
			for _, answer := range explained.Namespaces {
				names = append(names, answer.Namespace)
			}
			Expect(names).To(ConsistOf(prefix+"-glob-excluded", prefix+"-gone", prefix+"-named", prefix+"-vault"))
			result := run(ctx, "explain", replika.Name, "-n", replika.Namespace, "--kubeconfig="+user)
			Expect(result.errOut).To(And(ContainSubstring("You may not list namespaces"), ContainSubstring("You may not read 4 namespaces"),
				ContainSubstring("The operator's flags are unknown")))
		})
	})

	It("names matchAll, and what the operator does not do", func(ctx SpecContext) {
		f := newFixture(ctx, "explain-all", 1)
		replika := f.createReplika(ctx, kit.MatchAllNamespaces(), kit.Suspended(), kit.TargetNamespaces())
		Expect(explainIn(ctx, replika, f.targets[0])).To(Equal(explainedNamespace{Namespace: f.targets[0], Copied: true, Rule: planner.RuleMatchAll, Reason: "matchAll is true"}))
		Expect(explainJSON(ctx, replika).Notes).To(ConsistOf(HavePrefix(suspendedNote)))
	})

	It("groups many namespaces by the reason", func(ctx SpecContext) {
		f := newFixture(ctx, "explain-many", 25)
		replika := f.createReplika(ctx, kit.ExcludeNamespaces(f.targets[7]))
		table := succeed(ctx, "explain", replika.Name, "-n", replika.Namespace)
		Expect(table).To(MatchRegexp(`(?m)^24 +%s,%s,%s,… +yes +Glob +`, f.targets[0], f.targets[9], f.targets[10]))
		Expect(table).To(MatchRegexp(`(?m)^1 +%s +no +ExcludeFrom +`, f.targets[7]))
		Expect(strings.Count(succeed(ctx, "explain", replika.Name, "-n", replika.Namespace, "--all"), f.name+"-target-")).To(BeNumerically(">=", 25))
	})

	It("answers by source if the owners of many sources allow different namespaces", func(ctx SpecContext) {
		f := newFixture(ctx, "explain-sources", 2)
		for name, allowed := range map[string]string{"db-a": f.targets[0], "db-b": f.targets[0], "db-c": "*", "db-d": ""} {
			source := kit.ConfigMap(f.namespace, name, "x")
			source.Annotations = map[string]string{v1alpha1.AnnotationAllowedNamespaces: allowed}
			expect.CreateForAttempt(ctx, admin, source)
		}
		replika := f.createReplika(ctx, kit.SourceNames("db-*"), kit.TargetNamespaces(f.targets...), kit.Suspended())
		explained := explainJSON(ctx, replika)
		var answers []string
		for _, answer := range explained.Namespaces {
			if strings.HasPrefix(answer.Namespace, f.name+"-target-") {
				answers = append(answers, fmt.Sprintf("%t %v %t %s", answer.Namespace == f.targets[0], answer.Sources, answer.Copied, answer.Rule))
			}
		}
		Expect(answers).To(ConsistOf(
			"true [db-a db-b] true Name", "true [db-c] true Name", "true [db-d] false Consent",
			"false [db-a db-b db-d] false Consent", "false [db-c] true Name",
		))
		Expect(explained.Notes).To(ConsistOf(HavePrefix(suspendedNote), And(ContainSubstring("db-d"), ContainSubstring(v1alpha1.ReasonSourceNotAllowed))))
	})

	Describe("the source", func() {
		It("is missing", func(ctx SpecContext) {
			f := newFixture(ctx, "explain-no-source", 1)
			replika := f.createReplika(ctx)
			expect.Delete(ctx, admin, f.source)
			Expect(explainJSON(ctx, replika).Notes).To(ConsistOf(And(ContainSubstring("SourceNotFound"), ContainSubstring(f.source.Name+" not found"))))
		})

		It("allows no namespace", func(ctx SpecContext) {
			f := newFixture(ctx, "explain-none", 1)
			replika := f.createReplika(ctx)
			expect.Update(ctx, admin, f.source, func(source *corev1.ConfigMap) {
				source.Annotations = map[string]string{v1alpha1.AnnotationAllowedNamespaces: ""}
			})
			Expect(explainIn(ctx, replika, f.targets[0]).Rule).To(Equal(planner.RuleConsent))
			Expect(explainJSON(ctx, replika).Notes).To(ConsistOf(ContainSubstring(v1alpha1.ReasonSourceNotAllowed)))
		})

		It("lacks the annotation that the administrator requires", func(ctx SpecContext) {
			f := newFixture(ctx, "explain-required", 1)
			createOperator(ctx, f.namespace, "--require-source-consent")
			replika := f.createReplika(ctx)
			Expect(explainIn(ctx, replika, f.targets[0], "--operator-namespace="+f.namespace).Rule).To(Equal(planner.RuleConsent))
		})

		It("cannot be read, so the consent in the status applies", func(ctx SpecContext) {
			f := newFixture(ctx, "explain-unread", 2)
			expect.Update(ctx, admin, f.source, func(source *corev1.ConfigMap) {
				source.Annotations = map[string]string{v1alpha1.AnnotationAllowedNamespaces: f.targets[0]}
			})
			replika := f.createReplika(ctx)
			expect.Ready(ctx, admin, replika, 1)
			user := createUser(ctx, f.name, replikaReader, namespaceReader)
			Expect(explainIn(ctx, replika, f.targets[0], "--kubeconfig="+user).Consent).To(Equal(f.targets[0]))
			Expect(explainIn(ctx, replika, f.targets[1], "--kubeconfig="+user).Rule).To(Equal(planner.RuleConsent))
			result := run(ctx, "explain", replika.Name, "-n", replika.Namespace, "--kubeconfig="+user)
			Expect(result.code).To(Equal(exitOK))
			Expect(result.errOut).To(And(MatchRegexp(`(?m)^reading ConfigMap .*: what its owner allows is taken from the Replika's status\.$`),
				ContainSubstring("whether other Replikas have the objects is unknown")))
		})

		It("is of a kind that is not served", func(ctx SpecContext) {
			f := newFixture(ctx, "explain-kind", 1)
			replika := f.createReplika(ctx, kit.SourceKind("example.com", "v1", "Nothing"))
			Expect(explainJSON(ctx, replika).Notes).To(ConsistOf(ContainSubstring(v1alpha1.ReasonKindNotFound)))
		})
	})

	Describe("the ServiceAccount", func() {
		It("lacks permissions in some namespaces", func(ctx SpecContext) {
			f := newFixture(ctx, "explain-account", 2)
			account := corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "copier"}}
			expect.CreateForAttempt(ctx, admin, account.DeepCopy())
			grantIn(ctx, f.namespace, &account, "get")
			grantIn(ctx, f.targets[0], &account, "get", "create", "patch", "delete")
			grantIn(ctx, f.targets[1], &account, "get", "create")
			replika := f.createReplika(ctx, kit.ServiceAccount(account.Name))
			Expect(explainIn(ctx, replika, f.targets[0]).MissingRights).To(BeEmpty())
			Expect(explainIn(ctx, replika, f.targets[1]).MissingRights).To(Equal([]string{"patch", "delete"}))
			Expect(succeed(ctx, "explain", replika.Name, "-n", replika.Namespace, "--in", f.targets[1])).
				To(ContainSubstring("the ServiceAccount may not patch, delete"))
			Expect(explainJSON(ctx, replika).Notes).To(BeEmpty())
		})

		It("may not read the source", func(ctx SpecContext) {
			f := newFixture(ctx, "explain-account-source", 1)
			createOperator(ctx, f.namespace, "--default-service-account", "copier")
			replika := f.createReplika(ctx)
			Expect(explainJSON(ctx, replika, "--operator-namespace="+f.namespace).Notes).To(ConsistOf(ContainSubstring("/copier may not get configmaps")))
		})

		It("is required", func(ctx SpecContext) {
			f := newFixture(ctx, "explain-account-required", 1)
			createOperator(ctx, f.namespace, "--require-service-account")
			replika := f.createReplika(ctx)
			Expect(explainJSON(ctx, replika, "--operator-namespace="+f.namespace).Notes).To(ConsistOf(ContainSubstring(v1alpha1.ReasonServiceAccountRequired)))
		})

		It("cannot be asked about", func(ctx SpecContext) {
			f := newFixture(ctx, "explain-account-unknown", 1)
			replika := f.createReplika(ctx, kit.ServiceAccount("copier"))
			user := createUser(ctx, f.name, replikaReader, namespaceReader)
			result := run(ctx, "explain", replika.Name, "-n", replika.Namespace, "--kubeconfig="+user)
			Expect(result.code).To(Equal(exitOK))
			Expect(result.errOut).To(ContainSubstring("You may not create SubjectAccessReviews"))
		})
	})

	It("names the Replika that has the object", func(ctx SpecContext) {
		f := newFixture(ctx, "explain-held", 2)
		first := f.createReplika(ctx, kit.WithName("first"), kit.TargetNamespaces(f.targets[0]))
		expect.Ready(ctx, admin, first, 1)
		second := f.createReplika(ctx, kit.WithName("second"))
		expect.Reason(ctx, admin, second, v1alpha1.ReasonCopiesFailed)
		held := explainIn(ctx, second, f.targets[0])
		Expect(held.Copied).To(BeTrue())
		Expect(held.HeldBy).To(Equal([]string{f.namespace + "/first"}))
		Expect(held.Failure).To(HavePrefix(v1alpha1.FailureConflict))
		Expect(explainIn(ctx, second, f.targets[1]).HeldBy).To(BeEmpty())
		Expect(explainJSON(ctx, second).selected()[f.targets[0]][0].HeldBy).To(Equal([]string{f.namespace + "/first"}))
	})

	It("names the Replika that has the copy of one of many sources", func(ctx SpecContext) {
		f := newFixture(ctx, "explain-held-many", 1)
		first := f.createReplika(ctx, kit.WithName("first"))
		expect.Ready(ctx, admin, first, 1)
		second := f.createReplika(ctx, kit.WithName("second"), kit.SourceNames(f.name+"*"))
		expect.Reason(ctx, admin, second, v1alpha1.ReasonCopiesFailed)
		Expect(explainJSON(ctx, second).selected()[f.targets[0]][0].HeldBy).To(Equal([]string{f.namespace + "/first"}))
	})

	It("notes that the Replika is being deleted", func(ctx SpecContext) {
		f := newFixture(ctx, "explain-deleted", 1)
		replika := f.createReplika(ctx, func(replika *v1alpha1.Replika) { replika.Finalizers = []string{"example.com/keep"} })
		DeferCleanup(func(ctx SpecContext) { Expect(kit.SetFinalizers(ctx, admin, replika)).To(Succeed()) })
		Expect(admin.Delete(ctx, replika)).To(Succeed())
		Expect(explainJSON(ctx, replika).Notes).To(ContainElement(ContainSubstring("is being deleted")))
	})

	It("completes namespaces", func(ctx SpecContext) {
		Expect(strings.Fields(succeed(ctx, "__complete", "explain", "nothing", "--in", ""))).To(ContainElements("default", "kube-system"))
	})

	It("notes the mode DryRun", func(ctx SpecContext) {
		f := newFixture(ctx, "explain-dry-run", 1)
		replika := f.createReplika(ctx, kit.DryRun())
		Expect(explainJSON(ctx, replika).Notes).To(ConsistOf(ContainSubstring("DryRun")))
	})

	It("refuses a Replika that does not exist", func(ctx SpecContext) {
		Expect(fail(ctx, "explain", "nothing", "-n", "default")).To(ContainSubstring("there is no Replika nothing in namespace default"))
		Expect(fail(ctx, "explain")).To(ContainSubstring("NAME of a Replika is required"))
	})
})

// explainIn returns the answer for one namespace.
func explainIn(ctx context.Context, replika *v1alpha1.Replika, namespace string, args ...string) explainedNamespace {
	GinkgoHelper()
	explained := explainJSON(ctx, replika, append(args, "--in", namespace)...)
	Expect(explained.Namespaces).To(HaveLen(1))
	return *explained.Namespaces[0]
}

func explainJSON(ctx context.Context, replika *v1alpha1.Replika, args ...string) *explanation {
	GinkgoHelper()
	answer := succeed(ctx, append([]string{"explain", replika.Name, "-n", replika.Namespace, "-o", "json"}, args...)...)
	explained := &explanation{}
	Expect(json.Unmarshal([]byte(answer), explained)).To(Succeed())
	Expect(explained.Replika).To(Equal(client.ObjectKeyFromObject(replika).String()))
	return explained
}
