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

package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// latencyGoal is the goal for the 99th percentile.
const latencyGoal = 100 * time.Millisecond

// scenario is one type of change that the operator has to react to.
type scenario struct {
	// name says what happens, event only what the change is.
	name, event string
	// do sends the triggering request, which has the verb and the resource below.
	do             func(ctx context.Context, namespace string) error
	verb, resource string
	// namespaces has one namespace per sample.
	namespaces []string
}

// measureLatency measures, one sample at a time, how long the operator takes to create or repair a copy.
func (b *bench) measureLatency(ctx context.Context) error {
	size := b.opts.targets()
	samples := min(b.opts.samples, size/2)
	if err := b.ensureNamespaces(ctx, size); err != nil {
		return err
	}
	if err := b.startOperator(ctx); err != nil {
		return err
	}
	workload := newWorkload("latency", b.opts.contentBytes(), noResync, []string{"target-*"})
	if err := b.create(ctx, workload, b.namespaces); err != nil {
		return err
	}
	watch, err := b.watchCopies(ctx, workload)
	if err != nil {
		return err
	}
	defer watch.stop()
	// Otherwise an edited copy would seem to be repaired at once.
	if err := watch.skip(ctx, b.namespaces); err != nil {
		return err
	}
	for _, scenario := range b.scenarios(workload, samples) {
		if err := sleep(ctx, idlePeriod); err != nil {
			return err
		}
		if err := b.runScenario(ctx, watch, workload, scenario); err != nil {
			return err
		}
	}
	return nil
}

// scenarios use each copy only once. The operator would report a copy that is changed repeatedly as contested, and back off.
func (b *bench) scenarios(workload *workload, samples int) []scenario {
	names := targetNames(b.namespaces + samples)
	copyIn := func(namespace string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: workload.name}}
	}
	return []scenario{
		{
			name: "edited copy to repaired", event: editedCopy, namespaces: names[:samples], verb: "patch", resource: "configmaps",
			do: func(ctx context.Context, namespace string) error {
				drift := client.RawPatch("application/merge-patch+json", []byte(`{"data":{"`+versionKey+`":"drift"}}`))
				return b.client.Patch(ctx, copyIn(namespace), drift)
			},
		},
		{
			name: "deleted copy to recreated", event: deletedCopy, namespaces: names[samples : 2*samples], verb: "delete", resource: "configmaps",
			do: func(ctx context.Context, namespace string) error { return b.client.Delete(ctx, copyIn(namespace)) },
		},
		{
			name: "new namespace to its copy", event: newNamespace, namespaces: names[b.namespaces:], verb: "create", resource: "namespaces",
			do: func(ctx context.Context, namespace string) error {
				b.namespaces++
				return b.createNamespace(ctx, namespace)
			},
		},
	}
}

// runScenario triggers the scenario in one namespace after another. A latency is the time in the audit log from the
// completion of the triggering request to the completion of the operator's write.
func (b *bench) runScenario(ctx context.Context, watch *copyWatch, workload *workload, scenario scenario) error {
	mark := b.cluster.Mark()
	b.progress.log("%s: measuring %d samples", scenario.name, len(scenario.namespaces))
	if err := scenario.trigger(ctx, watch, workload); err != nil {
		return err
	}
	record, err := b.auditSince(mark)
	if err != nil {
		return err
	}
	latencies, err := record.latencies(scenario, workload.name)
	if err != nil {
		return err
	}
	p99 := percentile(latencies, 99)
	requests := record.only(byOperator, not(onLease))
	b.report.add(row{
		Name: fmt.Sprintf("%s, %d samples", scenario.name, len(latencies)), Goal: fmt.Sprintf("p99 under %s", latencyGoal),
		Measured: fmt.Sprintf("p50 %.0f ms, p99 %.0f ms", percentile(latencies, 50)*1000, p99*1000),
		Verdict:  verdictOf(p99 < latencyGoal.Seconds()), Data: latencies,
		Notes: []string{fmt.Sprintf("%s, %d samples: requests of the operator: %s", scenario.name, len(latencies), formatCounts(requests.tally()))},
	})
	return nil
}

// trigger triggers the scenario in one namespace after another, and waits for each copy. The watch must have delivered the
// existing copies.
func (s *scenario) trigger(ctx context.Context, watch *copyWatch, workload *workload) error {
	inSync := func(copied *corev1.ConfigMap) bool {
		return copied.Data[versionKey] == workload.source.Data[versionKey]
	}
	for _, namespace := range s.namespaces {
		if err := s.do(ctx, namespace); err != nil {
			return err
		}
		if err := watch.waitFor(ctx, namespace, inSync); err != nil {
			return err
		}
	}
	return nil
}

// latencies returns, for each namespace of the scenario, the seconds from the triggering request to the write.
func (r auditRecord) latencies(scenario scenario, name string) ([]float64, error) {
	writeTimes := map[string]time.Time{}
	for _, event := range r.only(byOperator, onCopies(name), writes) {
		if _, seen := writeTimes[event.Namespace]; !seen {
			writeTimes[event.Namespace] = event.Completed
		}
	}
	triggerTimes := map[string]time.Time{}
	for _, event := range r.only(byBench) {
		if event.Verb == scenario.verb && event.Resource == scenario.resource {
			namespace := event.Namespace
			if event.Resource == "namespaces" {
				namespace = event.Name
			}
			triggerTimes[namespace] = event.Completed
		}
	}
	var latencies []float64
	for _, namespace := range scenario.namespaces {
		triggered, hasTrigger := triggerTimes[namespace]
		written, hasWrite := writeTimes[namespace]
		if !hasTrigger || !hasWrite {
			return nil, fmt.Errorf("the audit log lacks the triggering request or the write in namespace %s", namespace)
		}
		latencies = append(latencies, written.Sub(triggered).Seconds())
	}
	return latencies, nil
}
