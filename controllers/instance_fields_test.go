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
	"context"
	"encoding/json"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// instanceFields is a kind of which every object gets values of its own, from the API server or from a controller. Fields
// are named by JSON Pointers.
type instanceFields struct {
	// source is a manifest without a namespace.
	source string
	// rules are permissions that the suite does not give the operator otherwise.
	rules []rbacv1.PolicyRule
	// prepareNamespace creates what an object needs in its namespace.
	prepareNamespace func(ctx context.Context, namespace string)
	// prepareSource changes the source before it is copied.
	prepareSource func(ctx context.Context, source *unstructured.Unstructured)
	// changeCopy does to the copy what a scheduler or a cloud provider does, which the control plane lacks.
	changeCopy func(ctx context.Context, copy *unstructured.Unstructured)
	// isDone reports whether the controllers are done with an object; nil for a kind without one.
	isDone func(g Gomega, object *unstructured.Unstructured)
	// own are fields with different values in source and copy; common are fields with equal ones.
	own, common []string
	// field is the field of the source that is set to value.
	field string
	value any
}

var _ = Describe("A kind with fields that differ in every object", func() {
	DescribeTable("Should be copied, left unchanged while in sync, and updated with its source",
		func(ctx SpecContext, kind instanceFields) {
			if kind.rules != nil {
				grant(ctx, allNamespaces, kind.rules...)
			}
			f := newFixture() // cleaned up before the permissions are revoked
			home, a := f.namespace(ctx, "source"), f.namespace(ctx, "a")
			if kind.prepareNamespace != nil {
				kind.prepareNamespace(ctx, home)
				kind.prepareNamespace(ctx, a)
			}
			source := kit.FromYAML(kind.source)
			source.SetNamespace(home)
			create(ctx, source)
			if kind.prepareSource != nil {
				kind.prepareSource(ctx, source)
			}
			replika := f.replika(ctx, source, kit.TargetNamespaces(a))
			expect.Ready(ctx, api, replika, 1)

			copied := read(ctx, source, a)
			if kind.changeCopy != nil {
				kind.changeCopy(ctx, copied)
			}
			if kind.isDone != nil {
				Eventually(ctx, func(g Gomega) {
					copied = read(ctx, source, a)
					kind.isDone(g, copied)
				}).Should(Succeed())
			}
			copied, since := read(ctx, source, a), markAudit()
			original := read(ctx, source, home)
			for _, field := range kind.own {
				Expect(valueAt(copied, field)).NotTo(Equal(valueAt(original, field)), field)
			}
			for _, field := range kind.common {
				Expect(valueAt(copied, field)).To(Equal(valueAt(original, field)), field)
			}
			expect.Owned(Default, copied)

			reconcile(ctx, replika)
			f.waitForReads(ctx, since, source, 2)
			Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(copied.GetResourceVersion()), "the copy changed")
			Expect(f.requests(since, cluster.AuditEvent.Writes, func(e cluster.AuditEvent) bool { return e.Namespace == a })).To(BeEmpty())

			Expect(valueAt(copied, kind.field)).NotTo(Equal(kind.value), "the update changes nothing")
			setValueAt(ctx, source, kind.field, kind.value)
			Eventually(ctx, func(g Gomega) {
				now := read(ctx, source, a)
				g.Expect(valueAt(now, kind.field)).To(Equal(kind.value))
				g.Expect(now.GetUID()).To(Equal(copied.GetUID()))
				for _, field := range kind.own {
					g.Expect(valueAt(now, field)).To(Equal(valueAt(copied, field)), "%s is the copy's own", field)
				}
			}).Should(Succeed())
			expect.Ready(ctx, api, replika, 1)
		},
		Entry("Service of type ClusterIP", instanceFields{
			source: `{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}`,
			own:    []string{"/spec/clusterIP", "/spec/clusterIPs"},
			field:  "/spec/ports/0/targetPort", value: int64(8080),
		}),
		Entry("Service of type NodePort", instanceFields{
			source: `{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: NodePort, selector: {app: web}, ports: [{name: http, port: 80}, {name: tls, port: 443}]}}`,
			own:    []string{"/spec/clusterIP", "/spec/ports/0/nodePort", "/spec/ports/1/nodePort"},
			field:  "/spec/ports/0/targetPort", value: int64(8080),
		}),
		Entry("Service of type LoadBalancer", instanceFields{
			source: `{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: LoadBalancer, externalTrafficPolicy: Local, selector: {app: web}, ports: [{port: 80}]}}`,
			changeCopy: func(ctx context.Context, copy *unstructured.Unstructured) {
				patchStatus(ctx, copy, `{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}}`)
			},
			own:   []string{"/spec/clusterIP", "/spec/ports/0/nodePort", "/spec/healthCheckNodePort", "/status/loadBalancer/ingress"},
			field: "/spec/loadBalancerSourceRanges", value: []any{"10.0.0.0/8"},
		}),
		Entry("Service without a cluster IP", instanceFields{
			source: `{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}}`,
			common: []string{"/spec/clusterIP", "/spec/clusterIPs"},
			field:  "/spec/publishNotReadyAddresses", value: true,
		}),
		Entry("PersistentVolumeClaim with a static volume", instanceFields{
			source:           `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: disk}, spec: {storageClassName: by-hand, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`,
			prepareNamespace: volumeFor("disk"),
			prepareSource: func(ctx context.Context, source *unstructured.Unstructured) {
				Eventually(ctx, func(g Gomega) { expectBound(g, read(ctx, source, source.GetNamespace())) }).Should(Succeed())
			},
			isDone: expectBound,
			own:    []string{"/spec/volumeName"},
			field:  "/spec/resources/requests/storage", value: "2Gi",
		}),
		Entry("ServiceAccount", instanceFields{
			source: `{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot}, secrets: [{name: token-of-the-source}]}`,
			changeCopy: func(ctx context.Context, copy *unstructured.Unstructured) {
				setValueAt(ctx, copy, "/secrets", []any{map[string]any{"name": "token-of-the-copy"}})
			},
			own:   []string{"/secrets"},
			field: "/imagePullSecrets", value: []any{map[string]any{"name": "registry"}},
		}),
		Entry("Job", instanceFields{
			source: `{apiVersion: batch/v1, kind: Job, metadata: {name: once}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: "example.com/main:1"}]}}}}`,
			isDone: func(g Gomega, job *unstructured.Unstructured) {
				g.Expect(valueAt(job, "/status/active")).To(Equal(int64(1)))
			},
			own:   []string{"/spec/selector", "/spec/template/metadata/labels"},
			field: "/spec/parallelism", value: int64(2),
		}),
		Entry("Pod", instanceFields{
			source: `{apiVersion: v1, kind: Pod, metadata: {name: one}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: main, image: "example.com/main:1"}]}}`,
			rules:  []rbacv1.PolicyRule{policyRule("", "pods", copyVerbs...)},
			prepareNamespace: func(ctx context.Context, namespace string) {
				expect.Exists(ctx, api, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, namespace) // Pods need it
			},
			changeCopy: func(ctx context.Context, copy *unstructured.Unstructured) {
				pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: copy.GetNamespace(), Name: copy.GetName()}}
				Expect(api.SubResource("binding").Create(ctx, pod, &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: "n1"}})).To(Succeed())
				// No kubelet deletes it, and it would block its namespace's deletion.
				DeferCleanup(func(ctx SpecContext) {
					Expect(client.IgnoreNotFound(api.Delete(ctx, pod, client.GracePeriodSeconds(0)))).To(Succeed())
				})
			},
			own:   []string{"/spec/nodeName"},
			field: "/spec/containers/0/image", value: "example.com/main:2",
		}),
		Entry("Deployment", instanceFields{
			source: `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: main, image: "example.com/main:0"}]}}}}`,
			prepareSource: func(ctx context.Context, source *unstructured.Unstructured) {
				setValueAt(ctx, source, "/spec/template/spec/containers/0/image", "example.com/main:1")
				Eventually(ctx, func(g Gomega) {
					now := read(ctx, source, source.GetNamespace())
					g.Expect(now.GetAnnotations()).To(HaveKeyWithValue("deployment.kubernetes.io/revision", "2"))
				}).Should(Succeed())
			},
			isDone: func(g Gomega, deployment *unstructured.Unstructured) {
				g.Expect(valueAt(deployment, "/status/observedGeneration")).To(Equal(deployment.GetGeneration()))
				g.Expect(valueAt(deployment, "/status/unavailableReplicas")).To(Equal(int64(1)))
				g.Expect(valueAt(deployment, "/status/updatedReplicas")).To(Equal(int64(1)))
			},
			own:   []string{"/metadata/annotations/deployment.kubernetes.io~1revision"},
			field: "/spec/replicas", value: int64(2),
		}),
		Entry("HorizontalPodAutoscaler", instanceFields{
			source: `{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: web}, spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}`,
			rules:  []rbacv1.PolicyRule{policyRule("autoscaling", "horizontalpodautoscalers", copyVerbs...)},
			isDone: func(g Gomega, autoscaler *unstructured.Unstructured) {
				g.Expect(valueAt(autoscaler, "/status/conditions")).NotTo(BeNil())
			},
			field: "/spec/maxReplicas", value: int64(5),
		}),
		Entry("Ingress", instanceFields{
			source: `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: web}, spec: {rules: [{host: a.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}}`,
			changeCopy: func(ctx context.Context, copy *unstructured.Unstructured) {
				patchStatus(ctx, copy, `{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}}`)
			},
			own:   []string{"/status/loadBalancer/ingress"},
			field: "/spec/rules/0/host", value: "b.example.com",
		}),
		// Another spec needs that the operator is not allowed to read this kind.
		Entry("NetworkPolicy", serial, instanceFields{
			source: `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: closed}, spec: {podSelector: {}, policyTypes: [Ingress]}}`,
			rules:  []rbacv1.PolicyRule{policyRule("networking.k8s.io", "networkpolicies", copyVerbs...)},
			field:  "/spec/policyTypes", value: []any{"Ingress", "Egress"},
		}),
		Entry("Role", instanceFields{
			source: `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: reader}, rules: [{apiGroups: [""], resources: [configmaps], verbs: [get]}]}`,
			field:  "/rules/0/verbs", value: []any{"get", "list"},
		}),
		Entry("RoleBinding", instanceFields{
			source: `{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: readers}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: jane}]}`,
			field:  "/subjects/0/name", value: "joe",
		}),
	)

	It("Should have the beginning of a long refusal in its status", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		// RBAC lists every permission of the ClusterRole that the operator does not have itself.
		source := kit.FromYAML(`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: editors},
			roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}}`)
		source.SetNamespace(f.namespace(ctx, "source"))
		create(ctx, source)
		failing := expect.Failures(ctx, api, f.replika(ctx, source, kit.TargetNamespaces(a)), map[string]string{a: v1alpha1.FailureForbidden})
		Expect(failing.Status.Failures[0].Message).To(And(ContainSubstring("not currently held"), HaveSuffix("…")))
	})
})

