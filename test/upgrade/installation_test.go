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

package upgrade

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// What a public release sets on its copies and on its Replikas, and the name under which it writes.
const (
	createdBy    = "replika-controller"
	finalizer    = "replika.prosimcorp.com/finalizer"
	fieldManager = client.FieldOwner("manager")
)

// The namespaces of the copies, and the one of their sources.
var (
	targets = []string{"team-a", "team-b", "team-c"}
	store   = "store"
)

// sourceMarks are the labels and annotations of GitOps tools, which the releases copied with the source.
var (
	sourceMarks      = map[string]string{"app.kubernetes.io/instance": "store", "helm.sh/chart": "store-1.0.0"}
	sourceAnnotation = map[string]string{
		"argocd.argoproj.io/tracking-id":                   "store:/ConfigMap:store/settings",
		"meta.helm.sh/release-name":                        "store",
		"meta.helm.sh/release-namespace":                   "store",
		"helm.sh/resource-policy":                          "keep",
		"kubectl.kubernetes.io/last-applied-configuration": `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings","namespace":"store"}}`,
	}
	ownLabels      = map[string]string{"app.kubernetes.io/name": "shop", "tier": "backend"}
	ownAnnotations = map[string]string{"example.com/contact": "team@example.com"}
)

// installation is a public release with sources, Replikas and copies in a cluster.
type installation struct {
	release
	admin client.WithWatch
	// changes are the changes of copies since they were created.
	changes *changes
}

// install applies the manifest of the release as its documentation says, and creates what its operator works on and leaves.
func install(ctx context.Context, r release, admin client.WithWatch) *installation {
	GinkgoHelper()
	terminal.Run(ctx, workDir, fmt.Sprintf("kubectl apply --filename - <<'END'\n%s\nEND", r.manifest()))
	terminal.Run(ctx, workDir, "kubectl wait crd replikas.replika.prosimcorp.com --for condition=Established")
	i := &installation{release: r, admin: admin}
	createNamespaces(ctx, admin)
	for _, source := range []client.Object{
		&corev1.ConfigMap{ObjectMeta: i.sourceMeta("settings"), Data: map[string]string{"key": "value"}},
		&corev1.ConfigMap{ObjectMeta: i.sourceMeta("banner"), Data: map[string]string{"text": "hello"}},
		&corev1.ConfigMap{ObjectMeta: i.sourceMeta("fallback"), Data: map[string]string{"key": "value"}},
		&corev1.Secret{ObjectMeta: i.sourceMeta("registry"), Data: map[string][]byte{"token": []byte("secret")}},
	} {
		expect.Create(ctx, admin, source)
	}
	named := fmt.Sprintf("matchAll: false, replicateIn: [%s]", strings.Join(targets, ", "))
	i.createReplika(ctx, "settings", "ConfigMap", named, targets...)
	i.createReplika(ctx, "banner", "ConfigMap", "matchAll: true, replicateIn: [], excludeFrom: [kube-system, kube-public, kube-node-lease, replika, default, store]", targets...)
	i.createReplika(ctx, "registry", "Secret", named, targets...)
	// Without a selection, the releases copied to the namespace default.
	i.createReplika(ctx, "fallback", "ConfigMap", "matchAll: false, replicateIn: []", "default")
	i.changes = watchCopies(ctx, admin)
	return i
}

func createNamespaces(ctx context.Context, admin client.Client) {
	GinkgoHelper()
	for _, namespace := range append([]string{store}, targets...) {
		expect.Create(ctx, admin, kit.Namespace(namespace))
	}
}

func (i *installation) sourceMeta(name string) metav1.ObjectMeta {
	labels, annotations := maps.Clone(ownLabels), maps.Clone(ownAnnotations)
	maps.Copy(labels, sourceMarks)
	maps.Copy(annotations, sourceAnnotation)
	return metav1.ObjectMeta{Namespace: store, Name: name, Labels: labels, Annotations: annotations}
}

