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

package controllers_test

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("Many Replikas of a kind that is polled", func() {
	// They list their copies a few at a time. Those that wait for their turn report nothing, above all no failure.
	It("Should all be served, and stay ready", func(ctx SpecContext) {
		const replikas, interval = 40, 2 * time.Second
		f := newFixture()
		d := newCustomKind()
		d.grant(ctx, "get", "list", "create", "update", "patch", "delete")
		d.install(ctx)
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		sources, created := make([]*unstructured.Unstructured, replikas), make([]*v1alpha1.Replika, replikas)
		for i := range replikas {
			sources[i] = d.create(ctx, home, fmt.Sprintf("many-%d", i), "one")
		}
		for i, source := range sources {
			created[i] = f.replika(ctx, source, kit.WithName(source.GetName()), kit.TargetNamespaces(a), kit.Interval(interval))
		}
		for _, replika := range created {
			expect.Ready(ctx, api, replika, 1)
		}
		idle := markAudit()
		for _, source := range sources {
			f.waitForReads(ctx, idle, source, 2)
		}
		Expect(f.writes(idle)).To(BeEmpty())
		for _, source := range sources {
			update(ctx, source, setKey("two"))
		}
		for i, source := range sources {
			Eventually(ctx, func() any { return read(ctx, source, a).Object["spec"] }).Should(HaveKeyWithValue("key", "two"))
			expect.Ready(ctx, api, created[i], 1)
		}
	})
})