// volumeFor creates, in each namespace that it is called for, a static volume for the claim of that name, of a class that
// lets it grow.
func volumeFor(claim string) func(context.Context, string) {
	return func(ctx context.Context, namespace string) {
		GinkgoHelper()
		class := &storagev1.StorageClass{
			ObjectMeta: metav1.ObjectMeta{Name: "by-hand"}, Provisioner: "kubernetes.io/no-provisioner", AllowVolumeExpansion: new(true),
		}
		if read(ctx, class, "") == nil {
			create(ctx, class)
			DeferCleanup(func(ctx SpecContext) { Expect(api.Delete(ctx, class)).To(Succeed()) })
		}
		volume := create(ctx, &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "by-hand-"},
			Spec: corev1.PersistentVolumeSpec{
				StorageClassName:              class.Name,
				AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("5Gi")},
				ClaimRef:                      &corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: namespace, Name: claim},
				PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
				PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/nowhere"}},
			},
		})
		DeferCleanup(func(ctx SpecContext) { Expect(api.Delete(ctx, volume)).To(Succeed()) })
	}
}

// expectBound checks that the controllers of claims are done with this one: since Kubernetes 1.37, a second one adds a condition.
func expectBound(g Gomega, claim *unstructured.Unstructured) {
	g.Expect(valueAt(claim, "/status/phase")).To(Equal("Bound"))
	g.Expect(claim.GetAnnotations()).To(HaveKey("pv.kubernetes.io/bind-completed"))
	if kubernetesMinor(g) >= 37 {
		g.Expect(valueAt(claim, "/status/conditions")).NotTo(BeNil(), "no condition yet")
	}
}