// createReplika creates a Replika with the name of its source, and its copies.
func (i *installation) createReplika(ctx context.Context, name, kind, selection string, namespaces ...string) {
	GinkgoHelper()
	i.apply(ctx, fmt.Sprintf(`
metadata: {name: %s, namespace: %s, finalizers: [%s]}
spec:
  synchronization: {time: 20s}
  source: {group: "", version: v1, kind: %s, name: %s, namespace: %s}
  target: {namespaces: {%s}}
`, name, store, finalizer, kind, name, store, selection), "SourceSynced")
	source := expect.Read(ctx, i.admin, newKey("v1", kind, name), store)
	for _, namespace := range namespaces {
		copied := source.DeepCopy()
		delete(copied.Object, "metadata")
		labels := source.GetLabels()
		labels[v1alpha1.LabelCreatedBy], labels[v1alpha1.LabelPartOf] = createdBy, name
		copied.SetNamespace(namespace)
		copied.SetName(name)
		copied.SetLabels(labels)
		copied.SetAnnotations(source.GetAnnotations())
		Expect(i.admin.Create(ctx, copied, fieldManager)).To(Succeed())
	}
}

// apply creates a Replika, with the condition of the releases in its status.
func (i *installation) apply(ctx context.Context, manifest, reason string) {
	GinkgoHelper()
	replika := kit.FromYAML(fmt.Sprintf("apiVersion: replika.prosimcorp.com/%s\nkind: Replika\n%s", i.version, manifest))
	Expect(i.admin.Create(ctx, replika)).To(Succeed())
	status := metav1.ConditionTrue
	if reason != "SourceSynced" {
		status = metav1.ConditionFalse
	}
	Expect(unstructured.SetNestedSlice(replika.Object, []any{map[string]any{
		"type": "SourceSynced", "status": string(status), "reason": reason, "message": "as the operator says",
		"lastTransitionTime": "2024-06-01T10:00:00Z",
	}}, "status", "conditions")).To(Succeed())
	Expect(i.admin.Status().Update(ctx, replika, fieldManager)).To(Succeed())
}

// newKey returns an object without content. Its namespace is empty.
func newKey(version, kind, name string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion(version)
	object.SetKind(kind)
	object.SetName(name)
	return object
}

// changes are what a watch sees of copies after their creation.
type changes struct {
	mutex  sync.Mutex
	events map[string][]watch.EventType
	uids   map[string]types.UID
}

// watchCopies follows the copies that exist until the spec ends.
func watchCopies(ctx context.Context, admin client.WithWatch) *changes {
	GinkgoHelper()
	c := &changes{events: map[string][]watch.EventType{}, uids: map[string]types.UID{}}
	for _, kind := range []string{"ConfigMap", "Secret"} {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion("v1")
		list.SetKind(kind + "List")
		ours := client.MatchingLabels{v1alpha1.LabelCreatedBy: createdBy}
		Expect(admin.List(ctx, list, ours)).To(Succeed())
		for k := range list.Items {
			c.uids[copyName(&list.Items[k])] = list.Items[k].GetUID()
		}
		stream, err := admin.Watch(ctx, list, ours, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.GetResourceVersion()}})
		Expect(err).NotTo(HaveOccurred())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for event := range stream.ResultChan() {
				if object, ok := event.Object.(client.Object); ok {
					c.record(copyName(object), event.Type)
				}
			}
		}()
		DeferCleanup(func() {
			stream.Stop()
			<-done
		})
	}
	return c
}

func copyName(object client.Object) string {
	return fmt.Sprintf("%s %s/%s", object.GetObjectKind().GroupVersionKind().Kind, object.GetNamespace(), object.GetName())
}

func (c *changes) record(name string, event watch.EventType) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.events[name] = append(c.events[name], event)
}

// of returns the changes of each copy.
func (c *changes) of() map[string][]watch.EventType {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return maps.Clone(c.events)
}
