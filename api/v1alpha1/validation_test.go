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
	"github.com/prosimcorp/replika/api/v1beta1"
)

// sampleManifest is the sample of the public releases. The API must accept it
// unchanged in every version. It is repeated here, so that a test fails if the
// file changes.
const sampleManifest = `apiVersion: replika.prosimcorp.com/v1beta1
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

// minimalManifest sets only the required fields. Every test case is this
// manifest with a change.
const minimalManifest = `apiVersion: replika.prosimcorp.com/v1alpha1
kind: Replika
metadata:
  name: minimal
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

var _ = Describe("Replika validation", func() {
	DescribeTable("accepts",
		func(ctx SpecContext, change string) {
			_, err := dryRunCreate(ctx, manifest(change))
			Expect(err).NotTo(HaveOccurred())
		},
		Entry("minimal", ``),

		Entry("time: seconds", withTime("20s")),
		Entry("time: minimum", withTime("1s")),
		Entry("time: minimum in milliseconds", withTime("1000ms")),
		Entry("time: minutes and seconds", withTime("1m30s")),
		Entry("time: hours", withTime("1h")),
		Entry("time: fraction of hours", withTime("1.5h")),
		Entry("time: format of time.Duration.String", withTime("1h0m0s")),
		Entry("time: maximum", withTime("8760h")),
		Entry("time: maximum in seconds", withTime("31536000s")),

		Entry("source.group: named group", `spec: {source: {group: networking.k8s.io, kind: NetworkPolicy}}`),
		Entry("source.group: empty for the core group", `spec: {source: {group: ""}}`),
		Entry("source.version: beta", `spec: {source: {version: v2beta10}}`),
		Entry("source.kind: lower case, which a CRD can define", `spec: {source: {kind: widget}}`),
		Entry("source.kind: Namespace of another group", `spec: {source: {group: example.com, kind: Namespace}}`),
		Entry("source.group: ends with the reserved group", `spec: {source: {group: my.replika.prosimcorp.com}}`),
		Entry("source.name: not a DNS name", `spec: {source: {group: rbac.authorization.k8s.io, kind: Role, name: "system:Reader_x"}}`),
		Entry("source.name: maximum length", `spec: {source: {name: `+longName(253)+`}}`),
		Entry("source.namespace: maximum length", `spec: {source: {namespace: `+longName(63)+`}}`),
		Entry("source.namespace: empty, as rendered by templates", `spec: {source: {namespace: ""}}`),

		Entry("target.name: differs from the source", `spec: {target: {name: "system:settings"}}`),
		Entry("target.name: empty, as rendered by templates", `spec: {target: {name: ""}}`),
		Entry("target.labels: valid keys and values", `spec: {target: {labels: {app: "", example.com/tier: back_end.1}}}`),
		Entry("target.annotations: valid keys and values", `spec: {target: {annotations: {Example.com/note: "any text: at all / $%&", empty: ""}}}`),
		Entry("target.labels: similar to a reserved key", `spec: {target: {labels: {my.replika.prosimcorp.com/x: "1", replika.prosimcorp.com: "1"}}}`),
		Entry("target.labels: maximum number", `spec: {target: {labels: `+pairMap(64)+`}}`),

		Entry("source.names: names and globs", many(`names: [db-one, "db-*", "*", "system:Reader_x"]`, ``)),
		Entry("source.names: maximum number and length", many(`names: `+sourceNames(1000), ``)),
		Entry("source.selector: matchLabels", many(`selector: {matchLabels: {app.kubernetes.io/part-of: db}}`, ``)),
		Entry("source.selector: matchExpressions", many(`selector: {matchExpressions: [{key: app, operator: Exists}]}`, ``)),
		Entry("source.selector: that no label satisfies", many(`selector: {matchExpressions: [{key: a, operator: In, values: [b]}, {key: a, operator: NotIn, values: [b]}]}`, ``)),
		Entry("target.namePrefix and nameSuffix: of many sources", many(`names: ["db-*"]`, `namePrefix: x-, nameSuffix: -y, namespaces: {matchAll: true}`)),
		Entry("target.namePrefix and nameSuffix: of one source", `spec: {target: {namePrefix: x-, nameSuffix: -y}}`),
		Entry("target.namePrefix: with target.name", `spec: {target: {name: other, namePrefix: x-}}`),
		Entry("target.namePrefix and nameSuffix: empty, as rendered by templates", `spec: {target: {namePrefix: "", nameSuffix: ""}}`),
		Entry("target.namePrefix: maximum length", `spec: {target: {namePrefix: `+longName(253)+`}}`),
		Entry("target.name: empty, of many sources", many(`names: ["db-*"]`, `name: "", namespaces: {matchAll: true}`)),
		Entry("replicateIn: source namespace of many sources, with a prefix",
			many(`names: ["db-*"], namespace: default`, `namePrefix: x-, namespaces: {matchAll: false, replicateIn: [default]}`)),

		Entry("source.keys: names and globs", withKeys("Secret", `[tls.crt, "*.pem", "*", _x, .dockerconfigjson, ".*"]`, ``)),
		Entry("source.keys: name of maximum length", withKeys("ConfigMap", `[`+longName(253)+`]`, ``)),
		Entry("source.keys: maximum number", withKeys("ConfigMap", keyList(100), ``)),
		Entry("target.keys: renamed key", withKeys("ConfigMap", `[ca.crt]`, `[{name: ca-bundle.crt, from: ca.crt}]`)),
		Entry("target.keys: without source.keys", withKeys("Secret", `null`, `[{name: ca-bundle.crt, from: ca.crt}]`)),
		Entry("target.keys: empty, as rendered by templates", withKeys("Secret", `null`, `[]`)),
		Entry("target.keys: one key under two names", withKeys("Secret", `[a]`, `[{name: a, from: a}, {name: b, from: a}]`)),
		Entry("target.keys: two keys change places", withKeys("Secret", `[a, b]`, `[{name: a, from: b}, {name: b, from: a}]`)),
		Entry("target.keys: from that a glob can choose", withKeys("Secret", `["tls.*"]`, `[{name: cert, from: tls.crt}]`)),
		Entry("target.keys: maximum number, with source.keys", withKeys("ConfigMap", keyList(100), renamedKeys(100))),
		Entry("target.type: with source.keys", `spec: {source: {kind: Secret, keys: [ca.crt]}, target: {type: Opaque}}`),
		Entry("target.type: of another project", `spec: {source: {kind: Secret}, target: {type: example.com/any_type}}`),
		Entry("target.type: empty, as rendered by templates", `spec: {target: {type: ""}}`),

		Entry("policies: first value of each", `spec: {mode: Enforce, deletionPolicy: Delete, synchronization: {onSourceDeletion: Retain}, target: {conflictPolicy: Fail, immutableFields: Recreate}}`),
		Entry("policies: second value of each", `spec: {mode: DryRun, deletionPolicy: Retain, synchronization: {onSourceDeletion: Delete}, target: {conflictPolicy: Adopt, immutableFields: Fail}}`),
		Entry("suspend: true", `spec: {suspend: true}`),
		Entry("serviceAccountName: empty", `spec: {serviceAccountName: ""}`),
		Entry("serviceAccountName: valid name", `spec: {serviceAccountName: "copier.of-teams"}`),

		Entry("replicateIn: names and globs", targets(`replicateIn: [team-a, "team-*", "*-prod", "a*b", "1-2"]`)),
		Entry("replicateIn: glob that matches every namespace", targets(`replicateIn: ["*"]`)),
		Entry("replicateIn: duplicate name", targets(`replicateIn: [team-a, team-a]`)),
		Entry("replicateIn: maximum number", targets(`replicateIn: `+nameList(1000))),
		Entry("excludeFrom: names and globs", targets(`replicateIn: ["*"], excludeFrom: ["kube-*", default]`)),
		Entry("selector: matchLabels", targets(`selector: {matchLabels: {kubernetes.io/metadata.name: team-a, Tier: ""}}`)),
		Entry("selector: matchExpressions", targets(`selector: {matchExpressions: [{key: a, operator: In, values: [b]}, {key: example.com/c, operator: NotIn, values: [d, e]}, {key: f, operator: Exists}, {key: g, operator: DoesNotExist, values: []}]}`)),
		Entry("selector: empty, which matches every namespace", targets(`selector: {}`)),
		Entry("selector: with replicateIn", targets(`replicateIn: [team-a], selector: {matchLabels: {a: b}}`)),
		Entry("replicateIn: source namespace in an ignored list",
			`spec: {source: {namespace: default}, target: {namespaces: {matchAll: true, replicateIn: [default]}}}`),
		Entry("replicateIn: source namespace, with another name for the copies",
			`spec: {source: {namespace: default}, target: {name: other, namespaces: {matchAll: false, replicateIn: [default]}}}`),
		Entry("replicateIn: glob that matches the source namespace",
			`spec: {source: {namespace: default}, target: {namespaces: {matchAll: false, replicateIn: ["def*"]}}}`),
	)

	DescribeTable("rejects",
		func(ctx SpecContext, change, field, message string) {
			_, err := dryRunCreate(ctx, manifest(change))
			Expect(err).To(beInvalid(field, message))
		},
		Entry("spec: missing", `spec: null`, "spec", "Required value"),
		Entry("source: missing", `spec: {source: null}`, "spec.source", "Required value"),
		Entry("target: missing", `spec: {target: null}`, "spec.target", "Required value"),
		Entry("namespaces: missing", `spec: {target: {namespaces: null}}`, "spec.target.namespaces", "Required value"),

		Entry("time: no unit", withTime("20"), "spec.synchronization.time", duration),
		Entry("time: not a duration", withTime("abc"), "spec.synchronization.time", duration),
		Entry("time: empty", withTime(""), "spec.synchronization.time", duration),
		Entry("time: negative", withTime("-5s"), "spec.synchronization.time", duration),
		Entry("time: zero", withTime("0s"), "spec.synchronization.time", duration),
		Entry("time: below the minimum", withTime("500ms"), "spec.synchronization.time", duration),
		Entry("time: just below the minimum", withTime("0.999999999s"), "spec.synchronization.time", duration),
		Entry("time: days", withTime("1d"), "spec.synchronization.time", duration),
		Entry("time: space", withTime("1m 30s"), "spec.synchronization.time", duration),
		Entry("time: RFC 3339 format", withTime("PT20S"), "spec.synchronization.time", duration),
		Entry("time: above the maximum", withTime("8761h"), "spec.synchronization.time", duration),
		Entry("time: sum above the maximum", withTime("8760h1s"), "spec.synchronization.time", duration),
		Entry("time: overflow", withTime("9999999999h"), "spec.synchronization.time", duration),
		Entry("time: too long", withTime(strings.Repeat("1s", 33)), "spec.synchronization.time", "Too long"),
		Entry("time: number", `spec: {synchronization: {time: 20}}`, "spec.synchronization.time", "must be of type string"),

		Entry("source.group: includes the version", `spec: {source: {group: apps/v1}}`, "spec.source.group", "must be an API group without its version"),
		Entry("source.group: upper case", `spec: {source: {group: Apps}}`, "spec.source.group", "must be an API group"),
		Entry("source.group: too long", `spec: {source: {group: `+longName(254)+`}}`, "spec.source.group", "Too long"),
		Entry("source.version: missing", `spec: {source: {version: null}}`, "spec.source.version", "Required value"),
		Entry("source.version: empty", `spec: {source: {version: ""}}`, "spec.source.version", "must be an API version"),
		Entry("source.version: includes the group", `spec: {source: {version: apps/v1}}`, "spec.source.version", "must be an API version without its group"),
		Entry("source.kind: missing", `spec: {source: {kind: null}}`, "spec.source.kind", "Required value"),
		Entry("source.kind: empty", `spec: {source: {kind: ""}}`, "spec.source.kind", "must be a kind"),
		Entry("source.kind: includes the group", `spec: {source: {kind: Deployment.apps}}`, "spec.source.kind", "must be a kind"),
		Entry("source: no name, names or selector", `spec: {source: {name: null}}`, "spec.source", exactlyOne),
		Entry("source: name and names", `spec: {source: {names: [a]}}`, "spec.source", exactlyOne),
		Entry("source: name and selector", `spec: {source: {selector: {matchLabels: {a: b}}}}`, "spec.source", exactlyOne),
		Entry("source: names and selector", many(`names: [a], selector: {matchLabels: {a: b}}`, ``), "spec.source", exactlyOne),
		Entry("source.names: empty list", many(`names: []`, ``), "spec.source.names", "at least 1 items"),
		Entry("source.names: empty name", many(`names: [""]`, ``), "spec.source.names[0]", "at least 1 chars"),
		Entry("source.names: path", many(`names: [a/b]`, ``), "spec.source.names[0]", "should match"),
		Entry("source.names: URL escape", many(`names: ["a%2fb"]`, ``), "spec.source.names[0]", "should match"),
		Entry("source.names: too long", many(`names: [`+longName(254)+`]`, ``), "spec.source.names[0]", "Too long"),
		Entry("source.names: too many", many(`names: `+sourceNames(1001), ``), "spec.source.names", "at most 1000 items"),
		Entry("source.selector: empty", many(`selector: {}`, ``), "spec.source.selector", "must not be empty"),
		Entry("source.selector: empty matchLabels", many(`selector: {matchLabels: {}}`, ``), "spec.source.selector", "must not be empty"),
		Entry("source.selector: In without values", many(`selector: {matchExpressions: [{key: a, operator: In}]}`, ``), "spec.source.selector.matchExpressions[0]", "values must be set"),
		Entry("target.name: of many sources by names", many(`names: [a, b]`, `name: c, namespaces: {matchAll: true}`), "spec.target.name", "source.name"),
		Entry("target.name: of many sources by labels", many(`selector: {matchLabels: {a: b}}`, `name: c, namespaces: {matchAll: true}`), "spec.target.name", "source.name"),
		Entry("target.namePrefix: path", `spec: {target: {namePrefix: a/}}`, "spec.target.namePrefix", "should match"),
		Entry("target.nameSuffix: URL escape", `spec: {target: {nameSuffix: "%2f"}}`, "spec.target.nameSuffix", "should match"),
		Entry("target.namePrefix: too long", `spec: {target: {namePrefix: `+longName(254)+`}}`, "spec.target.namePrefix", "Too long"),
		Entry("replicateIn: source namespace of many sources",
			many(`names: ["db-*"], namespace: default`, `namespaces: {matchAll: false, replicateIn: [default]}`), "spec.target.namespaces.replicateIn", "must not include the source's namespace"),
		Entry("source.keys: of many Deployments", `spec: {source: {group: apps, kind: Deployment, name: null, names: [a], keys: [b]}}`, "spec.source.keys", "only ConfigMaps and Secrets have keys"),
		Entry("source.name: empty", `spec: {source: {name: ""}}`, "spec.source.name", "at least 1 chars"),
		Entry("source.name: path", `spec: {source: {name: a/b}}`, "spec.source.name", objectName),
		Entry("source.name: URL escape", `spec: {source: {name: a%2fb}}`, "spec.source.name", objectName),
		Entry("source.name: dot", `spec: {source: {name: .}}`, "spec.source.name", objectName),
		Entry("source.name: two dots", `spec: {source: {name: ..}}`, "spec.source.name", objectName),
		Entry("source.name: too long", `spec: {source: {name: `+longName(254)+`}}`, "spec.source.name", "Too long"),
		Entry("source.namespace: upper case", `spec: {source: {namespace: Default}}`, "spec.source.namespace", "must be the name of a namespace"),
		Entry("source.namespace: glob", `spec: {source: {namespace: "team-*"}}`, "spec.source.namespace", "must be the name of a namespace"),
		Entry("source.namespace: too long", `spec: {source: {namespace: `+longName(64)+`}}`, "spec.source.namespace", "Too long"),
		Entry("source.kind: Namespace", `spec: {source: {kind: Namespace}}`, "spec.source.kind", "Namespaces cannot be replicated"),
		Entry("source.kind: Namespace with an empty group", `spec: {source: {group: "", kind: Namespace}}`, "spec.source.kind", "Namespaces cannot be replicated"),
		Entry("source.group: Replika", `spec: {source: {group: replika.prosimcorp.com, version: v1alpha1, kind: Replika}}`, "spec.source.group", "objects of this group cannot be replicated"),
		Entry("source.group: another kind of the reserved group", `spec: {source: {group: replika.prosimcorp.com, version: v9, kind: Other}}`, "spec.source.group", "objects of this group cannot be replicated"),

		Entry("source.keys: empty list", withKeys("Secret", `[]`, ``), "spec.source.keys", "at least 1 items"),
		Entry("source.keys: empty name", withKeys("Secret", `[""]`, ``), "spec.source.keys[0]", "at least 1 chars"),
		Entry("source.keys: name too long", withKeys("Secret", `[`+longName(254)+`]`, ``), "spec.source.keys[0]", "Too long"),
		Entry("source.keys: path", withKeys("Secret", `[a/b]`, ``), "spec.source.keys[0]", "should match"),
		Entry("source.keys: two dots", withKeys("Secret", `[..]`, ``), "spec.source.keys[0]", "should match"),
		Entry("source.keys: glob of names that begin with two dots", withKeys("Secret", `["..*"]`, ``), "spec.source.keys[0]", "should match"),
		Entry("source.keys: regular expression", withKeys("Secret", `["[a-z]+"]`, ``), "spec.source.keys[0]", "should match"),
		Entry("source.keys: question mark", withKeys("Secret", `["tls.???"]`, ``), "spec.source.keys[0]", "should match"),
		Entry("source.keys: too many", withKeys("Secret", keyList(101), ``), "spec.source.keys", "Too many"),
		Entry("source.keys: Deployment", `spec: {source: {group: apps, kind: Deployment, keys: [a]}}`, "spec.source.keys", "only ConfigMaps and Secrets have keys"),
		Entry("source.keys: ConfigMap of another group", `spec: {source: {group: example.com, keys: [a]}}`, "spec.source.keys", "only ConfigMaps and Secrets have keys"),
		Entry("target.keys: Deployment", `spec: {source: {group: apps, kind: Deployment}, target: {keys: [{name: a, from: b}]}}`, "spec.target.keys", "only ConfigMaps and Secrets have keys"),
		Entry("target.keys: without from", withKeys("Secret", `null`, `[{name: a}]`), "spec.target.keys[0].from", "Required value"),
		Entry("target.keys: without name", withKeys("Secret", `null`, `[{from: a}]`), "spec.target.keys[0].name", "Required value"),
		Entry("target.keys: illegal name", withKeys("Secret", `null`, `[{name: "a b", from: a}]`), "spec.target.keys[0].name", "should match"),
		Entry("target.keys: name begins with two dots", withKeys("Secret", `null`, `[{name: ..a, from: a}]`), "spec.target.keys[0].name", "should match"),
		Entry("target.keys: name too long", withKeys("Secret", `null`, `[{name: `+longName(254)+`, from: a}]`), "spec.target.keys[0].name", "Too long"),
		Entry("target.keys: glob in from", withKeys("Secret", `null`, `[{name: a, from: "b*"}]`), "spec.target.keys[0].from", "should match"),
		Entry("target.keys: glob in name", withKeys("Secret", `null`, `[{name: "a*", from: b}]`), "spec.target.keys[0].name", "should match"),
		Entry("target.keys: one name twice", withKeys("Secret", `null`, `[{name: a, from: b}, {name: a, from: c}]`), "spec.target.keys[1]", "Duplicate value"),
		Entry("target.keys: name of another listed key", withKeys("Secret", `[a, b]`, `[{name: b, from: a}]`), "spec.target.keys", "two keys would have the same name"),
		Entry("target.keys: from is not chosen", withKeys("Secret", `[a]`, `[{name: c, from: b}]`), "spec.target.keys", "every from must be one of source.keys"),
		Entry("target.keys: too many", withKeys("Secret", `null`, renamedKeys(101)), "spec.target.keys", "Too many"),
		Entry("target.type: ConfigMap", `spec: {target: {type: Opaque}}`, "spec.target.type", "only Secrets have a type"),
		Entry("target.type: Secret of another group", `spec: {source: {group: example.com, kind: Secret}, target: {type: Opaque}}`, "spec.target.type", "only Secrets have a type"),
		Entry("target.type: ServiceAccount token", `spec: {source: {kind: Secret}, target: {type: kubernetes.io/service-account-token}}`, "spec.target.type", "must not be the type of a token"),
		Entry("target.type: bootstrap token", `spec: {source: {kind: Secret}, target: {type: bootstrap.kubernetes.io/token}}`, "spec.target.type", "must not be the type of a token"),
		Entry("target.type: too long", `spec: {source: {kind: Secret}, target: {type: `+longName(254)+`}}`, "spec.target.type", "Too long"),

		Entry("target.name: path", `spec: {target: {name: a/b}}`, "spec.target.name", objectName),
		Entry("target.name: two dots", `spec: {target: {name: ..}}`, "spec.target.name", objectName),
		Entry("target.name: too long", `spec: {target: {name: `+longName(254)+`}}`, "spec.target.name", "Too long"),
		Entry("target.labels: reserved key", `spec: {target: {labels: {replika.prosimcorp.com/part-of: x}}}`, "spec.target.labels", "keys under replika.prosimcorp.com/ are reserved"),
		Entry("target.labels: unused reserved key", `spec: {target: {labels: {a: b, replika.prosimcorp.com/new: x}}}`, "spec.target.labels", "keys under replika.prosimcorp.com/ are reserved"),
		Entry("target.annotations: reserved key", `spec: {target: {annotations: {replika.prosimcorp.com/owner: a/b}}}`, "spec.target.annotations", "keys under replika.prosimcorp.com/ are reserved"),
		Entry("target.labels: key with a space", `spec: {target: {labels: {a b: c}}}`, "spec.target.labels", "must be valid label keys"),
		Entry("target.labels: empty key", `spec: {target: {labels: {"": c}}}`, "spec.target.labels", "must be valid label keys"),
		Entry("target.labels: key with two slashes", `spec: {target: {labels: {a/b/c: d}}}`, "spec.target.labels", "must be valid label keys"),
		Entry("target.labels: key too long", `spec: {target: {labels: {`+longName(64)+`: d}}}`, "spec.target.labels", "must be valid label keys"),
		Entry("target.labels: value with a space", `spec: {target: {labels: {a: b c}}}`, "spec.target.labels.a", "should match"),
		Entry("target.labels: value too long", `spec: {target: {labels: {a: `+longName(64)+`}}}`, "spec.target.labels.a", "Too long"),
		Entry("target.labels: too many", `spec: {target: {labels: `+pairMap(65)+`}}`, "spec.target.labels", "Too many"),
		Entry("target.annotations: key with a space", `spec: {target: {annotations: {a b: c}}}`, "spec.target.annotations", "must be valid annotation keys"),
		Entry("target.annotations: number", `spec: {target: {annotations: {a: 1}}}`, "spec.target.annotations.a", "must be of type string"),
		Entry("target.annotations: too many", `spec: {target: {annotations: `+pairMap(65)+`}}`, "spec.target.annotations", "Too many"),

		Entry("deletionPolicy: unknown", `spec: {deletionPolicy: Keep}`, "spec.deletionPolicy", `supported values: "Delete", "Retain"`),
		Entry("mode: unknown", `spec: {mode: Plan}`, "spec.mode", `supported values: "Enforce", "DryRun"`),
		Entry("deletionPolicy: empty", `spec: {deletionPolicy: ""}`, "spec.deletionPolicy", `supported values: "Delete", "Retain"`),
		Entry("onSourceDeletion: unknown", `spec: {synchronization: {onSourceDeletion: Orphan}}`, "spec.synchronization.onSourceDeletion", `supported values: "Retain", "Delete"`),
		Entry("conflictPolicy: unknown", `spec: {target: {conflictPolicy: Force}}`, "spec.target.conflictPolicy", `supported values: "Fail", "Adopt"`),
		Entry("immutableFields: unknown", `spec: {target: {immutableFields: Replace}}`, "spec.target.immutableFields", `supported values: "Recreate", "Fail"`),
		Entry("serviceAccountName: with a namespace", `spec: {serviceAccountName: other/copier}`, "spec.serviceAccountName", "must be the name of a ServiceAccount"),
		Entry("serviceAccountName: user name", `spec: {serviceAccountName: "system:serviceaccount:other:copier"}`, "spec.serviceAccountName", "must be the name of a ServiceAccount"),
		Entry("serviceAccountName: upper case", `spec: {serviceAccountName: Copier}`, "spec.serviceAccountName", "must be the name of a ServiceAccount"),
		Entry("serviceAccountName: too long", `spec: {serviceAccountName: `+longName(254)+`}`, "spec.serviceAccountName", "Too long"),

		Entry("namespaces: nothing set", targets(``), "spec.target.namespaces", "at least one of replicateIn, selector or matchAll"),
		Entry("namespaces: empty replicateIn", targets(`replicateIn: []`), "spec.target.namespaces", "at least one of replicateIn, selector or matchAll"),
		Entry("namespaces: only excludeFrom", targets(`excludeFrom: [kube-system]`), "spec.target.namespaces", "at least one of replicateIn, selector or matchAll"),
		Entry("replicateIn: empty name", targets(`replicateIn: [""]`), "spec.target.namespaces.replicateIn[0]", "at least 1 chars"),
		Entry("replicateIn: upper case", targets(`replicateIn: [a, Team]`), "spec.target.namespaces.replicateIn[1]", "should match"),
		Entry("replicateIn: question mark", targets(`replicateIn: ["team-?"]`), "spec.target.namespaces.replicateIn[0]", "should match"),
		Entry("replicateIn: character class", targets(`replicateIn: ["team-[ab]"]`), "spec.target.namespaces.replicateIn[0]", "should match"),
		Entry("replicateIn: regular expression", targets(`replicateIn: ["team-.*"]`), "spec.target.namespaces.replicateIn[0]", "should match"),
		Entry("replicateIn: trailing dash", targets(`replicateIn: [team-]`), "spec.target.namespaces.replicateIn[0]", "should match"),
		Entry("replicateIn: name too long", targets(`replicateIn: [`+longName(64)+`]`), "spec.target.namespaces.replicateIn[0]", "Too long"),
		Entry("replicateIn: too many", targets(`replicateIn: `+nameList(1001)), "spec.target.namespaces.replicateIn", "Too many"),
		Entry("excludeFrom: invalid name", targets(`replicateIn: [a], excludeFrom: [kube_system]`), "spec.target.namespaces.excludeFrom[0]", "should match"),
		Entry("excludeFrom: too many", targets(`replicateIn: [a], excludeFrom: `+nameList(1001)+``), "spec.target.namespaces.excludeFrom", "Too many"),
		Entry("replicateIn: source namespace",
			`spec: {source: {namespace: default}, target: {namespaces: {matchAll: false, replicateIn: [a, default]}}}`,
			"spec.target.namespaces.replicateIn", "must not include the source's namespace"),
		Entry("replicateIn: source namespace, with the source's name for the copies",
			`spec: {source: {namespace: default}, target: {name: settings, namespaces: {matchAll: false, replicateIn: [a, default]}}}`,
			"spec.target.namespaces.replicateIn", "must not include the source's namespace"),
		Entry("replicateIn: source namespace, with an empty name for the copies",
			`spec: {source: {namespace: default}, target: {name: "", namespaces: {matchAll: false, replicateIn: [a, default]}}}`,
			"spec.target.namespaces.replicateIn", "must not include the source's namespace"),
		Entry("replicateIn: source namespace, also in excludeFrom",
			`spec: {source: {namespace: default}, target: {namespaces: {matchAll: false, replicateIn: [a, default], excludeFrom: [default]}}}`,
			"spec.target.namespaces.replicateIn", "must not include the source's namespace"),
		Entry("selector: invalid key in matchLabels", targets(`selector: {matchLabels: {a b: c}}`), "spec.target.namespaces.selector.matchLabels", "must be valid label keys"),
		Entry("selector: value too long in matchLabels", targets(`selector: {matchLabels: {a: `+longName(64)+`}}`), "spec.target.namespaces.selector.matchLabels.a", "Too long"),
		Entry("selector: invalid value in matchLabels", targets(`selector: {matchLabels: {a: b c}}`), "spec.target.namespaces.selector.matchLabels.a", "should match"),
		Entry("selector: too many matchLabels", targets(`selector: {matchLabels: `+pairMap(65)+`}`), "spec.target.namespaces.selector.matchLabels", "Too many"),
		Entry("selector: unknown operator", targets(`selector: {matchExpressions: [{key: a, operator: Equals, values: [b]}]}`), "spec.target.namespaces.selector.matchExpressions[0].operator", `supported values: "In", "NotIn", "Exists", "DoesNotExist"`),
		Entry("selector: invalid key in matchExpressions", targets(`selector: {matchExpressions: [{key: a/b/c, operator: Exists}]}`), "spec.target.namespaces.selector.matchExpressions[0].key", "should match"),
		Entry("selector: invalid value in matchExpressions", targets(`selector: {matchExpressions: [{key: a, operator: In, values: [b, -c]}]}`), "spec.target.namespaces.selector.matchExpressions[0].values[1]", "should match"),
		Entry("selector: values with Exists", targets(`selector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}`), "spec.target.namespaces.selector.matchExpressions[0]", "values must be set for In and NotIn"),
		Entry("selector: In without values", targets(`selector: {matchExpressions: [{key: a, operator: In}]}`), "spec.target.namespaces.selector.matchExpressions[0]", "values must be set for In and NotIn"),
		Entry("selector: empty key in matchExpressions", targets(`selector: {matchExpressions: [{key: "", operator: Exists}]}`), "spec.target.namespaces.selector.matchExpressions[0].key", "at least 1 chars"),
	)

	It("rejects an unknown field", func(ctx SpecContext) {
		_, err := dryRunCreate(ctx, manifest(`spec: {target: {nameSpaces: {}}}`))
		Expect(err).To(MatchError(ContainSubstring(`unknown field "spec.target.nameSpaces"`)))
	})

	It("sets the default of every omitted field", func(ctx SpecContext) {
		got, err := dryRunCreate(ctx, manifest(``))
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
			"mode":           "Enforce",
		}))
	})

	It("keeps the set fields of synchronization, and sets the defaults of the others", func(ctx SpecContext) {
		got, err := dryRunCreate(ctx, manifest(`spec: {synchronization: {onSourceDeletion: Delete}}`))
		Expect(err).NotTo(HaveOccurred())
		Expect(got.Object["spec"]).To(HaveKeyWithValue("synchronization",
			map[string]any{"time": "1m", "onSourceDeletion": "Delete"}))
	})
})

