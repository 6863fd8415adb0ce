package controllers_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// longestMessage is what an event's note may have at most; conditions keep to the same.
const longestMessage = 1024

// besideReady says which condition stands beside Ready, by reason; none for "".
var besideReady = map[string]string{
	v1alpha1.ReasonSynced:                  "",
	v1alpha1.ReasonSuspended:               "",
	v1alpha1.ReasonProgressing:             v1alpha1.ConditionReconciling,
	v1alpha1.ReasonSourceNotFound:          v1alpha1.ConditionReconciling,
	v1alpha1.ReasonKindNotFound:            v1alpha1.ConditionReconciling,
	v1alpha1.ReasonTargetNamespaceNotFound: v1alpha1.ConditionReconciling,
	v1alpha1.ReasonForbidden:               v1alpha1.ConditionReconciling,
	v1alpha1.ReasonCopiesFailed:            v1alpha1.ConditionReconciling,
	v1alpha1.ReasonSourceNotAllowed:        v1alpha1.ConditionStalled,
	v1alpha1.ReasonServiceAccountRequired:  v1alpha1.ConditionStalled,
	v1alpha1.ReasonKindNotAllowed:          v1alpha1.ConditionStalled,
}

var failureReasons = []string{
	v1alpha1.FailureConflict, v1alpha1.FailureForbidden, v1alpha1.FailureQuotaExceeded, v1alpha1.FailureImmutable,
	v1alpha1.FailureRejected, v1alpha1.FailureContested, v1alpha1.FailureUnavailable,
}

// violations lists what in the status breaks the contract that users and tools (by the conventions of kstatus) rely on. A
// settled status speaks of the spec as it is; any other may be of an earlier one, or empty.
func violations(replika *v1alpha1.Replika, settled bool) []string {
	status := &replika.Status
	var found []string
	check := func(kept bool, format string, args ...any) {
		if !kept {
			found = append(found, fmt.Sprintf(format, args...))
		}
	}
	check(status.ObservedGeneration <= replika.Generation, "observedGeneration %d is ahead of generation %d",
		status.ObservedGeneration, replika.Generation)
	if settled {
		check(status.ObservedGeneration == replika.Generation, "observedGeneration %d is not generation %d",
			status.ObservedGeneration, replika.Generation)
		check(len(status.Conditions) > 0, "there are no conditions")
	}
	if status.ObservedGeneration > 0 || len(status.Conditions) > 0 {
		found = append(found, brokenConditions(status)...)
	}
	return append(found, brokenCounts(status)...)
}

// brokenConditions lists what is wrong with the conditions.
func brokenConditions(status *v1alpha1.ReplikaStatus) []string {
	ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return []string{"there is no condition Ready"}
	}
	var found []string
	for i := range status.Conditions {
		condition := &status.Conditions[i]
		if condition.ObservedGeneration != status.ObservedGeneration {
			found = append(found, fmt.Sprintf("%s observed generation %d, the status %d",
				condition.Type, condition.ObservedGeneration, status.ObservedGeneration))
		}
		if condition.Message == "" || len(condition.Message) > longestMessage {
			found = append(found, fmt.Sprintf("the message of %s is %d bytes long", condition.Type, len(condition.Message)))
		}
	}
	return append(found, brokenPairing(status, ready)...)
}

// brokenPairing lists what is wrong with Ready's reason and with what stands beside Ready.
func brokenPairing(status *v1alpha1.ReplikaStatus, ready *metav1.Condition) []string {
	beside, known := besideReady[ready.Reason]
	if !known {
		return []string{fmt.Sprintf("Ready has the unknown reason %q", ready.Reason)}
	}
	var found []string
	switch {
	case ready.Reason == v1alpha1.ReasonSuspended:
	case (ready.Status == metav1.ConditionTrue) != (ready.Reason == v1alpha1.ReasonSynced),
		ready.Status == metav1.ConditionUnknown && ready.Reason != v1alpha1.ReasonProgressing:
		found = append(found, fmt.Sprintf("Ready is %s for the reason %s", ready.Status, ready.Reason))
	}
	if beside != "" && meta.FindStatusCondition(status.Conditions, beside) == nil {
		found = append(found, fmt.Sprintf("beside Ready=%s (%s) %s is missing", ready.Status, ready.Reason, beside))
	}
	for i := range status.Conditions {
		switch condition := &status.Conditions[i]; {
		case condition.Type == v1alpha1.ConditionReady:
		case condition.Type != beside:
			found = append(found, fmt.Sprintf("beside Ready=%s (%s) stands %s", ready.Status, ready.Reason, condition.Type))
		case condition.Status != metav1.ConditionTrue, condition.Reason != ready.Reason, condition.Message != ready.Message:
			found = append(found, fmt.Sprintf("%s does not say what Ready says: %+v", condition.Type, condition))
		}
	}
	return found
}

