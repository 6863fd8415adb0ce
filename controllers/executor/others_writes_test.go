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
	"fmt"
	"maps"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// What controllers and earlier releases write on copies.
var _ = Describe("A copy that others write, too", func() {
	actions := map[string]func(*env, *planner.Observed, *planner.Template) planner.Action{
		"update": (*env).updateAction,
		"release": func(e *env, observed *planner.Observed, _ *planner.Template) planner.Action {
			return e.action(planner.Release, observed)
		},
		"hand-over": func(e *env, observed *planner.Observed, _ *planner.Template) planner.Action {
			return e.handOverAction(observed)
		},
		"delete": func(e *env, observed *planner.Observed, _ *planner.Template) planner.Action {
			return e.action(planner.Delete, observed)
		},
	}
	for _, name := range slices.Sorted(maps.Keys(actions)) {
		newAction := actions[name]
		DescribeTable(name+" changes nothing after a controller reference was added", func(ctx SpecContext, owned bool) {
			e := newEnv(ctx)
			template, controller := newTemplate(ctx, configMap(nil)), e.newController(ctx)
			observed := e.createCopy(ctx, template)
			if owned {
				owner := controller
				owner.Controller = nil
				e.modify(ctx, template, func(object *unstructured.Unstructured) { object.SetOwnerReferences([]metav1.OwnerReference{owner}) })
				observed = e.observe(ctx, template)
				Expect(observed.Marks).To(Equal(planner.MarksValid), "only a controller makes the object foreign")
			}
			var modified *unstructured.Unstructured
			e.interceptor.before(1, func() {
				e.modify(ctx, template, func(object *unstructured.Unstructured) {
					object.SetOwnerReferences([]metav1.OwnerReference{controller})
				})
				modified = e.get(ctx, template)
			})

			result := e.execute(ctx, template.Kind, newAction(e, observed, newTemplate(ctx, configMap(map[string]string{"mode": "fast"}))))

			expectOutcome(result, planner.Stale)
			Expect(result.Object.Marks).To(Equal(planner.MarksAbsent))
			Expect(e.get(ctx, template)).To(Equal(modified))
		},
			Entry("to an object without owners", false),
			Entry("to an object with an owner", true),
		)
	}

	It("keeps its own image pull secrets", func(ctx SpecContext) {
		account := func(names ...string) *corev1.ServiceAccount {
			account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "builder"}}
			for _, name := range names {
				account.ImagePullSecrets = append(account.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
			}
			return account
		}
		e := newEnv(ctx)
		names := func() []string {
			GinkgoHelper()
			list, _, err := unstructured.NestedSlice(e.get(ctx, newRawTemplate(account())).Object, "imagePullSecrets")
			Expect(err).NotTo(HaveOccurred())
			var names []string
			for _, entry := range list {
				names = append(names, entry.(map[string]any)["name"].(string))
			}
			return names
		}
		before := newTemplate(ctx, account("builder-dockercfg-home1", "old", "pull"))
		e.createCopy(ctx, before)
		Expect(names()).To(Equal([]string{"old", "pull"}))
		e.modify(ctx, before, func(object *unstructured.Unstructured) {
			list, _, _ := unstructured.NestedSlice(object.Object, "imagePullSecrets")
			list = append(list, map[string]any{"name": "builder-dockercfg-here2"}, map[string]any{"name": "theirs"})
			Expect(unstructured.SetNestedSlice(object.Object, list, "imagePullSecrets")).To(Succeed())
		})
		expectInSync(e.observe(ctx, before), before)
		after := newTemplate(ctx, account("builder-dockercfg-home1", "pull", "new"))

		result := e.execute(ctx, after.Kind, e.updateAction(e.observe(ctx, before), after))

		expectOutcome(result, planner.Done)
		expectInSync(result.Object, after)
		Expect(names()).To(Equal([]string{"pull", "new", "builder-dockercfg-here2", "theirs"}))
	})

	It("loses the tracking keys of its source when it is a copy of the 2022 release", func(ctx SpecContext) {
		e := newEnv(ctx)
		template := newTemplate(ctx, configMap(map[string]string{"mode": "fast"}))
		legacy := toUnstructured(configMap(map[string]string{"mode": "fast"}))
		legacy.SetNamespace(e.namespace)
		legacy.SetLabels(map[string]string{
			v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue, v1alpha1.LabelPartOf: replika.Name,
			"app.kubernetes.io/instance": "shop", "helm.sh/chart": "shop-1.2.3", "theirs": "kept",
		})
		legacy.SetAnnotations(map[string]string{
			"argocd.argoproj.io/tracking-id": "shop", "kubectl.kubernetes.io/last-applied-configuration": "{}", "theirs": "kept",
		})
		Expect(api.Create(ctx, legacy)).To(Succeed())

		result := e.execute(ctx, template.Kind, e.updateAction(observe(legacy), template))

		expectOutcome(result, planner.Done)
		expectInSync(result.Object, template)
		Expect(result.Object.Adopted).To(BeFalse())
		now := e.get(ctx, template)
		Expect(now.GetLabels()).To(Equal(map[string]string{
			v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue, v1alpha1.LabelPartOf: replika.Name, "theirs": "kept",
		}))
		for _, key := range planner.MarkKeys() {
			unstructured.RemoveNestedField(now.Object, "metadata", "annotations", key)
		}
		Expect(now.GetAnnotations()).To(Equal(map[string]string{"theirs": "kept"}))
	})

	DescribeTable("is kept in sync with thousands of keys", func(ctx SpecContext, set func(*corev1.ConfigMap, map[string]string), count int) {
		e := newEnv(ctx)
		source := func(count int) *corev1.ConfigMap {
			keys := map[string]string{}
			for i := range count {
				name := fmt.Sprint(i)
				keys["example.com/"+strings.Repeat("k", 63-len(name))+name] = ""
			}
			object := configMap(map[string]string{"mode": "fast"})
			set(object, keys)
			return object
		}
		before := newTemplate(ctx, source(count))
		observed := e.createCopy(ctx, before)
		expectInSync(observed, before)
		e.modify(ctx, before, func(object *unstructured.Unstructured) {
			object.SetLabels(withKey(object.GetLabels(), "theirs", "kept"))
		})
		for _, remaining := range []int{count - 1, 3} {
			after := newTemplate(ctx, source(remaining))
			result := e.execute(ctx, after.Kind, e.updateAction(e.observe(ctx, before), after))

			expectOutcome(result, planner.Done)
			Expect(e.interceptor.requests()).To(Equal([]string{"GET", "PATCH"}))
			expectInSync(result.Object, after)
			now := e.get(ctx, after)
			Expect(now.GetLabels()).To(HaveKeyWithValue("theirs", "kept"))
			own := len([]string{"theirs", v1alpha1.LabelCreatedBy, v1alpha1.LabelPartOf})
			Expect(len(now.GetLabels()) + len(now.GetAnnotations())).To(BeNumerically("<=", remaining+own+len(planner.MarkKeys())))
		}
	},
		Entry("labels", func(object *corev1.ConfigMap, keys map[string]string) { object.Labels = keys }, 4200),
		Entry("annotations", func(object *corev1.ConfigMap, keys map[string]string) { object.Annotations = keys }, 3000),
	)

	It("is found, but never created, when every namespace has it", func(ctx SpecContext) {
		e := newEnv(ctx)
		template := newTemplate(ctx, configMap(nil))
		action := e.createAction(template)
		action.Type = planner.LookUp

		expectOutcome(e.execute(ctx, template.Kind, action), planner.Unavailable)
		e.expectNotFound(ctx, template)

		e.createCopy(ctx, template)
		result := e.execute(ctx, template.Kind, action)
		expectOutcome(result, planner.Stale)
		Expect(result.Object).To(Equal(e.observe(ctx, template)))
		Expect(e.interceptor.requests()).To(Equal([]string{"GET"}))
	})
})
