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

// Package expect holds what the Ginkgo suites expect of a cluster, and wait for. Each function fails the running spec at the
// line that called it.
package expect

import (
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
)

// namespaceDeletionTimeout is how long a namespace may take to go: its controller may be busy with those of other specs.
const namespaceDeletionTimeout = 2 * time.Minute

// Create creates the object and returns it.
func Create[Object client.Object](ctx context.Context, c client.Client, object Object) Object {
	GinkgoHelper()
	Expect(c.Create(ctx, object)).To(Succeed())
	return object
}

// CreateForAttempt creates the object and returns it. If the attempt fails, the object is deleted at its end, so that the next one
// can create it. In a BeforeAll, it is deleted if the BeforeAll is run again.
func CreateForAttempt[Object client.Object](ctx context.Context, c client.Client, object Object) Object {
	GinkgoHelper()
	Create(ctx, c, object)
	DeferCleanup(removeAfterFailure, c, object)
	return object
}

// removeAfterFailure deletes the object if the attempt has failed, and waits until it is gone. After a minute, for an operator
// that does not run, it removes the finalizers.
func removeAfterFailure(ctx SpecContext, c client.Client, object client.Object) {
	GinkgoHelper()
	if !CurrentSpecReport().Failed() {
		return
	}
	if namespace, ok := object.(*corev1.Namespace); ok {
		DeleteNamespace(ctx, c, namespace.Name)
		return
	}
	short, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := kit.Delete(short, c, object); err != nil {
		Expect(kit.SetFinalizers(ctx, c, object)).To(Succeed())
	}
	Gone(ctx, c, object, object.GetNamespace())
}

// Read returns the object of like's kind and name in a namespace; nil for none.
func Read(ctx context.Context, c client.Reader, like client.Object, namespace string) *unstructured.Unstructured {
	GinkgoHelper()
	object, err := kit.Read(ctx, c, like, namespace)
	Expect(err).NotTo(HaveOccurred())
	return object
}

// Update changes the object as it is on the API server, and retries on a conflict.
func Update[T any, Object interface {
	*T
	client.Object
}](ctx context.Context, c client.Client, object Object, change func(Object)) {
	GinkgoHelper()
	Expect(kit.Update(ctx, c, object, change)).To(Succeed())
}

// Delete deletes the object and waits until it is gone. The operator may create another one of its name at once.
func Delete(ctx context.Context, c client.Client, object client.Object) {
	GinkgoHelper()
	Expect(client.IgnoreNotFound(c.Delete(ctx, object))).To(Succeed())
	Eventually(ctx, func() *unstructured.Unstructured {
		current := Read(ctx, c, object, object.GetNamespace())
		if current != nil && object.GetUID() != "" && current.GetUID() != object.GetUID() {
			return nil
		}
		return current
	}).Should(BeNil(), "%s in %s", object.GetName(), object.GetNamespace())
}

// DeleteNamespace deletes the namespace and waits until it is gone.
func DeleteNamespace(ctx context.Context, c client.Client, name string) {
	GinkgoHelper()
	namespace := kit.Namespace(name)
	Expect(client.IgnoreNotFound(c.Delete(ctx, namespace))).To(Succeed())
	Eventually(ctx, func() *unstructured.Unstructured { return Read(ctx, c, namespace, "") }).
		WithTimeout(namespaceDeletionTimeout).Should(BeNil(), name)
}

// DropNamespace removes the namespace without its content, which nobody reads any more. The deletion of the content is what the
// control plane would spend most of its time on: about 80 requests for each namespace.
func DropNamespace(ctx context.Context, c client.Client, namespace *corev1.Namespace) {
	GinkgoHelper()
	namespace.Spec.Finalizers = nil
	namespace.ResourceVersion = "" // it may have changed
	Expect(client.IgnoreNotFound(c.SubResource("finalize").Update(ctx, namespace))).To(Succeed())
	Expect(client.IgnoreNotFound(c.Delete(ctx, namespace))).To(Succeed())
}

// Exists waits until the namespace has an object of like's kind and name.
func Exists(ctx context.Context, c client.Reader, like client.Object, namespace string) {
	GinkgoHelper()
	Eventually(ctx, func() *unstructured.Unstructured { return Read(ctx, c, like, namespace) }).
		ShouldNot(BeNil(), "%s in %s", like.GetName(), namespace)
}

// Gone waits until the namespaces have no object of like's kind and name.
func Gone(ctx context.Context, c client.Reader, like client.Object, namespaces ...string) {
	GinkgoHelper()
	for _, namespace := range namespaces {
		Eventually(ctx, func() *unstructured.Unstructured { return Read(ctx, c, like, namespace) }).
			Should(BeNil(), "%s in %s", like.GetName(), namespace)
	}
}

// Copied waits until each namespace has a copy with the source's present content, and with the operator's labels and
// annotations.
func Copied(ctx context.Context, c client.Reader, source client.Object, namespaces ...string) {
	GinkgoHelper()
	CopiedAs(ctx, c, source, source.GetName(), namespaces...)
}

