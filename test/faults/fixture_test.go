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

package faults

import (
	"context"
	"fmt"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

const (
	// synchronizationTime is short, so that a rest which nothing disturbs is seen
	// soon.
	synchronizationTime = 2 * time.Second
	// watchesOnly is a synchronization time that no spec lives to see: whatever
	// happens, a watch has told of it.
	watchesOnly = 24 * time.Hour
)

// one is the name of Replika, source and copies where there is one of each.
const replikaName = "one"

// world is where one spec happens: namespaces of its own.
type fixture struct {
	name string
	// home is where Replikas and sources are, targets where copies belong.
	sourceNamespace    string
	targetNamespaces []string
	expectations  []expectation
}

// wish is a Replika, by its name and that of its source, and where its copies
// belong.
type expectation struct {
	name    string
	namespaces []string
}

// worlds are the names of all there have been: their namespaces stay.
var fixtureNames []string

// targetsOfOtherWorlds are globs for a Replika that selects everything else.
func targetsOfOtherFixtures(f *fixture) []string {
	var globs []string
	for _, name := range fixtureNames {
		if name != f.name {
			globs = append(globs, name+"-target-*")
		}
	}
	return globs
}

// newWorld makes the namespaces, and sees to it that a spec that fails leaves
// nothing that makes the next ones fail too.
func newFixture(name string, targets int) *fixture {
	GinkgoHelper()
	f := &fixture{name: name, sourceNamespace: name + "-home"}
	create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.sourceNamespace}})
	for range targets {
		f.addTarget()
	}
	fixtureNames = append(fixtureNames, name)
	DeferCleanup(f.removeLeftovers)
	return f
}

// addTarget makes one more namespace that the glob of the Replikas matches.
func (f *fixture) addTarget() {
	GinkgoHelper()
	namespace := fmt.Sprintf("%s-target-%d", f.name, len(f.targetNamespaces)+1)
	create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	f.targetNamespaces = append(f.targetNamespaces, namespace)
	for i := range f.expectations {
		f.expectations[i].namespaces = f.targetNamespaces
	}
}

// serve makes a source and a Replika of it, both of that name, and expects from
// now on that all targets have copies.
func (f *fixture) replicate(name string, change ...func(*v1alpha1.Replika)) {
	GinkgoHelper()
	create(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: f.sourceNamespace, Name: name,
			Labels:      map[string]string{"app": name},
			Annotations: map[string]string{"example.com/note": "from " + name},
		},
		Data:       map[string]string{revision: "1", "gone-soon": "yes"},
		BinaryData: map[string][]byte{"raw": {0, 1, 2, 0xff}},
	})
	replika := &v1alpha1.Replika{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.sourceNamespace, Name: name},
		Spec: v1alpha1.ReplikaSpec{
			Synchronization: v1alpha1.SynchronizationSpec{Time: metav1.Duration{Duration: synchronizationTime}},
			Source:          v1alpha1.SourceSpec{Version: "v1", Kind: "ConfigMap", Name: name},
			Target: v1alpha1.TargetSpec{
				Namespaces: v1alpha1.TargetNamespaces{ReplicateIn: []string{f.name + "-target-*"}},
			},
		},
	}
	for _, change := range change {
		change(replika)
	}
	create(replika)
	f.expectations = append(f.expectations, expectation{name: name, namespaces: f.targetNamespaces})
}

// every sets the synchronization time.
func withInterval(time time.Duration) func(*v1alpha1.Replika) {
	return func(replika *v1alpha1.Replika) { replika.Spec.Synchronization.Time.Duration = time }
}

// revision is the key of a source's data that each edit raises.
const revision = "revision"

// edit changes the source and returns its revision: one value changes, one key
// goes.
func (f *fixture) editSource() string {
	GinkgoHelper()
	source := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: f.sourceNamespace, Name: replikaName}}
	updateObject(source, func() {
		number, err := strconv.Atoi(source.Data[revision])
		Expect(err).NotTo(HaveOccurred())
		source.Data[revision] = strconv.Itoa(number + 1)
		delete(source.Data, "gone-soon")
	})
	return source.Data[revision]
}

// rename gives the copies another name.
func (f *fixture) renameCopies() {
	GinkgoHelper()
	replika := &v1alpha1.Replika{ObjectMeta: metav1.ObjectMeta{Namespace: f.sourceNamespace, Name: replikaName}}
	updateObject(replika, func() { replika.Spec.Target.Name = "renamed" })
}

// meddle changes the first copy by hand and deletes the second.
func (f *fixture) changeCopies() {
	GinkgoHelper()
	changed := f.copyIn(f.targetNamespaces[0])
	updateObject(changed, func() { changed.Data = map[string]string{"by": "hand"} })
	Expect(admin.Delete(context.Background(), f.copyIn(f.targetNamespaces[1]))).To(Succeed())
}

func (f *fixture) copyIn(namespace string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: replikaName}}
}

// deleteReplikas returns when they are gone, and expects that no copy is left.
func (f *fixture) deleteReplikas() {
	GinkgoHelper()
	for _, wish := range f.expectations {
		Expect(admin.Delete(context.Background(), f.replika(wish.name))).To(Succeed())
	}
	f.expectations = nil
	Eventually(func(g Gomega) {
		list := &v1alpha1.ReplikaList{}
		g.Expect(admin.List(context.Background(), list, client.InNamespace(f.sourceNamespace))).To(Succeed())
		g.Expect(list.Items).To(BeEmpty())
	}).Should(Succeed())
	f.expectCopies(Default)
	reportCheck("the Replika deleted, no copy left behind")
}

func (f *fixture) replika(name string) *v1alpha1.Replika {
	return &v1alpha1.Replika{ObjectMeta: metav1.ObjectMeta{Namespace: f.sourceNamespace, Name: name}}
}

// sweep removes by force what a failed spec left.
func (f *fixture) removeLeftovers(ctx SpecContext) {
	if !CurrentSpecReport().Failed() {
		return
	}
	replikas := &v1alpha1.ReplikaList{}
	Expect(admin.List(ctx, replikas)).To(Succeed())
	for i := range replikas.Items {
		replika := &replikas.Items[i]
		Expect(client.IgnoreNotFound(admin.Delete(ctx, replika))).To(Succeed())
		Expect(client.IgnoreNotFound(admin.Patch(ctx, replika,
			client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))))).To(Succeed())
	}
	copies := &corev1.ConfigMapList{}
	Expect(admin.List(ctx, copies, client.HasLabels{v1alpha1.LabelCreatedBy})).To(Succeed())
	for i := range copies.Items {
		Expect(client.IgnoreNotFound(admin.Delete(ctx, &copies.Items[i]))).To(Succeed())
	}
}

func create(object client.Object) {
	GinkgoHelper()
	Expect(admin.Create(context.Background(), object)).To(Succeed())
}

// update changes an object that the operator may change at the same time.
func updateObject(object client.Object, change func()) {
	GinkgoHelper()
	Expect(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := admin.Get(context.Background(), client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		change()
		return admin.Update(context.Background(), object)
	})).To(Succeed())
}
