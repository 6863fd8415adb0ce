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

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("An object of another controller", func() {
	// controlledSecret creates a Secret with the labels and annotations of a copy, as an operator does that copies them from
	// its own resource to the Secret that it creates for it.
	controlledSecret := func(ctx context.Context, from client.Object, mutate func(*corev1.Secret)) *corev1.Secret {
		GinkgoHelper()
		owner := create(ctx, kit.ConfigMap(from.GetNamespace(), "owner", "x"))
		secret := kit.Secret(from.GetNamespace(), from.GetName(), "theirs")
		secret.Labels, secret.Annotations = from.GetLabels(), from.GetAnnotations()
		secret.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(owner, kit.KindOf(owner))}
		if mutate != nil {
			mutate(secret)
		}
		return create(ctx, secret)
	}

	It("Should not become a copy by the ownership annotations of a copy of another kind", func(ctx SpecContext) {
		f := newFixture()
		home, a := f.namespace(ctx, "source"), f.namespace(ctx, "a")
		other := create(ctx, kit.ConfigMap(home, "settings", "one"))
		source := create(ctx, kit.Secret(home, "settings", "one"))
		ofConfigMap := f.replika(ctx, other, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, ofConfigMap, 1)
		theirs := controlledSecret(ctx, read(ctx, other, a), nil)

		// The Replika names the Secret now, so that Secret and ConfigMaps are pruned as copies of a former kind, or updated.
		update(ctx, ofConfigMap, func(replika *v1alpha1.Replika) { replika.Spec.Source.Kind = "Secret" })
		expect.Failures(ctx, api, ofConfigMap, map[string]string{a: v1alpha1.FailureConflict})
		expect.Gone(ctx, api, other, a)
		update(ctx, ofConfigMap, func(replika *v1alpha1.Replika) { replika.Spec.Source.Kind = "ConfigMap" })
		expect.Ready(ctx, api, ofConfigMap, 1)
		Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(theirs.ResourceVersion))
	})

	DescribeTable("Should not be changed or deleted, even with valid ownership annotations",
		func(ctx SpecContext, options ...kit.ReplikaOption) {
			f := newFixture()
			a := f.namespace(ctx, "a")
			source := create(ctx, kit.Secret(f.namespace(ctx, "source"), "settings", "one"))
			replika := f.replika(ctx, source, append(options, kit.TargetNamespaces(a))...)
			expect.Ready(ctx, api, replika, 1)
			copied := kit.CopyIn(a, source)
			Expect(api.Get(ctx, client.ObjectKeyFromObject(copied), copied)).To(Succeed())
			Expect(api.Delete(ctx, kit.CopyIn(a, source))).To(Succeed())
			// The operator creates the copy again.
			owner := create(ctx, kit.ConfigMap(a, "owner", "x"))
			var theirs *corev1.Secret
			Eventually(ctx, func(g Gomega) {
				theirs = kit.CopyIn(a, source)
				g.Expect(api.Get(ctx, client.ObjectKeyFromObject(theirs), theirs)).To(Succeed())
				theirs.Annotations = copied.Annotations
				delete(theirs.Annotations, v1alpha1.AnnotationResource) // as earlier releases wrote them
				theirs.Data["key"] = []byte("theirs")
				theirs.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(owner, kit.KindOf(owner))}
				g.Expect(api.Update(ctx, theirs)).To(Succeed())
			}).Should(Succeed())

			expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureConflict})
			update(ctx, source, func(source *corev1.Secret) { source.Data["key"] = []byte("two") })
			reconcile(ctx, replika)
			expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureConflict})
			deleteAndWait(ctx, replika)
			Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(theirs.ResourceVersion))
		},
		Entry("under conflict policy Fail"),
		Entry("under conflict policy Adopt", kit.Adopt()),
	)
})

