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
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// unusual are Replikas that the schema of the releases accepted, but this version's refuses.
type unusual struct {
	*installation
	wanted map[string]reported
}

// reported is the condition Ready of a Replika.
type reported struct {
	status metav1.ConditionStatus
	// message is a part of the message.
	message string
}

// createUnusual creates such Replikas. The operators of the releases copied none of them.
func (i *installation) createUnusual(ctx context.Context) *unusual {
	GinkgoHelper()
	const (
		everywhere = "target: {namespaces: {matchAll: true}}"
		interval   = "synchronization: {time: 20s}"
	)
	source := func(kind, name string) string {
		return fmt.Sprintf(`source: {group: "", version: v1, kind: %s, name: %s, namespace: %s}`, kind, name, store)
	}
	late := source("ConfigMap", "late") + fmt.Sprintf(", target: {namespaces: {matchAll: false, replicateIn: [%s]}}", targets[0])
	expect.Create(ctx, i.admin, &corev1.ConfigMap{ObjectMeta: i.sourceMeta("late")})
	created := &unusual{installation: i, wanted: map[string]reported{}}
	for name, test := range map[string]struct {
		spec string
		want reported
	}{
		"no-source":       {interval + ", " + everywhere, reported{metav1.ConditionFalse, "is not served"}},
		"no-source-named": {interval + ", target: {namespaces: {matchAll: false, replicateIn: [store]}}", reported{metav1.ConditionFalse, "is not served"}},
		"path-version": {
			interval + `, source: {group: "", version: v1/secrets, kind: ConfigMap, name: missing, namespace: store}, ` + everywhere,
			reported{metav1.ConditionFalse, "is not served"},
		},
		"path-name": {interval + ", " + source("ConfigMap", "a/b") + ", " + everywhere, reported{metav1.ConditionFalse, "a/b"}},
		"path-namespace": {
			interval + `, source: {group: "", version: v1, kind: ConfigMap, name: missing, namespace: a/../b}, ` + everywhere,
			reported{metav1.ConditionFalse, "a/../b"},
		},
		"no-namespaces":    {interval + ", target: {}, " + source("ConfigMap", "missing"), reported{metav1.ConditionFalse, "ConfigMap store/missing not found"}},
		"namespace-source": {interval + ", " + source("Namespace", store) + ", " + everywhere, reported{metav1.ConditionFalse, "cluster-scoped"}},
		"own-namespace": {
			interval + ", " + source("ConfigMap", "banner") + ", target: {namespaces: {matchAll: false, replicateIn: [store]}}",
			reported{metav1.ConditionTrue, "no namespaces are selected"},
		},
		"bad-names": {
			interval + ", " + source("ConfigMap", "banner") + `, target: {namespaces: {matchAll: false, replicateIn: ["Team_A", "a/b"]}}`,
			reported{metav1.ConditionFalse, "Team_A"},
		},
		"long-name":        {interval + ", " + source("ConfigMap", strings.Repeat("x", 300)) + ", " + everywhere, reported{metav1.ConditionFalse, "not found"}},
		"no-time":          {`synchronization: {time: ""}, ` + source("ConfigMap", "missing") + ", " + everywhere, reported{metav1.ConditionFalse, "not found"}},
		"negative-time":    {`synchronization: {time: "-5s"}, ` + source("ConfigMap", "missing") + ", " + everywhere, reported{metav1.ConditionFalse, "not found"}},
		"overflowing-time": {`synchronization: {time: 9999999999h}, ` + source("ConfigMap", "missing") + ", " + everywhere, reported{metav1.ConditionFalse, "not found"}},
		"late":             {"synchronization: {time: soon}, " + late, reported{metav1.ConditionTrue, `spec.synchronization.time "soon" is not a duration from 1s to 8760h: 1m0s is used`}},
	} {
		i.apply(ctx, fmt.Sprintf("metadata: {name: %s, namespace: %s, labels: {unusual: 'true'}}\nspec: {%s}", name, store, test.spec), "SourceNotFound")
		created.wanted[name] = test.want
	}
	return created
}

// expectReported expects that the condition of each says what it is.
func (u *unusual) expectReported(ctx context.Context) {
	GinkgoHelper()
	for name, want := range u.wanted {
		Eventually(ctx, func(g Gomega) {
			replika := &v1alpha1.Replika{}
			g.Expect(u.admin.Get(ctx, types.NamespacedName{Namespace: store, Name: name}, replika)).To(Succeed())
			g.Expect(replika.Status.ObservedGeneration).To(Equal(replika.Generation), name)
			ready := kit.Condition(replika, v1alpha1.ConditionReady)
			g.Expect(ready).To(And(HaveField("Status", want.status), HaveField("Message", ContainSubstring(want.message))), name)
		}).Should(Succeed())
	}
}
