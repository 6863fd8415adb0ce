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

package executor_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
)

// For some kinds the API server sets fields inside the content of each object. An update must keep these.
var _ = Describe("Update with instance fields", func() {
	service := func(target int32) *corev1.Service {
		return &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: "front"},
			Spec: corev1.ServiceSpec{
				Type:     corev1.ServiceTypeNodePort,
				Selector: map[string]string{"app": "front", "tier": "web"},
				Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(target)}},
			},
		}
	}
	mergeRequests := []string{"GET", "PATCH"}

	It("keeps the cluster IP and node ports of a Service", func(ctx SpecContext) {
		e := newEnv(ctx)
		before := newTemplate(ctx, service(8080), withLabels(map[string]string{"example.com/tier": "", "removed": "before"}))
		e.createCopy(ctx, before)
		e.modify(ctx, before, func(object *unstructured.Unstructured) {
			object.SetLabels(withKey(withoutKey(object.GetLabels(), "removed"), "theirs", "stays"))
			object.SetAnnotations(withKey(object.GetAnnotations(), "example.com/theirs", "stays"))
		})
		created := &corev1.Service{}
		key := client.ObjectKey{Namespace: e.namespace, Name: "front"}
		Expect(api.Get(ctx, key, created)).To(Succeed())
		changed := service(9090)
		changed.Spec.Selector = map[string]string{"app": "front"}
		changed.Spec.Ports = append(changed.Spec.Ports, corev1.ServicePort{Name: "admin", Port: 81, TargetPort: intstr.FromInt32(9091)})
		after := newTemplate(ctx, changed, withAnnotations(map[string]string{"example.com/note": ""}))

		result := e.execute(ctx, after.Kind, e.updateAction(e.observe(ctx, before), after))

		expectOutcome(result, planner.Done)
		Expect(e.interceptor.requests()).To(Equal(mergeRequests))
		expectInSync(result.Object, after)
		now := &corev1.Service{}
		Expect(api.Get(ctx, key, now)).To(Succeed())
		Expect(now.Spec.ClusterIPs).To(Equal(created.Spec.ClusterIPs))
		Expect(now.Spec.Ports).To(HaveLen(2))
		Expect(now.Spec.Ports[0].TargetPort.IntValue()).To(Equal(9090))
		Expect(now.Spec.Ports[0].NodePort).To(Equal(created.Spec.Ports[0].NodePort))
		Expect(now.Spec.Selector).To(Equal(map[string]string{"app": "front"}), "a removed key is removed")
		Expect(now.Labels).To(Equal(withKey(after.CopyLabels(), "theirs", "stays")))
		Expect(now.Annotations).To(Equal(withKey(after.CopyAnnotations(e.namespace, false), "example.com/theirs", "stays")))
	})

	It("keeps the volume of a PersistentVolumeClaim", func(ctx SpecContext) {
		e := newEnv(ctx)
		volume := &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: e.id + "-volume"},
			Spec: corev1.PersistentVolumeSpec{
				Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
				AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				StorageClassName:              e.id,
				PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
				PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/missing"}},
			},
		}
		Expect(api.Create(ctx, volume)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(api.Delete(ctx, volume)).To(Succeed()) })
		before := newTemplate(ctx, persistentVolumeClaim(e.id, "1Gi"))
		e.createCopy(ctx, before)
		bound := &corev1.PersistentVolumeClaim{}
		key := client.ObjectKey{Namespace: e.namespace, Name: "disk"}
		Eventually(ctx, func(g Gomega) {
			g.Expect(api.Get(ctx, key, bound)).To(Succeed())
			g.Expect(bound.Status.Phase).To(Equal(corev1.ClaimBound))
		}).Should(Succeed())
		after := newTemplate(ctx, persistentVolumeClaim(e.id, "1Gi"), withLabels(map[string]string{"tier": "gold"}))

		// Controllers update the claim too, so the resourceVersion may be outdated.
		var result executor.Result
		Eventually(ctx, func() planner.Outcome {
			result = e.execute(ctx, after.Kind, e.updateAction(e.observe(ctx, before), after))
			return result.Outcome
		}).Should(Equal(planner.Done))
		expectInSync(result.Object, after)
		now := &corev1.PersistentVolumeClaim{}
		Expect(api.Get(ctx, key, now)).To(Succeed())
		Expect(now.Spec).To(Equal(bound.Spec))
		Expect(now.Spec.VolumeName).To(Equal(volume.Name))
		Expect(now.Annotations).To(HaveKeyWithValue("pv.kubernetes.io/bind-completed", "yes"))
		Expect(now.Labels).To(HaveKeyWithValue("tier", "gold"))

		other := newTemplate(ctx, persistentVolumeClaim(e.id+"-other", "1Gi"))
		Eventually(ctx, func() planner.Outcome {
			return e.execute(ctx, other.Kind, e.updateAction(e.observe(ctx, after), other)).Outcome
		}).Should(Equal(planner.Immutable))
		Expect(e.interceptor.requests()).To(Equal([]string{"GET", "PATCH", "POST dry run"}))
	})

	It("keeps the selector and labels of a Job", func(ctx SpecContext) {
		e := newEnv(ctx)
		job := func(parallelism int32, image string) *batchv1.Job {
			suspended := true
			return &batchv1.Job{
				ObjectMeta: metav1.ObjectMeta{Name: "task"},
				Spec: batchv1.JobSpec{
					Suspend: &suspended, Parallelism: &parallelism,
					Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
						RestartPolicy: corev1.RestartPolicyNever,
						Containers:    []corev1.Container{{Name: "run", Image: image}},
					}},
				},
			}
		}
		before := newTemplate(ctx, job(1, "example.com/run"))
		observed := e.createCopy(ctx, before)
		created := &batchv1.Job{}
		key := client.ObjectKey{Namespace: e.namespace, Name: "task"}
		Expect(api.Get(ctx, key, created)).To(Succeed())
		Expect(created.Spec.Selector.MatchLabels).To(HaveKeyWithValue("batch.kubernetes.io/controller-uid", string(created.UID)))
		after := newTemplate(ctx, job(2, "example.com/run"))

		// The Job controller updates the Job too, so the resourceVersion may be outdated.
		var result executor.Result
		Eventually(ctx, func() planner.Outcome {
			result = e.execute(ctx, after.Kind, e.updateAction(observed, after))
			return result.Outcome
		}).Should(Equal(planner.Done))
		Expect(e.interceptor.requests()).To(Equal(mergeRequests))
		expectInSync(result.Object, after)
		now := &batchv1.Job{}
		Expect(api.Get(ctx, key, now)).To(Succeed())
		Expect(*now.Spec.Parallelism).To(BeEquivalentTo(2))
		Expect(now.Spec.Selector).To(Equal(created.Spec.Selector))
		Expect(now.Spec.Template).To(Equal(created.Spec.Template))

		other := newTemplate(ctx, job(2, "example.com/other"))
		Eventually(ctx, func() planner.Outcome {
			return e.execute(ctx, other.Kind, e.updateAction(result.Object, other)).Outcome
		}).
			Should(Equal(planner.Immutable))
	})

	It("keeps the Secrets of a ServiceAccount", func(ctx SpecContext) {
		e := newEnv(ctx)
		account := func(pull ...corev1.LocalObjectReference) *corev1.ServiceAccount {
			return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}, ImagePullSecrets: pull}
		}
		before := newTemplate(ctx, account(corev1.LocalObjectReference{Name: "old"}))
		e.createCopy(ctx, before)
		secrets := []any{map[string]any{"name": "token"}}
		e.modify(ctx, before, func(object *unstructured.Unstructured) { object.Object["secrets"] = secrets })
		after := newTemplate(ctx, account(corev1.LocalObjectReference{Name: "new"}))

		result := e.execute(ctx, after.Kind, e.updateAction(e.observe(ctx, before), after))

		expectOutcome(result, planner.Done)
		expectInSync(result.Object, after)
		Expect(e.get(ctx, after).Object).To(And(
			HaveKeyWithValue("secrets", secrets), HaveKeyWithValue("imagePullSecrets", []any{map[string]any{"name": "new"}}),
		))
	})

	DescribeTable("changes nothing after a concurrent change",
		func(ctx SpecContext, request int, change concurrentChange, requests []string, exists bool) {
			e := newEnv(ctx)
			before := newTemplate(ctx, service(8080))
			observed := e.createCopy(ctx, before)
			after := newTemplate(ctx, service(9090))
			var modified *unstructured.Unstructured
			e.interceptor.before(request, func() {
				change(ctx, e, before)
				if exists {
					modified = e.get(ctx, before)
				}
			})

			result := e.execute(ctx, after.Kind, e.updateAction(observed, after))

			expectOutcome(result, planner.Stale)
			Expect(e.interceptor.requests()).To(Equal(requests))
			if !exists {
				Expect(result.Object).To(BeNil())
				return
			}
			Expect(result.Object).To(Equal(observe(modified)))
			Expect(e.get(ctx, after)).To(Equal(modified))
		},
		Entry("recreated", 1, recreated, []string{"GET"}, true),
		Entry("owner changed", 1, ownerChanged, []string{"GET"}, true),
		Entry("owner mark removed", 1, ownerMarkRemoved, []string{"GET"}, true),
		Entry("marks version raised", 1, marksVersionRaised, []string{"GET"}, true),
		Entry("annotations removed", 1, annotationsRemoved, []string{"GET"}, true),
		Entry("deleted", 1, removed, []string{"GET"}, false),
		Entry("changed after the read", 2, func(ctx SpecContext, e *env, t *planner.Template) {
			e.modify(ctx, t, func(object *unstructured.Unstructured) {
				Expect(unstructured.SetNestedField(object.Object, "ClientIP", "spec", "sessionAffinity")).To(Succeed())
			})
		}, []string{"GET", "PATCH", "GET"}, true),
		Entry("recreated after the read", 2, recreated, []string{"GET", "PATCH", "GET"}, true),
		Entry("deleted after the read", 2, removed, []string{"GET", "PATCH", "GET"}, false),
	)

	It("reverts a change made before the read", func(ctx SpecContext) {
		e := newEnv(ctx)
		before := newTemplate(ctx, service(8080))
		observed := e.createCopy(ctx, before)
		after := newTemplate(ctx, service(9090))
		e.interceptor.before(1, func() {
			e.modify(ctx, before, func(object *unstructured.Unstructured) {
				Expect(unstructured.SetNestedField(object.Object, "ClientIP", "spec", "sessionAffinity")).To(Succeed())
			})
		})

		result := e.execute(ctx, after.Kind, e.updateAction(observed, after))

		expectOutcome(result, planner.Done)
		expectInSync(result.Object, after)
	})

	It("does not adopt an object with a concurrently added controller reference", func(ctx SpecContext) {
		e := newEnv(ctx)
		foreign := toUnstructured(service(8080))
		foreign.SetNamespace(e.namespace)
		Expect(api.Create(ctx, foreign)).To(Succeed())
		template, controller := newTemplate(ctx, service(9090)), e.newController(ctx)
		action := e.updateAction(observe(foreign), template)
		action.Adopt = true
		e.interceptor.before(1, func() {
			e.modify(ctx, template, func(object *unstructured.Unstructured) {
				object.SetOwnerReferences([]metav1.OwnerReference{controller})
			})
		})

		result := e.execute(ctx, template.Kind, action)

		expectOutcome(result, planner.Stale)
		Expect(result.Object.HasController).To(BeTrue())
		Expect(result.Object.Marks).To(Equal(planner.MarksAbsent))
	})

	It("returns Rejected when the template is invalid", func(ctx SpecContext) {
		e := newEnv(ctx)
		observed := e.createCopy(ctx, newTemplate(ctx, service(8080)))
		invalid := service(8080)
		invalid.Spec.Ports[0].Port = 99999
		template := newRawTemplate(invalid)

		expectOutcome(e.execute(ctx, template.Kind, e.updateAction(observed, template)), planner.Rejected)
	})
})
