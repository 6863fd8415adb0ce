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
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/e2e"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
	"github.com/prosimcorp/replika/test/operator"
	"github.com/prosimcorp/replika/test/shell"
)

// recordEnv names the folder into which a version is recorded.
const recordEnv = "REPLIKA_RECORD_RELEASE"

// The folders of earlier versions of this project, and the files in each.
var (
	recorded      = filepath.Join("testdata", "recorded", "*")
	manifestsFile = "manifests.yaml"
	objectsFile   = "objects.yaml"
)

// recordedReplikas are the Replikas of a recorded version, with the number of their copies.
var recordedReplikas = map[string]int{"settings": 3, "registry": 3, "many": 6}

var _ = Describe("An earlier version of this project", func() {
	folders, err := filepath.Glob(recorded)
	if err != nil {
		panic(err)
	}
	for _, folder := range folders {
		It("becomes this version by the README's command, as "+filepath.Base(folder)+" does", func(ctx SpecContext) {
			env := startEnvironment(ctx)
			terminal.Run(ctx, folder, "kubectl apply --server-side --filename "+manifestsFile)
			terminal.Run(ctx, folder, "kubectl wait crd replikas.replika.prosimcorp.com --for condition=Established")
			for _, object := range decode(filepath.Join(folder, objectsFile)) {
				restore(ctx, env.Admin, object)
			}
			changes := watchCopies(ctx, env.Admin)

			process := deploy(ctx, env)

			expectReady(ctx, env.Admin, recordedReplikas)
			for name, events := range changes.of() {
				Expect(events).To(Equal([]watch.EventType{watch.Modified}), "%s: at most one patch", name)
			}
			installed := &installation{admin: env.Admin}
			installed.expectPropagated(ctx)
			Expect(process.PanicsAndRaces()).To(BeEmpty())
		})
	}

	It("is recorded for the upgrades to come", func(ctx SpecContext) {
		folder := os.Getenv(recordEnv)
		if folder == "" {
			Skip("make upgrade-fixture records a version")
		}
		env := startEnvironment(ctx)
		deploy(ctx, env)
		create(ctx, env.Admin)
		expectReady(ctx, env.Admin, recordedReplikas)
		Expect(os.MkdirAll(folder, 0o755)).To(Succeed())
		for file, text := range map[string]string{
			manifestsFile: terminal.Command(ctx, "kubectl", "kustomize", filepath.Join(repository, "manifests")),
			objectsFile:   strings.Join(dump(ctx, env.Admin), "---\n"),
		} {
			Expect(os.WriteFile(filepath.Join(folder, file), []byte(text), 0o644)).To(Succeed())
		}
	})
})

func startEnvironment(ctx context.Context) *e2e.Environment {
	GinkgoHelper()
	env, err := e2e.StartEnvironment(ctx, GinkgoT().TempDir(), cluster.Options{})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(env.Stop()).To(Succeed()) })
	terminal.Kubeconfig = env.Kubeconfig
	return env
}

// deploy types the README's command, and starts the operator as its Deployment says.
func deploy(ctx context.Context, env *e2e.Environment) *operator.Process {
	GinkgoHelper()
	commands := shell.Blocks(read("README.md"), "console", "kubectl apply --server-side --kustomize 'https")
	Expect(commands).To(HaveLen(1))
	terminal.Run(ctx, workDir, commands[0])
	return start(ctx, env)
}

// create creates sources, and Replikas of them.
func create(ctx context.Context, admin client.Client) {
	GinkgoHelper()
	createNamespaces(ctx, admin)
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: store, Name: name, Labels: ownLabels, Annotations: ownAnnotations}
	}
	expect.Create(ctx, admin, &corev1.ConfigMap{ObjectMeta: meta("settings"), Data: map[string]string{"key": "value"}})
	expect.Create(ctx, admin, &corev1.ConfigMap{ObjectMeta: meta("part-one"), Data: map[string]string{"key": "one"}})
	expect.Create(ctx, admin, &corev1.ConfigMap{ObjectMeta: meta("part-two"), Data: map[string]string{"key": "two"}})
	expect.Create(ctx, admin, &corev1.Secret{ObjectMeta: meta("registry"), Data: map[string][]byte{"token": []byte("secret"), "other": []byte("x")}})
	for name, spec := range map[string]string{
		"settings": `{source: {version: v1, kind: ConfigMap, name: settings}, target: {labels: {added: "true"}, namespaces: {replicateIn: ["team-*"]}}}`,
		"registry": `{source: {version: v1, kind: Secret, name: registry, keys: [token]}, target: {name: pull, namespaces: {replicateIn: [team-a, team-b, team-c]}}}`,
		"many":     `{source: {version: v1, kind: ConfigMap, names: ["part-*"]}, target: {namePrefix: of-, namespaces: {replicateIn: ["team-*"]}}}`,
	} {
		replika := kit.FromYAML(fmt.Sprintf("{apiVersion: replika.prosimcorp.com/v1beta1, kind: Replika, spec: %s}", spec))
		replika.SetNamespace(store)
		replika.SetName(name)
		expect.Create(ctx, admin, client.Object(replika))
	}
}

