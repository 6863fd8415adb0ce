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

package upgrade

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/e2e"
	"github.com/prosimcorp/replika/test/kit/expect"
	"github.com/prosimcorp/replika/test/operator"
	"github.com/prosimcorp/replika/test/shell"
)

// deployment is the name of the Deployment in every release.
var deployment = types.NamespacedName{Namespace: "replika", Name: "replika-controller-manager"}

// releasedReplikas are the Replikas whose copies a release has made, with their number.
var releasedReplikas = map[string]int{"settings": 3, "banner": 3, "registry": 3, "fallback": 1}

// steps are the commands of docs/upgrade.md, in their order.
func steps() []string { return shell.Blocks(read("docs/upgrade.md"), "console", "") }

var _ = Describe("docs/upgrade.md", func() {
	for _, r := range publicReleases {
		It("leads from "+r.tag+" to this version, while no copy is missing or rewritten", func(ctx SpecContext) {
			env := startEnvironment(ctx)
			installed := install(ctx, r, env.Admin)
			unusual := installed.createUnusual(ctx)

			process := upgrade(ctx, env)

			expectUpgraded(ctx, env.Admin)
			for _, replika := range expectReady(ctx, env.Admin, releasedReplikas) {
				Expect(replika.Status.Conditions).To(ConsistOf(HaveField("Type", v1alpha1.ConditionReady)), "the conditions of the release are gone")
			}
			installed.expectCopiesKept(ctx)
			unusual.expectReported(ctx)
			installed.expectWorking(ctx)
			Expect(process.PanicsAndRaces()).To(BeEmpty())
		})
	}
})

// upgrade types the steps of the page. The operator starts when its Deployment has been applied.
func upgrade(ctx context.Context, env *e2e.Environment) *operator.Process {
	GinkgoHelper()
	var process *operator.Process
	for _, step := range steps() {
		if strings.Contains(step, "kubectl wait") {
			process = start(ctx, env)
			// The page waits for all Replikas. Those that the releases did not copy either are not all ready.
			step = strings.ReplaceAll(step, "--all ", "--selector unusual!=true ")
		}
		terminal.Run(ctx, workDir, step)
	}
	Expect(process).NotTo(BeNil(), "the page waits for the Replikas")
	return process
}

// expectUpgraded expects the objects of this version, and none that only the release had.
func expectUpgraded(ctx context.Context, admin client.Client) {
	GinkgoHelper()
	applied := &appsv1.Deployment{}
	Expect(admin.Get(ctx, deployment, applied)).To(Succeed())
	Expect(applied.Spec.Template.Spec.Containers).To(HaveLen(1))
	Expect(applied.Spec.Template.Spec.Containers[0].Image).To(HaveSuffix(":" + shell.Release(read("README.md"))))
	for kind, name := range map[string]string{
		"v1 ConfigMap": "replika-manager-config", "v1 Service": deployment.Name + "-metrics-service", "coordination.k8s.io/v1 Lease": "562e2a83.prosimcorp.com",
		"rbac.authorization.k8s.io/v1 ClusterRole": "replika-proxy-role", "rbac.authorization.k8s.io/v1 ClusterRoleBinding": "replika-proxy-rolebinding",
	} {
		version, kind, _ := strings.Cut(kind, " ")
		namespace := deployment.Namespace
		if strings.HasPrefix(kind, "Cluster") {
			namespace = ""
		}
		Expect(expect.Read(ctx, admin, newKey(version, kind, name), namespace)).To(BeNil(), "%s %s belongs to the release", kind, name)
	}
}

// expectCopiesKept expects that every copy is the object that the release made, was changed at most once, and lost nothing but the
// marks of its source.
func (i *installation) expectCopiesKept(ctx context.Context) {
	GinkgoHelper()
	events := i.changes.of()
	for name, uid := range i.changes.uids {
		Expect(events[name]).To(Equal([]watch.EventType{watch.Modified}), name)
		kind, key, _ := strings.Cut(name, " ")
		namespace, name, _ := strings.Cut(key, "/")
		object, source := expect.Read(ctx, i.admin, newKey("v1", kind, name), namespace), expect.Read(ctx, i.admin, newKey("v1", kind, name), store)
		Expect(object).NotTo(BeNil(), "%s %s", kind, key)
		Expect(object.GetUID()).To(Equal(uid), "%s %s", kind, key)
		Expect(object.Object["data"]).To(Equal(source.Object["data"]))
		wanted := map[string]string{v1alpha1.LabelCreatedBy: createdBy, v1alpha1.LabelPartOf: name}
		maps.Copy(wanted, ownLabels)
		Expect(object.GetLabels()).To(Equal(wanted))
		for key := range sourceAnnotation {
			Expect(object.GetAnnotations()).NotTo(HaveKey(key))
		}
		for key, value := range ownAnnotations {
			Expect(object.GetAnnotations()).To(HaveKeyWithValue(key, value))
		}
	}
}

// expectWorking expects that the operator follows changes, and deletes copies with their Replika.
func (i *installation) expectWorking(ctx context.Context) {
	GinkgoHelper()
	i.expectPropagated(ctx)
	terminal.Run(ctx, workDir, fmt.Sprintf("kubectl delete replika banner --namespace %s --timeout %s", store, time.Minute))
	banner := &corev1.ConfigMap{}
	banner.Name = "banner"
	expect.Gone(ctx, i.admin, banner, targets...)
}