var _ = Describe("A copy with ownership annotations of an earlier version", func() {
	It("Should be updated once, and stay a copy", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		earlier := kit.CopyIn(a, source)
		update(ctx, earlier, func(copied *corev1.ConfigMap) { delete(copied.Annotations, v1alpha1.AnnotationResource) })
		Eventually(ctx, func(g Gomega) {
			g.Expect(read(ctx, source, a).GetAnnotations()).To(HaveKeyWithValue(v1alpha1.AnnotationResource, "configmaps"))
		}).Should(Succeed())
		Expect(read(ctx, source, a).GetUID()).To(Equal(earlier.UID))
		updated := read(ctx, source, a).GetResourceVersion()
		reconcile(ctx, replika)
		expect.Ready(ctx, api, replika, 1)
		Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(updated))
	})
})

var _ = Describe("The default ServiceAccount", func() {
	It("Should be adopted in every namespace, and neither created first nor deleted", func(ctx SpecContext) {
		f := newFixture()
		home := f.namespace(ctx, "source")
		source := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "default"}}
		Eventually(ctx, func() error { return api.Get(ctx, client.ObjectKeyFromObject(source), source) }).Should(Succeed())
		update(ctx, source, func(source *corev1.ServiceAccount) { source.Labels = map[string]string{"copied": "yes"} })
		replika := f.replika(ctx, source, kit.TargetNamespaces(f.name("new-*")), kit.Adopt())
		uids := map[string]string{}
		for _, suffix := range []string{"new-a", "new-b", "new-c"} {
			f.namespace(ctx, suffix)
		}
		expect.Ready(ctx, api, replika, 3)
		for _, suffix := range []string{"new-a", "new-b", "new-c"} {
			account := read(ctx, source, f.name(suffix))
			Expect(account.GetLabels()).To(HaveKeyWithValue("copied", "yes"))
			Expect(account.GetAnnotations()).To(HaveKeyWithValue(v1alpha1.AnnotationAdopted, v1alpha1.AdoptedValue))
			uids[suffix] = string(account.GetUID())
		}
		deleteAndWait(ctx, replika)
		for suffix, uid := range uids {
			account := read(ctx, source, f.name(suffix))
			Expect(account).NotTo(BeNil())
			Expect(string(account.GetUID())).To(Equal(uid))
			Expect(kit.OwnKeys(account)).To(BeEmpty())
		}
	})
})

var _ = Describe("State that controllers store in annotations", func() {
	It("Should not leave the source, nor be changed on the copies", func(ctx SpecContext) {
		const loadBalancer, unknown = "kubernetes.digitalocean.com/load-balancer-id", "cloud.example.com/load-balancer-id"
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace(ctx, "source"), Name: "front", Annotations: map[string]string{loadBalancer: "lb-1"}},
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
		})
		// A cloud's controller that the operator does not know.
		cloud := client.FieldOwner("cloud-controller")
		patch := func(object *corev1.Service, id string) {
			GinkgoHelper()
			status := client.RawPatch("application/merge-patch+json", []byte(`{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}}`))
			Expect(api.Status().Patch(ctx, object, status, cloud)).To(Succeed())
			annotation := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"`+unknown+`":"`+id+`"}}}`))
			Expect(api.Patch(ctx, object, annotation, cloud)).To(Succeed())
		}
		update(ctx, source, func(source *corev1.Service) { source.Spec.Type = corev1.ServiceTypeLoadBalancer })
		patch(source, "lb-of-source")
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		Expect(read(ctx, source, a).GetAnnotations()).NotTo(Or(HaveKey(loadBalancer), HaveKey(unknown)))

		patch(kit.CopyIn(a, source), "lb-of-copy")
		update(ctx, source, func(source *corev1.Service) { source.Labels = map[string]string{"tier": "web"} })
		Eventually(ctx, func(g Gomega) {
			g.Expect(read(ctx, source, a).GetLabels()).To(HaveKeyWithValue("tier", "web"))
		}).Should(Succeed())
		Expect(read(ctx, source, a).GetAnnotations()).To(HaveKeyWithValue(unknown, "lb-of-copy"))
	})
})
