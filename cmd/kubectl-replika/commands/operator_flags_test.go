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

package commands

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/test/e2e"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("The operator's flags", func() {
	It("are read from its Deployment", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "operator-flags", 1)
		// The copies of the operator of this suite, which does not have the flag, have the annotation.
		expect.Ready(ctx, admin, f.CreateReplika(f.CreateSource("settings")), 1)
		who := []string{"who", "cm/settings", "-n", f.SourceNamespace}
		result := run(ctx, who...)
		Expect(result.errOut).To(Equal(
			"The operator's flags are unknown, so the defaults are assumed: there is no Deployment with the operator's labels\n"))
		Expect(result.out).To(ContainSubstring("yes"))

		create := func(namespace string, args ...string) *appsv1.Deployment {
			GinkgoHelper()
			labels := map[string]string{"app.kubernetes.io/name": "replika", "control-plane": "controller-manager"}
			deployment := expect.Create(ctx, admin, &appsv1.Deployment{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "operator", Labels: labels},
				Spec: appsv1.DeploymentSpec{
					Replicas: new(int32(0)),
					Selector: &metav1.LabelSelector{MatchLabels: labels},
					Template: corev1.PodTemplateSpec{
						ObjectMeta: metav1.ObjectMeta{Labels: labels},
						Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "manager", Image: "replika:v1.2.3", Args: args}}},
					},
				},
			})
			DeferCleanup(func(ctx SpecContext) { expect.Delete(ctx, admin, deployment) })
			return deployment
		}
		deployment := create(f.TargetNamespaces[0], "--leader-elect", "--drop-key=example.com/note")
		result = run(ctx, who...)
		Expect(result.errOut).To(BeEmpty())
		Expect(result.out).To(ContainSubstring("no: metadata"))

		expect.Update(ctx, admin, deployment.DeepCopy(), func(newer *appsv1.Deployment) { newer.Spec.Template.Spec.Containers[0].Image = "replika:v2" })
		Expect(run(ctx, who...).errOut).To(Equal("The operator has the version v2, and this plugin v1.2.3: their answers can differ.\n"))
		expect.Update(ctx, admin, deployment.DeepCopy(), func(same *appsv1.Deployment) { same.Spec.Template.Spec.Containers[0].Image = "replika:v1.2.3" })

		create(f.SourceNamespace, "--max-copies-per-replika=many")
		Expect(run(ctx, who...).errOut).To(ContainSubstring("several Deployments with the operator's labels: choose one with --operator-namespace"))
		Expect(run(ctx, append(who, "--operator-namespace", f.TargetNamespaces[0])...).errOut).To(BeEmpty())
		Expect(run(ctx, append(who, "--operator-namespace", f.SourceNamespace)...).errOut).To(
			And(ContainSubstring("defaults are assumed: Deployment "+f.SourceNamespace+"/operator: invalid value"), HaveSuffix("\n")))
	})
})
