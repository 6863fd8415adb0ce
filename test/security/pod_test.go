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

package security

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var _ = Describe("The Pod", func() {
	// The API server's Pod Security admission rejects Pods that are not restricted, as the next spec shows. So the Pods exist only
	// if they are restricted.
	It("is admitted at the restricted Pod Security level", func(ctx SpecContext) {
		namespace := &corev1.Namespace{}
		Expect(admin.Get(ctx, client.ObjectKey{Name: operatorNamespace}, namespace)).To(Succeed())
		Expect(namespace.Labels).To(HaveKeyWithValue("pod-security.kubernetes.io/enforce", "restricted"))

		deployment := deployment()
		pods := &corev1.PodList{}
		Eventually(ctx, func(g Gomega) {
			g.Expect(admin.List(ctx, pods, client.InNamespace(operatorNamespace),
				client.MatchingLabels(deployment.Spec.Selector.MatchLabels))).To(Succeed())
			g.Expect(pods.Items).To(HaveLen(int(*deployment.Spec.Replicas)))
		}).Should(Succeed())
		for _, pod := range pods.Items {
			Expect(pod.Spec.Containers).To(HaveLen(1))
			container := pod.Spec.Containers[0]
			Expect(container.SecurityContext.ReadOnlyRootFilesystem).To(HaveValue(BeTrue()))
			Expect(container.VolumeMounts).To(ConsistOf(HaveField("MountPath", "/var/run/secrets/kubernetes.io/serviceaccount")),
				"only its own token is mounted")
		}
	})

	DescribeTable("is rejected", func(ctx SpecContext, weaken func(*corev1.PodSpec)) {
		Expect(admitPod(ctx, func(*corev1.PodSpec) {})).To(Succeed(), "without a change")
		Expect(admitPod(ctx, weaken)).To(MatchError(ContainSubstring(`violates PodSecurity "restricted`)))
	},
		Entry("as root", func(pod *corev1.PodSpec) { pod.SecurityContext.RunAsNonRoot = nil }),
		Entry("without seccomp", func(pod *corev1.PodSpec) { pod.SecurityContext.SeccompProfile = nil }),
		Entry("with privilege escalation", func(pod *corev1.PodSpec) {
			pod.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil
		}),
		Entry("with capabilities", func(pod *corev1.PodSpec) { pod.Containers[0].SecurityContext.Capabilities = nil }),
		Entry("on the node's network", func(pod *corev1.PodSpec) { pod.HostNetwork = true }),
	)

	It("has a ServiceAccount whose token is not mounted by default", func(ctx SpecContext) {
		pod := podOfDeployment(func(pod *corev1.PodSpec) { pod.AutomountServiceAccountToken = nil })
		Expect(admin.Create(ctx, pod, client.DryRunAll)).To(Succeed())
		Expect(pod.Spec.Volumes).To(BeEmpty())
	})

	It("is selected by the NetworkPolicy", func() {
		pod := deployment().Spec.Template
		policy := find[*networkingv1.NetworkPolicy](deployed, "NetworkPolicy", operatorAccount)
		selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
		Expect(err).NotTo(HaveOccurred())
		Expect(selector.Matches(labels.Set(pod.Labels))).To(BeTrue())
		Expect(policy.Spec.PolicyTypes).To(ConsistOf(networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress))
		Expect(pod.Spec.Containers[0].Ports).To(ContainElement(HaveField("Name", policy.Spec.Ingress[0].Ports[0].Port.String())))
	})
})

func deployment() *appsv1.Deployment {
	GinkgoHelper()
	return find[*appsv1.Deployment](deployed, "Deployment", operatorAccount)
}

// podOfDeployment builds a Pod from the Deployment's template, with a change.
func podOfDeployment(change func(*corev1.PodSpec)) *corev1.Pod {
	GinkgoHelper()
	template := deployment().Spec.Template
	change(&template.Spec)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, GenerateName: "dry-run-", Labels: template.Labels},
		Spec:       template.Spec,
	}
}

// admitPod creates such a Pod in a dry run.
func admitPod(ctx context.Context, change func(*corev1.PodSpec)) error {
	GinkgoHelper()
	return admin.Create(ctx, podOfDeployment(change), client.DryRunAll)
}
