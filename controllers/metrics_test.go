package controllers_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// metric sums what the operator's metric says, over all series that bear the labels: a gauge, a counter, or how often a
// histogram was told something. found tells whether there is any.
func metric(name string, labels map[string]string) (sum float64, found bool) {
	GinkgoHelper()
	families, err := metrics.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, series := range family.GetMetric() {
			borne := map[string]string{}
			for _, label := range series.GetLabel() {
				borne[label.GetName()] = label.GetValue()
			}
			if matches := func(key, value string) bool { return borne[key] == value }; !all(labels, matches) {
				continue
			}
			found = true
			sum += series.GetGauge().GetValue() + series.GetCounter().GetValue() + float64(series.GetHistogram().GetSampleCount())
		}
	}
	return sum, found
}

func all(labels map[string]string, holds func(key, value string) bool) bool {
	for key, value := range labels {
		if !holds(key, value) {
			return false
		}
	}
	return true
}

// The metrics are those of the process that the operator runs in, where no spec runs but serial ones.
var _ = Describe("The metrics", Serial, func() {
	It("tell how each Replika is doing, what was written, and nothing of one that is gone", func(ctx SpecContext) {
		s := newScene()
		a, b, c := s.namespace(ctx, "a"), s.namespace(ctx, "b"), s.namespace(ctx, "c")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		foreign := create(ctx, configMap(c, "settings", "theirs"))
		writes := func(operation, result string) float64 {
			count, _ := metric("replika_writes_total", map[string]string{"operation": operation, "result": result})
			return count
		}
		created, updated, deleted := writes("create", "done"), writes("update", "done"), writes("delete", "done")
		rejected := writes("update", "rejected")
		propagated := func() float64 { count, _ := metric("replika_propagation_seconds", nil); return count }
		replika := s.replika(ctx, source, into(a, b, c))
		mine := map[string]string{"namespace": replika.Namespace, "name": replika.Name}
		eventually := func(name string, more map[string]string, value float64) {
			GinkgoHelper()
			labels := maps.Clone(mine)
			maps.Copy(labels, more)
			Eventually(ctx, func() float64 { now, _ := metric(name, labels); return now }).Should(Equal(value), "%s%v", name, labels)
		}
		copies := func(desired, synced, failed float64) {
			GinkgoHelper()
			eventually("replika_copies", map[string]string{"state": "desired"}, desired)
			eventually("replika_copies", map[string]string{"state": "synced"}, synced)
			eventually("replika_copies", map[string]string{"state": "failed"}, failed)
		}

		By("telling of a conflict")
		eventuallyFailing(ctx, replika, map[string]string{c: v1alpha1.FailureConflict})
		copies(3, 2, 1)
		eventually("replika_ready", nil, 0)
		remove(ctx, foreign)
		eventuallyReady(ctx, replika, 3)
		copies(3, 3, 0)
		eventually("replika_ready", nil, 1)
		Expect(writes("create", "done")).To(Equal(created + 3))

		By("telling of an edit, which repairs nothing, not even where it was refused at first")
		policy := refuse(ctx, b, "settings are frozen", nil, admissionregistrationv1.Update)
		edit(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		eventuallyFailing(ctx, replika, map[string]string{b: v1alpha1.FailureRejected})
		Expect(writes("update", "rejected")).To(BeNumerically(">", rejected))
		Expect(api.Delete(ctx, policy)).To(Succeed())
		eventuallyReady(ctx, replika, 3)
		before := propagated()
		edit(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "three" })
		eventuallyCopied(ctx, source, a, b, c)
		Eventually(ctx, propagated).Should(Equal(before + 1))
		Expect(writes("update", "done")).To(Equal(updated + 6))

		By("telling of an edit that something delayed")
		webhook := brokenWebhook(ctx, b, admissionregistrationv1.Update)
		edit(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "four" })
		eventuallyFailing(ctx, replika, map[string]string{b: v1alpha1.FailureUnavailable})
		Expect(propagated()).To(Equal(before + 1))
		Expect(api.Delete(ctx, webhook)).To(Succeed())
		eventuallyReady(ctx, replika, 3)
		Eventually(ctx, propagated).Should(Equal(before + 2))
		eventually("replika_drift_repairs_total", nil, 0)

		By("telling of repairs, and of a contest")
		edit(ctx, in(a, source), func(copy *corev1.ConfigMap) { copy.Data["key"] = "edited" })
		eventually("replika_drift_repairs_total", nil, 1)
		Expect(api.Delete(ctx, in(b, source))).To(Succeed())
		eventually("replika_drift_repairs_total", nil, 2)
		eventually("replika_contested_copies", nil, 0)
		end := contest(in(a, source), strikes["content"])
		eventually("replika_contested_copies", nil, 1)
		end()
		eventuallyReady(ctx, replika, 3)
		eventually("replika_contested_copies", nil, 0)

		remove(ctx, replika)
		Eventually(ctx, func(g Gomega) {
			for _, name := range []string{
				"replika_ready", "replika_copies", "replika_contested_copies", "replika_drift_repairs_total", "replika_next_sync_timestamp_seconds",
			} {
				_, found := metric(name, mine)
				g.Expect(found).To(BeFalse(), name)
			}
		}).Should(Succeed())
		Expect(writes("delete", "done")).To(Equal(deleted + 3))
	})

	It("tell when a Replika is looked at again, as long as it is", func(ctx SpecContext) {
		s := newScene()
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(s.namespace(ctx, "a")), lookingEvery(time.Hour))
		due := func() (float64, bool) {
			return metric("replika_next_sync_timestamp_seconds", map[string]string{"namespace": replika.Namespace, "name": replika.Name})
		}
		eventuallyReady(ctx, replika, 1)
		Eventually(ctx, func() float64 { at, _ := due(); return at }).Should(BeNumerically("~", time.Now().Add(time.Hour).Unix(), 60))

		edit(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Suspend = true })
		isDue := func() bool { _, found := due(); return found }
		Eventually(ctx, isDue).Should(BeFalse(), "a suspended Replika waits for nothing")
		edit(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Suspend = false })
		Eventually(ctx, isDue).Should(BeTrue())
		remove(ctx, replika)
		Eventually(ctx, isDue).Should(BeFalse(), "nothing is told of a Replika that is gone")
	})

	It("are all in the documentation's table, with their labels", func() {
		page, err := os.ReadFile("../docs/operations.md")
		Expect(err).NotTo(HaveOccurred())
		documented := map[string][]string{}
		for line := range strings.Lines(string(page)) {
			if cells := strings.Split(line, "|"); len(cells) == 6 && strings.HasPrefix(cells[1], " `replika_") {
				labels := strings.FieldsFunc(cells[3], func(r rune) bool { return strings.ContainsRune("`, ", r) })
				slices.Sort(labels)
				documented[strings.Trim(cells[1], " `")] = labels
			}
		}
		families, err := metrics.Registry.Gather()
		Expect(err).NotTo(HaveOccurred())
		told := 0
		for _, family := range families {
			if !strings.HasPrefix(family.GetName(), "replika_") {
				continue
			}
			told++
			Expect(documented).To(HaveKey(family.GetName()))
			labels := []string{}
			for _, label := range family.GetMetric()[0].GetLabel() {
				labels = append(labels, label.GetName())
			}
			slices.Sort(labels)
			Expect(documented[family.GetName()]).To(Equal(labels), family.GetName())
		}
		Expect(told).To(BeNumerically(">", 0))
	})
})
