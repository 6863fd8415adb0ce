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

package v1alpha1_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// The manifest that users have had the longest. It must be accepted as it
// stands, for ever; so it stands here too, where a change of the sample shows.
const oldestManifest = `apiVersion: replika.prosimcorp.com/v1alpha1
kind: Replika
metadata:
  name: replika-sample
spec:
  synchronization:
    time: "20s"
  source:
    group: ""
    version: v1
    kind: ConfigMap
    name: sample-configmap
    namespace: &sourceNamespace default
  target:
    namespaces:
      replicateIn: []
      matchAll: true
      excludeFrom: [kube-system, kube-public, kube-node-lease, *sourceNamespace]
`

// The least that makes a Replika. Every case below is this and a change.
const smallest = `apiVersion: replika.prosimcorp.com/v1alpha1
kind: Replika
metadata:
  name: smallest
  namespace: default
spec:
  source:
    version: v1
    kind: ConfigMap
    name: settings
  target:
    namespaces:
      matchAll: true
`

var _ = Describe("A Replika manifest", func() {
	DescribeTable("is accepted",
		func(ctx SpecContext, change string) {
			_, err := try(ctx, manifest(change))
			Expect(err).NotTo(HaveOccurred())
		},
		Entry("that says the least", ``),

		Entry("with a time in seconds", withTime("20s")),
		Entry("with the shortest time", withTime("1s")),
		Entry("with the shortest time, in milliseconds", withTime("1000ms")),
		Entry("with a time in minutes and seconds", withTime("1m30s")),
		Entry("with a time in hours", withTime("1h")),
		Entry("with a fraction of hours", withTime("1.5h")),
		Entry("with a time as Go writes it", withTime("1h0m0s")),
		Entry("with the longest time", withTime("8760h")),
		Entry("with the longest time, in seconds", withTime("31536000s")),

		Entry("with a source in a named group", `spec: {source: {group: networking.k8s.io, kind: NetworkPolicy}}`),
		Entry("with a source in the core group, by name", `spec: {source: {group: ""}}`),
		Entry("with a beta version", `spec: {source: {version: v2beta10}}`),
		Entry("with a kind in lower case, which a CRD may define", `spec: {source: {kind: widget}}`),
		Entry("with a kind called Namespace of another group", `spec: {source: {group: example.com, kind: Namespace}}`),
		Entry("with a source in a group that only ends like ours", `spec: {source: {group: my.replika.prosimcorp.com}}`),
		Entry("with a source whose name is no DNS name", `spec: {source: {group: rbac.authorization.k8s.io, kind: Role, name: "system:Reader_x"}}`),
		Entry("with a source's name as long as can be", `spec: {source: {name: `+long(253)+`}}`),
		Entry("with a source in a namespace as long as can be", `spec: {source: {namespace: `+long(63)+`}}`),
		Entry("with an empty source namespace, as templates write it", `spec: {source: {namespace: ""}}`),

		Entry("with another name for the copies", `spec: {target: {name: "system:settings"}}`),
		Entry("with an empty name for the copies, as templates write it", `spec: {target: {name: ""}}`),
		Entry("with labels", `spec: {target: {labels: {app: "", example.com/tier: back_end.1}}}`),
		Entry("with annotations", `spec: {target: {annotations: {Example.com/note: "any text: at all / $%&", empty: ""}}}`),
		Entry("with a key that only looks reserved", `spec: {target: {labels: {my.replika.prosimcorp.com/x: "1", replika.prosimcorp.com: "1"}}}`),
		Entry("with as many labels as can be", `spec: {target: {labels: `+pairs(64)+`}}`),

		Entry("with every policy the one way", `spec: {deletionPolicy: Delete, synchronization: {onSourceDeletion: Retain}, target: {conflictPolicy: Fail, immutableFields: Recreate}}`),
		Entry("with every policy the other way", `spec: {deletionPolicy: Retain, synchronization: {onSourceDeletion: Delete}, target: {conflictPolicy: Adopt, immutableFields: Fail}}`),
		Entry("suspended", `spec: {suspend: true}`),
		Entry("with an empty ServiceAccount", `spec: {serviceAccountName: ""}`),
		Entry("with a ServiceAccount", `spec: {serviceAccountName: "copier.of-teams"}`),

		Entry("with names and globs", targets(`replicateIn: [team-a, "team-*", "*-prod", "a*b", "1-2"]`)),
		Entry("with everything by a glob", targets(`replicateIn: ["*"]`)),
		Entry("with a name twice", targets(`replicateIn: [team-a, team-a]`)),
		Entry("with as many names as can be", targets(`replicateIn: `+list(1000))),
		Entry("with exclusions by name and glob", targets(`replicateIn: ["*"], excludeFrom: ["kube-*", default]`)),
		Entry("with a selector by labels", targets(`selector: {matchLabels: {kubernetes.io/metadata.name: team-a, Tier: ""}}`)),
		Entry("with a selector by expressions", targets(`selector: {matchExpressions: [{key: a, operator: In, values: [b]}, {key: example.com/c, operator: NotIn, values: [d, e]}, {key: f, operator: Exists}, {key: g, operator: DoesNotExist, values: []}]}`)),
		Entry("with the empty selector, which selects everything", targets(`selector: {}`)),
		Entry("with names and a selector", targets(`replicateIn: [team-a], selector: {matchLabels: {a: b}}`)),
		Entry("with the source's namespace in a list that does not count",
			`spec: {source: {namespace: default}, target: {namespaces: {matchAll: true, replicateIn: [default]}}}`),
		Entry("with a glob that matches the source's namespace",
			`spec: {source: {namespace: default}, target: {namespaces: {matchAll: false, replicateIn: ["def*"]}}}`),
	)

	DescribeTable("is refused",
		func(ctx SpecContext, change, field, message string) {
			_, err := try(ctx, manifest(change))
			Expect(err).To(beRefused(field, message))
		},
		Entry("without a spec", `spec: null`, "spec", "Required value"),
		Entry("without a source", `spec: {source: null}`, "spec.source", "Required value"),
		Entry("without a target", `spec: {target: null}`, "spec.target", "Required value"),
		Entry("without target namespaces", `spec: {target: {namespaces: null}}`, "spec.target.namespaces", "Required value"),

		Entry("with a time without a unit", withTime("20"), "spec.synchronization.time", duration),
		Entry("with a time that is none", withTime("abc"), "spec.synchronization.time", duration),
		Entry("with an empty time", withTime(""), "spec.synchronization.time", duration),
		Entry("with a negative time", withTime("-5s"), "spec.synchronization.time", duration),
		Entry("with no time at all", withTime("0s"), "spec.synchronization.time", duration),
		Entry("with a time below the least", withTime("500ms"), "spec.synchronization.time", duration),
		Entry("with a time just below the least", withTime("0.999999999s"), "spec.synchronization.time", duration),
		Entry("with a time in days", withTime("1d"), "spec.synchronization.time", duration),
		Entry("with a time with a blank", withTime("1m 30s"), "spec.synchronization.time", duration),
		Entry("with a time in RFC 3339's form", withTime("PT20S"), "spec.synchronization.time", duration),
		Entry("with a time above the most", withTime("8761h"), "spec.synchronization.time", duration),
		Entry("with a time above the most in the sum", withTime("8760h1s"), "spec.synchronization.time", duration),
		Entry("with a time that overflows", withTime("9999999999h"), "spec.synchronization.time", duration),
		Entry("with a time as long as a novel", withTime(strings.Repeat("1s", 33)), "spec.synchronization.time", "Too long"),
		Entry("with a time that is a number", `spec: {synchronization: {time: 20}}`, "spec.synchronization.time", "must be of type string"),

		Entry("with a version in the group", `spec: {source: {group: apps/v1}}`, "spec.source.group", "must be an API group without its version"),
		Entry("with a group in capitals", `spec: {source: {group: Apps}}`, "spec.source.group", "must be an API group"),
		Entry("with an endless group", `spec: {source: {group: `+long(254)+`}}`, "spec.source.group", "Too long"),
		Entry("without a version", `spec: {source: {version: null}}`, "spec.source.version", "Required value"),
		Entry("with an empty version", `spec: {source: {version: ""}}`, "spec.source.version", "must be an API version"),
		Entry("with a group in the version", `spec: {source: {version: apps/v1}}`, "spec.source.version", "must be an API version without its group"),
		Entry("without a kind", `spec: {source: {kind: null}}`, "spec.source.kind", "Required value"),
		Entry("with an empty kind", `spec: {source: {kind: ""}}`, "spec.source.kind", "must be a kind"),
		Entry("with a group in the kind", `spec: {source: {kind: Deployment.apps}}`, "spec.source.kind", "must be a kind"),
		Entry("without a source name", `spec: {source: {name: null}}`, "spec.source.name", "Required value"),
		Entry("with an empty source name", `spec: {source: {name: ""}}`, "spec.source.name", "at least 1 chars"),
		Entry("with a path as source name", `spec: {source: {name: a/b}}`, "spec.source.name", objectName),
		Entry("with an escape in the source name", `spec: {source: {name: a%2fb}}`, "spec.source.name", objectName),
		Entry("with a dot as source name", `spec: {source: {name: .}}`, "spec.source.name", objectName),
		Entry("with dots as source name", `spec: {source: {name: ..}}`, "spec.source.name", objectName),
		Entry("with an endless source name", `spec: {source: {name: `+long(254)+`}}`, "spec.source.name", "Too long"),
		Entry("with a source namespace in capitals", `spec: {source: {namespace: Default}}`, "spec.source.namespace", "must be the name of a namespace"),
		Entry("with a glob as source namespace", `spec: {source: {namespace: "team-*"}}`, "spec.source.namespace", "must be the name of a namespace"),
		Entry("with an endless source namespace", `spec: {source: {namespace: `+long(64)+`}}`, "spec.source.namespace", "Too long"),
		Entry("with a Namespace as source", `spec: {source: {kind: Namespace}}`, "spec.source.kind", "Namespaces are never replicated"),
		Entry("with a Namespace as source, group given", `spec: {source: {group: "", kind: Namespace}}`, "spec.source.kind", "Namespaces are never replicated"),
		Entry("with a Replika as source", `spec: {source: {group: replika.prosimcorp.com, version: v1alpha1, kind: Replika}}`, "spec.source.group", "objects of this group are never replicated"),
		Entry("with anything of our group as source", `spec: {source: {group: replika.prosimcorp.com, version: v9, kind: Other}}`, "spec.source.group", "objects of this group are never replicated"),

		Entry("with a path as the copies' name", `spec: {target: {name: a/b}}`, "spec.target.name", objectName),
		Entry("with dots as the copies' name", `spec: {target: {name: ..}}`, "spec.target.name", objectName),
		Entry("with an endless name for the copies", `spec: {target: {name: `+long(254)+`}}`, "spec.target.name", "Too long"),
		Entry("with a reserved label", `spec: {target: {labels: {replika.prosimcorp.com/part-of: x}}}`, "spec.target.labels", "keys under replika.prosimcorp.com/ are reserved"),
		Entry("with a reserved label of no meaning yet", `spec: {target: {labels: {a: b, replika.prosimcorp.com/new: x}}}`, "spec.target.labels", "keys under replika.prosimcorp.com/ are reserved"),
		Entry("with a reserved annotation", `spec: {target: {annotations: {replika.prosimcorp.com/owner: a/b}}}`, "spec.target.annotations", "keys under replika.prosimcorp.com/ are reserved"),
		Entry("with a label key with a blank", `spec: {target: {labels: {a b: c}}}`, "spec.target.labels", "every key must be a legal label key"),
		Entry("with an empty label key", `spec: {target: {labels: {"": c}}}`, "spec.target.labels", "every key must be a legal label key"),
		Entry("with a label key in two parts too many", `spec: {target: {labels: {a/b/c: d}}}`, "spec.target.labels", "every key must be a legal label key"),
		Entry("with a label key that is too long", `spec: {target: {labels: {`+long(64)+`: d}}}`, "spec.target.labels", "every key must be a legal label key"),
		Entry("with a label value with a blank", `spec: {target: {labels: {a: b c}}}`, "spec.target.labels.a", "should match"),
		Entry("with a label value that is too long", `spec: {target: {labels: {a: `+long(64)+`}}}`, "spec.target.labels.a", "Too long"),
		Entry("with too many labels", `spec: {target: {labels: `+pairs(65)+`}}`, "spec.target.labels", "Too many"),
		Entry("with an annotation key with a blank", `spec: {target: {annotations: {a b: c}}}`, "spec.target.annotations", "every key must be a legal annotation key"),
		Entry("with an annotation that is a number", `spec: {target: {annotations: {a: 1}}}`, "spec.target.annotations.a", "must be of type string"),
		Entry("with too many annotations", `spec: {target: {annotations: `+pairs(65)+`}}`, "spec.target.annotations", "Too many"),

		Entry("with an unknown deletion policy", `spec: {deletionPolicy: Keep}`, "spec.deletionPolicy", `supported values: "Delete", "Retain"`),
		Entry("with an empty deletion policy", `spec: {deletionPolicy: ""}`, "spec.deletionPolicy", `supported values: "Delete", "Retain"`),
		Entry("with an unknown source deletion policy", `spec: {synchronization: {onSourceDeletion: Orphan}}`, "spec.synchronization.onSourceDeletion", `supported values: "Retain", "Delete"`),
		Entry("with an unknown conflict policy", `spec: {target: {conflictPolicy: Force}}`, "spec.target.conflictPolicy", `supported values: "Fail", "Adopt"`),
		Entry("with an unknown policy for immutable fields", `spec: {target: {immutableFields: Replace}}`, "spec.target.immutableFields", `supported values: "Recreate", "Fail"`),
		Entry("with a ServiceAccount of another namespace", `spec: {serviceAccountName: other/copier}`, "spec.serviceAccountName", "must be the name of a ServiceAccount"),
		Entry("with a ServiceAccount as its user name", `spec: {serviceAccountName: "system:serviceaccount:other:copier"}`, "spec.serviceAccountName", "must be the name of a ServiceAccount"),
		Entry("with a ServiceAccount in capitals", `spec: {serviceAccountName: Copier}`, "spec.serviceAccountName", "must be the name of a ServiceAccount"),
		Entry("with a ServiceAccount whose name is too long", `spec: {serviceAccountName: `+long(254)+`}`, "spec.serviceAccountName", "Too long"),

		Entry("that selects nothing, not a word", targets(``), "spec.target.namespaces", "selects no namespace"),
		Entry("that selects nothing, list empty", targets(`replicateIn: []`), "spec.target.namespaces", "selects no namespace"),
		Entry("that only excludes", targets(`excludeFrom: [kube-system]`), "spec.target.namespaces", "selects no namespace"),
		Entry("with an empty name in the list", targets(`replicateIn: [""]`), "spec.target.namespaces.replicateIn[0]", "at least 1 chars"),
		Entry("with a name in capitals in the list", targets(`replicateIn: [a, Team]`), "spec.target.namespaces.replicateIn[1]", "should match"),
		Entry("with a question mark for a glob", targets(`replicateIn: ["team-?"]`), "spec.target.namespaces.replicateIn[0]", "should match"),
		Entry("with a character class for a glob", targets(`replicateIn: ["team-[ab]"]`), "spec.target.namespaces.replicateIn[0]", "should match"),
		Entry("with a regular expression for a glob", targets(`replicateIn: ["team-.*"]`), "spec.target.namespaces.replicateIn[0]", "should match"),
		Entry("with a name that ends in a dash", targets(`replicateIn: [team-]`), "spec.target.namespaces.replicateIn[0]", "should match"),
		Entry("with a name that is too long", targets(`replicateIn: [`+long(64)+`]`), "spec.target.namespaces.replicateIn[0]", "Too long"),
		Entry("with too many names", targets(`replicateIn: `+list(1001)), "spec.target.namespaces.replicateIn", "Too many"),
		Entry("with a bad exclusion", targets(`replicateIn: [a], excludeFrom: [kube_system]`), "spec.target.namespaces.excludeFrom[0]", "should match"),
		Entry("with too many exclusions", targets(`replicateIn: [a], excludeFrom: `+list(1001)+``), "spec.target.namespaces.excludeFrom", "Too many"),
		Entry("with the source's namespace in the list",
			`spec: {source: {namespace: default}, target: {namespaces: {matchAll: false, replicateIn: [a, default]}}}`,
			"spec.target.namespaces.replicateIn", "must not list the source's namespace"),
		Entry("with the source's namespace in the list and among the exclusions",
			`spec: {source: {namespace: default}, target: {namespaces: {matchAll: false, replicateIn: [a, default], excludeFrom: [default]}}}`,
			"spec.target.namespaces.replicateIn", "must not list the source's namespace"),
		Entry("with a bad key in the selector", targets(`selector: {matchLabels: {a b: c}}`), "spec.target.namespaces.selector.matchLabels", "every key must be a legal label key"),
		Entry("with a value that is too long in the selector", targets(`selector: {matchLabels: {a: `+long(64)+`}}`), "spec.target.namespaces.selector.matchLabels.a", "Too long"),
		Entry("with a value that no label has in the selector", targets(`selector: {matchLabels: {a: b c}}`), "spec.target.namespaces.selector.matchLabels.a", "should match"),
		Entry("with too many labels in the selector", targets(`selector: {matchLabels: `+pairs(65)+`}`), "spec.target.namespaces.selector.matchLabels", "Too many"),
		Entry("with an unknown operator in the selector", targets(`selector: {matchExpressions: [{key: a, operator: Equals, values: [b]}]}`), "spec.target.namespaces.selector.matchExpressions[0].operator", `supported values: "In", "NotIn", "Exists", "DoesNotExist"`),
		Entry("with a bad key in an expression", targets(`selector: {matchExpressions: [{key: a/b/c, operator: Exists}]}`), "spec.target.namespaces.selector.matchExpressions[0].key", "should match"),
		Entry("with a bad value in an expression", targets(`selector: {matchExpressions: [{key: a, operator: In, values: [b, -c]}]}`), "spec.target.namespaces.selector.matchExpressions[0].values[1]", "should match"),
		Entry("with values where the operator takes none", targets(`selector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}`), "spec.target.namespaces.selector.matchExpressions[0]", "In and NotIn need values"),
		Entry("without values where the operator needs them", targets(`selector: {matchExpressions: [{key: a, operator: In}]}`), "spec.target.namespaces.selector.matchExpressions[0]", "In and NotIn need values"),
		Entry("with an empty key in the selector", targets(`selector: {matchExpressions: [{key: "", operator: Exists}]}`), "spec.target.namespaces.selector.matchExpressions[0].key", "at least 1 chars"),
	)

	It("is refused with a field that does not exist", func(ctx SpecContext) {
		_, err := try(ctx, manifest(`spec: {target: {nameSpaces: {}}}`))
		Expect(err).To(MatchError(ContainSubstring(`unknown field "spec.target.nameSpaces"`)))
	})

	It("gets the defaults of what it leaves out", func(ctx SpecContext) {
		got, err := try(ctx, manifest(``))
		Expect(err).NotTo(HaveOccurred())
		Expect(got.Object["spec"]).To(Equal(map[string]any{
			"synchronization": map[string]any{"time": "1m", "onSourceDeletion": "Retain"},
			"source":          map[string]any{"version": "v1", "kind": "ConfigMap", "name": "settings"},
			"target": map[string]any{
				"conflictPolicy": "Fail",
				"namespaces":     map[string]any{"matchAll": true},
			},
			"deletionPolicy": "Delete",
			"suspend":        false,
		}))
	})

	It("keeps what it says of a synchronization, and gets the rest", func(ctx SpecContext) {
		got, err := try(ctx, manifest(`spec: {synchronization: {onSourceDeletion: Delete}}`))
		Expect(err).NotTo(HaveOccurred())
		Expect(got.Object["spec"]).To(HaveKeyWithValue("synchronization",
			map[string]any{"time": "1m", "onSourceDeletion": "Delete"}))
	})
})

