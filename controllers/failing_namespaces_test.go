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
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("Several failing namespaces", func() {
	It("Should delay no other, each be reported and retried, and get copies when their causes are removed", func(ctx SpecContext) {
		f := newFixture()
		good, ending := f.namespace(ctx, "good"), f.namespace(ctx, "ending")
		full, policed, down := f.namespace(ctx, "full"), f.namespace(ctx, "policed"), f.namespace(ctx, "webhook")
		causes := map[string]client.Object{
			full:    fillQuota(ctx, full),
			policed: installDenyPolicy(ctx, policed, "no settings here", nil, admissionregistrationv1.Create),
			down:    installBrokenWebhook(ctx, down, admissionregistrationv1.Create),
		}
		addFinalizer(ctx, create(ctx, kit.ConfigMap(ending, "held", "")))
		Expect(api.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ending}})).To(Succeed())
		failures := map[string]string{
			full: v1alpha1.FailureQuotaExceeded, policed: v1alpha1.FailureRejected, down: v1alpha1.FailureUnavailable,
		}

		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		since := markAudit()
		replika := f.replika(ctx, source, kit.TargetNamespaces(f.name("*")))
		failing := expect.Failures(ctx, api, replika, failures)
		Expect(*failing.Status.Copies).To(Equal(v1alpha1.CopiesStatus{Desired: 4, Synced: 1, Failed: 3}))
		expect.Copied(ctx, api, source, good)
		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		expect.Copied(ctx, api, source, good)

		for namespace := range failures {
			attempts := func() []time.Time { return f.attemptTimes(since, namespace) }
			Eventually(ctx, func() int { return len(attempts()) }).WithPolling(auditPolling).Should(BeNumerically(">=", 6), namespace)
			// The interval is one second. A webhook that is down may be back at any time, so the delay ends at the interval. The
			// others are refused, with a delay of up to ten intervals. A busy machine adds to both; when it stalls, to one gap only.
			limit := 12 * time.Second
			if namespace == down {
				limit = 3 * time.Second
			}
			Expect(shorterOfLastGaps(attempts())).To(BeNumerically("<", limit), namespace)
		}
		Expect(f.attemptTimes(since, ending)).To(BeEmpty(), "attempts in a namespace that is being deleted")

		for namespace, cause := range causes {
			Expect(api.Delete(ctx, cause)).To(Succeed())
			delete(failures, namespace)
			expect.Copied(ctx, api, source, namespace)
			if len(failures) > 0 {
				expect.Failures(ctx, api, replika, failures)
			}
		}
		expect.Ready(ctx, api, replika, 4)
	})

	It("Should include one whose limit range the copy exceeds", func(ctx SpecContext) {
		f := newFixture()
		good, limited := f.namespace(ctx, "good"), f.namespace(ctx, "limited")
		limits := create(ctx, &corev1.LimitRange{
			ObjectMeta: metav1.ObjectMeta{Namespace: limited, Name: "small"},
			Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
				Type: corev1.LimitTypePersistentVolumeClaim,
				Max:  corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")},
			}}},
		})
		source := kit.FromYAML(`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: disk},
			spec: {storageClassName: none, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`)
		source.SetNamespace(limited)
		Eventually(ctx, func() error { return api.Create(ctx, source.DeepCopy(), client.DryRunAll) }).
			Should(MatchError(ContainSubstring("maximum storage")), "the limits are in force")
		source.SetNamespace(f.namespace(ctx, "source"))
		create(ctx, source)

		replika := f.replika(ctx, source, kit.TargetNamespaces(good, limited))
		failing := expect.Failures(ctx, api, replika, map[string]string{limited: v1alpha1.FailureRejected})
		Expect(failing.Status.Failures[0].Message).To(ContainSubstring("maximum storage"))
		expect.Copied(ctx, api, source, good)
		Expect(api.Delete(ctx, limits)).To(Succeed())
		expect.Copied(ctx, api, source, limited)
		expect.Ready(ctx, api, replika, 2)
	})
})

// attemptTimes lists the times at which the operator tried to write a ConfigMap in one namespace since the mark.
func (f *fixture) attemptTimes(since auditMark, namespace string) []time.Time {
	GinkgoHelper()
	var attempts []time.Time
	for _, event := range f.attemptedWrites(since, "configmaps", "") {
		if event.Namespace == namespace {
			attempts = append(attempts, event.Received)
		}
	}
	return attempts
}

// shorterOfLastGaps returns the shorter one of the last two times between attempts. With a backoff, the last are the longest.
func shorterOfLastGaps(times []time.Time) time.Duration {
	last := len(times) - 1
	return min(times[last].Sub(times[last-1]), times[last-1].Sub(times[last-2]))
}
