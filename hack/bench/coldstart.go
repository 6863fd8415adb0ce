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
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	coldStartCopies   = 300
	coldStartPeakGoal = 128 << 20
	// coldStartInterval limits how long an operator that polls takes to find a deleted copy.
	coldStartInterval = 10 * time.Second
)

// coldStart is one way to read the copies at the start.
type coldStart struct {
	name        string
	environment []string
	// polled is true if the operator is not permitted to watch the copies.
	polled bool
}

func coldStarts() []coldStart {
	return []coldStart{
		{name: "streaming lists"},
		// As with Kubernetes 1.30, 1.31 and 1.33.
		{name: "no streaming lists", environment: []string{"KUBE_FEATURE_WatchListClient=false"}},
		{name: "polling", polled: true},
	}
}

// measureColdStart measures the peak memory of an operator that starts with many large copies in sync, one of which was deleted
// while it was stopped.
func (b *bench) measureColdStart(ctx context.Context) error {
	copies := min(b.opts.targets(), coldStartCopies)
	if err := b.ensureNamespaces(ctx, copies); err != nil {
		return err
	}
	if err := b.startOperator(ctx); err != nil {
		return err
	}
	workload := newWorkload("cold-start", b.opts.coldStartSize<<10, coldStartInterval, targetGlobs(copies))
	if err := b.create(ctx, workload, copies); err != nil {
		return err
	}
	for _, start := range coldStarts() {
		if err := b.measureOneColdStart(ctx, start, workload, copies); err != nil {
			return fmt.Errorf("%s: %w", start.name, err)
		}
	}
	return nil
}

func (b *bench) measureOneColdStart(ctx context.Context, start coldStart, workload *workload, copies int) error {
	if err := b.stopOperator(); err != nil {
		return err
	}
	if err := b.permitWatch(ctx, !start.polled); err != nil {
		return err
	}
	deleted := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: targetName(1), Name: workload.name}}
	if err := b.client.Delete(ctx, deleted); err != nil {
		return err
	}
	b.progress.log("starting with %d copies of %d KiB: %s", copies, b.opts.coldStartSize, start.name)
	mark, started := b.cluster.Mark(), time.Now()
	if err := b.startOperator(ctx, start.environment...); err != nil {
		return err
	}
	if err := b.waitForCopy(ctx, deleted); err != nil {
		return err
	}
	took := time.Since(started)
	// With polling, the whole list is read a second time.
	if err := sleep(ctx, 2*coldStartInterval); err != nil {
		return err
	}
	_, peak, err := b.operator.residentMemory()
	if err != nil {
		return err
	}
	all, err := b.auditSince(mark)
	if err != nil {
		return err
	}
	b.report.add(row{
		Name: fmt.Sprintf("cold start, %d copies of %d KiB, %s: VmHWM", copies, b.opts.coldStartSize, start.name),
		Goal: "at most " + formatMiB(coldStartPeakGoal), Measured: formatMiB(peak), Verdict: verdictOf(peak <= coldStartPeakGoal),
		Notes: []string{fmt.Sprintf("cold start, %s: a copy that was deleted before the start was back after %s; requests of the operator: %s",
			start.name, took.Round(10*time.Millisecond), formatCounts(all.only(byOperator, not(onLease)).tally()))},
	})
	return b.permitWatch(ctx, true)
}

// permitWatch grants the operator the permission to watch ConfigMaps and Secrets, or revokes it.
func (b *bench) permitWatch(ctx context.Context, permit bool) error {
	role := &rbacv1.ClusterRole{}
	if err := b.client.Get(ctx, client.ObjectKey{Name: accountName}, role); err != nil {
		return err
	}
	const kinds = 0 // the rule of the replicated kinds is the first
	verbs := slices.DeleteFunc(role.Rules[kinds].Verbs, func(verb string) bool { return verb == "watch" })
	if permit {
		verbs = append(verbs, "watch")
	}
	role.Rules[kinds].Verbs = verbs
	return b.client.Update(ctx, role)
}

// waitForCopy waits until the object exists.
func (b *bench) waitForCopy(ctx context.Context, copied *corev1.ConfigMap) error {
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, 5*time.Minute, true, func(ctx context.Context) (bool, error) {
		err := b.client.Get(ctx, client.ObjectKeyFromObject(copied), &corev1.ConfigMap{})
		if err != nil && !apierrors.IsNotFound(err) {
			return false, err
		}
		return err == nil, b.operator.exitError()
	})
}