// kubernetesMinor returns the minor version of the control plane, such as 37.
func kubernetesMinor(g Gomega) int {
	version, err := discovery.NewDiscoveryClientForConfigOrDie(controlPlane.Config).ServerVersion()
	g.Expect(err).NotTo(HaveOccurred())
	minor, err := strconv.Atoi(version.Minor)
	g.Expect(err).NotTo(HaveOccurred())
	return minor
}

// valueAt returns the value at a JSON Pointer; nil for none.
func valueAt(object *unstructured.Unstructured, pointer string) any {
	var value any = object.Object
	for _, segment := range strings.Split(pointer, "/")[1:] {
		segment = strings.NewReplacer("~1", "/", "~0", "~").Replace(segment)
		switch typed := value.(type) {
		case map[string]any:
			value = typed[segment]
		case []any:
			index, err := strconv.Atoi(segment)
			if err != nil || index >= len(typed) {
				return nil
			}
			value = typed[index]
		default:
			return nil
		}
	}
	return value
}

// setValueAt sets one field of an object.
func setValueAt(ctx context.Context, object *unstructured.Unstructured, pointer string, value any) {
	GinkgoHelper()
	patch, err := json.Marshal([]map[string]any{{"op": "add", "path": pointer, "value": value}})
	Expect(err).NotTo(HaveOccurred())
	Expect(api.Patch(ctx, object.DeepCopy(), client.RawPatch(types.JSONPatchType, patch))).To(Succeed())
}
