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

package controllers

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// metricSet holds the operator's own metrics. There are none per copy: their number has no bound.
type metricSet struct {
	ready       *prometheus.GaugeVec
	copies      *prometheus.GaugeVec
	contested   *prometheus.GaugeVec
	nextSync    *prometheus.GaugeVec
	repairs     *prometheus.CounterVec
	missed      *prometheus.CounterVec
	errors      *prometheus.CounterVec
	writes      *prometheus.CounterVec
	propagation prometheus.Histogram
	watches     watchesCollector
}

// newMetricSet registers the metrics.
func newMetricSet(registerer prometheus.Registerer, watches *tracking.Watches) (*metricSet, error) {
	replika := []string{"namespace", "name"}
	m := &metricSet{
		ready: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "replika_ready",
			Help: "Whether the Replika is ready (1) or not (0). Not exported in a dry run.",
		}, replika),
		copies: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "replika_copies",
			Help: "Number of copies of the Replika, by state (desired, synced, failed).",
		}, append([]string{"state"}, replika...)),
		contested: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "replika_contested_copies",
			Help: "Number of copies that another client keeps modifying.",
		}, replika),
		nextSync: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "replika_next_sync_timestamp_seconds",
			Help: "Unix timestamp of the next scheduled reconcile. Not exported while the Replika is suspended.",
		}, replika),
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "replika_drift_repairs_total",
			Help: "Total number of drift corrections: copies repaired while neither the source nor the spec changed.",
		}, replika),
		missed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "replika_missed_changes_total",
			Help: "Total number of changes in a namespace that only a full reconcile found, because no event had reported them.",
		}, replika),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "replika_reconcile_errors_total",
			Help: "Total number of reconciles that were aborted by an error, and are retried.",
		}, replika),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "replika_writes_total",
			Help: "Total number of write operations on copies, by operation and result.",
		}, []string{"operation", "result"}),
		propagation: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "replika_propagation_seconds",
			Help:    "Time from observing a source change until all of its copies are in sync.",
			Buckets: []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60},
		}),
		watches: watchesCollector{watches},
	}
	err := registerer.Register(m)
	// A manager that was set up before in this process no longer runs.
	if before, registered := errors.AsType[prometheus.AlreadyRegisteredError](err); registered {
		registerer.Unregister(before.ExistingCollector)
		err = registerer.Register(m)
	}
	return m, err
}

func (m *metricSet) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		m.ready, m.copies, m.contested, m.nextSync, m.repairs, m.missed, m.errors, m.writes, m.propagation, m.watches,
	}
}

// Describe implements prometheus.Collector.
func (m *metricSet) Describe(descriptions chan<- *prometheus.Desc) {
	for _, collector := range m.collectors() {
		collector.Describe(descriptions)
	}
}

// Collect implements prometheus.Collector.
func (m *metricSet) Collect(collected chan<- prometheus.Metric) {
	for _, collector := range m.collectors() {
		collector.Collect(collected)
	}
}

// record sets the metrics of a Replika from its status.
func (m *metricSet) record(s *scope) {
	namespace, name := s.name.Namespace, s.name.Name
	ready := 0.0
	if meta.IsStatusConditionTrue(s.replika.Status.Conditions, v1alpha1.ConditionReady) {
		ready = 1
	}
	if s.dryRun != nil {
		m.ready.DeleteLabelValues(namespace, name)
	} else {
		m.ready.WithLabelValues(namespace, name).Set(ready)
	}
	if copies := s.replika.Status.Copies; copies == nil {
		m.copies.DeletePartialMatch(prometheus.Labels{"namespace": namespace, "name": name})
	} else {
		m.copies.WithLabelValues("desired", namespace, name).Set(float64(copies.Desired))
		m.copies.WithLabelValues("synced", namespace, name).Set(float64(copies.Synced))
		m.copies.WithLabelValues("failed", namespace, name).Set(float64(copies.Failed))
	}
	contested := 0
	for _, failure := range s.results.failures {
		if failure.Reason == v1alpha1.FailureContested {
			contested++
		}
	}
	m.contested.WithLabelValues(namespace, name).Set(float64(contested))
}

