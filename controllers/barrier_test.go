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
	"context"
	"fmt"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// barrier waits until the operator has received every event about copies of like's kind that was sent before, and has
// reconciled each of the Replikas completely afterwards. Then it has also done whatever these events make it do: one look is
// enough, without waiting for nothing to happen. The spec of the Replikas gets a slightly longer interval.
func barrier(ctx context.Context, like client.Object, replikas ...*v1alpha1.Replika) {
	GinkgoHelper()
	receiveCopyEvents(ctx, like)
	reconcile(ctx, replikas...)
}

// reconcile has the operator reconcile the Replikas, and waits until it has.
func reconcile(ctx context.Context, replikas ...*v1alpha1.Replika) {
	GinkgoHelper()
	for _, replika := range replikas {
		current := replika.DeepCopy()
		update(ctx, current, func(replika *v1alpha1.Replika) { replika.Spec.Synchronization.Time.Duration += time.Millisecond })
		expect.Status(ctx, api, current, func(Gomega, *v1alpha1.Replika) {})
	}
}

// sentinels counts the sentinels of this process.
var sentinels atomic.Int64

// receiveCopyEvents waits until the operator has received every event about copies of like's kind that was sent before: it
// changes a copy of its own, and waits until the operator has repaired it. All copies of a kind share one watch, and a watch
// keeps the order of events.
func receiveCopyEvents(ctx context.Context, like client.Object) {
	GinkgoHelper()
	process := GinkgoParallelProcess()
	home, target := fmt.Sprintf("sentinel-%d-source", process), fmt.Sprintf("sentinel-%d-target", process)
	for _, name := range []string{home, target} {
		if err := api.Create(ctx, kit.Namespace(name)); !apierrors.IsAlreadyExists(err) {
			Expect(err).NotTo(HaveOccurred())
		}
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(like)
	Expect(err).NotTo(HaveOccurred())
	source := &unstructured.Unstructured{Object: kit.Content(&unstructured.Unstructured{Object: fields})}
	source.SetGroupVersionKind(kit.KindOf(like))
	source.SetNamespace(home)
	source.SetName(fmt.Sprintf("sentinel-%d", sentinels.Add(1)))
	create(ctx, source)
	replika := create(ctx, kit.NewReplika(source, kit.TargetNamespaces(target), kit.Interval(time.Hour)))
	expect.Ready(ctx, api, replika, 1)

	update(ctx, kit.CopyIn(target, source), func(copied *unstructured.Unstructured) {
		labels := copied.GetLabels()
		delete(labels, v1alpha1.LabelPartOf)
		copied.SetLabels(labels)
	})
	expect.Copied(ctx, api, source, target)
	Expect(api.Delete(ctx, replika)).To(Succeed())
	Expect(api.Delete(ctx, source)).To(Succeed())
}

// expectAbsent checks, after a barrier, that no object of like's kind and name is in the namespaces.
func expectAbsent(ctx context.Context, like client.Object, namespaces ...string) {
	GinkgoHelper()
	for _, namespace := range namespaces {
		Expect(read(ctx, like, namespace)).To(BeNil(), "in %s", namespace)
	}
}

// readsOf matches the reads of an object.
func readsOf(object client.Object) func(cluster.AuditEvent) bool {
	return func(e cluster.AuditEvent) bool {
		return e.Verb == "get" && e.Namespace == object.GetNamespace() && e.Name == object.GetName()
	}
}

// waitForReads waits until the operator has read the source this many times since the mark. It reads the source once in each
// interval, so the reconciles between the reads are complete.
func (f *fixture) waitForReads(ctx context.Context, since auditMark, source client.Object, count int) {
	GinkgoHelper()
	Eventually(ctx, func() []cluster.AuditEvent {
		return f.requests(since, readsOf(source))
	}).WithPolling(auditPolling).Should(WithTransform(func(reads []cluster.AuditEvent) int { return len(reads) }, BeNumerically(">=", count)))
}
