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
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// Every change of consent is noticed promptly: the interval of these Replikas is an hour.
var _ = Describe("Source consent", func() {
	It("Should restrict the target namespaces, and delete copies where it is withdrawn", func(ctx SpecContext) {
		f := newFixture()
		a, b, c := f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "c")
		source := create(ctx, allowNamespaces(kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"), a, f.id+"-b*"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(f.id+"-*"), kit.Interval(time.Hour))
		seen := expect.Ready(ctx, api, replika, 2)
		Expect(seen.Status.Source.AllowedNamespaces).To(Equal([]string{a, f.id + "-b*"}))
		expect.Copied(ctx, api, source, a, b)
		Expect(read(ctx, source, c)).To(BeNil())
		Expect(read(ctx, source, a).GetAnnotations()).NotTo(HaveKey(v1alpha1.AnnotationAllowedNamespaces))

		update(ctx, source, func(source *corev1.ConfigMap) { allowNamespaces(source, a, c) })
		expect.Gone(ctx, api, source, b)
		expect.Copied(ctx, api, source, a, c)
		expect.Ready(ctx, api, replika, 2)

		update(ctx, source, func(source *corev1.ConfigMap) { source.Annotations = nil })
		seen = expect.Ready(ctx, api, replika, 3)
		Expect(seen.Status.Source.AllowedNamespaces).To(BeEmpty())
	})

	It("Should release the copy where it is withdrawn, under Retain", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source := create(ctx, allowNamespaces(kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"), a, b))
		replika := f.replika(ctx, source, kit.TargetNamespaces(f.id+"-*"), kit.Retain(), kit.Interval(time.Hour))
		expect.Ready(ctx, api, replika, 2)
		update(ctx, source, func(source *corev1.ConfigMap) { allowNamespaces(source, a) })
		expect.Ready(ctx, api, replika, 1)
		Expect(read(ctx, source, b).GetAnnotations()).NotTo(HaveKey(v1alpha1.AnnotationOwner))
	})

	It("Should be reported as missing in a namespace that the Replika names", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source := create(ctx, allowNamespaces(kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"), a))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b), kit.Interval(time.Hour))
		failing := expect.Failures(ctx, api, replika, map[string]string{b: v1alpha1.FailureForbidden})
		Expect(failing.Status.Failures[0].Message).To(ContainSubstring(v1alpha1.AnnotationAllowedNamespaces))
		Expect(failing.Status.Copies).To(HaveValue(Equal(v1alpha1.CopiesStatus{Desired: 2, Synced: 1, Failed: 1})))
		update(ctx, source, func(source *corev1.ConfigMap) { allowNamespaces(source, "*") })
		expect.Ready(ctx, api, replika, 2)
	})

	It("Should change no copy because of a list that cannot be read", func(ctx SpecContext) {
		f := newFixture()
		a, b, c := f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "c")
		source := create(ctx, allowNamespaces(kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"), a, b))
		replika := f.replika(ctx, source, kit.TargetNamespaces(f.id+"-*"), kit.Interval(time.Second))
		expect.Ready(ctx, api, replika, 2)
		before := map[string]*unstructured.Unstructured{a: read(ctx, source, a), b: read(ctx, source, b)}

		for _, list := range []string{"“" + a + "”", a + ";" + c, "^" + f.id + ".*$", a + ",," + c} {
			update(ctx, source, func(source *corev1.ConfigMap) {
				source.Annotations[v1alpha1.AnnotationAllowedNamespaces] = list
				source.Data["key"] = "changed with " + list
			})
			frozen := expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotAllowed)
			Expect(kit.Ready(frozen).Message).To(ContainSubstring(v1alpha1.AnnotationAllowedNamespaces))
			for namespace, copied := range before {
				Expect(read(ctx, source, namespace)).To(Equal(copied), list)
			}
			Expect(read(ctx, source, c)).To(BeNil(), list)
		}
		update(ctx, source, func(source *corev1.ConfigMap) { allowNamespaces(source, a, c) })
		expect.Copied(ctx, api, source, a, c)
		expect.Gone(ctx, api, source, b)
		expect.Ready(ctx, api, replika, 2)
	})

	It("Should be refused by an empty list", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(time.Hour))
		expect.Ready(ctx, api, replika, 1)
		update(ctx, source, func(source *corev1.ConfigMap) { allowNamespaces(source) })
		refused := expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotAllowed)
		Expect(kit.Ready(refused).Message).To(ContainSubstring(v1alpha1.AnnotationAllowedNamespaces))
		Expect(refused.Status.Copies).To(HaveValue(Equal(v1alpha1.CopiesStatus{})))
		Expect(read(ctx, source, a)).To(BeNil())
	})
})