// recordNextReconcile sets when the Replika is reconciled next if no event arrives; never for a delay of zero. A time in the
// past means that the operator is stuck.
func (m *metricSet) recordNextReconcile(replika types.NamespacedName, now time.Time, after time.Duration) {
	if after == 0 {
		m.nextSync.DeleteLabelValues(replika.Namespace, replika.Name)
		return
	}
	m.nextSync.WithLabelValues(replika.Namespace, replika.Name).Set(float64(now.Add(after).UnixMilli()) / 1000)
}

// recordError counts a reconcile that was aborted.
func (m *metricSet) recordError(replika types.NamespacedName) {
	m.errors.WithLabelValues(replika.Namespace, replika.Name).Inc()
}

// recordMissed counts a change that no event had reported.
func (m *metricSet) recordMissed(replika types.NamespacedName) {
	m.missed.WithLabelValues(replika.Namespace, replika.Name).Inc()
}

// recordRepair counts a copy that was repaired.
func (m *metricSet) recordRepair(replika types.NamespacedName) {
	m.repairs.WithLabelValues(replika.Namespace, replika.Name).Inc()
}

// recordWrite counts an action that sent a write.
func (m *metricSet) recordWrite(action planner.ActionType, outcome planner.Outcome) {
	m.writes.WithLabelValues(string(action), string(outcome)).Inc()
}

// delete removes the metrics of a Replika that no longer exists.
func (m *metricSet) delete(replika types.NamespacedName) {
	labels := prometheus.Labels{"namespace": replika.Namespace, "name": replika.Name}
	for _, gauge := range []*prometheus.GaugeVec{m.ready, m.copies, m.contested, m.nextSync} {
		gauge.DeletePartialMatch(labels)
	}
	m.repairs.DeletePartialMatch(labels)
	m.missed.DeletePartialMatch(labels)
	m.errors.DeletePartialMatch(labels)
}

// recordPropagation observes how long a change of the source took until all copies were in sync. After a transient failure
// the change is still on its way; after any other failure it has no end to observe.
func (r *ReplikaReconciler) recordPropagation(s *scope, observedAt time.Time, src source, err error) {
	if src.Unchanged {
		observedAt = time.Time{}
	}
	start := s.state.startPropagation(observedAt)
	if start.IsZero() || s.results.transient || len(s.results.pending) > 0 || isTransient(err) {
		return
	}
	if err == nil && s.results.failed == 0 {
		r.metrics.propagation.Observe(r.Clock.Since(start).Seconds())
	}
	s.state.endPropagation()
}

// watchesCollector counts the active watches when metrics are collected.
type watchesCollector struct {
	watches *tracking.Watches
}

var watchesDescription = prometheus.NewDesc("replika_watches",
	"Number of active watches on sources, copies and conflicting objects, by resource.", []string{"group", "resource"}, nil)

var unavailableWatchesDescription = prometheus.NewDesc("replika_watches_unavailable",
	"Number of watches that are not synced, by resource and state. Instead, the operator lists at the synchronization time.",
	[]string{"group", "resource", "state"}, nil)

// Describe implements prometheus.Collector.
func (c watchesCollector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- watchesDescription
	descriptions <- unavailableWatchesDescription
}

// Collect implements prometheus.Collector.
func (c watchesCollector) Collect(collected chan<- prometheus.Metric) {
	for resource, count := range c.watches.ActiveWatches() {
		collected <- prometheus.MustNewConstMetric(watchesDescription, prometheus.GaugeValue, float64(count),
			resource.Group, resource.Resource)
	}
	for resource, states := range c.watches.Unavailable() {
		for state, count := range states {
			collected <- prometheus.MustNewConstMetric(unavailableWatchesDescription, prometheus.GaugeValue, float64(count),
				resource.Group, resource.Resource, string(state))
		}
	}
}
