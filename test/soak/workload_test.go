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

package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/e2e"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/operator"
)

// Kinds, namespaces and names of the objects. Sources are in the source namespaces.
var (
	configMap = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	secret    = schema.GroupVersionKind{Version: "v1", Kind: "Secret"}
	widget    = schema.GroupVersionKind{Group: "soak.example.com", Version: "v1", Kind: "Widget"}
	gadget    = schema.GroupVersionKind{Group: "soak.example.com", Version: "v1", Kind: "Gadget"}

	allKinds = []schema.GroupVersionKind{configMap, secret, widget, gadget}
	// weightedKinds are the kinds to choose from; half of the changes are to ConfigMaps.
	weightedKinds = []schema.GroupVersionKind{configMap, configMap, configMap, secret, widget, gadget}
	// customKinds are installed and removed.
	customKinds      = []schema.GroupVersionKind{widget, gadget}
	sourceNamespaces = []string{"source-a", "source-b"}
	names            = []string{"alpha", "beta", "gamma"}
)

const (
	maxTargets  = 10 // namespaces besides the source namespaces
	maxReplikas = 14
	// foreignFinalizer is the finalizer of another controller.
	foreignFinalizer = "soak.example.com/block"
)

// workload makes random changes to the objects of a cluster.
type workload struct {
	*testing.T
	*rand.Rand
	env      *e2e.Environment
	options  operator.Options
	operator *operator.Process
	// counts are the numbers of changes, by description.
	counts map[string]int
	// foreign are the foreign objects that no change has deleted: the operator must not delete them either.
	foreign map[types.UID]string
}

func newWorkload(t *testing.T, random *rand.Rand) *workload {
	t.Helper()
	log.SetLogger(testr.New(t))
	env, err := e2e.StartEnvironment(t.Context(), t.TempDir(), cluster.Options{CRDs: []string{filepath.Join("..", "..", "config", "crd", "bases")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	})
	return &workload{T: t, Rand: random, env: env, counts: map[string]int{}, foreign: map[types.UID]string{}}
}

// createInitialObjects creates the objects that exist before the operator starts.
func (w *workload) createInitialObjects() {
	for _, namespace := range sourceNamespaces {
		w.must(w.env.Admin.Create(w.Context(), kit.Namespace(namespace)))
	}
	for _, kind := range customKinds {
		w.installKind(kind)
	}
	for range maxTargets {
		w.createNamespace()
	}
	for _, namespace := range sourceNamespaces {
		for _, name := range names {
			w.must(w.env.Admin.Create(w.Context(), w.newObject(configMap, namespace, name)))
		}
	}
	for range maxReplikas {
		w.createReplika()
	}
}

func (w *workload) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// mustSend sends a request, several times if the API server got no response from etcd in time: this test has no second attempt.
func (w *workload) mustSend(request func() error) {
	w.Helper()
	backoff := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Steps: 10}
	w.must(retry.OnError(backoff, isUnavailable, request))
}

// isUnavailable reports whether the error is due to the machine, which stalls now and then, and not to the request.
func isUnavailable(err error) bool {
	return apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err)
}

// count counts a change, so that the log shows what the run has tested.
func (w *workload) count(format string, args ...any) {
	w.counts[fmt.Sprintf(format, args...)]++
}

// try counts the change if it succeeded, and reports whether it did. It ignores errors that random changes cause: at any time
// the object may not exist, exist already, be in deletion or have been changed. It also ignores those of a machine that stalls.
// Other errors fail the test.
func (w *workload) try(change string, err error) bool {
	w.Helper()
	switch {
	case err == nil:
		w.count("%s", change)
	case apierrors.IsNotFound(err), apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsForbidden(err),
		apierrors.IsMethodNotSupported(err), apierrors.IsInvalid(err), isUnavailable(err):
	default:
		w.Fatalf("%s: %s", change, err)
	}
	return err == nil
}

// pick returns a random element.
func pick[T any](w *workload, from []T) T { return from[w.IntN(len(from))] }

// oneIn returns true once in n calls, on average.
func (w *workload) oneIn(n int) bool { return w.IntN(n) == 0 }

func (w *workload) targetName() string { return fmt.Sprint("target-", w.IntN(maxTargets)) }

func (w *workload) teamName() string { return pick(w, []string{"red", "blue"}) }

// contentValue returns one of a few values, so that a changed copy often equals its next template.
func (w *workload) contentValue() string { return fmt.Sprint("value-", w.IntN(4)) }

