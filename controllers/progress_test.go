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
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("A slow reconcile", func() {
	It("Should be reported while it lasts, and delay no other namespace", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		installHangingWebhook(ctx, 4*time.Second, a)
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
		progressing := expect.Progressing(ctx, api, replika)
		Expect(meta.IsStatusConditionTrue(progressing.Status.Conditions, v1alpha1.ConditionReconciling)).To(BeTrue())
		Expect(read(ctx, source, a)).To(BeNil(), "the reconcile has ended")
		Expect(read(ctx, source, b)).NotTo(BeNil())
		expect.Ready(ctx, api, replika, 2)
		expect.Copied(ctx, api, source, a)
	})

	It("Should never be reported as the result of a spec that was written meanwhile", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		installHangingWebhook(ctx, 4*time.Second, a)
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Progressing(ctx, api, replika)
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Name = "renamed" })
		renamed := kit.ConfigMap(a, "renamed", "")
		Eventually(ctx, func(g Gomega) {
			current := &v1alpha1.Replika{}
			g.Expect(api.Get(ctx, client.ObjectKeyFromObject(replika), current)).To(Succeed())
			if ready := kit.Ready(current); current.Status.ObservedGeneration == replika.Generation &&
				ready.Reason != v1alpha1.ReasonProgressing && read(ctx, renamed, a) == nil {
				StopTrying("the status claims a generation that was not reconciled").Now()
			}
			g.Expect(current.Status.ObservedGeneration).To(Equal(replika.Generation))
		}).Should(Succeed())
		expect.Ready(ctx, api, replika, 1)
	})
})
