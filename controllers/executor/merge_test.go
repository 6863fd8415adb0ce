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

// Objects of some kinds hold values of their own inside their content. These must survive an update.
var _ = Describe("Updating a copy that has values of its own", func() {
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
	merged := []string{"GET", "PATCH"}

	It("keeps a Service's cluster IP and node ports", func(ctx SpecContext) {
		s := newStage(ctx)
		before := templateOf(ctx, service(8080), labelling(map[string]string{"example.com/tier": "", "taken": "off"}))
		s.copied(ctx, before)
		s.meanwhile(ctx, before, func(object *unstructured.Unstructured) {
			object.SetLabels(with(without(object.GetLabels(), "taken"), "theirs", "stays"))
			object.SetAnnotations(with(object.GetAnnotations(), "example.com/theirs", "stays"))
		})
		own := &corev1.Service{}
		key := client.ObjectKey{Namespace: s.namespace, Name: "front"}
		Expect(api.Get(ctx, key, own)).To(Succeed())
		changed := service(9090)
		changed.Spec.Selector = map[string]string{"app": "front"}
		changed.Spec.Ports = append(changed.Spec.Ports, corev1.ServicePort{Name: "admin", Port: 81, TargetPort: intstr.FromInt32(9091)})
		after := templateOf(ctx, changed, annotating(map[string]string{"example.com/note": ""}))

		result := s.do(ctx, after.Kind, s.update(s.observed(ctx, before), after))

		expectOutcome(result, planner.Done)
		Expect(s.wire.requests()).To(Equal(merged))
		expectInSync(result.Object, after)
		now := &corev1.Service{}
		Expect(api.Get(ctx, key, now)).To(Succeed())
		Expect(now.Spec.ClusterIPs).To(Equal(own.Spec.ClusterIPs))
		Expect(now.Spec.Ports).To(HaveLen(2))
		Expect(now.Spec.Ports[0].TargetPort.IntValue()).To(Equal(9090))
		Expect(now.Spec.Ports[0].NodePort).To(Equal(own.Spec.Ports[0].NodePort))
		Expect(now.Spec.Selector).To(Equal(map[string]string{"app": "front"}), "a dropped key is dropped")
		Expect(now.Labels).To(Equal(with(after.CopyLabels(), "theirs", "stays")))
		Expect(now.Annotations).To(Equal(with(after.CopyAnnotations(s.namespace, false), "example.com/theirs", "stays")))
	})

	It("keeps a claim's volume", func(ctx SpecContext) {
		s := newStage(ctx)
		volume := &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: s.id + "-volume"},
			Spec: corev1.PersistentVolumeSpec{
				Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
				AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				StorageClassName:              s.id,
				PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
				PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/nowhere"}},
			},
		}
		Expect(api.Create(ctx, volume)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(api.Delete(ctx, volume)).To(Succeed()) })
		before := templateOf(ctx, claim(s.id, "1Gi"))
		s.copied(ctx, before)
		bound := &corev1.PersistentVolumeClaim{}
		key := client.ObjectKey{Namespace: s.namespace, Name: "disk"}
		Eventually(ctx, func(g Gomega) {
			g.Expect(api.Get(ctx, key, bound)).To(Succeed())
			g.Expect(bound.Status.Phase).To(Equal(corev1.ClaimBound))
		}).Should(Succeed())
		after := templateOf(ctx, claim(s.id, "1Gi"), labelling(map[string]string{"tier": "gold"}))

		result := s.do(ctx, after.Kind, s.update(s.observed(ctx, before), after))

		expectOutcome(result, planner.Done)
		expectInSync(result.Object, after)
		now := &corev1.PersistentVolumeClaim{}
		Expect(api.Get(ctx, key, now)).To(Succeed())
		Expect(now.Spec).To(Equal(bound.Spec))
		Expect(now.Spec.VolumeName).To(Equal(volume.Name))
		Expect(now.Annotations).To(HaveKeyWithValue("pv.kubernetes.io/bind-completed", "yes"))
		Expect(now.Labels).To(HaveKeyWithValue("tier", "gold"))

		other := templateOf(ctx, claim(s.id+"-other", "1Gi"))
		result = s.do(ctx, other.Kind, s.update(s.observed(ctx, after), other))
		expectOutcome(result, planner.Immutable)
		Expect(s.wire.requests()).To(Equal([]string{"GET", "PATCH", "POST dry run"}))
	})

	It("keeps a Job's selector and labels", func(ctx SpecContext) {
		s := newStage(ctx)
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
		before := templateOf(ctx, job(1, "example.com/run"))
		observed := s.copied(ctx, before)
		own := &batchv1.Job{}
		key := client.ObjectKey{Namespace: s.namespace, Name: "task"}
		Expect(api.Get(ctx, key, own)).To(Succeed())
		Expect(own.Spec.Selector.MatchLabels).To(HaveKeyWithValue("batch.kubernetes.io/controller-uid", string(own.UID)))
		after := templateOf(ctx, job(2, "example.com/run"))

		// The Job's controller writes to it as well, and may win the race for the resourceVersion.
		var result executor.Result
		Eventually(ctx, func() planner.Outcome {
			result = s.do(ctx, after.Kind, s.update(observed, after))
			return result.Outcome
		}).Should(Equal(planner.Done))
		Expect(s.wire.requests()).To(Equal(merged))
		expectInSync(result.Object, after)
		now := &batchv1.Job{}
		Expect(api.Get(ctx, key, now)).To(Succeed())
		Expect(*now.Spec.Parallelism).To(BeEquivalentTo(2))
		Expect(now.Spec.Selector).To(Equal(own.Spec.Selector))
		Expect(now.Spec.Template).To(Equal(own.Spec.Template))

		other := templateOf(ctx, job(2, "example.com/other"))
		Eventually(ctx, func() planner.Outcome { return s.do(ctx, other.Kind, s.update(result.Object, other)).Outcome }).
			Should(Equal(planner.Immutable))
	})

	It("keeps a ServiceAccount's Secrets", func(ctx SpecContext) {
		s := newStage(ctx)
		account := func(pull ...corev1.LocalObjectReference) *corev1.ServiceAccount {
			return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}, ImagePullSecrets: pull}
		}
		before := templateOf(ctx, account(corev1.LocalObjectReference{Name: "old"}))
		s.copied(ctx, before)
		secrets := []any{map[string]any{"name": "of-its-own"}}
		s.meanwhile(ctx, before, func(object *unstructured.Unstructured) { object.Object["secrets"] = secrets })
		after := templateOf(ctx, account(corev1.LocalObjectReference{Name: "new"}))

		result := s.do(ctx, after.Kind, s.update(s.observed(ctx, before), after))

		expectOutcome(result, planner.Done)
		expectInSync(result.Object, after)
		Expect(s.live(ctx, after).Object).To(And(
			HaveKeyWithValue("secrets", secrets), HaveKeyWithValue("imagePullSecrets", []any{map[string]any{"name": "new"}}),
		))
	})

	DescribeTable("changes nothing when, since it was observed, somebody",
		func(ctx SpecContext, request int, meanwhile surprise, requests []string, exists bool) {
			s := newStage(ctx)
			before := templateOf(ctx, service(8080))
			observed := s.copied(ctx, before)
			after := templateOf(ctx, service(9090))
			var meddled *unstructured.Unstructured
			s.wire.before(request, func() {
				meanwhile(ctx, s, before)
				if exists {
					meddled = s.live(ctx, before)
				}
			})

			result := s.do(ctx, after.Kind, s.update(observed, after))

			expectOutcome(result, planner.Stale)
			Expect(s.wire.requests()).To(Equal(requests))
			if !exists {
				Expect(result.Object).To(BeNil())
				return
			}
			Expect(result.Object).To(Equal(observe(meddled)))
			Expect(s.live(ctx, after)).To(Equal(meddled))
		},
		Entry("made it anew", 1, remade, []string{"GET"}, true),
		Entry("took it over", 1, taken, []string{"GET"}, true),
		Entry("took our owner mark off", 1, unmarked, []string{"GET"}, true),
		Entry("marked it as a newer operator does", 1, upgraded, []string{"GET"}, true),
		Entry("took our marks off", 1, func(ctx SpecContext, s *stage, t *planner.Template) {
			s.meanwhile(ctx, t, func(object *unstructured.Unstructured) { object.SetAnnotations(nil) })
		}, []string{"GET"}, true),
		Entry("deleted it", 1, func(ctx SpecContext, s *stage, t *planner.Template) { s.removed(ctx, t) }, []string{"GET"}, false),
		Entry("edited it after the read", 2, func(ctx SpecContext, s *stage, t *planner.Template) {
			s.meanwhile(ctx, t, func(object *unstructured.Unstructured) {
				Expect(unstructured.SetNestedField(object.Object, "ClientIP", "spec", "sessionAffinity")).To(Succeed())
			})
		}, []string{"GET", "PATCH", "GET"}, true),
		Entry("made it anew after the read", 2, remade, []string{"GET", "PATCH", "GET"}, true),
		Entry("deleted it after the read", 2, func(ctx SpecContext, s *stage, t *planner.Template) { s.removed(ctx, t) },
			[]string{"GET", "PATCH", "GET"}, false),
	)

	It("sets an edit right that came before the read", func(ctx SpecContext) {
		s := newStage(ctx)
		before := templateOf(ctx, service(8080))
		observed := s.copied(ctx, before)
		after := templateOf(ctx, service(9090))
		s.wire.before(1, func() {
			s.meanwhile(ctx, before, func(object *unstructured.Unstructured) {
				Expect(unstructured.SetNestedField(object.Object, "ClientIP", "spec", "sessionAffinity")).To(Succeed())
			})
		})

		result := s.do(ctx, after.Kind, s.update(observed, after))

		expectOutcome(result, planner.Done)
		expectInSync(result.Object, after)
	})

	It("does not adopt an object that a controller took since it was observed", func(ctx SpecContext) {
		s := newStage(ctx)
		foreign := unstructuredOf(service(8080))
		foreign.SetNamespace(s.namespace)
		Expect(api.Create(ctx, foreign)).To(Succeed())
		template, boss := templateOf(ctx, service(9090)), s.boss(ctx)
		action := s.update(observe(foreign), template)
		action.Adopt = true
		s.wire.before(1, func() {
			s.meanwhile(ctx, template, func(object *unstructured.Unstructured) { object.SetOwnerReferences([]metav1.OwnerReference{boss}) })
		})

		result := s.do(ctx, template.Kind, action)

		expectOutcome(result, planner.Stale)
		Expect(result.Object.HasController).To(BeTrue())
		Expect(result.Object.Marks).To(Equal(planner.MarksAbsent))
	})

	It("is invalid when the template is", func(ctx SpecContext) {
		s := newStage(ctx)
		observed := s.copied(ctx, templateOf(ctx, service(8080)))
		wrong := service(8080)
		wrong.Spec.Ports[0].Port = 99999
		template := rawTemplateOf(wrong)

		expectOutcome(s.do(ctx, template.Kind, s.update(observed, template)), planner.Rejected)
	})
})
