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
	"maps"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/e2e"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = DescribeTable("An operator that is killed after any write completes the operation after a restart",
	func(name string, s scenario) { s.runWithKills(name) },
	Entry("fan-out", "fan-out", fanOut()),
	Entry("edit of the source", "edit", sourceEdit()),
	Entry("rename of the copies", "rename", copyRename()),
	Entry("change of the kind", "kind", kindChange()),
	Entry("recreation of the copies", "recreate", recreation()),
	Entry("deletion of the Replika", "deletion", replikaDeletion()),
	Entry("adoption", "adoption", adoption()),
	Entry("hand-over to another Replika", "hand-over", handover()),
	Entry("change from one source to many", "one-many", oneToMany()),
	Entry("change from many sources to one", "many-one", manyToOne()),
	Entry("change of the prefix of the copies of many sources", "prefix", prefixChange()),
)

const (
	// first is the name of the Replika and its source. Scenarios with two Replikas also have second.
	first  = "first"
	second = "second"
	// shared is the name of the copies where two sources or Replikas have the same copies.
	shared = "shared"
)

// fanOut: a Replika is created.
func fanOut() scenario {
	return scenario{
		prepare:    func(f *fixture) { f.CreateSource(first) },
		act:        func(f *fixture) { f.createReplika(first) },
		expectDone: func(g Gomega, f *fixture) { f.expectReplicated(g, first) },
		writes:     7, // the finalizer, the copies, the status
		copyWrites: 5,
	}
}

// prepareReplicated creates a Replika and waits for its copies.
func prepareReplicated(f *fixture) {
	f.CreateSource(first)
	f.createReplika(first)
	Eventually(f.expectReplicated).WithArguments(first).Should(Succeed())
}

// sourceEdit: a value of the source changes, and a key is removed.
func sourceEdit() scenario {
	return scenario{
		prepare: prepareReplicated,
		act:     func(f *fixture) { f.EditSource(first) },
		expectDone: func(g Gomega, f *fixture) {
			g.Expect(f.GetSource(g, first).Data).To(Equal(map[string]string{e2e.RevisionKey: "2"}))
			f.expectReplicated(g, first)
		},
		writes:     6,
		copyWrites: 5,
	}
}

// copyRename: the copies get another name. The copies with the old name must be deleted.
func copyRename() scenario {
	return scenario{
		prepare: prepareReplicated,
		act:     func(f *fixture) { f.UpdateReplika(first, kit.TargetName("renamed")) },
		expectDone: func(g Gomega, f *fixture) {
			g.Expect(f.GetReplika(g, first).TargetName()).To(Equal("renamed"))
			f.expectReplicated(g, first)
		},
		writes:     11,
		copyWrites: 10,
	}
}

// kindChange: the Replika selects a source of another kind. The copies of the former kind must be deleted.
func kindChange() scenario {
	return scenario{
		prepare: func(f *fixture) {
			secret := kit.Secret(f.SourceNamespace, first, "value")
			expect.Create(context.Background(), env.Admin, secret)
			f.CreateReplika(secret)
			Eventually(f.expectCounts).WithArguments(first).Should(Succeed())
			f.CreateSource(first)
		},
		act: func(f *fixture) { f.UpdateReplika(first, kit.SourceKind("", "v1", "ConfigMap")) },
		expectDone: func(g Gomega, f *fixture) {
			g.Expect(f.GetReplika(g, first).Spec.Source.Kind).To(Equal("ConfigMap"))
			f.expectReplicated(g, first)
		},
		writes:     13, // add the new kind to the inventory, delete 5 Secrets, create 5 copies, remove the former kind, the status
		copyWrites: 5,
	}
}

