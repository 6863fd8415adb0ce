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
)

var _ = DescribeTable("an operator that is killed after any write and started again ends what it began",
	func(name string, s scenario) { s.runWithKills(name) },
	Entry("fan-out", "fan-out", fanOut()),
	Entry("edit of the source", "edit", sourceEdit()),
	Entry("rename of the copies", "rename", copyRename()),
	Entry("change to another kind", "kind", kindChange()),
	Entry("copies made anew", "anew", recreation()),
	Entry("deletion of the Replika", "deletion", replikaDeletion()),
	Entry("adoption", "adoption", adoption()),
	Entry("hand-over to another Replika", "hand-over", handover()),
)

// The name of Replika and source in scenarios that have one of each.
const replikaName = "one"

// fanOut: a Replika comes.
func fanOut() scenario {
	return scenario{
		prepare:    func(f *fixture) { f.createSource(replikaName) },
		act:        func(f *fixture) { f.createReplika(replikaName) },
		expectDone:    func(g Gomega, f *fixture) { f.expectCopiesOf(g, replikaName) },
		writes:     7, // the finalizer, the copies, the status
		copyWrites: 5,
	}
}

// served: a Replika is there, and its copies.
func prepareSynced(f *fixture) {
	f.createSource(replikaName)
	f.createReplika(replikaName)
	Eventually(f.expectCopiesOf).WithArguments(replikaName).Should(Succeed())
}

// edit: a value of the source changes, a key goes.
func sourceEdit() scenario {
	return scenario{
		prepare: prepareSynced,
		act: func(f *fixture) {
			updateObject(f.getSource(Default, replikaName), func(source *corev1.ConfigMap) {
				source.Data["who"] = "edited"
				delete(source.Data, "gone-soon")
			})
		},
		expectDone: func(g Gomega, f *fixture) {
			g.Expect(f.getSource(g, replikaName).Data).To(Equal(map[string]string{"who": "edited"}))
			f.expectCopiesOf(g, replikaName)
		},
		writes:     6,
		copyWrites: 5,
	}
}

// rename: the copies get another name; those of the old name are orphans unless
// they go.
func copyRename() scenario {
	return scenario{
		prepare: prepareSynced,
		act: func(f *fixture) {
			updateObject(f.getReplika(Default, replikaName), func(replika *v1alpha1.Replika) { replika.Spec.Target.Name = "renamed" })
		},
		expectDone: func(g Gomega, f *fixture) {
			g.Expect(f.getReplika(g, replikaName).TargetName()).To(Equal("renamed"))
			f.expectCopiesOf(g, replikaName)
		},
		writes:     11,
		copyWrites: 10,
	}
}

// anotherKind: the Replika names a source of another kind; the copies of the
// former kind are orphans unless they go.
func kindChange() scenario {
	return scenario{
		prepare: func(f *fixture) {
			create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.sourceNamespace, Name: replikaName}, StringData: map[string]string{"who": replikaName}})
			f.createReplika(replikaName, func(replika *v1alpha1.Replika) { replika.Spec.Source.Kind = "Secret" })
			Eventually(f.expectAllSynced).WithArguments(replikaName).Should(Succeed())
			f.createSource(replikaName)
		},
		act: func(f *fixture) {
			updateObject(f.getReplika(Default, replikaName), func(replika *v1alpha1.Replika) { replika.Spec.Source.Kind = "ConfigMap" })
		},
		expectDone: func(g Gomega, f *fixture) {
			g.Expect(f.getReplika(g, replikaName).Spec.Source.Kind).To(Equal("ConfigMap"))
			f.expectCopiesOf(g, replikaName)
		},
		writes:     13, // the new kind's name, the Secrets' end, the copies, the former kind's name, the status
		copyWrites: 5,
	}
}

