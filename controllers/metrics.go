package controllers

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// The labels of what is told of each Replika. Nothing is told of each copy: their number has no bound.
var replikaLabels = []string{"namespace", "name"}

var (
	readyMetric = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "replika_ready",
		Help: "Whether the Replika's condition Ready is True (1) or not (0).",
	}, replikaLabels)
	copiesMetric = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "replika_copies",
		Help: "Copies of the Replika by state: desired, synced or failed.",
	}, append([]string{"state"}, replikaLabels...))
	contestedMetric = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "replika_contested_copies",
		Help: "Copies of the Replika that something else keeps changing back.",
	}, replikaLabels)
	nextSyncMetric = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "replika_next_sync_timestamp_seconds",
		Help: "When the Replika is looked at again at the latest, as seconds since 1970. None while it is suspended.",
	}, replikaLabels)
	repairsMetric = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "replika_drift_repairs_total",
		Help: "Copies of the Replika that were repaired although neither its source nor its spec had changed.",
	}, replikaLabels)
	writesMetric = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "replika_writes_total",
		Help: "Actions on copies that sent a write, by operation and result.",
	}, []string{"operation", "result"})
	propagationMetric = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "replika_propagation_seconds",
		Help:    "Seconds from the notice of a change of a source to the last of its copies being in sync.",
		Buckets: []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60},
	})
)

func init() {
	metrics.Registry.MustRegister(
		readyMetric, copiesMetric, contestedMetric, nextSyncMetric, repairsMetric, writesMetric, propagationMetric,
	)
}

// watchesCollector tells how many watches are up, when it is asked.
type watchesCollector struct {
	watches *tracking.Watches
}

var watchesDescription = prometheus.NewDesc("replika_watches",
	"Watches on sources, copies and obstacles that are up, by the kind they are about.", []string{"group", "resource"}, nil)

func (c watchesCollector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- watchesDescription
}

func (c watchesCollector) Collect(collected chan<- prometheus.Metric) {
	for resource, count := range c.watches.ActiveWatches() {
		collected <- prometheus.MustNewConstMetric(watchesDescription, prometheus.GaugeValue, float64(count),
			resource.Group, resource.Resource)
	}
}

// register makes the collector the one that is asked; a manager that was set up before in this process is no longer.
func (c watchesCollector) register() error {
	err := metrics.Registry.Register(c)
	if before, registered := errors.AsType[prometheus.AlreadyRegisteredError](err); registered {
		metrics.Registry.Unregister(before.ExistingCollector)
		err = metrics.Registry.Register(c)
	}
	if err != nil {
		return fmt.Errorf("register the metrics of the watches: %w", err)
	}
	return nil
}

// measure tells the metrics how the Replika is doing.
func (p *pass) measure() {
	namespace, name := p.name.Namespace, p.name.Name
	ready := 0.0
	if meta.IsStatusConditionTrue(p.replika.Status.Conditions, v1alpha1.ConditionReady) {
		ready = 1
	}
	readyMetric.WithLabelValues(namespace, name).Set(ready)
	if copies := p.replika.Status.Copies; copies != nil {
		copiesMetric.WithLabelValues("desired", namespace, name).Set(float64(copies.Desired))
		copiesMetric.WithLabelValues("synced", namespace, name).Set(float64(copies.Synced))
		copiesMetric.WithLabelValues("failed", namespace, name).Set(float64(copies.Failed))
	}
	contested := 0
	for _, failure := range p.report.failures {
		if failure.Reason == v1alpha1.FailureContested {
			contested++
		}
	}
	contestedMetric.WithLabelValues(namespace, name).Set(float64(contested))
}

// measureNextLook tells when the Replika is looked at again at the latest. If that time goes by, the operator is stuck.
func measureNextLook(replika types.NamespacedName, next ctrl.Result) {
	if next.RequeueAfter == 0 {
		nextSyncMetric.DeleteLabelValues(replika.Namespace, replika.Name)
		return
	}
	due := time.Now().Add(next.RequeueAfter)
	nextSyncMetric.WithLabelValues(replika.Namespace, replika.Name).Set(float64(due.UnixMilli()) / 1000)
}

// measurePropagation tells how long the change of the source took that this pass has brought to every copy. One that goes
// on, because something failed for a moment, is measured when it is over; one that is held up has no end to measure.
func (p *pass) measurePropagation(noticed time.Time) {
	if !noticed.IsZero() && !p.templateKnown && p.memory.propagating.IsZero() {
		p.memory.propagating = noticed
	}
	if p.memory.propagating.IsZero() || p.report.transient || p.obstacle != nil && p.obstacle.Transient {
		return
	}
	if p.obstacle == nil && p.report.failed == 0 {
		propagationMetric.Observe(time.Since(p.memory.propagating).Seconds())
	}
	p.memory.propagating = time.Time{}
}

func measureWrite(action planner.ActionType, result executor.Result) {
	writesMetric.WithLabelValues(string(action), string(result.Outcome)).Inc()
}

func forgetMetrics(replika types.NamespacedName) {
	labels := prometheus.Labels{"namespace": replika.Namespace, "name": replika.Name}
	readyMetric.DeletePartialMatch(labels)
	copiesMetric.DeletePartialMatch(labels)
	contestedMetric.DeletePartialMatch(labels)
	nextSyncMetric.DeletePartialMatch(labels)
	repairsMetric.DeletePartialMatch(labels)
}
