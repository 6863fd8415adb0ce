package controllers_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
)

// It takes both cores, and would make other specs late.
var _ = Describe("300 namespaces", Serial, func() {
	const count = 300

	It("are served with one request for each, by a long interval's first pass, and by each change after it", func(ctx SpecContext) {
		s := newScene()
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		s.manyNamespaces(ctx, count)

		before := thisMoment()
		replika := s.replika(ctx, source, into(s.name("many-*")), lookingEvery(time.Hour))
		eventuallyReady(ctx, replika, count)
		Expect(s.copyRequests(before)).To(Equal(map[string]int{"create 201": count}))
		Expect(s.copies(ctx, &corev1.ConfigMap{})).To(HaveLen(count))

		before = thisMoment()
		edit(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Labels = v1alpha1.Labels{"more": "yes"} })
		eventuallyReady(ctx, replika, count)
		Expect(s.copyRequests(before)).To(Equal(map[string]int{"patch 200": count}))

		before = thisMoment()
		remove(ctx, replika)
		Expect(s.copyRequests(before)).To(Equal(map[string]int{"delete 200": count}))
		Expect(s.copies(ctx, &corev1.ConfigMap{})).To(BeEmpty())
	})
})

// manyNamespaces makes so many namespaces called many-….
func (s *scene) manyNamespaces(ctx context.Context, count int) {
	GinkgoHelper()
	group := &errgroup.Group{}
	group.SetLimit(16)
	for i := range count {
		group.Go(func() error {
			return api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
				Name: s.name(fmt.Sprintf("many-%03d", i)), Labels: map[string]string{sceneLabel: s.id},
			}})
		})
	}
	Expect(group.Wait()).To(Succeed())
}

// copyRequests counts, by verb and answer, what the operator asked for about single objects in the scene's many namespaces
// since the moment. A request may be recorded a little after it was answered; so the count is taken when it stands still.
func (s *scene) copyRequests(since moment) map[string]int {
	GinkgoHelper()
	count := func() map[string]int {
		counts := map[string]int{}
		for _, event := range s.requests(since, func(e cluster.AuditEvent) bool { return strings.HasPrefix(e.Namespace, s.name("many-")) }) {
			counts[fmt.Sprintf("%s %d", event.Verb, event.Code)]++
		}
		return counts
	}
	last := count()
	Eventually(func() bool {
		now := count()
		same := fmt.Sprint(now) == fmt.Sprint(last)
		last = now
		return same
	}).WithPolling(500 * time.Millisecond).Should(BeTrue())
	return last
}
