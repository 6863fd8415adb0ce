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
	corev1 "k8s.io/api/core/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("A foreign object that was deleted while no Replika had copies of its name", func() {
	It("Should not be a conflict of the next Replika", func(ctx SpecContext) {
		f := newFixture()
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		other := create(ctx, kit.ConfigMap(home, "other", "one"))
		f.replika(ctx, other, kit.TargetNamespaces(a)) // keeps the watch of the kind's copies
		expect.Copied(ctx, api, other, a)
		source := create(ctx, kit.ConfigMap(home, f.name("settings"), "one")) // no other spec has copies of this name
		foreign := create(ctx, kit.ConfigMap(a, source.Name, "theirs"))
		first := f.replika(ctx, source, kit.WithName("first"), kit.TargetNamespaces(a), kit.Interval(time.Hour))
		expect.Failures(ctx, api, first, map[string]string{a: v1alpha1.FailureConflict})
		deleteAndWait(ctx, first)
		receiveCopyEvents(ctx, other)
		Expect(api.Delete(ctx, foreign)).To(Succeed())

		next := f.replika(ctx, source, kit.WithName("next"), kit.TargetNamespaces(a), kit.Interval(time.Hour))
		expect.Ready(ctx, api, next, 1)
		expect.Copied(ctx, api, source, a)
		expectEvent(ctx, next, corev1.EventTypeNormal, v1alpha1.ReasonSynced, "1")
		Expect(eventsOf(ctx, next)).NotTo(ContainElement(HaveField("Reason", v1alpha1.ReasonCopiesFailed)))
	})
})
