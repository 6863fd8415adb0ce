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
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var (
	deniedToken     = deniedByOperatorPolicy("is not allowed to write Secrets of the types")
	deniedNamespace = deniedByOperatorPolicy("is not allowed to write in namespace")
)

// deniedByOperatorPolicy matches a denial by the policy. RBAC is not the reason: it allows the request.
func deniedByOperatorPolicy(message string) gomegatypes.GomegaMatcher {
	return And(MatchError(ContainSubstring("ValidatingAdmissionPolicy '")), MatchError(ContainSubstring(message)))
}

// The specs send requests with the operator's own token, as an attacker who has obtained it would.
var _ = Describe("The operator's token", Ordered, func() {
	var holder client.Client
	existing := tokenSecret(tenant, "existing-token", other)

	BeforeAll(func(ctx SpecContext) {
		create(ctx, existing)
		create(ctx, secret("kube-system", "of-kube-system"))
		holder = holderOf(ctx, operatorNamespace, operatorAccount)
		eventuallyLimited(ctx, holder, operatorNamespace)
	})

	DescribeTable("cannot be used to", func(ctx SpecContext, request func(context.Context, client.Client) error, denied gomegatypes.GomegaMatcher) {
		Expect(request(ctx, holder)).To(denied)
	},
		Entry("mint the token of a ServiceAccount", func(ctx context.Context, holder client.Client) error {
			return holder.Create(ctx, tokenSecret(tenant, "minted", other), client.DryRunAll)
		}, deniedToken),
		Entry("mint a bootstrap token", func(ctx context.Context, holder client.Client) error {
			bootstrap := secret(tenant, "bootstrap-token-abcdef")
			bootstrap.Type = corev1.SecretTypeBootstrapToken
			return holder.Create(ctx, bootstrap, client.DryRunAll)
		}, deniedToken),
		Entry("change the token of a ServiceAccount", func(ctx context.Context, holder client.Client) error {
			return holder.Patch(ctx, existing.DeepCopy(), merge(`{"metadata": {"annotations": {"a": "b"}}}`), client.DryRunAll)
		}, deniedToken),
		Entry("delete the token of a ServiceAccount", func(ctx context.Context, holder client.Client) error {
			return holder.Delete(ctx, existing.DeepCopy(), client.DryRunAll)
		}, deniedToken),
		Entry("create an object in kube-system", func(ctx context.Context, holder client.Client) error {
			return holder.Create(ctx, configMap("kube-system", "planted"), client.DryRunAll)
		}, deniedNamespace),
		Entry("change an object in kube-system", func(ctx context.Context, holder client.Client) error {
			return holder.Patch(ctx, secret("kube-system", "of-kube-system"), merge(`{"data": {"key": null}}`), client.DryRunAll)
		}, deniedNamespace),
		Entry("delete an object in kube-system", func(ctx context.Context, holder client.Client) error {
			return holder.Delete(ctx, secret("kube-system", "of-kube-system"), client.DryRunAll)
		}, deniedNamespace),
		Entry("create an object in the operator's namespace", func(ctx context.Context, holder client.Client) error {
			return holder.Create(ctx, secret(operatorNamespace, "planted"), client.DryRunAll)
		}, deniedNamespace),
	)

	DescribeTable("can still be used to", func(ctx SpecContext, request func(context.Context, client.Client) error) {
		Expect(request(ctx, holder)).To(Succeed())
	},
		Entry("copy a Secret of another type", func(ctx context.Context, holder client.Client) error {
			return holder.Create(ctx, secret(tenant, "copied"), client.DryRunAll)
		}),
		Entry("hold the lease", func(ctx context.Context, holder client.Client) error {
			return holder.Create(ctx, &coordinationv1.Lease{
				ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: "another"},
			}, client.DryRunAll)
		}),
		Entry("emit events in the operator's namespace", func(ctx context.Context, holder client.Client) error {
			return holder.Create(ctx, &corev1.Event{
				ObjectMeta:     metav1.ObjectMeta{Namespace: operatorNamespace, Name: "event"},
				InvolvedObject: corev1.ObjectReference{Namespace: operatorNamespace, Kind: "Lease", Name: "another"},
			}, client.DryRunAll)
		}),
	)

	It("still reconciles Replikas in the operator's namespace", func(ctx SpecContext) {
		source := configMap(operatorNamespace, "source-of-operator")
		create(ctx, source)
		replika := newReplika(source, annex)
		create(ctx, replika)
		expect.Ready(ctx, admin, replika, 1)
		deleteReplika(ctx, replika)
		expect.Gone(ctx, admin, source, annex)
	})

	It("is all that the policy limits", func(ctx SpecContext) {
		for _, object := range []client.Object{
			configMap("kube-system", "of-admin"), configMap(operatorNamespace, "of-admin"), tokenSecret(tenant, "of-admin", other),
		} {
			Expect(clientAs(clusterAdmin).Create(ctx, object, client.DryRunAll)).To(Succeed())
		}
		Expect(clientAs(accountUser(tenant, copier)).Create(ctx, tokenSecret(tenant, "of-account", other), client.DryRunAll)).To(Succeed())
	})

	It("is not asked to write where the policy denies it", func(ctx SpecContext) {
		source := configMap("default", "everywhere")
		create(ctx, source)
		replika := kit.NewReplika(source, kit.MatchAllNamespaces())
		create(ctx, replika)
		DeferCleanup(deleteReplika, replika)
		eventuallyCopy(ctx, source, annex, HaveField("GetName()", source.Name))
		expect.Reason(ctx, admin, replika, v1alpha1.ReasonSynced)
		expect.Gone(ctx, admin, source, "kube-system", operatorNamespace)
	})

	It("is limited whatever the namespace and the name", func(ctx SpecContext) {
		const namespace = "elsewhere"
		moved := build("namespace: " + namespace + "\nnamePrefix: acme-\nnameSuffix: -blue\nresources:\n" +
			"  - https://github.com/prosimcorp/replika//config/default?ref=v0.0.0\n")
		Expect(moved.ofKind("Namespace").apply(ctx)).To(Succeed())
		for _, kind := range []string{
			"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
		} {
			Expect(moved.ofKind(kind).apply(ctx)).To(Succeed())
		}
		DeferCleanup(func(ctx SpecContext) {
			for _, kind := range []string{"ClusterRoleBinding", "ClusterRole", "ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"} {
				for _, object := range moved.ofKind(kind) {
					Expect(admin.Delete(ctx, object)).To(Succeed())
				}
			}
		})
		// The other policy applies to this operator, too: without it, this one is on its own.
		binding := find[*rbacv1.ClusterRoleBinding](moved, "ClusterRoleBinding", "acme-replika-manager-rolebinding-blue")
		Expect(binding.Subjects).To(ConsistOf(serviceAccount(namespace, "acme-replika-controller-manager-blue")))
		for _, object := range deployed.ofKind("ValidatingAdmissionPolicyBinding") {
			if object.GetName() == operatorPolicy {
				Expect(admin.Delete(ctx, object)).To(Succeed())
			}
		}
		DeferCleanup(func(ctx SpecContext) {
			Expect(deployed.apply(ctx)).To(Succeed())
			eventuallyLimited(ctx, holder, operatorNamespace)
		})

		elsewhere := holderOf(ctx, namespace, "acme-replika-controller-manager-blue")
		eventuallyLimited(ctx, elsewhere, namespace)
		Expect(elsewhere.Create(ctx, tokenSecret(tenant, "minted", other), client.DryRunAll)).To(deniedToken)
		Expect(elsewhere.Create(ctx, configMap("kube-system", "planted"), client.DryRunAll)).To(deniedNamespace)
		Expect(elsewhere.Create(ctx, configMap(tenant, "copied"), client.DryRunAll)).To(Succeed())
		args := find[*appsv1.Deployment](moved, "Deployment", "acme-replika-controller-manager-blue").Spec.Template.Spec.Containers[0]
		Expect(args.Args).To(ContainElements("--excluded-namespaces=kube-system", "--excluded-namespaces=$(POD_NAMESPACE)"))
		Expect(args.Env).To(ContainElement(And(HaveField("Name", "POD_NAMESPACE"), HaveField("ValueFrom.FieldRef.FieldPath", "metadata.namespace"))))
	})

	It("may write in kube-system once the documented patch allows it", func(ctx SpecContext) {
		patched := build(yamlBlock("docs/security.md", "/spec/variables/1"))
		args := find[*appsv1.Deployment](patched, "Deployment", operatorAccount).Spec.Template.Spec.Containers[0].Args
		Expect(args).To(ContainElement("--excluded-namespaces=$(POD_NAMESPACE)"))
		Expect(args).NotTo(ContainElement("--excluded-namespaces=kube-system"))

		Expect(patched.ofKind("ValidatingAdmissionPolicy").apply(ctx)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) {
			Expect(deployed.apply(ctx)).To(Succeed())
			eventuallyLimited(ctx, holder, "kube-system")
		})
		Eventually(ctx, func() error {
			return holder.Create(ctx, configMap("kube-system", "allowed"), client.DryRunAll)
		}).Should(Succeed())
		Expect(holder.Create(ctx, configMap(operatorNamespace, "planted"), client.DryRunAll)).To(deniedNamespace)
		Expect(holder.Create(ctx, tokenSecret("kube-system", "minted", "default"), client.DryRunAll)).To(deniedToken)
	})

	It("is limited by objects without a namespace", func() {
		for _, kind := range []string{"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"} {
			Expect(deployed.ofKind(kind)).To(HaveEach(HaveField("GetNamespace()", BeEmpty())))
		}
		Expect(deployed.ofKind("ValidatingAdmissionPolicy")).To(ContainElement(HaveField("GetName()", operatorPolicy)))
	})
})