var _ = Describe("Sample manifest", func() {
	const path = "../../config/samples/replika_v1beta1_replika.yaml"

	It("is identical to that of the public releases", func() {
		Expect(os.ReadFile(path)).To(BeEquivalentTo(sampleManifest))
	})

	DescribeTable("is accepted, and decodes into the Go type", func(ctx SpecContext, version string) {
		sample := decode(sampleManifest)
		sample.SetNamespace("default")
		sample.SetAPIVersion(version)
		got, err := dryRunCreate(ctx, sample)
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
	},
		Entry(nil, v1beta1.GroupVersion.String()),
		Entry("of the first releases", v1alpha1.GroupVersion.String()),
	)
})

var _ = Describe("Replika created with the Go type", func() {
	It("requires no more fields than a manifest", func(ctx SpecContext) {
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

	Context("existing Replika", Ordered, func() {
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

		It("allows a change of the source", func(ctx SpecContext) {
			changed := replika.DeepCopy()
			changed.Spec.Source = v1alpha1.SourceSpec{Group: "apps", Version: "v1", Kind: "Deployment", Name: "other", Namespace: "default"}
			Expect(api.Update(ctx, changed, client.DryRunAll)).To(Succeed())
		})

		It("has observedGeneration -1 before the first reconcile", func() {
			Expect(replika.Status).To(BeComparableTo(v1alpha1.ReplikaStatus{ObservedGeneration: -1}))
		})

		It("stores every status field, and does not change the spec with it", func(ctx SpecContext) {
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

		It("stores counts of zero", func(ctx SpecContext) {
			changed := replika.DeepCopy()
			changed.Status.Copies = &v1alpha1.CopiesStatus{}
			Expect(api.Status().Update(ctx, changed, client.DryRunAll)).To(Succeed())
			Expect(changed.Status.Copies).To(Equal(&v1alpha1.CopiesStatus{}))
		})

		It("rejects more than the maximum number of failures", func(ctx SpecContext) {
			changed := replika.DeepCopy()
			changed.Status.Failures = failures(v1alpha1.MaxFailures + 1)
			Expect(api.Status().Update(ctx, changed, client.DryRunAll)).To(Or(
				beInvalid("status.failures", "Too many"),
				beInvalid("failures", "Too many"), // Kubernetes 1.30
			))
		})
	})
})

// Parts of messages that several test cases share.
const (
	duration   = "must be a duration from 1s to 8760h, such as 20s, 1m30s or 1.5h"
	objectName = "must be a valid object name"
	exactlyOne = "exactly one of name, names and selector must be set"
)

// manifest returns the minimal manifest with a change: a merge patch in YAML.
func manifest(change string) *unstructured.Unstructured {
	GinkgoHelper()
	if change == "" {
		return decode(minimalManifest)
	}
	original, err := yaml.YAMLToJSONStrict([]byte(minimalManifest))
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

// yamlInto decodes an untyped object into a typed one, as a client does.
func yamlInto(u *unstructured.Unstructured, out any) error {
	text, err := yaml.Marshal(u)
	if err != nil {
		return err
	}
	return yaml.UnmarshalStrict(text, out)
}

// dryRunCreate sends a create request as a dry run: the API server validates
// it like a real one, but stores nothing. It returns what would be stored.
func dryRunCreate(ctx context.Context, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	got := u.DeepCopy()
	return got, api.Create(ctx, got, client.DryRunAll)
}

// beInvalid matches the API server's error about an invalid object if one of its
// causes is about the field and has a message that contains the given one.
func beInvalid(field, message string) OmegaMatcher {
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

// withTime returns a change that sets synchronization.time.
func withTime(value string) string {
	return fmt.Sprintf(`spec: {synchronization: {time: %q}}`, value)
}

// targets returns a change that sets the given fields of target.namespaces, and
// removes matchAll.
func targets(fields string) string {
	return `spec: {target: {namespaces: {matchAll: null, ` + fields + `}}}`
}

// withKeys returns a change that sets the kind, source.keys and target.keys; nothing of target.keys if it is empty.
func withKeys(kind, sourceKeys, targetKeys string) string {
	if targetKeys == "" {
		targetKeys = "null"
	}
	return fmt.Sprintf(`spec: {source: {kind: %s, keys: %s}, target: {keys: %s}}`, kind, sourceKeys, targetKeys)
}

// many returns a change to many sources: fields of source and of target, in YAML.
func many(source, target string) string {
	return fmt.Sprintf(`spec: {source: {name: null, %s}, target: {%s}}`, source, target)
}

// sourceNames returns a YAML list of n names of maximum length.
func sourceNames(n int) string {
	var names []string
	for i := range n {
		names = append(names, longName(249)+fmt.Sprintf("%04d", i))
	}
	return "[" + strings.Join(names, ", ") + "]"
}

// keyList returns a YAML list of n keys of maximum length.
func keyList(n int) string {
	var keys []string
	for i := range n {
		keys = append(keys, longName(250)+fmt.Sprintf("%03d", i))
	}
	return "[" + strings.Join(keys, ", ") + "]"
}

// renamedKeys returns a YAML list that gives n keys of [keyList] other names.
func renamedKeys(n int) string {
	var keys []string
	for i := range n {
		keys = append(keys, fmt.Sprintf("{name: %s%03d, from: %s%03d}", strings.Repeat("b", 250), i, longName(250), i))
	}
	return "[" + strings.Join(keys, ", ") + "]"
}

// longName returns a valid name of n characters.
func longName(n int) string {
	return strings.Repeat("a", n)
}

// nameList returns a YAML list of n names.
func nameList(n int) string {
	return "[" + strings.TrimSuffix(strings.Repeat(longName(63)+", ", n), ", ") + "]"
}

// pairMap returns a YAML map of n keys.
func pairMap(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "key-%d: value, ", i)
	}
	return "{" + strings.TrimSuffix(b.String(), ", ") + "}"
}

func failures(n int) []v1alpha1.Failure {
	out := make([]v1alpha1.Failure, n)
	for i := range out {
		out[i] = v1alpha1.Failure{Namespace: fmt.Sprintf("team-%02d", i), Reason: v1alpha1.FailureConflict, Message: "conflicting object"}
	}
	return out
}
