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
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/test/e2e"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// watchesOnly is an interval longer than any spec. With it, only watches can trigger a reconcile.
const watchesOnly = 24 * time.Hour

// name is the name of the Replika, its source and its copies in specs with one Replika.
const name = "single"

// fixture is the namespaces of one spec, and the Replikas whose copies it expects.
type fixture struct {
	*e2e.Fixture
	expected []expectation
}

// expectation is a Replika, by its name and its source's name, and the namespaces of its copies.
type expectation struct {
	name       string
	namespaces []string
}

// fixtureNames are the names of the fixtures so far, of failed attempts too. Their namespaces remain until the suite ends.
var fixtureNames []string

// targetsOfOtherFixtures returns globs of the target namespaces of all other fixtures.
func targetsOfOtherFixtures(f *fixture) []string {
	var patterns []string
	for _, other := range fixtureNames {
		if other != f.Name {
			patterns = append(patterns, other+"-target-*")
		}
	}
	return patterns
}

// newFixture creates the namespaces.
func newFixture(prefix string, targets int) *fixture {
	GinkgoHelper()
	f := &fixture{Fixture: e2e.NewFixture(env.Admin, prefix, targets)}
	fixtureNames = append(fixtureNames, f.Name)
	return f
}

// After a failure, remove everything that would make the next attempt and the next specs fail too. It is registered before what
// the spec registers, so it runs after the operators have stopped.
var _ = BeforeEach(func() {
	DeferCleanup(func(ctx SpecContext) {
		if CurrentSpecReport().Failed() {
			e2e.RemoveLeftovers(ctx, env.Admin)
		}
	})
})

// addTarget creates one more namespace that the Replikas select.
func (f *fixture) addTarget() {
	GinkgoHelper()
	f.AddTargetNamespace()
	for i := range f.expected {
		f.expected[i].namespaces = f.TargetNamespaces
	}
}

// replicate creates a source and a Replika of it, both of this name, and expects copies in all target namespaces from now on.
func (f *fixture) replicate(name string, options ...kit.ReplikaOption) {
	GinkgoHelper()
	f.CreateReplika(f.CreateSource(name), options...)
	f.expected = append(f.expected, expectation{name: name, namespaces: f.TargetNamespaces})
}

// editSource changes the source and returns its new revision.
func (f *fixture) editSource() string {
	GinkgoHelper()
	return f.EditSource(name)
}

// renameCopies gives the copies another name.
func (f *fixture) renameCopies() {
	GinkgoHelper()
	f.UpdateReplika(name, kit.TargetName("renamed"))
}

// driftCopies changes the first copy and deletes the second.
func (f *fixture) driftCopies() {
	GinkgoHelper()
	expect.Update(context.Background(), env.Admin, f.copyIn(f.TargetNamespaces[0]), func(changed *corev1.ConfigMap) {
		changed.Data = map[string]string{"changed": "by a user"}
	})
	Expect(env.Admin.Delete(context.Background(), f.copyIn(f.TargetNamespaces[1]))).To(Succeed())
}

// copyIn returns the copy's name in the namespace, without content.
func (f *fixture) copyIn(namespace string) *corev1.ConfigMap {
	return kit.ConfigMap(namespace, name, "")
}

// deleteReplikas deletes all Replikas, and expects that no copy is left.
func (f *fixture) deleteReplikas() {
	GinkgoHelper()
	f.DeleteReplikas()
	f.expected = nil
	f.expectCopies(Default)
	reportCheck("the Replika is deleted, no copy is left")
}

// expectCopies expects exactly the expected copies in the whole cluster, equal to their sources.
func (f *fixture) expectCopies(g Gomega) {
	GinkgoHelper()
	var want []e2e.CopyState
	for _, expected := range f.expected {
		replika, source := f.GetReplika(g, expected.name), f.GetSource(g, expected.name)
		for _, namespace := range expected.namespaces {
			want = append(want, e2e.WantCopy(replika, source, namespace))
		}
	}
	e2e.ExpectCopies(g, env.Admin, want...)
}

// expectReplicated expects the exact copies, and a status that reports them.
func (f *fixture) expectReplicated(g Gomega) {
	GinkgoHelper()
	for _, expected := range f.expected {
		f.ExpectSynced(g, expected.name, len(expected.namespaces))
	}
	f.expectCopies(g) // last, because it lists all objects
}

// eventuallyReplicated waits for the exact copies and the status, and reports how long it took since start.
func (f *fixture) eventuallyReplicated(operation string, start time.Time) {
	GinkgoHelper()
	Eventually(f.expectReplicated).Should(Succeed())
	copies := 0
	for _, expected := range f.expected {
		copies += len(expected.namespaces)
	}
	reportCheck("%s: exactly %d copies, Ready, Synced after %s", operation, copies, elapsed(start))
}

// eventuallyCopied waits until the copies in the namespaces have the revision of the source.
func (f *fixture) eventuallyCopied(ctx context.Context, namespaces []string, revision string) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		for _, namespace := range namespaces {
			object := f.copyIn(namespace)
			g.Expect(env.Admin.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
			g.Expect(object.Data).To(HaveKeyWithValue(e2e.RevisionKey, revision))
		}
	}).Should(Succeed())
}