// brokenCounts lists what is wrong with the numbers and the list of failures.
func brokenCounts(status *v1alpha1.ReplikaStatus) []string {
	copies := v1alpha1.CopiesStatus{}
	if status.Copies != nil {
		copies = *status.Copies
	}
	var found []string
	check := func(kept bool, format string, args ...any) {
		if !kept {
			found = append(found, fmt.Sprintf(format, args...))
		}
	}
	check(copies.Synced <= copies.Desired, "of %d copies, %d are synced", copies.Desired, copies.Synced)
	check(len(status.Failures) == min(int(copies.Failed), v1alpha1.MaxFailures),
		"%d copies failed, %d failures are listed", copies.Failed, len(status.Failures))
	check(slices.IsSortedFunc(status.Failures, func(a, b v1alpha1.Failure) int { return cmp.Compare(a.Namespace, b.Namespace) }),
		"the failures are not sorted by namespace: %v", status.Failures)
	for _, failure := range status.Failures {
		check(failure.Namespace != "" && failure.Message != "" && len(failure.Message) <= longestMessage && slices.Contains(failureReasons, failure.Reason),
			"a failure says too little, too much or an unknown reason: %+v", failure)
	}
	ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return found
	}
	switch ready.Reason {
	case v1alpha1.ReasonSynced:
		check(status.Copies != nil && copies.Synced == copies.Desired && copies.Failed == 0, "Ready for %+v", status.Copies)
	case v1alpha1.ReasonTargetNamespaceNotFound:
		check(status.Copies != nil && copies.Synced == copies.Desired && copies.Failed == 0, "only a namespace is missing, but %+v", status.Copies)
	case v1alpha1.ReasonCopiesFailed:
		check(copies.Failed > 0, "copies failed, but none is counted")
		check(copies.Synced+copies.Failed >= copies.Desired, "some copy is neither synced nor failed: %+v", status.Copies)
	default:
	}
	return found
}

// await waits until the Replika is as wanted, and returns it. Whatever it is before, its status must keep the contract.
func await(ctx context.Context, replika *v1alpha1.Replika, wanted func(Gomega, *v1alpha1.Replika)) *v1alpha1.Replika {
	GinkgoHelper()
	now := &v1alpha1.Replika{}
	Eventually(ctx, func(g Gomega) {
		*now = v1alpha1.Replika{}
		g.Expect(api.Get(ctx, client.ObjectKeyFromObject(replika), now)).To(Succeed())
		if broken := violations(now, false); len(broken) > 0 {
			StopTrying(fmt.Sprintf("the status of %s: %s\n%+v", now.Name, strings.Join(broken, "; "), now.Status)).Now()
		}
		g.Expect(now.Status.ObservedGeneration).To(Equal(now.Generation))
		wanted(g, now)
	}).Should(Succeed())
	return now
}

// eventuallyReady waits until every selected namespace, so many, has its copy.
func eventuallyReady(ctx context.Context, replika *v1alpha1.Replika, copies int) *v1alpha1.Replika {
	GinkgoHelper()
	return await(ctx, replika, func(g Gomega, now *v1alpha1.Replika) {
		ready := meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionReady)
		g.Expect(ready).NotTo(BeNil())
		g.Expect(ready.Reason).To(Equal(v1alpha1.ReasonSynced), "%+v", now.Status)
		g.Expect(now.Status.Copies.Synced).To(BeEquivalentTo(copies))
	})
}

// eventuallyNotReady waits until the Replika is not ready for the reason.
func eventuallyNotReady(ctx context.Context, replika *v1alpha1.Replika, reason string) *v1alpha1.Replika {
	GinkgoHelper()
	return await(ctx, replika, func(g Gomega, now *v1alpha1.Replika) {
		ready := meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionReady)
		g.Expect(ready).NotTo(BeNil())
		g.Expect(ready.Reason).To(Equal(reason), "%+v", now.Status)
	})
}

