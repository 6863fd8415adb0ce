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
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("The template of a copy", func() {
	It("Should have the labels and annotations of source and Replika, and no metadata of the source object itself", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one")
		source.Labels = map[string]string{
			"tier": "back", "team": "of-source",
			"app.kubernetes.io/instance": "argo", "app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/name": "shop",
		}
		source.Annotations = map[string]string{
			"note": "kept", "color": "of-source",
			"kubectl.kubernetes.io/last-applied-configuration": "{}", "meta.helm.sh/release-name": "shop",
			"argocd.argoproj.io/tracking-id": "shop:/ConfigMap:x/y", "argocd.argoproj.io/sync-wave": "2",
		}
		source.Finalizers = []string{foreignFinalizer}
		source.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "Namespace", Name: source.Namespace, UID: namespaceUID(ctx, source.Namespace),
		}}
		create(ctx, source)
		DeferCleanup(removeFinalizers, source)
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), func(replika *v1alpha1.Replika) {
			replika.Spec.Target.Labels = v1alpha1.Labels{"team": "of-replika", "more": ""}
			replika.Spec.Target.Annotations = map[string]string{"color": "of-replika", "extra": "1"}
		})
		expect.Ready(ctx, api, replika, 1)

		copied := read(ctx, source, a)
		Expect(copied.GetLabels()).To(Equal(map[string]string{
			"tier": "back", "team": "of-replika", "more": "", "app.kubernetes.io/name": "shop",
			"replika.prosimcorp.com/created-by": "replika-controller",
			"replika.prosimcorp.com/part-of":    replika.Name,
		}))
		Expect(copied.GetAnnotations()).To(HaveKeyWithValue(v1alpha1.AnnotationApplied, Not(BeEmpty())))
		Expect(without(copied.GetAnnotations(), v1alpha1.AnnotationApplied)).To(Equal(map[string]string{
			"note": "kept", "color": "of-replika", "extra": "1", "argocd.argoproj.io/sync-wave": "2",
			v1alpha1.AnnotationMarksVersion: v1alpha1.MarksVersion,
			v1alpha1.AnnotationOwner:        replika.Namespace + "/" + replika.Name,
			v1alpha1.AnnotationSource:       source.Namespace + "/" + source.Name,
			v1alpha1.AnnotationSelf:         a + "/" + source.Name,
			v1alpha1.AnnotationResource:     "configmaps",
		}))
		Expect(copied.GetFinalizers()).To(BeEmpty())
		Expect(copied.GetOwnerReferences()).To(BeEmpty())
	})

	It("Should follow changes of the Replika's labels and annotations", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one")
		source.Labels = map[string]string{"team": "of-source"}
		create(ctx, source)
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), func(replika *v1alpha1.Replika) {
			replika.Spec.Target.Labels = v1alpha1.Labels{"team": "of-replika", "more": ""}
			replika.Spec.Target.Annotations = map[string]string{"extra": "1"}
		})
		expect.Ready(ctx, api, replika, 1)

		update(ctx, replika, func(replika *v1alpha1.Replika) {
			replika.Spec.Target.Labels = nil
			replika.Spec.Target.Annotations = map[string]string{"other": "2"}
		})
		Eventually(ctx, func(g Gomega) {
			copied := read(ctx, source, a)
			g.Expect(copied.GetLabels()).To(And(HaveKeyWithValue("team", "of-source"), Not(HaveKey("more"))))
			g.Expect(copied.GetAnnotations()).To(And(HaveKeyWithValue("other", "2"), Not(HaveKey("extra"))))
		}).Should(Succeed())
		expect.Ready(ctx, api, replika, 1)
	})
})