// dump returns the objects that a version leaves, without what the API server sets.
func dump(ctx context.Context, admin client.Client) []string {
	GinkgoHelper()
	var documents []string
	for _, kind := range []string{"v1 Namespace", "v1 ConfigMap", "v1 Secret", "replika.prosimcorp.com/v1beta1 Replika"} {
		list := &unstructured.UnstructuredList{}
		version, kind, _ := strings.Cut(kind, " ")
		list.SetAPIVersion(version)
		list.SetKind(kind + "List")
		Expect(admin.List(ctx, list)).To(Succeed())
		for k := range list.Items {
			object := &list.Items[k]
			namespace := object.GetNamespace()
			if kind == "Namespace" {
				namespace = object.GetName()
				unstructured.RemoveNestedField(object.Object, "spec")
				unstructured.RemoveNestedField(object.Object, "status")
			}
			if namespace != store && !strings.HasPrefix(namespace, "team-") || object.GetName() == "kube-root-ca.crt" {
				continue
			}
			for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"} {
				unstructured.RemoveNestedField(object.Object, "metadata", field)
			}
			document, err := yaml.Marshal(object.Object)
			Expect(err).NotTo(HaveOccurred())
			documents = append(documents, string(document))
		}
	}
	return documents
}

// decode returns the objects in a file.
func decode(file string) []*unstructured.Unstructured {
	GinkgoHelper()
	text, err := os.ReadFile(file)
	Expect(err).NotTo(HaveOccurred())
	var objects []*unstructured.Unstructured
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		objects = append(objects, kit.FromYAML(document))
	}
	return objects
}

// restore creates an object, with its status if it is a Replika.
func restore(ctx context.Context, admin client.Client, object *unstructured.Unstructured) {
	GinkgoHelper()
	status, hasStatus, err := unstructured.NestedMap(object.Object, "status")
	Expect(err).NotTo(HaveOccurred())
	Expect(admin.Create(ctx, object, fieldManager)).To(Succeed())
	if hasStatus {
		object.Object["status"] = status
		Expect(admin.Status().Update(ctx, object, fieldManager)).To(Succeed())
	}
}

// start starts the operator with the ServiceAccount and the flags of the applied Deployment, until the spec ends.
func start(ctx context.Context, env *e2e.Environment) *operator.Process {
	GinkgoHelper()
	applied := &appsv1.Deployment{}
	Expect(env.Admin.Get(ctx, deployment, applied)).To(Succeed())
	process, err := env.StartAs(ctx, "operator", applied)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() {
		if CurrentSpecReport().Failed() {
			GinkgoWriter.Println(process.Log())
		}
		Expect(process.Stop()).To(Succeed(), process.Log())
	})
	return process
}

// expectReady expects that each Replika is ready with its number of copies, and returns them.
func expectReady(ctx context.Context, admin client.Client, copies map[string]int) (ready []*v1alpha1.Replika) {
	GinkgoHelper()
	for name, number := range copies {
		replika := &v1alpha1.Replika{ObjectMeta: metav1.ObjectMeta{Namespace: store, Name: name}}
		ready = append(ready, expect.Ready(ctx, admin, replika, number))
	}
	return ready
}

// expectPropagated expects that the copies receive a change of the source.
func (i *installation) expectPropagated(ctx context.Context) {
	GinkgoHelper()
	source := &corev1.ConfigMap{}
	Expect(i.admin.Get(ctx, types.NamespacedName{Namespace: store, Name: "settings"}, source)).To(Succeed())
	expect.Update(ctx, i.admin, source, func(source *corev1.ConfigMap) { source.Data = map[string]string{"key": "new"} })
	expect.Copied(ctx, i.admin, source, targets...)
}