// operatorPolicy is what the manifests call the policy and its binding.
const operatorPolicy = "replika-operator"

// holderOf returns a client with a token of the ServiceAccount.
func holderOf(ctx context.Context, namespace, account string) client.Client {
	GinkgoHelper()
	config := rest.AnonymousClientConfig(env.Config)
	config.BearerToken = tokenOf(ctx, namespace, account)
	c, err := kit.NewClient(config)
	Expect(err).NotTo(HaveOccurred())
	return c
}

// eventuallyLimited waits until RBAC allows the operator to write ConfigMaps and the policy denies it in the namespace.
func eventuallyLimited(ctx context.Context, holder client.Client, namespace string) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		g.Expect(holder.Create(ctx, configMap("default", "probe"), client.DryRunAll)).To(Succeed())
		err := holder.Create(ctx, configMap(namespace, "probe"), client.DryRunAll)
		g.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%v", err)
		g.Expect(err).To(deniedNamespace)
	}).Should(Succeed())
}

func tokenSecret(namespace, name, account string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, Annotations: map[string]string{corev1.ServiceAccountNameKey: account},
		},
		Type: corev1.SecretTypeServiceAccountToken,
	}
}

func merge(patch string) client.Patch {
	return client.RawPatch(types.MergePatchType, []byte(patch))
}
