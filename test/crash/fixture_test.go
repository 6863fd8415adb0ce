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

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/e2e"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/proxy"
)

// targets is the number of target namespaces of a fixture.
const targets = 5

// fixture is the namespaces of one run of a scenario.
type fixture struct {
	*e2e.Fixture
	// recorded are objects before the operation, one in each target namespace.
	recorded []*corev1.ConfigMap
}

func newFixture(name string) *fixture {
	GinkgoHelper()
	return &fixture{Fixture: e2e.NewFixture(env.Admin, name, targets)}
}

// createReplika creates a Replika of the ConfigMap of this name.
func (f *fixture) createReplika(name string, options ...kit.ReplikaOption) {
	GinkgoHelper()
	f.CreateReplika(kit.ConfigMap(f.SourceNamespace, name, ""), options...)
}

// recordObjects records the objects of this name in the target namespaces.
func (f *fixture) recordObjects(name string) {
	GinkgoHelper()
	for _, namespace := range f.TargetNamespaces {
		object := &corev1.ConfigMap{}
		Expect(env.Admin.Get(context.Background(), client.ObjectKey{Namespace: namespace, Name: name}, object)).To(Succeed())
		f.recorded = append(f.recorded, object)
	}
}

// expectRecordedObjects expects that the recorded objects were not deleted, and returns their current state.
func (f *fixture) expectRecordedObjects(g Gomega) []*corev1.ConfigMap {
	GinkgoHelper()
	var objects []*corev1.ConfigMap
	for _, recorded := range f.recorded {
		current := &corev1.ConfigMap{}
		g.Expect(env.Admin.Get(context.Background(), client.ObjectKeyFromObject(recorded), current)).To(Succeed())
		g.Expect(current.UID).To(Equal(recorded.UID), "%s was re-created", client.ObjectKeyFromObject(recorded))
		objects = append(objects, current)
	}
	return objects
}

// expectCopies expects exactly these copies, all of them ConfigMaps.
func expectCopies(g Gomega, want ...e2e.CopyState) {
	GinkgoHelper()
	secrets := &corev1.SecretList{}
	g.Expect(env.Admin.List(context.Background(), secrets, client.HasLabels{v1alpha1.LabelCreatedBy})).To(Succeed())
	g.Expect(secrets.Items).To(BeEmpty())
	e2e.ExpectCopies(g, env.Admin, want...)
}

// expectManyReplicated expects a copy of each of many sources in every target namespace, no other copies, and a Replika that reports so.
func (f *fixture) expectManyReplicated(g Gomega, name string, sources ...string) {
	GinkgoHelper()
	f.ExpectSynced(g, name, len(sources)*targets) // before the copies, because that lists all objects
	replika := f.GetReplika(g, name)
	var want []e2e.CopyState
	for _, source := range sources {
		for _, namespace := range f.TargetNamespaces {
			want = append(want, e2e.WantCopy(replika, f.GetSource(g, source), namespace))
		}
	}
	expectCopies(g, want...)
}

// expectReplicated expects a copy of the source in every target namespace, no other copies, and a Replika that reports so.
func (f *fixture) expectReplicated(g Gomega, name string, change ...func(*e2e.CopyState)) {
	GinkgoHelper()
	f.ExpectSynced(g, name, targets) // before the copies, because that lists all objects
	replika, source := f.GetReplika(g, name), f.GetSource(g, name)
	var want []e2e.CopyState
	for _, namespace := range f.TargetNamespaces {
		state := e2e.WantCopy(replika, source, namespace)
		for _, change := range change {
			change(&state)
		}
		want = append(want, state)
	}
	expectCopies(g, want...)
}

// expectCounts expects that the status reports a synced copy in every target namespace. It does not look at the copies.
func (f *fixture) expectCounts(g Gomega, name string) {
	GinkgoHelper()
	g.Expect(f.GetReplika(g, name).Status.Copies).To(HaveValue(Equal(v1alpha1.CopiesStatus{Desired: targets, Synced: targets})))
}

// expectNoWrites waits until each source was read twice, or many were listed twice, which is at least one complete reconcile, and
// expects no write.
func (f *fixture) expectNoWrites() {
	GinkgoHelper()
	start := proxyMark()
	for _, replika := range f.ListReplikas(Default) {
		readsSource := func(r proxy.Request) bool {
			if replika.HasManySources() {
				return r.Verb == "list" && r.Resource == "configmaps" && r.Namespace == f.SourceNamespace
			}
			return r.Verb == "get" && r.Resource == "configmaps" && r.Namespace == f.SourceNamespace && r.Name == replika.Spec.Source.Name
		}
		Eventually(func() int { return len(apiProxy.Requests(start, readsSource)) }).Should(BeNumerically(">=", 2))
	}
	Expect(writesSince(start)).To(BeEmpty())
	Expect(rejectedSince(start)).To(BeEmpty())
}
