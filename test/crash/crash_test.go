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
	func(name string, s scenario) { s.killedAfterAnyWrite(name) },
	Entry("fan-out", "fan-out", fanOut()),
	Entry("edit of the source", "edit", edit()),
	Entry("rename of the copies", "rename", rename()),
	Entry("change to another kind", "kind", anotherKind()),
	Entry("copies made anew", "anew", anew()),
	Entry("deletion of the Replika", "deletion", deletion()),
	Entry("adoption", "adoption", adoption()),
	Entry("hand-over to another Replika", "hand-over", handOver()),
)

// The name of Replika and source in scenarios that have one of each.
const one = "one"

// fanOut: a Replika comes.
func fanOut() scenario {
	return scenario{
		prepare:    func(w *world) { w.source(one) },
		act:        func(w *world) { w.replika(one) },
		reached:    func(g Gomega, w *world) { w.expectCopiesOf(g, one) },
		writes:     7, // the finalizer, the copies, the status
		copyWrites: 5,
	}
}

// served: a Replika is there, and its copies.
func served(w *world) {
	w.source(one)
	w.replika(one)
	Eventually(w.expectCopiesOf).WithArguments(one).Should(Succeed())
}

// edit: a value of the source changes, a key goes.
func edit() scenario {
	return scenario{
		prepare: served,
		act: func(w *world) {
			update(w.getSource(Default, one), func(source *corev1.ConfigMap) {
				source.Data["who"] = "edited"
				delete(source.Data, "gone-soon")
			})
		},
		reached: func(g Gomega, w *world) {
			g.Expect(w.getSource(g, one).Data).To(Equal(map[string]string{"who": "edited"}))
			w.expectCopiesOf(g, one)
		},
		writes:     6,
		copyWrites: 5,
	}
}

// rename: the copies get another name; those of the old name are orphans unless
// they go.
func rename() scenario {
	return scenario{
		prepare: served,
		act: func(w *world) {
			update(w.getReplika(Default, one), func(replika *v1alpha1.Replika) { replika.Spec.Target.Name = "renamed" })
		},
		reached: func(g Gomega, w *world) {
			g.Expect(w.getReplika(g, one).TargetName()).To(Equal("renamed"))
			w.expectCopiesOf(g, one)
		},
		writes:     11,
		copyWrites: 10,
	}
}

// anotherKind: the Replika names a source of another kind; the copies of the
// former kind are orphans unless they go.
func anotherKind() scenario {
	return scenario{
		prepare: func(w *world) {
			create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.home, Name: one}, StringData: map[string]string{"who": one}})
			w.replika(one, func(replika *v1alpha1.Replika) { replika.Spec.Source.Kind = "Secret" })
			Eventually(w.expectCounted).WithArguments(one).Should(Succeed())
			w.source(one)
		},
		act: func(w *world) {
			update(w.getReplika(Default, one), func(replika *v1alpha1.Replika) { replika.Spec.Source.Kind = "ConfigMap" })
		},
		reached: func(g Gomega, w *world) {
			g.Expect(w.getReplika(g, one).Spec.Source.Kind).To(Equal("ConfigMap"))
			w.expectCopiesOf(g, one)
		},
		writes:     13, // the new kind's name, the Secrets' end, the copies, the former kind's name, the status
		copyWrites: 5,
	}
}

// anew: the copies cannot be changed, and are made anew. Between the end of one
// and its new beginning there is none.
func anew() scenario {
	frozen := func(w *world, name string) {
		update(w.source(name), func(source *corev1.ConfigMap) {
			source.Data["who"] = name
			source.Immutable = new(true)
		})
	}
	return scenario{
		prepare: func(w *world) {
			frozen(w, "before")
			frozen(w, one)
			w.replika(one, func(replika *v1alpha1.Replika) {
				replika.Spec.Source.Name, replika.Spec.Target.Name = "before", "shared"
			})
			Eventually(w.expectCounted).WithArguments(one).Should(Succeed())
		},
		act: func(w *world) {
			update(w.getReplika(Default, one), func(replika *v1alpha1.Replika) { replika.Spec.Source.Name = one })
		},
		reached: func(g Gomega, w *world) {
			g.Expect(w.getReplika(g, one).Spec.Source.Name).To(Equal(one))
			w.expectCopiesOf(g, one)
		},
		writes:     11,
		copyWrites: 10,
		refusals:   true, // the update is tried first, and then whether a new one would be accepted
	}
}

// deletion: the Replika goes, and the copies before it.
func deletion() scenario {
	return scenario{
		prepare: served,
		act: func(w *world) {
			Expect(admin.Delete(context.Background(), w.getReplika(Default, one))).To(Succeed())
		},
		reached: func(g Gomega, w *world) {
			g.Expect(w.replikas(g)).To(BeEmpty())
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
		prepare: func(w *world) {
			w.source(one)
			for _, namespace := range w.targets {
				create(&corev1.ConfigMap{
					ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: one, Labels: theirs},
					Data:       map[string]string{"who": "somebody else"},
				})
			}
			w.remember(one)
		},
		act: func(w *world) {
			w.replika(one, func(replika *v1alpha1.Replika) {
				replika.Spec.Target.ConflictPolicy = v1alpha1.ConflictPolicyAdopt
			})
		},
		reached: func(g Gomega, w *world) {
			w.expectCopiesOf(g, one, func(copy *look) {
				maps.Copy(copy.Labels, theirs)
				copy.Marks[v1alpha1.AnnotationAdopted] = v1alpha1.AdoptedValue
			})
		},
		writes:     7,
		copyWrites: 5,
		refusals:   true, // a create finds what is in the way
		left: func(g Gomega, w *world) {
			source := w.getSource(g, one)
			for _, object := range w.expectSame(g) {
				released := lookOf(object)
				g.Expect(released.Labels).To(Equal(map[string]string{"app": one, "example.com/team": "theirs"}))
				g.Expect(released.Marks).To(BeEmpty())
				g.Expect(released.Data).To(Equal(source.Data))
			}
		},
	}
}

// handOver: the Replika that owns the copies goes, and another one waits for
// them. The copies are at no moment missing: they are the same objects before
// and after.
func handOver() scenario {
	const heir = "heir"
	target := func(replika *v1alpha1.Replika) { replika.Spec.Target.Name = "shared" }
	return scenario{
		prepare: func(w *world) {
			w.source(one)
			w.replika(one, target)
			Eventually(w.expectCopiesOf).WithArguments(one).Should(Succeed())
			w.source(heir)
			w.replika(heir, target)
			Eventually(func(g Gomega) {
				g.Expect(w.getReplika(g, heir).Status.Copies).To(HaveValue(Equal(v1alpha1.CopiesStatus{Desired: 5, Failed: 5})))
			}).Should(Succeed())
			w.remember("shared")
		},
		act: func(w *world) {
			Expect(admin.Delete(context.Background(), w.getReplika(Default, one))).To(Succeed())
		},
		reached: func(g Gomega, w *world) {
			g.Expect(w.replikas(g)).To(HaveLen(1))
			w.expectCopiesOf(g, heir)
			w.expectSame(g)
		},
		// The heir may take a copy over before the owner hands it over.
		racy:       true,
		refusals:   true,
		writes:     7, // the copies, the heir's status, the owner's finalizer
		copyWrites: 5,
	}
}