// newObject builds an object of the kind with random content.
func (w *workload) newObject(kind schema.GroupVersionKind, namespace, name string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetGroupVersionKind(kind)
	object.SetNamespace(namespace)
	object.SetName(name)
	w.fillContent(object)
	return object
}

// fillContent sets random content and a random label.
func (w *workload) fillContent(object *unstructured.Unstructured) {
	content := map[string]any{"key": w.contentValue()}
	switch object.GroupVersionKind() {
	case configMap:
		object.Object["data"] = content
	case secret:
		object.Object["stringData"] = content
	default:
		object.Object["spec"] = content
	}
	labels := object.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	delete(labels, "tier")
	if w.oneIn(2) {
		labels["tier"] = w.contentValue()
	}
	object.SetLabels(labels)
}

// fillSpec sets random values in the Replika's spec, except for the source.
func (w *workload) fillSpec(replika *v1alpha1.Replika) {
	spec := &replika.Spec
	spec.Synchronization = v1alpha1.SynchronizationSpec{
		Time:             v1alpha1.Duration{Duration: pick(w, []time.Duration{2 * time.Second, 10 * time.Second, time.Hour})},
		OnSourceDeletion: pick(w, []v1alpha1.SourceDeletionPolicy{v1alpha1.SourceDeletionRetain, v1alpha1.SourceDeletionDelete}),
	}
	spec.DeletionPolicy = pick(w, []v1alpha1.DeletionPolicy{
		v1alpha1.DeletionPolicyDelete, v1alpha1.DeletionPolicyDelete, v1alpha1.DeletionPolicyRetain,
	})
	spec.Target.ConflictPolicy = pick(w, []v1alpha1.ConflictPolicy{
		v1alpha1.ConflictPolicyFail, v1alpha1.ConflictPolicyFail, v1alpha1.ConflictPolicyAdopt,
	})
	spec.Target.Name = pick(w, []string{"", "", "", "other"})
	spec.Target.Labels = pick(w, []map[string]string{nil, {"from": "spec"}})
	spec.Target.Namespaces = pick(w, []v1alpha1.TargetNamespaces{
		{ReplicateIn: []string{"target-1", "target-2", "target-3"}},
		{ReplicateIn: []string{"target-*"}, ExcludeFrom: []string{"target-4"}},
		{Selector: &v1alpha1.LabelSelector{MatchLabels: map[string]string{"team": "red"}}},
		{MatchAll: true, ExcludeFrom: []string{"kube-*", "default", "source-*"}},
	})
	spec.Suspend = w.oneIn(10)
}

// listAll lists the objects of a kind in all namespaces; none of a kind that is not installed.
func (w *workload) listAll(ctx context.Context, kind schema.GroupVersionKind) []unstructured.Unstructured {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	w.mustSend(func() error {
		err := w.env.Admin.List(ctx, list)
		if apierrors.IsNotFound(err) {
			list.Items = nil
			return nil
		}
		return err
	})
	return slices.DeleteFunc(list.Items, func(object unstructured.Unstructured) bool { return object.GetName() == "kube-root-ca.crt" })
}

// pickObject returns a random object that matches, of a random kind; false for none.
func (w *workload) pickObject(matches func(*unstructured.Unstructured) bool) (*unstructured.Unstructured, bool) {
	all := w.listAll(w.Context(), pick(w, weightedKinds))
	objects := slices.DeleteFunc(all, func(object unstructured.Unstructured) bool { return !matches(&object) })
	if len(objects) == 0 {
		return nil, false
	}
	return &objects[w.IntN(len(objects))], true
}

// pickReplika returns a random Replika; false for none.
func (w *workload) pickReplika() (*v1alpha1.Replika, bool) {
	list := &v1alpha1.ReplikaList{}
	w.mustSend(func() error { return w.env.Admin.List(w.Context(), list) })
	if len(list.Items) == 0 {
		return nil, false
	}
	return &list.Items[w.IntN(len(list.Items))], true
}

// pickNamespace returns a random target namespace; false if it does not exist.
func (w *workload) pickNamespace() (*corev1.Namespace, bool) {
	namespace := kit.Namespace(w.targetName())
	err := w.env.Admin.Get(w.Context(), types.NamespacedName{Name: namespace.Name}, namespace)
	return namespace, err == nil
}

func isSource(object *unstructured.Unstructured) bool {
	return slices.Contains(sourceNamespaces, object.GetNamespace())
}

func isCopy(object *unstructured.Unstructured) bool {
	return object.GetAnnotations()[v1alpha1.AnnotationOwner] != ""
}

func isForeign(object *unstructured.Unstructured) bool { return !isSource(object) && !isCopy(object) }