var _ = Describe("The sample", func() {
	const path = "../../config/samples/replika_v1alpha1_replika.yaml"

	It("is the oldest manifest, byte for byte", func() {
		Expect(os.ReadFile(path)).To(BeEquivalentTo(oldestManifest))
	})

	It("is accepted, and means what it says", func(ctx SpecContext) {
		sample := decode(oldestManifest)
		sample.SetNamespace("default")
		got, err := try(ctx, sample)
		Expect(err).NotTo(HaveOccurred())

		typed := &v1alpha1.Replika{}
		Expect(yamlInto(got, typed)).To(Succeed())
		Expect(typed.Spec.Synchronization.Time.Duration).To(Equal(20 * time.Second))
		Expect(typed.SourceNamespace()).To(Equal("default"))
		Expect(typed.TargetName()).To(Equal("sample-configmap"))
		Expect(typed.Spec.Target.Namespaces).To(Equal(v1alpha1.TargetNamespaces{
			ReplicateIn: []string{},
			MatchAll:    true,
			ExcludeFrom: []string{"kube-system", "kube-public", "kube-node-lease", "default"},
		}))
	})
})

var _ = Describe("A Replika from Go", func() {
	It("needs no more than a manifest does", func(ctx SpecContext) {
		replika := &v1alpha1.Replika{
			ObjectMeta: metav1.ObjectMeta{Name: "from-go", Namespace: "default"},
			Spec: v1alpha1.ReplikaSpec{
				Source: v1alpha1.SourceSpec{Version: "v1", Kind: "ConfigMap", Name: "settings"},
				Target: v1alpha1.TargetSpec{
					Labels:     map[string]string{"a": "b"},
					Namespaces: v1alpha1.TargetNamespaces{ReplicateIn: []string{"team-a"}},
				},
			},
		}
		Expect(api.Create(ctx, replika, client.DryRunAll)).To(Succeed())

		Expect(replika.Spec.Synchronization.Time.Duration).To(Equal(time.Minute))
		Expect(replika.Spec.Synchronization.OnSourceDeletion).To(Equal(v1alpha1.SourceDeletionRetain))
		Expect(replika.Spec.DeletionPolicy).To(Equal(v1alpha1.DeletionPolicyDelete))
		Expect(replika.Spec.Target.ConflictPolicy).To(Equal(v1alpha1.ConflictPolicyFail))
		Expect(replika.Spec.Target.ImmutableFields).To(BeEmpty())
		Expect(maps.Clone(replika.Spec.Target.Labels)).To(HaveKeyWithValue("a", "b"))
		Expect(replika.SourceNamespace()).To(Equal("default"))
	})

	Context("that exists", Ordered, func() {
		var replika *v1alpha1.Replika

		BeforeAll(func(ctx SpecContext) {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "api-"}}
			Expect(api.Create(ctx, namespace)).To(Succeed())
			DeferCleanup(func(ctx SpecContext) error { return api.Delete(ctx, namespace) })

			replika = &v1alpha1.Replika{}
			Expect(yamlInto(manifest(``), replika)).To(Succeed())
			replika.Namespace = namespace.Name
			Expect(api.Create(ctx, replika)).To(Succeed())
		})

		It("can name another source", func(ctx SpecContext) {
			changed := replika.DeepCopy()
			changed.Spec.Source = v1alpha1.SourceSpec{Group: "apps", Version: "v1", Kind: "Deployment", Name: "other", Namespace: "default"}
			Expect(api.Update(ctx, changed, client.DryRunAll)).To(Succeed())
		})

		It("says that the operator has not seen it, until that has", func() {
			Expect(replika.Status).To(BeComparableTo(v1alpha1.ReplikaStatus{ObservedGeneration: -1}))
		})

		It("can be given a whole status, and only beside its spec", func(ctx SpecContext) {
			changed := replika.DeepCopy()
			changed.Spec.Suspend = true
			changed.Status = v1alpha1.ReplikaStatus{
				ObservedGeneration: 1,
				Source:             &v1alpha1.SourceStatus{ResourceVersion: "7"},
				Copies:             &v1alpha1.CopiesStatus{Desired: 3, Synced: 2, Failed: 1},
				Failures:           failures(v1alpha1.MaxFailures),
			}
			changed.SetConditions([]metav1.Condition{{
				Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonCopiesFailed,
				ObservedGeneration: 1, LastTransitionTime: metav1.Now().Rfc3339Copy(), Message: "1 of 3 copies failed",
			}})
			want := changed.Status.DeepCopy()
			Expect(api.Status().Update(ctx, changed, client.DryRunAll)).To(Succeed())
			Expect(changed.Status).To(BeComparableTo(*want))
			Expect(changed.Spec.Suspend).To(BeFalse())
		})

		It("keeps zeros in the counts", func(ctx SpecContext) {
			changed := replika.DeepCopy()
			changed.Status.Copies = &v1alpha1.CopiesStatus{}
			Expect(api.Status().Update(ctx, changed, client.DryRunAll)).To(Succeed())
			Expect(changed.Status.Copies).To(Equal(&v1alpha1.CopiesStatus{}))
		})

		It("cannot be given more failures than fit", func(ctx SpecContext) {
			changed := replika.DeepCopy()
			changed.Status.Failures = failures(v1alpha1.MaxFailures + 1)
			Expect(api.Status().Update(ctx, changed, client.DryRunAll)).To(beRefused("status.failures", "Too many"))
		})
	})
})

