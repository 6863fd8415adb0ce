package controllers_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var _ = Describe("Several bad namespaces at once", func() {
	It("delay no other, are each told of, are tried often enough, and are served when their causes go", func(ctx SpecContext) {
		s := newScene()
		good, ending := s.namespace(ctx, "good"), s.namespace(ctx, "ending")
		full, policed, down := s.namespace(ctx, "full"), s.namespace(ctx, "policed"), s.namespace(ctx, "webhook")
		causes := map[string]client.Object{
			full:    fillQuota(ctx, full),
			policed: refuse(ctx, policed, "no settings here", nil, admissionregistrationv1.Create),
			down:    brokenWebhook(ctx, down, admissionregistrationv1.Create),
		}
		hold(ctx, create(ctx, configMap(ending, "held", "")))
		Expect(api.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ending}})).To(Succeed())
		failures := map[string]string{
			full: v1alpha1.FailureQuotaExceeded, policed: v1alpha1.FailureRejected, down: v1alpha1.FailureUnavailable,
		}

		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		since := thisMoment()
		replika := s.replika(ctx, source, into(s.name("*")))
		failing := eventuallyFailing(ctx, replika, failures)
		Expect(*failing.Status.Copies).To(Equal(v1alpha1.CopiesStatus{Desired: 4, Synced: 1, Failed: 3}))
		eventuallyCopied(ctx, source, good)
		edit(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		eventuallyCopied(ctx, source, good)

		for namespace := range failures {
			attempts := func() []time.Time { return s.attemptsIn(since, namespace) }
			Eventually(ctx, func() int { return len(attempts()) }).Should(BeNumerically(">=", 6), namespace)
			// The synchronization time is a second; a delay that went on doubling would be four by now, and a busy machine
			// adds something to either.
			Expect(longestGap(attempts())).To(BeNumerically("<", 3*time.Second), namespace)
		}
		Expect(s.attemptsIn(since, ending)).To(BeEmpty(), "nothing can be made in a namespace that is being deleted")

		for namespace, cause := range causes {
			Expect(api.Delete(ctx, cause)).To(Succeed())
			delete(failures, namespace)
			eventuallyCopied(ctx, source, namespace)
			if len(failures) > 0 {
				eventuallyFailing(ctx, replika, failures)
			}
		}
		eventuallyReady(ctx, replika, 4)
	})

	It("may be ones whose limits the copy exceeds", func(ctx SpecContext) {
		s := newScene()
		good, limited := s.namespace(ctx, "good"), s.namespace(ctx, "limited")
		limits := create(ctx, &corev1.LimitRange{
			ObjectMeta: metav1.ObjectMeta{Namespace: limited, Name: "small"},
			Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
				Type: corev1.LimitTypePersistentVolumeClaim,
				Max:  corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")},
			}}},
		})
		source := fromYAML(`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: disk},
			spec: {storageClassName: none, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`)
		source.SetNamespace(limited)
		Eventually(ctx, func() error { return api.Create(ctx, source.DeepCopy(), client.DryRunAll) }).
			Should(MatchError(ContainSubstring("maximum storage")), "the limits are in force")
		source.SetNamespace(s.namespace(ctx, "source"))
		create(ctx, source)

		replika := s.replika(ctx, source, into(good, limited))
		failing := eventuallyFailing(ctx, replika, map[string]string{limited: v1alpha1.FailureRejected})
		Expect(failing.Status.Failures[0].Message).To(ContainSubstring("maximum storage"))
		eventuallyCopied(ctx, source, good)
		Expect(api.Delete(ctx, limits)).To(Succeed())
		eventuallyCopied(ctx, source, limited)
		eventuallyReady(ctx, replika, 2)
	})
})

// attemptsIn lists when the operator tried to write a ConfigMap in one namespace since the moment.
func (s *scene) attemptsIn(since moment, namespace string) []time.Time {
	GinkgoHelper()
	var attempts []time.Time
	for _, event := range s.attemptsOn(since, "configmaps", "") {
		if event.Namespace == namespace {
			attempts = append(attempts, event.Received)
		}
	}
	return attempts
}

func longestGap(times []time.Time) time.Duration {
	longest := time.Duration(0)
	for i := 1; i < len(times); i++ {
		longest = max(longest, times[i].Sub(times[i-1]))
	}
	return longest
}
