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
	. "github.com/onsi/gomega"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
)

// selectAll selects all sources of a fixture by their label.
func selectAll(replika *v1alpha1.Replika) {
	kit.SelectSources(nil)(replika)
	replika.Spec.Source.Selector.MatchExpressions = []v1alpha1.LabelRequirement{{Key: "app", Operator: "Exists"}}
}

// selectOne selects the first source by its name.
func selectOne(replika *v1alpha1.Replika) {
	replika.Spec.Source.Name, replika.Spec.Source.Selector = first, nil
}

// oneToMany: the Replika selects sources by a label instead of one by its name. The copies of that one stay.
func oneToMany() scenario {
	return scenario{
		prepare: func(f *fixture) {
			f.CreateSource(second)
			prepareReplicated(f)
		},
		act: func(f *fixture) { f.UpdateReplika(first, selectAll) },
		expectDone: func(g Gomega, f *fixture) {
			g.Expect(f.GetReplika(g, first).HasManySources()).To(BeTrue())
			f.expectManyReplicated(g, first, first, second)
		},
		writes:     6,
		copyWrites: 5,
		copies:     2 * targets,
	}
}

// manyToOne: the Replika names one of its sources, so that the copies of the other one must be deleted.
func manyToOne() scenario {
	return scenario{
		prepare: func(f *fixture) {
			f.CreateSource(first)
			f.CreateSource(second)
			f.createReplika(first, selectAll)
			Eventually(f.expectManyReplicated).WithArguments(first, first, second).Should(Succeed())
		},
		act: func(f *fixture) { f.UpdateReplika(first, selectOne) },
		expectDone: func(g Gomega, f *fixture) {
			g.Expect(f.GetReplika(g, first).HasManySources()).To(BeFalse())
			f.expectReplicated(g, first)
		},
		writes:     6,
		copyWrites: 5,
	}
}

// prefixChange: the copies of many sources get another prefix. The copies with the former names must be deleted.
func prefixChange() scenario {
	return scenario{
		prepare: func(f *fixture) {
			f.CreateSource(first)
			f.createReplika(first, kit.SourceNames("fir*"), kit.TargetNameAffixes("x-", ""))
			Eventually(f.expectManyReplicated).WithArguments(first, first).Should(Succeed())
		},
		act: func(f *fixture) { f.UpdateReplika(first, kit.TargetNameAffixes("y-", "")) },
		expectDone: func(g Gomega, f *fixture) {
			g.Expect(f.GetReplika(g, first).Spec.Target.NamePrefix).To(Equal("y-"))
			f.expectManyReplicated(g, first, first)
		},
		writes:     11,
		copyWrites: 10,
	}
}
