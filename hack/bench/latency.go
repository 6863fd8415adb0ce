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

// latencyGoal is for the 99th of a hundred.
const latencyGoal = 100 * time.Millisecond

// trial is one sort of thing that happens to a copy.
type trial struct {
	name string
	// do makes it happen, by one request about one object of that resource.
	do func(ctx context.Context, namespace string) error
	// namespaces are where, one sample each.
	namespaces     []string
	verb, resource string
}

// measureLatency measures, one after the other, how soon a copy is there, or as it should be, after something happened.
func (b *bench) measureLatency(ctx context.Context) error {
	size := b.opts.size()
	samples := min(b.opts.samples, size/2)
	if err := b.needNamespaces(ctx, size); err != nil {
		return err
	}
	if err := b.startOperator(ctx); err != nil {
		return err
	}
	subject := newSubject("latency", contentBytes, neverDue, []string{"target-*"})
	if err := b.create(ctx, subject, b.namespaces); err != nil {
		return err
	}
	watch, err := b.watchCopies(ctx, subject)
	if err != nil {
		return err
	}
	defer watch.stop()
	for _, trial := range b.trials(subject, samples) {
		if err := sleep(ctx, calm); err != nil {
			return err
		}
		if err := b.try(ctx, watch, subject, trial); err != nil {
			return err
		}
	}
	return nil
}

// trials use a copy once each: one that is put right again and again is contested, which is another matter.
func (b *bench) trials(subject *subject, samples int) []trial {
	names := targetNames(b.namespaces + samples)
	copyIn := func(namespace string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: subject.name}}
	}
	return []trial{
		{
			name: "edited copy to repaired", namespaces: names[:samples], verb: "patch", resource: "configmaps",
			do: func(ctx context.Context, namespace string) error {
				drift := client.RawPatch("application/merge-patch+json", []byte(`{"data":{"`+versionKey+`":"drift"}}`))
				return b.client.Patch(ctx, copyIn(namespace), drift)
			},
		},
		{
			name: "deleted copy to recreated", namespaces: names[samples : 2*samples], verb: "delete", resource: "configmaps",
			do: func(ctx context.Context, namespace string) error { return b.client.Delete(ctx, copyIn(namespace)) },
		},
		{
			name: "new namespace to its copy", namespaces: names[b.namespaces:], verb: "create", resource: "namespaces",
			do: func(ctx context.Context, namespace string) error {
				b.namespaces++
				return b.createNamespace(ctx, namespace)
			},
		},
	}
}

// try lets it happen in one namespace after the other, and measures by the audit log from the end of the request that made
// it happen to the end of the operator's write.
func (b *bench) try(ctx context.Context, watch *copyWatch, subject *subject, trial trial) error {
	mark := b.cluster.Mark()
	b.progress.say("%s, %d times", trial.name, len(trial.namespaces))
	for _, namespace := range trial.namespaces {
		if err := trial.do(ctx, namespace); err != nil {
			return err
		}
		inSync := func(copied *corev1.ConfigMap) bool { return copied.Data[versionKey] == subject.source.Data[versionKey] }
		if err := watch.await(ctx, namespace, inSync); err != nil {
			return err
		}
	}
	record, err := b.recordSince(mark)
	if err != nil {
		return err
	}
	taken, err := record.latencies(trial, subject.name)
	if err != nil {
		return err
	}
	p99 := percentile(taken, 99)
	ours := record.only(byOperator, not(onLease))
	b.report.add(row{
		Name: fmt.Sprintf("%s, %d samples", trial.name, len(taken)), Goal: fmt.Sprintf("p99 under %s", latencyGoal),
		Measured: fmt.Sprintf("p50 %.0f ms, p99 %.0f ms", percentile(taken, 50)*1000, p99*1000),
		Verdict:  judged(p99 < latencyGoal.Seconds()), Data: taken,
		Notes: []string{fmt.Sprintf("%s, %d times, takes the operator: %s", trial.name, len(taken), listed(ours.tally()))},
	})
	return nil
}

// latencies are, by namespace, the seconds from cause to write.
func (r record) latencies(trial trial, name string) ([]float64, error) {
	written := map[string]time.Time{}
	for _, event := range r.only(byOperator, onCopies(name), writes) {
		if _, before := written[event.Namespace]; !before {
			written[event.Namespace] = event.Completed
		}
	}
	caused := map[string]time.Time{}
	for _, event := range r.only(byBench) {
		if event.Verb == trial.verb && event.Resource == trial.resource {
			namespace := event.Namespace
			if event.Resource == "namespaces" {
				namespace = event.Name
			}
			caused[namespace] = event.Completed
		}
	}
	var taken []float64
	for _, namespace := range trial.namespaces {
		cause, began := caused[namespace]
		write, ended := written[namespace]
		if !began || !ended {
			return nil, fmt.Errorf("the audit log does not show what happened in %s", namespace)
		}
		taken = append(taken, write.Sub(cause).Seconds())
	}
	return taken, nil
}