// Parts of messages that many cases share.
const (
	duration   = "must be a duration from 1s to 8760h, such as 20s, 1m30s or 1.5h"
	objectName = "must be a legal object name"
)

// manifest is the smallest manifest with a change: a merge patch in YAML.
func manifest(change string) *unstructured.Unstructured {
	GinkgoHelper()
	if change == "" {
		return decode(smallest)
	}
	original, err := yaml.YAMLToJSONStrict([]byte(smallest))
	Expect(err).NotTo(HaveOccurred())
	patch, err := yaml.YAMLToJSONStrict([]byte(change))
	Expect(err).NotTo(HaveOccurred(), "%s", change)
	merged, err := jsonpatch.MergePatch(original, patch)
	Expect(err).NotTo(HaveOccurred(), "%s", change)
	return decode(string(merged))
}

func decode(text string) *unstructured.Unstructured {
	GinkgoHelper()
	u := &unstructured.Unstructured{}
	Expect(yaml.UnmarshalStrict([]byte(text), &u.Object)).To(Succeed())
	return u
}

// yamlInto decodes an untyped object into a typed one, as a client would.
func yamlInto(u *unstructured.Unstructured, out any) error {
	text, err := yaml.Marshal(u)
	if err != nil {
		return err
	}
	return yaml.UnmarshalStrict(text, out)
}