// CopiedAs waits like Copied, for copies of another name.
func CopiedAs(ctx context.Context, c client.Reader, source client.Object, name string, namespaces ...string) {
	GinkgoHelper()
	want := Read(ctx, c, source, source.GetNamespace())
	Expect(want).NotTo(BeNil(), "the source")
	like := want.DeepCopy()
	like.SetName(name)
	for _, namespace := range namespaces {
		Eventually(ctx, func(g Gomega) {
			copied, err := kit.Read(ctx, c, like, namespace)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(copied).NotTo(BeNil(), "no copy in %s", namespace)
			g.Expect(kit.Content(copied)).To(Equal(kit.Content(want)), "the copy in %s", namespace)
			Owned(g, copied)
		}).Should(Succeed())
	}
}

// Owned checks the labels and annotations by which users find a copy and its owner.
func Owned(g Gomega, copied client.Object) {
	GinkgoHelper()
	g.Expect(copied.GetLabels()).To(HaveKeyWithValue(v1alpha1.LabelCreatedBy, v1alpha1.CreatedByValue))
	g.Expect(copied.GetLabels()).To(HaveKey(v1alpha1.LabelPartOf))
	g.Expect(copied.GetAnnotations()).To(And(
		HaveKeyWithValue(v1alpha1.AnnotationMarksVersion, v1alpha1.MarksVersion),
		HaveKey(v1alpha1.AnnotationOwner),
		HaveKey(v1alpha1.AnnotationSource),
		HaveKeyWithValue(v1alpha1.AnnotationSelf, copied.GetNamespace()+"/"+copied.GetName()),
		HaveKey(v1alpha1.AnnotationResource),
	))
}

// Status waits until the Replika's status is of its present spec and as wanted, and returns the Replika. Every status that it
// reads meanwhile must keep the contract of kit.StatusViolations.
func Status(ctx context.Context, c client.Reader, replika *v1alpha1.Replika, wanted func(Gomega, *v1alpha1.Replika)) *v1alpha1.Replika {
	GinkgoHelper()
	current := &v1alpha1.Replika{}
	Eventually(ctx, func(g Gomega) {
		*current = v1alpha1.Replika{}
		g.Expect(c.Get(ctx, client.ObjectKeyFromObject(replika), current)).To(Succeed())
		if violations := kit.StatusViolations(current, false); len(violations) > 0 {
			StopTrying(fmt.Sprintf("status of %s: %s\n%+v", current.Name, strings.Join(violations, "; "), current.Status)).Now()
		}
		g.Expect(current.Status.ObservedGeneration).To(Equal(current.Generation))
		wanted(g, current)
	}).Should(Succeed())
	return current
}

// Ready waits until the Replika is ready with this number of synced copies.
func Ready(ctx context.Context, c client.Reader, replika *v1alpha1.Replika, copies int) *v1alpha1.Replika {
	GinkgoHelper()
	return Status(ctx, c, replika, func(g Gomega, current *v1alpha1.Replika) {
		g.Expect(kit.Ready(current).Reason).To(Equal(v1alpha1.ReasonSynced), "%+v", current.Status)
		g.Expect(current.Status.Copies).NotTo(BeNil())
		g.Expect(current.Status.Copies.Synced).To(BeEquivalentTo(copies))
	})
}

// Reason waits until the Replika's condition Ready has the reason.
func Reason(ctx context.Context, c client.Reader, replika *v1alpha1.Replika, reason string) *v1alpha1.Replika {
	GinkgoHelper()
	return Status(ctx, c, replika, func(g Gomega, current *v1alpha1.Replika) {
		g.Expect(kit.Ready(current).Reason).To(Equal(reason), "%+v", current.Status)
	})
}

// Progressing waits until the status reports a reconcile that is in progress. Its spec is not the observed one yet.
func Progressing(ctx context.Context, c client.Reader, replika *v1alpha1.Replika) *v1alpha1.Replika {
	GinkgoHelper()
	current := &v1alpha1.Replika{}
	Eventually(ctx, func(g Gomega) {
		g.Expect(c.Get(ctx, client.ObjectKeyFromObject(replika), current)).To(Succeed())
		g.Expect(kit.StatusViolations(current, false)).To(BeEmpty())
		g.Expect(kit.Ready(current)).To(HaveValue(HaveField("Reason", v1alpha1.ReasonProgressing)))
	}).Should(Succeed())
	return current
}

// Failures waits until exactly these copies failed: reasons by namespace.
func Failures(ctx context.Context, c client.Reader, replika *v1alpha1.Replika, reasons map[string]string) *v1alpha1.Replika {
	GinkgoHelper()
	return Status(ctx, c, replika, func(g Gomega, current *v1alpha1.Replika) {
		g.Expect(kit.Failures(current)).To(Equal(reasons), "%+v", current.Status)
		g.Expect(kit.Ready(current).Reason).To(Equal(v1alpha1.ReasonCopiesFailed))
	})
}
