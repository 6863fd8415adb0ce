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

package crash

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/proxy"
)

// synchronizationTime is short, so that a rest which nothing disturbs is seen
// soon.
const synchronizationTime = 2 * time.Second

// world is where one run of a scenario happens: namespaces of its own.
type fixture struct {
	// home is where Replikas and sources are, targets where the copies belong.
	sourceNamespace    string
	targetNamespaces []string
	// before are objects that were there before, one in each target.
	recorded []*corev1.ConfigMap
}

func newFixture(name string) *fixture {
	GinkgoHelper()
	f := &fixture{sourceNamespace: name + "-home"}
	for i := range 5 {
		f.targetNamespaces = append(f.targetNamespaces, fmt.Sprintf("%s-target-%d", name, i+1))
	}
	for _, namespace := range append([]string{f.sourceNamespace}, f.targetNamespaces...) {
		create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	}
	return f
}

// source makes a source of that name.
func (f *fixture) createSource(name string) *corev1.ConfigMap {
	GinkgoHelper()
	source := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: f.sourceNamespace, Name: name,
			Labels:      map[string]string{"app": name},
			Annotations: map[string]string{"example.com/note": "from " + name},
		},
		Data:       map[string]string{"who": name, "gone-soon": "yes"},
		BinaryData: map[string][]byte{"raw": {0, 1, 2, 0xff}},
	}
	create(source)
	return source
}

// replika makes a Replika of that name, of a source of the same name, which
// selects the targets by a glob.
func (f *fixture) createReplika(name string, change ...func(*v1alpha1.Replika)) *v1alpha1.Replika {
	GinkgoHelper()
	replika := &v1alpha1.Replika{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.sourceNamespace, Name: name},
		Spec: v1alpha1.ReplikaSpec{
			Synchronization: v1alpha1.SynchronizationSpec{Time: metav1.Duration{Duration: synchronizationTime}},
			Source:          v1alpha1.SourceSpec{Version: "v1", Kind: "ConfigMap", Name: name},
			Target: v1alpha1.TargetSpec{
				Namespaces: v1alpha1.TargetNamespaces{ReplicateIn: []string{f.targetNamespaces[0][:len(f.targetNamespaces[0])-1] + "*"}},
			},
		},
	}
	for _, change := range change {
		change(replika)
	}
	create(replika)
	return replika
}

// getReplika reads the Replika of that name.
func (f *fixture) getReplika(g Gomega, name string) *v1alpha1.Replika {
	GinkgoHelper()
	replika := &v1alpha1.Replika{}
	g.Expect(admin.Get(context.Background(), client.ObjectKey{Namespace: f.sourceNamespace, Name: name}, replika)).To(Succeed())
	return replika
}

// getSource reads the source of that name.
func (f *fixture) getSource(g Gomega, name string) *corev1.ConfigMap {
	GinkgoHelper()
	source := &corev1.ConfigMap{}
	g.Expect(admin.Get(context.Background(), client.ObjectKey{Namespace: f.sourceNamespace, Name: name}, source)).To(Succeed())
	return source
}

// replikas lists those that there are.
func (f *fixture) listReplikas(g Gomega) []v1alpha1.Replika {
	GinkgoHelper()
	list := &v1alpha1.ReplikaList{}
	g.Expect(admin.List(context.Background(), list, client.InNamespace(f.sourceNamespace))).To(Succeed())
	return list.Items
}

func (f *fixture) deleteReplikas() {
	GinkgoHelper()
	for _, replika := range f.listReplikas(Default) {
		Expect(client.IgnoreNotFound(admin.Delete(context.Background(), &replika))).To(Succeed())
	}
	Eventually(func(g Gomega) { g.Expect(f.listReplikas(g)).To(BeEmpty()) }).Should(Succeed())
}

// remember keeps in mind which objects of that name there are.
func (f *fixture) recordObjects(name string) {
	GinkgoHelper()
	for _, namespace := range f.targetNamespaces {
		object := &corev1.ConfigMap{}
		Expect(admin.Get(context.Background(), client.ObjectKey{Namespace: namespace, Name: name}, object)).To(Succeed())
		f.recorded = append(f.recorded, object)
	}
}

// expectSame: the objects from before are still there, and returns them as they
// are now.
func (f *fixture) expectSameObjects(g Gomega) []*corev1.ConfigMap {
	GinkgoHelper()
	var same []*corev1.ConfigMap
	for _, before := range f.recorded {
		now := &corev1.ConfigMap{}
		g.Expect(admin.Get(context.Background(), client.ObjectKeyFromObject(before), now)).To(Succeed())
		g.Expect(now.UID).To(Equal(before.UID), "%s was made anew", client.ObjectKeyFromObject(before))
		same = append(same, now)
	}
	return same
}

// expectRest: each Replika was looked at, twice and so at least once from
// beginning to end, and nothing was written.
func (f *fixture) expectNoWrites() {
	GinkgoHelper()
	begin := proxyMark()
	for _, replika := range f.listReplikas(Default) {
		isLook := func(r proxy.Request) bool {
			return r.Verb == "get" && r.Resource == "configmaps" && r.Namespace == f.sourceNamespace && r.Name == replika.Spec.Source.Name
		}
		Eventually(func() int { return len(apiProxy.Requests(begin, isLook)) }).Should(BeNumerically(">=", 2))
	}
	Expect(writesSince(begin)).To(BeEmpty())
	Expect(rejectedSince(begin)).To(BeEmpty())
}

func create(object client.Object) {
	GinkgoHelper()
	Expect(admin.Create(context.Background(), object)).To(Succeed())
}

// update changes an object that the operator may change at the same time.
func updateObject[T client.Object](object T, change func(T)) {
	GinkgoHelper()
	Expect(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := admin.Get(context.Background(), client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		change(object)
		return admin.Update(context.Background(), object)
	})).To(Succeed())
}