// try creates the object as a dry run: it passes everything that a real
// request passes, and leaves nothing behind. It returns what would be stored.
func try(ctx context.Context, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	got := u.DeepCopy()
	return got, api.Create(ctx, got, client.DryRunAll)
}

// beRefused matches the API server's answer to an invalid object, if it blames
// the field with a message that contains this one.
func beRefused(field, message string) OmegaMatcher {
	return SatisfyAll(
		Satisfy(apierrors.IsInvalid),
		WithTransform(causes, ContainElement(SatisfyAll(
			HaveField("Field", field),
			HaveField("Message", ContainSubstring(message)),
		))),
	)
}

func causes(err error) []metav1.StatusCause {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	return status.Status().Details.Causes
}

// withTime gives the manifest a synchronization.time.
func withTime(value string) string {
	return fmt.Sprintf(`spec: {synchronization: {time: %q}}`, value)
}

// targets gives the manifest these target namespaces, and not all of them.
func targets(fields string) string {
	return `spec: {target: {namespaces: {matchAll: null, ` + fields + `}}}`
}

// long is a legal name of n characters.
func long(n int) string {
	return strings.Repeat("a", n)
}

// list is a YAML list of n names.
func list(n int) string {
	return "[" + strings.TrimSuffix(strings.Repeat(long(63)+", ", n), ", ") + "]"
}

// pairs is a YAML map of n keys.
func pairs(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "key-%d: value, ", i)
	}
	return "{" + strings.TrimSuffix(b.String(), ", ") + "}"
}

func failures(n int) []v1alpha1.Failure {
	out := make([]v1alpha1.Failure, n)
	for i := range out {
		out[i] = v1alpha1.Failure{Namespace: fmt.Sprintf("team-%02d", i), Reason: v1alpha1.FailureConflict, Message: "in the way"}
	}
	return out
}