// recreation: the copies are immutable, so an update deletes and creates them. A kill can happen while a copy is deleted.
func recreation() scenario {
	createImmutable := func(f *fixture, name string) {
		source := f.CreateSource(name)
		expect.Update(context.Background(), env.Admin, source, func(source *corev1.ConfigMap) {
			source.Data[e2e.RevisionKey] = name
			source.Immutable = new(true)
		})
	}
	return scenario{
		prepare: func(f *fixture) {
			createImmutable(f, "before")
			createImmutable(f, first)
			f.createReplika("before", kit.WithName(first), kit.TargetName(shared))
			Eventually(f.expectCounts).WithArguments(first).Should(Succeed())
		},
		act: func(f *fixture) {
			f.UpdateReplika(first, func(replika *v1alpha1.Replika) { replika.Spec.Source.Name = first })
		},
		expectDone: func(g Gomega, f *fixture) {
			g.Expect(f.GetReplika(g, first).Spec.Source.Name).To(Equal(first))
			f.expectReplicated(g, first)
		},
		writes:     11,
		copyWrites: 10,
		rejections: true, // of the update, which comes first
	}
}

// replikaDeletion: the Replika is deleted, after its copies.
func replikaDeletion() scenario {
	return scenario{
		prepare: prepareReplicated,
		act: func(f *fixture) {
			Expect(env.Admin.Delete(context.Background(), f.ReplikaKey(first))).To(Succeed())
		},
		expectDone: func(g Gomega, f *fixture) {
			g.Expect(f.ListReplikas(g)).To(BeEmpty())
			expectCopies(g)
		},
		writes:     6,
		copyWrites: 5,
	}
}

// adoption: foreign objects have the copies' names, and the Replika adopts them. They must never be deleted.
func adoption() scenario {
	foreignLabels := map[string]string{"example.com/team": "foreign"}
	return scenario{
		prepare: func(f *fixture) {
			f.CreateSource(first)
			for _, namespace := range f.TargetNamespaces {
				expect.Create(context.Background(), env.Admin, &corev1.ConfigMap{
					ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: first, Labels: foreignLabels},
					Data:       map[string]string{"foreign": "content"},
				})
			}
			f.recordObjects(first)
		},
		act: func(f *fixture) { f.createReplika(first, kit.Adopt()) },
		expectDone: func(g Gomega, f *fixture) {
			f.expectReplicated(g, first, func(copied *e2e.CopyState) {
				maps.Copy(copied.Labels, foreignLabels)
				copied.Ownership[v1alpha1.AnnotationAdopted] = v1alpha1.AdoptedValue
			})
		},
		writes:     7,
		copyWrites: 5,
		rejections: true, // of the creates, because the objects exist
		expectLeft: func(g Gomega, f *fixture) {
			source := f.GetSource(g, first)
			for _, object := range f.expectRecordedObjects(g) {
				released := e2e.StateOf(object)
				g.Expect(released.Labels).To(Equal(map[string]string{"app": first, "example.com/team": "foreign"}))
				g.Expect(released.Ownership).To(BeEmpty())
				g.Expect(released.Data).To(Equal(source.Data))
			}
		},
	}
}

// handover: the Replika that owns the copies is deleted while another one claims them. The copies must exist all the time:
// they are the same objects before and after.
func handover() scenario {
	return scenario{
		prepare: func(f *fixture) {
			f.CreateSource(first)
			f.createReplika(first, kit.TargetName(shared))
			Eventually(f.expectReplicated).WithArguments(first).Should(Succeed())
			f.CreateSource(second)
			f.createReplika(second, kit.TargetName(shared))
			Eventually(func(g Gomega) {
				g.Expect(f.GetReplika(g, second).Status.Copies).
					To(HaveValue(Equal(v1alpha1.CopiesStatus{Desired: targets, Failed: targets})))
			}).Should(Succeed())
			f.recordObjects(shared)
		},
		act: func(f *fixture) {
			Expect(env.Admin.Delete(context.Background(), f.ReplikaKey(first))).To(Succeed())
		},
		expectDone: func(g Gomega, f *fixture) {
			g.Expect(f.ListReplikas(g)).To(HaveLen(1))
			f.expectReplicated(g, second)
			f.expectRecordedObjects(g)
		},
		// The second Replika may take a copy over before the first one hands it over.
		concurrent: true,
		rejections: true,
		writes:     7, // the copies, the second Replika's status, the first one's finalizer
		copyWrites: 5,
	}
}
