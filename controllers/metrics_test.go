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
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// metricValue sums the operator's metric over all series with the labels: a gauge, a counter, or the number of a histogram's
// samples. found reports whether there is a series.
func metricValue(name string, labels map[string]string) (sum float64, found bool) {
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

// Metrics are those of the process that the operator runs in.
var _ = Describe("Metrics", serial, func() {
	It("Should report each Replika's state and writes, and no series of a deleted Replika", func(ctx SpecContext) {
		f := newFixture()
		a, b, c := f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "c")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		foreign := create(ctx, kit.ConfigMap(c, "settings", "theirs"))
		writes := func(operation, result string) float64 {
			count, _ := metricValue("replika_writes_total", map[string]string{"operation": operation, "result": result})
			return count
		}
		created, updated, deleted := writes("create", "done"), writes("update", "done"), writes("delete", "done")
		rejected := writes("update", "rejected")
		propagated := func() float64 { count, _ := metricValue("replika_propagation_seconds", nil); return count }
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b, c))
		mine := map[string]string{"namespace": replika.Namespace, "name": replika.Name}
		eventually := func(name string, more map[string]string, value float64) {
			GinkgoHelper()
			labels := maps.Clone(mine)
			maps.Copy(labels, more)
			Eventually(ctx, func() float64 { now, _ := metricValue(name, labels); return now }).Should(Equal(value), "%s%v", name, labels)
		}
		copies := func(desired, synced, failed float64) {
			GinkgoHelper()
			eventually("replika_copies", map[string]string{"state": "desired"}, desired)
			eventually("replika_copies", map[string]string{"state": "synced"}, synced)
			eventually("replika_copies", map[string]string{"state": "failed"}, failed)
		}

		By("reporting a conflict")
		expect.Failures(ctx, api, replika, map[string]string{c: v1alpha1.FailureConflict})
		copies(3, 2, 1)
		eventually("replika_ready", nil, 0)
		deleteAndWait(ctx, foreign)
		expect.Ready(ctx, api, replika, 3)
		copies(3, 3, 0)
		eventually("replika_ready", nil, 1)
		Expect(writes("create", "done")).To(Equal(created + 3))

		By("reporting an update of the source, which is no drift repair, even after a denial")
		policy := installDenyPolicy(ctx, b, "settings are frozen", nil, admissionregistrationv1.Update)
		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		expect.Failures(ctx, api, replika, map[string]string{b: v1alpha1.FailureRejected})
		Expect(writes("update", "rejected")).To(BeNumerically(">", rejected))
		Expect(api.Delete(ctx, policy)).To(Succeed())
		expect.Ready(ctx, api, replika, 3)
		before := propagated()
		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "three" })
		expect.Copied(ctx, api, source, a, b, c)
		Eventually(ctx, propagated).Should(Equal(before + 1))
		Expect(writes("update", "done")).To(Equal(updated + 6))

		By("reporting the propagation of a delayed update")
		webhook := installBrokenWebhook(ctx, b, admissionregistrationv1.Update)
		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "four" })
		expect.Failures(ctx, api, replika, map[string]string{b: v1alpha1.FailureUnavailable})
		Expect(propagated()).To(Equal(before + 1))
		Expect(api.Delete(ctx, webhook)).To(Succeed())
		expect.Ready(ctx, api, replika, 3)
		Eventually(ctx, propagated).Should(Equal(before + 2))
		eventually("replika_drift_repairs_total", nil, 0)

		By("reporting drift repairs and contested copies")
		update(ctx, kit.CopyIn(a, source), func(copy *corev1.ConfigMap) { copy.Data["key"] = "edited" })
		eventually("replika_drift_repairs_total", nil, 1)
		Expect(api.Delete(ctx, kit.CopyIn(b, source))).To(Succeed())
		eventually("replika_drift_repairs_total", nil, 2)
		eventually("replika_contested_copies", nil, 0)
		end := startContest(kit.CopyIn(a, source), competingWrites["content"])
		eventually("replika_contested_copies", nil, 1)
		end()
		expect.Ready(ctx, api, replika, 3)
		eventually("replika_contested_copies", nil, 0)

		deleteAndWait(ctx, replika)
		Eventually(ctx, func(g Gomega) {
			for _, name := range []string{
				"replika_ready", "replika_copies", "replika_contested_copies", "replika_drift_repairs_total", "replika_next_sync_timestamp_seconds",
			} {
				_, found := metricValue(name, mine)
				g.Expect(found).To(BeFalse(), name)
			}
		}).Should(Succeed())
		Expect(writes("delete", "done")).To(Equal(deleted + 3))
	})

	It("Should report the time of the next sync", func(ctx SpecContext) {
		f := newFixture()
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(f.namespace(ctx, "a")), kit.Interval(time.Hour))
		due := func() (float64, bool) {
			return metricValue("replika_next_sync_timestamp_seconds", map[string]string{"namespace": replika.Namespace, "name": replika.Name})
		}
		expect.Ready(ctx, api, replika, 1)
		Eventually(ctx, func() float64 { at, _ := due(); return at }).Should(BeNumerically("~", time.Now().Add(time.Hour).Unix(), 60))

		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Suspend = true })
		isDue := func() bool { _, found := due(); return found }
		Eventually(ctx, isDue).Should(BeFalse(), "a suspended Replika has no next sync")
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Suspend = false })
		Eventually(ctx, isDue).Should(BeTrue())
		deleteAndWait(ctx, replika)
		Eventually(ctx, isDue).Should(BeFalse(), "no series of a deleted Replika")
	})

	It("Should all be documented with their labels", func() {
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
		count := 0
		for _, family := range families {
			if !strings.HasPrefix(family.GetName(), "replika_") {
				continue
			}
			count++
			Expect(documented).To(HaveKey(family.GetName()))
			labels := []string{}
			for _, label := range family.GetMetric()[0].GetLabel() {
				labels = append(labels, label.GetName())
			}
			slices.Sort(labels)
			Expect(documented[family.GetName()]).To(Equal(labels), family.GetName())
		}
		Expect(count).To(BeNumerically(">", 0))
	})
})