// eventuallyFailing waits until exactly these copies fail, by namespace.
func eventuallyFailing(ctx context.Context, replika *v1alpha1.Replika, wanted map[string]string) *v1alpha1.Replika {
	GinkgoHelper()
	return await(ctx, replika, func(g Gomega, now *v1alpha1.Replika) {
		failures := map[string]string{}
		for _, failure := range now.Status.Failures {
			failures[failure.Namespace] = failure.Reason
		}
		g.Expect(failures).To(Equal(wanted), "%+v", now.Status)
		g.Expect(meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionReady).Reason).To(Equal(v1alpha1.ReasonCopiesFailed))
	})
}

// messageOf is what the condition Ready says to people.
func messageOf(replika *v1alpha1.Replika) string {
	GinkgoHelper()
	ready := meta.FindStatusCondition(replika.Status.Conditions, v1alpha1.ConditionReady)
	Expect(ready).NotTo(BeNil())
	return ready.Message
}

var _ = Describe("The checker of statuses", func() {
	condition := func(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: "why", ObservedGeneration: 2}
	}
	good := func() *v1alpha1.Replika {
		return &v1alpha1.Replika{
			ObjectMeta: metav1.ObjectMeta{Generation: 2},
			Status: v1alpha1.ReplikaStatus{
				ObservedGeneration: 2,
				Copies:             &v1alpha1.CopiesStatus{Desired: 3, Synced: 1, Failed: 2},
				Conditions: []metav1.Condition{
					condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonCopiesFailed),
					condition(v1alpha1.ConditionReconciling, metav1.ConditionTrue, v1alpha1.ReasonCopiesFailed),
				},
				Failures: []v1alpha1.Failure{
					{Namespace: "a", Reason: v1alpha1.FailureConflict, Message: "why"},
					{Namespace: "b", Reason: v1alpha1.FailureRejected, Message: "why"},
				},
			},
		}
	}
	It("is content with a good one", func() {
		Expect(violations(good(), true)).To(BeEmpty())
	})
	DescribeTable("finds what is wrong",
		func(spoil func(*v1alpha1.ReplikaStatus)) {
			replika := good()
			spoil(&replika.Status)
			Expect(violations(replika, true)).NotTo(BeEmpty())
		},
		Entry("an old generation", func(s *v1alpha1.ReplikaStatus) { s.ObservedGeneration = 1 }),
		Entry("an old generation of a condition", func(s *v1alpha1.ReplikaStatus) { s.Conditions[1].ObservedGeneration = 1 }),
		Entry("nothing said", func(s *v1alpha1.ReplikaStatus) { *s = v1alpha1.ReplikaStatus{} }),
		Entry("no Ready", func(s *v1alpha1.ReplikaStatus) { s.Conditions = s.Conditions[1:] }),
		Entry("nothing beside", func(s *v1alpha1.ReplikaStatus) { s.Conditions = s.Conditions[:1] }),
		Entry("the wrong one beside", func(s *v1alpha1.ReplikaStatus) { s.Conditions[1].Type = v1alpha1.ConditionStalled }),
		Entry("an unknown one beside", func(s *v1alpha1.ReplikaStatus) {
			s.Conditions = append(s.Conditions, condition("Healthy", metav1.ConditionTrue, v1alpha1.ReasonCopiesFailed))
		}),
		Entry("one beside that is False", func(s *v1alpha1.ReplikaStatus) { s.Conditions[1].Status = metav1.ConditionFalse }),
		Entry("an unknown reason", func(s *v1alpha1.ReplikaStatus) { s.Conditions[0].Reason = "Oops" }),
		Entry("Ready for a reason not to be", func(s *v1alpha1.ReplikaStatus) { s.Conditions[0].Status = metav1.ConditionTrue }),
		Entry("no message", func(s *v1alpha1.ReplikaStatus) { s.Conditions[0].Message = "" }),
		Entry("too long a message", func(s *v1alpha1.ReplikaStatus) { s.Conditions[0].Message = strings.Repeat("x", 1025) }),
		Entry("more synced than desired", func(s *v1alpha1.ReplikaStatus) { s.Copies.Synced = 4 }),
		Entry("a copy forgotten", func(s *v1alpha1.ReplikaStatus) { s.Copies.Synced = 0 }),
		Entry("a failure not listed", func(s *v1alpha1.ReplikaStatus) { s.Failures = s.Failures[1:] }),
		Entry("failures in disorder", func(s *v1alpha1.ReplikaStatus) { slices.Reverse(s.Failures) }),
		Entry("an unknown failure", func(s *v1alpha1.ReplikaStatus) { s.Failures[0].Reason = "Oops" }),
		Entry("a failure without message", func(s *v1alpha1.ReplikaStatus) { s.Failures[0].Message = "" }),
	)
})
