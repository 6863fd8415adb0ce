package controllers_test

import (
	"context"
	"net"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var _ = Describe("A pass that takes longer than a moment", func() {
	It("says that it is under way, delays no other namespace, and says when it is over", func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		slowDown(ctx, a)
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a, b))
		progressing := eventuallyNotReady(ctx, replika, v1alpha1.ReasonProgressing)
		Expect(meta.IsStatusConditionTrue(progressing.Status.Conditions, v1alpha1.ConditionReconciling)).To(BeTrue())
		Expect(read(ctx, source, a)).To(BeNil(), "it is not under way any more")
		Expect(read(ctx, source, b)).NotTo(BeNil())
		eventuallyReady(ctx, replika, 2)
		eventuallyCopied(ctx, source, a)
	})
})

// slowDown makes a webhook that never answers, and may be ignored, hold up what is created in the namespace.
func slowDown(ctx context.Context, namespace string) {
	GinkgoHelper()
	const delay = 4 * time.Second
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(silent.Close)
	hook := create(ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "slow-" + namespace},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name:                    "slow.suite.example.com",
			ClientConfig:            admissionregistrationv1.WebhookClientConfig{URL: new("https://" + silent.Addr().String() + "/")},
			NamespaceSelector:       onlyNamespace(namespace),
			SideEffects:             new(admissionregistrationv1.SideEffectClassNone),
			AdmissionReviewVersions: []string{"v1"},
			FailurePolicy:           new(admissionregistrationv1.Ignore),
			TimeoutSeconds:          new(int32(delay / time.Second)),
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
		}},
	})
	DeferCleanup(remove, hook)
	Eventually(ctx, func() time.Duration {
		began := time.Now()
		Expect(api.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "probe-"}}, client.DryRunAll)).To(Succeed())
		return time.Since(began)
	}).Should(BeNumerically(">=", delay))
}
