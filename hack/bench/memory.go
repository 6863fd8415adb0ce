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
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	heapGoalPerCopy = 512
	residentGoal    = 25 << 20
	residentCopies  = 1000
	smallContent    = 1 << 10
	largeContent    = 100 << 10
	unrelatedBytes  = 10 << 10
)

// measureMemory measures the operator's memory per copy, for small and for large copies, and with many unrelated objects.
func (b *bench) measureMemory(ctx context.Context) error {
	if err := b.ensureNamespaces(ctx, b.opts.targets()); err != nil {
		return err
	}
	for _, bytes := range []int{smallContent, largeContent} {
		if err := b.measureCopies(ctx, bytes); err != nil {
			return err
		}
	}
	return b.measureUnrelated(ctx)
}

// measureCopies measures with the copies of one Replika, and then of two. The difference is the memory for the copies of the
// second one. It does not include read buffers, which already grew with the copies of the first one.
func (b *bench) measureCopies(ctx context.Context, bytes int) error {
	copies := b.opts.targets()
	first := newWorkload("memory-first", bytes, noResync, targetGlobs(copies))
	second := newWorkload("memory-second", bytes, noResync, targetGlobs(copies))
	if err := b.startOperator(ctx); err != nil {
		return err
	}
	one, err := b.memoryWith(ctx, first, copies)
	if err != nil {
		return err
	}
	two, err := b.memoryWith(ctx, second, copies)
	if err != nil {
		return err
	}
	if err := b.saveProfile(ctx, "heap?gc=1", fmt.Sprintf("heap-%d-bytes.pprof", bytes)); err != nil {
		return err
	}
	if err := b.delete(ctx, second); err != nil {
		return err
	}
	// The operator may have kept large buffers after the first fan-out, so measure again with the copies of the first Replika.
	again, err := b.operator.memory(ctx)
	if err != nil {
		return err
	}
	one.Heap = min(one.Heap, again.Heap)
	restarted, err := b.restartedMemory(ctx)
	if err != nil {
		return err
	}
	b.reportCopies(bytes, copies, map[string]memory{"one": one, "two": two, "restarted": restarted})
	return b.delete(ctx, first)
}

// memoryWith measures after the workload's copies were created and updated, when the operator has been idle for a while.
func (b *bench) memoryWith(ctx context.Context, workload *workload, copies int) (memory, error) {
	if err := b.create(ctx, workload, copies); err != nil {
		return memory{}, err
	}
	if err := errors.Join(b.edit(ctx, workload), b.waitForSync(ctx, workload, copies), b.waitForIdle(ctx), sleep(ctx, restartPeriod)); err != nil {
		return memory{}, err
	}
	return b.operator.memory(ctx)
}

func (b *bench) reportCopies(bytes, copies int, with map[string]memory) {
	what := fmt.Sprintf("at %d KiB content", bytes>>10)
	one, two, restarted := with["one"], with["two"], with["restarted"]
	perCopy := float64(two.Heap-one.Heap) / float64(copies)
	b.report.add(row{
		Name: fmt.Sprintf("memory: live heap per copy %s", what), Goal: "under 0.5 KiB", Measured: fmt.Sprintf("%.2f KiB", perCopy/1024),
		Verdict: verdictOf(perCopy < heapGoalPerCopy), Data: with,
		Notes: []string{fmt.Sprintf("live heap %s: %s with %d copies, %s with %d", what,
			formatMiB(one.Heap), copies, formatMiB(two.Heap), 2*copies)},
	})
	resident := row{
		Name: fmt.Sprintf("memory: RssAnon with %d copies %s", copies, what), Goal: "under " + formatMiB(residentGoal),
		Measured: formatMiB(one.Anonymous), Verdict: verdictOf(one.Anonymous < residentGoal),
		Notes: []string{fmt.Sprintf("RssAnon %s: %s after %d copies were created and updated, %s after a restart", what,
			formatMiB(one.Anonymous), copies, formatMiB(restarted.Anonymous))},
	}
	if copies > residentCopies {
		resident.Goal, resident.Verdict = "", ""
	}
	b.report.add(resident)
}

// measureUnrelated compares the operator's memory without and with many large objects that are not copies.
func (b *bench) measureUnrelated(ctx context.Context) error {
	if err := b.startOperator(ctx); err != nil {
		return err
	}
	all := b.opts.targets()
	workload := newWorkload("memory-first", smallContent, noResync, targetGlobs(all))
	if err := b.create(ctx, workload, all); err != nil {
		return err
	}
	without, err := b.restartedMemory(ctx)
	if err != nil {
		return err
	}
	b.progress.log("creating %d unrelated ConfigMaps and Secrets", 2*b.opts.unrelated)
	if err := b.createUnrelated(ctx); err != nil {
		return err
	}
	with, err := b.restartedMemory(ctx)
	if err != nil {
		return err
	}
	// The heap differs by up to this between two starts with the same objects.
	const noise = 64 << 10
	growth := with.Heap - without.Heap
	b.report.add(row{
		Name: fmt.Sprintf("memory: %d unrelated ConfigMaps and Secrets of %d KiB", 2*b.opts.unrelated, unrelatedBytes>>10),
		Goal: "nothing", Measured: fmt.Sprintf("live heap %+.0f KiB, RssAnon %+.1f MiB", float64(growth)/(1<<10),
			float64(with.Anonymous-without.Anonymous)/(1<<20)),
		Verdict: verdictOf(growth < noise), Data: map[string]memory{"without": without, "with": with},
	})
	return b.deleteUnrelated(ctx)
}

// restartedMemory restarts the operator and measures its memory after restartPeriod.
func (b *bench) restartedMemory(ctx context.Context) (memory, error) {
	if err := b.startOperator(ctx); err != nil {
		return memory{}, err
	}
	if err := sleep(ctx, restartPeriod); err != nil {
		return memory{}, err
	}
	return b.operator.memory(ctx)
}

// unrelatedNamespace holds objects that no Replika selects.
const unrelatedNamespace = "unrelated"

func (b *bench) createUnrelated(ctx context.Context) error {
	if err := b.createNamespace(ctx, unrelatedNamespace); err != nil {
		return err
	}
	text := padding(unrelatedBytes)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(b.opts.parallel)
	for number := range b.opts.unrelated {
		object := metav1.ObjectMeta{Namespace: unrelatedNamespace, Name: fmt.Sprintf("unrelated-%d", number)}
		group.Go(func() error {
			return b.client.Create(ctx, &corev1.ConfigMap{ObjectMeta: object, Data: map[string]string{paddingKey: text}})
		})
		group.Go(func() error {
			return b.client.Create(ctx, &corev1.Secret{ObjectMeta: object, StringData: map[string]string{paddingKey: text}})
		})
	}
	return group.Wait()
}

func (b *bench) deleteUnrelated(ctx context.Context) error {
	for _, kind := range []client.Object{&corev1.ConfigMap{}, &corev1.Secret{}} {
		if err := b.client.DeleteAllOf(ctx, kind, client.InNamespace(unrelatedNamespace)); err != nil {
			return err
		}
	}
	return nil
}