// anew: the copies cannot be changed, and are made anew. Between the end of one
// and its new beginning there is none.
func recreation() scenario {
	frozen := func(f *fixture, name string) {
		updateObject(f.createSource(name), func(source *corev1.ConfigMap) {
			source.Data["who"] = name
			source.Immutable = new(true)
		})
	}
	return scenario{
		prepare: func(f *fixture) {
			frozen(f, "before")
			frozen(f, replikaName)
			f.createReplika(replikaName, func(replika *v1alpha1.Replika) {
				replika.Spec.Source.Name, replika.Spec.Target.Name = "before", "shared"
			})
			Eventually(f.expectAllSynced).WithArguments(replikaName).Should(Succeed())
		},
		act: func(f *fixture) {
			updateObject(f.getReplika(Default, replikaName), func(replika *v1alpha1.Replika) { replika.Spec.Source.Name = replikaName })
		},
		expectDone: func(g Gomega, f *fixture) {
			g.Expect(f.getReplika(g, replikaName).Spec.Source.Name).To(Equal(replikaName))
			f.expectCopiesOf(g, replikaName)
		},
		writes:     11,
		copyWrites: 10,
		expectRejections:   true, // the update is tried first, and then whether a new one would be accepted
	}
}

// deletion: the Replika goes, and the copies before it.
func replikaDeletion() scenario {
	return scenario{
		prepare: prepareSynced,
		act: func(f *fixture) {
			Expect(admin.Delete(context.Background(), f.getReplika(Default, replikaName))).To(Succeed())
		},
		expectDone: func(g Gomega, f *fixture) {
			g.Expect(f.listReplikas(g)).To(BeEmpty())
			expectCopies(g)
		},
		writes:     6,
		copyWrites: 5,
	}
}

// adoption: the copies' places are taken, and the Replika may take them over.
// It must never delete what it did not make.
func adoption() scenario {
	theirs := map[string]string{"example.com/team": "theirs"}
	return scenario{
		prepare: func(f *fixture) {
			f.createSource(replikaName)
			for _, namespace := range f.targetNamespaces {
				create(&corev1.ConfigMap{
					ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: replikaName, Labels: theirs},
					Data:       map[string]string{"who": "somebody else"},
				})
			}
			f.recordObjects(replikaName)
		},
		act: func(f *fixture) {
			f.createReplika(replikaName, func(replika *v1alpha1.Replika) {
				replika.Spec.Target.ConflictPolicy = v1alpha1.ConflictPolicyAdopt
			})
		},
		expectDone: func(g Gomega, f *fixture) {
			f.expectCopiesOf(g, replikaName, func(copy *copyState) {
				maps.Copy(copy.Labels, theirs)
				copy.Ownership[v1alpha1.AnnotationAdopted] = v1alpha1.AdoptedValue
			})
		},
		writes:     7,
		copyWrites: 5,
		expectRejections:   true, // a create finds what is in the way
		expectLeft: func(g Gomega, f *fixture) {
			source := f.getSource(g, replikaName)
			for _, object := range f.expectSameObjects(g) {
				released := stateOf(object)
				g.Expect(released.Labels).To(Equal(map[string]string{"app": replikaName, "example.com/team": "theirs"}))
				g.Expect(released.Ownership).To(BeEmpty())
				g.Expect(released.Data).To(Equal(source.Data))
			}
		},
	}
}

// handOver: the Replika that owns the copies goes, and another one waits for
// them. The copies are at no moment missing: they are the same objects before
// and after.
func handover() scenario {
	const heir = "heir"
	target := func(replika *v1alpha1.Replika) { replika.Spec.Target.Name = "shared" }
	return scenario{
		prepare: func(f *fixture) {
			f.createSource(replikaName)
			f.createReplika(replikaName, target)
			Eventually(f.expectCopiesOf).WithArguments(replikaName).Should(Succeed())
			f.createSource(heir)
			f.createReplika(heir, target)
			Eventually(func(g Gomega) {
				g.Expect(f.getReplika(g, heir).Status.Copies).To(HaveValue(Equal(v1alpha1.CopiesStatus{Desired: 5, Failed: 5})))
			}).Should(Succeed())
			f.recordObjects("shared")
		},
		act: func(f *fixture) {
			Expect(admin.Delete(context.Background(), f.getReplika(Default, replikaName))).To(Succeed())
		},
		expectDone: func(g Gomega, f *fixture) {
			g.Expect(f.listReplikas(g)).To(HaveLen(1))
			f.expectCopiesOf(g, heir)
			f.expectSameObjects(g)
		},
		// The heir may take a copy over before the owner hands it over.
		nondeterministic:       true,
		expectRejections:   true,
		writes:     7, // the copies, the heir's status, the owner's finalizer
		copyWrites: 5,
	}
}