var _ = Describe("Namespace opt-out", func() {
	It("Should delete copies, and allow them again, by a label", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		byGlob := f.replika(ctx, source, kit.TargetNamespaces(f.id+"-*"), kit.Interval(time.Hour), kit.WithName("by-glob"), kit.TargetName("by-glob"))
		byName := f.replika(ctx, source, kit.TargetNamespaces(a, b), kit.Interval(time.Hour), kit.WithName("by-name"), kit.TargetName("by-name"))
		expect.Ready(ctx, api, byGlob, 2)
		expect.Ready(ctx, api, byName, 2)

		optOut(ctx, b, "true")
		for _, name := range []string{"by-glob", "by-name"} {
			expect.Gone(ctx, api, kit.ConfigMap("", name, ""), b)
		}
		expect.Ready(ctx, api, byGlob, 1)
		failing := expect.Failures(ctx, api, byName, map[string]string{b: v1alpha1.FailureForbidden})
		Expect(failing.Status.Failures[0].Message).To(ContainSubstring(v1alpha1.LabelOptOut))

		optOut(ctx, b, "false")
		expect.Ready(ctx, api, byGlob, 2)
		expect.Ready(ctx, api, byName, 2)
	})
})

var _ = Describe("Administrator policy", serial, func() {
	It("Should keep copies out of the excluded namespaces", func(ctx SpecContext) {
		f := newFixture()
		a, b, c := f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "c-1")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b, f.id+"-c*"))
		expect.Ready(ctx, api, replika, 3)
		restartWith(func(options *controllers.Options) { options.Policy.ExcludedNamespaces = []string{b, f.id + "-c*"} })
		failing := expect.Failures(ctx, api, replika, map[string]string{b: v1alpha1.FailureForbidden})
		Expect(failing.Status.Failures[0].Message).To(ContainSubstring("--excluded-namespaces"))
		expect.Copied(ctx, api, source, a)
		expect.Gone(ctx, api, source, b, c)
	})

	It("Should require the source's consent", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		restartWith(func(options *controllers.Options) { options.Policy.RequireSourceConsent = true })
		refused := expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotAllowed)
		Expect(kit.Ready(refused).Message).To(ContainSubstring(v1alpha1.AnnotationAllowedNamespaces))
		expect.Gone(ctx, api, source, a)
		update(ctx, source, func(source *corev1.ConfigMap) { allowNamespaces(source, a) })
		expect.Ready(ctx, api, replika, 1)
	})
})

// allowNamespaces sets the annotation that lists the namespaces of copies.
func allowNamespaces(source *corev1.ConfigMap, namespaces ...string) *corev1.ConfigMap {
	metav1.SetMetaDataAnnotation(&source.ObjectMeta, v1alpha1.AnnotationAllowedNamespaces, strings.Join(namespaces, ", "))
	return source
}

// optOut sets the opt-out label of a namespace.
func optOut(ctx context.Context, namespace, value string) {
	GinkgoHelper()
	update(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, func(namespace *corev1.Namespace) {
		metav1.SetMetaDataLabel(&namespace.ObjectMeta, v1alpha1.LabelOptOut, value)
	})
}
