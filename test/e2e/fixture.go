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

package e2e

import (
	"context"
	"fmt"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// Interval is the synchronization time of the Replikas. It is short, so that a spec soon sees two reconciles without a write.
const Interval = 2 * time.Second

// Keys of a source's data. Each edit increments the revision; the first one removes the other key.
const (
	RevisionKey = "revision"
	removedKey  = "removed-by-edit"
)

// Fixture is the namespaces of one spec, and the sources and Replikas in them.
type Fixture struct {
	// Name is the prefix of all namespaces.
	Name string
	// SourceNamespace is the namespace of sources and Replikas.
	SourceNamespace string
	// TargetNamespaces are the namespaces that the Replikas select, by a glob.
	TargetNamespaces []string

	admin client.Client
}

// NewFixture creates the namespaces. Each attempt of a spec gets new ones.
func NewFixture(admin client.Client, name string, targets int) *Fixture {
	GinkgoHelper()
	name = expect.NameOfAttempt(name)
	f := &Fixture{Name: name, SourceNamespace: name + "-source", admin: admin}
	f.create(kit.Namespace(f.SourceNamespace))
	for range targets {
		f.AddTargetNamespace()
	}
	return f
}

// AddTargetNamespace creates one more namespace that the Replikas select.
func (f *Fixture) AddTargetNamespace() {
	GinkgoHelper()
	namespace := fmt.Sprintf("%s-target-%d", f.Name, len(f.TargetNamespaces)+1)
	f.create(kit.Namespace(namespace))
	f.TargetNamespaces = append(f.TargetNamespaces, namespace)
}

// TargetPattern is the glob that matches all target namespaces.
func (f *Fixture) TargetPattern() string { return f.Name + "-target-*" }

// CreateSource creates a ConfigMap to replicate.
func (f *Fixture) CreateSource(name string) *corev1.ConfigMap {
	GinkgoHelper()
	source := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: f.SourceNamespace, Name: name,
			Labels:      map[string]string{"app": name},
			Annotations: map[string]string{"example.com/note": "from " + name},
		},
		Data:       map[string]string{RevisionKey: "1", removedKey: "yes"},
		BinaryData: map[string][]byte{"raw": {0, 1, 2, 0xff}},
	}
	f.create(source)
	return source
}

// EditSource increments the revision of the ConfigMap and returns it.
func (f *Fixture) EditSource(name string) string {
	GinkgoHelper()
	source := kit.ConfigMap(f.SourceNamespace, name, "")
	expect.Update(context.Background(), f.admin, source, func(source *corev1.ConfigMap) {
		number, err := strconv.Atoi(source.Data[RevisionKey])
		Expect(err).NotTo(HaveOccurred())
		source.Data[RevisionKey] = strconv.Itoa(number + 1)
		delete(source.Data, removedKey)
	})
	return source.Data[RevisionKey]
}

// CreateReplika creates a Replika of the source, with the source's name, that selects all target namespaces.
func (f *Fixture) CreateReplika(source client.Object, options ...kit.ReplikaOption) *v1alpha1.Replika {
	GinkgoHelper()
	replika := kit.NewReplika(source, kit.Interval(Interval), kit.TargetNamespaces(f.TargetPattern()))
	for _, option := range options {
		option(replika)
	}
	f.create(replika)
	return replika
}

// UpdateReplika changes the Replika's spec.
func (f *Fixture) UpdateReplika(name string, change kit.ReplikaOption) {
	GinkgoHelper()
	expect.Update(context.Background(), f.admin, f.ReplikaKey(name), func(replika *v1alpha1.Replika) { change(replika) })
}

// ReplikaKey returns a Replika with nothing but name and namespace.
func (f *Fixture) ReplikaKey(name string) *v1alpha1.Replika {
	return &v1alpha1.Replika{ObjectMeta: metav1.ObjectMeta{Namespace: f.SourceNamespace, Name: name}}
}

// GetReplika reads the Replika.
func (f *Fixture) GetReplika(g Gomega, name string) *v1alpha1.Replika {
	GinkgoHelper()
	replika := f.ReplikaKey(name)
	g.Expect(f.admin.Get(context.Background(), client.ObjectKeyFromObject(replika), replika)).To(Succeed())
	return replika
}

// GetSource reads the source.
func (f *Fixture) GetSource(g Gomega, name string) *corev1.ConfigMap {
	GinkgoHelper()
	source := &corev1.ConfigMap{}
	g.Expect(f.admin.Get(context.Background(), client.ObjectKey{Namespace: f.SourceNamespace, Name: name}, source)).To(Succeed())
	return source
}

// ListReplikas lists the Replikas of the fixture.
func (f *Fixture) ListReplikas(g Gomega) []v1alpha1.Replika {
	GinkgoHelper()
	list := &v1alpha1.ReplikaList{}
	g.Expect(f.admin.List(context.Background(), list, client.InNamespace(f.SourceNamespace))).To(Succeed())
	return list.Items
}

// DeleteReplikas deletes the Replikas of the fixture, and waits until they are gone.
func (f *Fixture) DeleteReplikas() {
	GinkgoHelper()
	for _, replika := range f.ListReplikas(Default) {
		Expect(client.IgnoreNotFound(f.admin.Delete(context.Background(), &replika))).To(Succeed())
	}
	Eventually(f.ListReplikas).Should(BeEmpty())
}

// RemoveLeftovers deletes all Replikas and copies by force. A failed attempt leaves some, which would make the next attempt and
// the next specs fail too. No operator may run, because it would create some again.
func RemoveLeftovers(ctx context.Context, admin client.Client) {
	GinkgoHelper()
	replikas := &v1alpha1.ReplikaList{}
	Expect(admin.List(ctx, replikas)).To(Succeed())
	for i := range replikas.Items {
		Expect(client.IgnoreNotFound(admin.Delete(ctx, &replikas.Items[i]))).To(Succeed())
		Expect(kit.SetFinalizers(ctx, admin, &replikas.Items[i])).To(Succeed())
	}
	for _, list := range []client.ObjectList{&corev1.ConfigMapList{}, &corev1.SecretList{}} {
		Expect(admin.List(ctx, list, client.HasLabels{v1alpha1.LabelCreatedBy})).To(Succeed())
		Expect(meta.EachListItem(list, func(copied runtime.Object) error {
			return client.IgnoreNotFound(admin.Delete(ctx, copied.(client.Object)))
		})).To(Succeed())
	}
}

func (f *Fixture) create(object client.Object) {
	GinkgoHelper()
	Expect(f.admin.Create(context.Background(), object)).To(Succeed())
}
