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
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("Many sources in one namespace", func() {
	It("Should share one watch, which delivers every change promptly", func(ctx SpecContext) {
		const count = 40
		f := newFixture()
		home, a := f.namespace(ctx, "source"), f.namespace(ctx, "a")
		began := markAudit()
		sources := make([]*corev1.ConfigMap, count)
		replikas := make([]*v1alpha1.Replika, count)
		for i := range sources {
			sources[i] = create(ctx, kit.ConfigMap(home, fmt.Sprintf("settings-%02d", i), "one"))
			replikas[i] = f.replika(ctx, sources[i], kit.TargetNamespaces(a), kit.Interval(time.Hour))
		}
		for _, replika := range replikas {
			expect.Ready(ctx, api, replika, 1)
		}
		Eventually(ctx, func() []string { return f.openSourceWatches(began, home) }).WithPolling(auditPolling).
			Should(Equal([]string{"all"}))

		By("changing each source")
		for _, i := range []int{0, count / 2, count - 1} {
			update(ctx, sources[i], func(source *corev1.ConfigMap) { source.Data = map[string]string{"key": "two"} })
			expectPromptly(func() { expect.Copied(ctx, api, sources[i], a) })
		}
		deleteAndWait(ctx, sources[1])
		expectPromptly(func() { expect.Reason(ctx, api, replikas[1], v1alpha1.ReasonSourceNotFound) })
		sources[1] = create(ctx, kit.ConfigMap(home, sources[1].Name, "three"))
		expectPromptly(func() { expect.Copied(ctx, api, sources[1], a) })

		By("deleting most Replikas, so that each source has its own watch again")
		for _, replika := range replikas[5:] {
			deleteAndWait(ctx, replika)
		}
		want := make([]string, 5)
		for i := range want {
			want[i] = sources[i].Name
		}
		Eventually(ctx, func() []string { return f.openSourceWatches(began, home) }).WithPolling(auditPolling).
			Should(ConsistOf(want))
		update(ctx, sources[4], func(source *corev1.ConfigMap) { source.Data = map[string]string{"key": "four"} })
		expectPromptly(func() { expect.Copied(ctx, api, sources[4], a) })
	})
})

// openSourceWatches lists the names that the operator's open watches in the source's namespace select, "all" for one that selects all
// objects.
func (f *fixture) openSourceWatches(since auditMark, namespace string) []string {
	GinkgoHelper()
	open := map[string]int{}
	for _, event := range f.requests(since, func(e cluster.AuditEvent) bool { return e.Verb == "watch" && e.Namespace == namespace }) {
		name := "all"
		if strings.Contains(event.RequestURI, "fieldSelector") {
			name = event.Name
		}
		switch event.Stage {
		case cluster.StageStarted:
			open[name]++
		case cluster.StageComplete:
			open[name]--
		}
	}
	var names []string
	for name, count := range open {
		for range count {
			names = append(names, name)
		}
	}
	return names
}
