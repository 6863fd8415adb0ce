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

package commands

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// secretValue is on no output without --show-values.
const secretValue = "correct horse battery staple"

var _ = Describe("render", func() {
	It("prints the copy as the operator creates it", func(ctx SpecContext) {
		f := newFixture(ctx, "render", 1)
		expect.Update(ctx, admin, f.source, func(source *corev1.ConfigMap) {
			source.Labels = map[string]string{"app": "shop", "app.kubernetes.io/managed-by": "Helm"}
			source.Annotations = map[string]string{"note": "x", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
		})
		replika := f.createReplika(ctx, kit.TargetNameAffixes("the-", ""), kit.TargetLabels(map[string]string{"more": "yes"}))
		expect.Ready(ctx, admin, replika, 1)
		result := run(ctx, "render", replika.Name, "-n", replika.Namespace, "--in", f.targets[0])
		Expect(result.code).To(Equal(exitOK))
		rendered := kit.FromYAML(result.out)
		created := expect.Read(ctx, admin, kit.ConfigMap("", "the-"+f.name, ""), f.targets[0])
		Expect(created).NotTo(BeNil())
		Expect(kit.Content(rendered)).To(Equal(kit.Content(created)))
		Expect(rendered.Object["metadata"]).To(Equal(map[string]any{
			"namespace": f.targets[0], "name": "the-" + f.name,
			"labels": created.Object["metadata"].(map[string]any)["labels"], "annotations": created.Object["metadata"].(map[string]any)["annotations"],
		}))
	})

	It("masks the values of Secrets", func(ctx SpecContext) {
		f := newFixture(ctx, "render-secret", 1)
		secret := kit.Secret(f.namespace, f.name, secretValue)
		secret.Annotations = map[string]string{"note": "the password is " + secretValue}
		expect.CreateForAttempt(ctx, admin, secret)
		replika := expect.CreateForAttempt(ctx, admin, kit.NewReplika(secret, kit.TargetNamespaces(f.targets...)))
		args := []string{"render", replika.Name, "-n", replika.Namespace, "--in", f.targets[0]}
		encoded := base64.StdEncoding.EncodeToString([]byte(secretValue))
		for _, format := range []string{"yaml", "json"} {
			result := run(ctx, append(args, "-o", format)...)
			Expect(result.code).To(Equal(exitOK))
			Expect(result.out + result.errOut).NotTo(Or(ContainSubstring(secretValue), ContainSubstring(encoded)))
			Expect(kit.FromYAML(result.out).Object["data"]).To(Equal(map[string]any{"key": "***"}))
		}
		shown := kit.FromYAML(succeed(ctx, append(args, "--show-values")...))
		Expect(shown.Object["data"]).To(Equal(map[string]any{"key": encoded}))
		Expect(shown.GetAnnotations()).To(HaveKeyWithValue("note", "the password is "+secretValue))
	})

	It("prints the copies of many sources", func(ctx SpecContext) {
		f := newFixture(ctx, "render-many", 1)
		expect.CreateForAttempt(ctx, admin, kit.ConfigMap(f.namespace, "other", "y"))
		replika := f.createReplika(ctx, kit.SourceNames(f.name, "oth*"), kit.TargetNameAffixes("", "-copy"))
		args := []string{"render", replika.Name, "-n", replika.Namespace, "--in", f.targets[0]}
		documents := strings.Split(succeed(ctx, args...), "---\n")
		Expect(documents).To(HaveLen(2))
		Expect(kit.FromYAML(documents[0]).GetName()).To(Equal("other-copy"))
		list := &unstructured.UnstructuredList{}
		Expect(json.Unmarshal([]byte(succeed(ctx, append(args, "-o", "json")...)), list)).To(Succeed())
		Expect(list.Items).To(HaveLen(2))
		Expect(kit.FromYAML(succeed(ctx, append(args, "--source", f.name)...)).GetName()).To(Equal(f.name + "-copy"))
		Expect(run(ctx, append(args, "--source", "nothing")...).errOut).To(HaveSuffix("error: nothing is none of the sources of the Replika\n"))

		expect.Update(ctx, admin, f.source, func(source *corev1.ConfigMap) {
			source.Labels = map[string]string{v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue}
		})
		result := run(ctx, args...)
		Expect(result.code).To(Equal(exitError))
		Expect(kit.FromYAML(result.out).GetName()).To(Equal("other-copy"))
		Expect(result.errOut).To(MatchRegexp(`(?m)^error: SourceNotAllowed: .*has the label`))
	})

	It("says why the namespace does not receive the copy", func(ctx SpecContext) {
		f := newFixture(ctx, "render-denied", 1)
		replika := f.createReplika(ctx)
		errOut := func(namespace string) string {
			result := run(ctx, "render", replika.Name, "-n", replika.Namespace, "--in", namespace)
			Expect(result.code).To(Equal(exitOK))
			Expect(kit.FromYAML(result.out).GetNamespace()).To(Equal(namespace))
			return result.errOut
		}
		Expect(errOut(f.targets[0])).NotTo(ContainSubstring("does not receive"))
		Expect(errOut("default")).To(ContainSubstring("Namespace default does not receive this copy of " + f.name + ": nothing in spec.target.namespaces selects it."))
		Expect(errOut("nowhere")).To(ContainSubstring("There is no namespace nowhere yet."))
		expect.Update(ctx, admin, f.source, func(source *corev1.ConfigMap) {
			source.Annotations = map[string]string{v1alpha1.AnnotationAllowedNamespaces: "other"}
		})
		Expect(errOut(f.targets[0])).To(ContainSubstring("the source's owner does not allow it"))
	})

	It("renders a Replika that is not applied", func(ctx SpecContext) {
		f := newFixture(ctx, "render-file", 1)
		manifest, err := yaml.Marshal(kit.NewReplika(f.source, kit.InNamespace(""), kit.TargetNamespaces(f.targets...), kit.TargetName("new")))
		Expect(err).NotTo(HaveOccurred())
		manifest = append([]byte("apiVersion: replika.prosimcorp.com/v1alpha1\nkind: Replika\n"), manifest...)
		path := filepath.Join(GinkgoT().TempDir(), "replika.yaml")
		Expect(os.WriteFile(path, manifest, 0o600)).To(Succeed())
		want := succeed(ctx, "render", "-f", path, "-n", f.namespace, "--in", f.targets[0])
		Expect(kit.FromYAML(want).GetAnnotations()).To(HaveKeyWithValue(v1alpha1.AnnotationOwner, f.namespace+"/"+f.name))
		result := runWithInput(ctx, string(manifest), "render", "-f", "-", "-n", f.namespace, "--in", f.targets[0])
		Expect(result.out).To(Equal(want))
	})

	DescribeTable("refuses a file",
		func(ctx SpecContext, manifest, want string) {
			result := runWithInput(ctx, manifest, "render", "-f", "-", "-n", "default", "--in", "team-x")
			Expect(result.code).To(Equal(exitError))
			Expect(result.out).To(BeEmpty())
			Expect(result.errOut).To(MatchRegexp(`^error: [^\n]+\n$`))
			Expect(result.errOut).To(ContainSubstring(want))
		},
		Entry("without a Replika", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}", "there is no Replika of replika.prosimcorp.com/v1beta1"),
		Entry("with several Replikas", targetingManifest("one", "matchAll: true")+"---\n"+targetingManifest("two", "matchAll: true"), "it has 2 Replikas: give one"),
		Entry("with a field that does not exist", targetingManifest("one", "all: true"), "spec.target.namespaces.all"),
		Entry("that the API server refuses", targetingManifest("one", "matchAll: false"), "at least one of replicateIn, selector or matchAll must be set"),
	)

	It("refuses a file that does not exist", func(ctx SpecContext) {
		Expect(fail(ctx, "render", "-f", filepath.Join("testdata", "nothing.yaml"), "--in", "x")).To(ContainSubstring("nothing.yaml"))
	})

	DescribeTable("refuses a source as the operator does",
		func(ctx SpecContext, want string, prepare func(ctx context.Context, f *specFixture) *v1alpha1.Replika) {
			f := newFixture(ctx, "render-"+strings.ToLower(want)+"-"+nameOfEntry(), 1)
			replika := prepare(ctx, f)
			condition := kit.Ready(expect.Reason(ctx, admin, replika, want))
			result := run(ctx, "render", replika.Name, "-n", replika.Namespace, "--in", f.targets[0])
			Expect(result.code).To(Equal(exitError))
			Expect(result.out).To(BeEmpty())
			Expect(result.errOut).To(HaveSuffix("error: " + condition.Reason + ": " + condition.Message + "\n"))
		},
		Entry("that is a copy", v1alpha1.ReasonSourceNotAllowed, func(ctx context.Context, f *specFixture) *v1alpha1.Replika {
			f.setLabels(ctx, map[string]string{v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue})
			return f.createReplika(ctx)
		}),
		Entry("with a consent that cannot be read", v1alpha1.ReasonSourceNotAllowed, func(ctx context.Context, f *specFixture) *v1alpha1.Replika {
			f.setAnnotations(ctx, map[string]string{v1alpha1.AnnotationAllowedNamespaces: "a b"})
			return f.createReplika(ctx)
		}),
		Entry("whose owner allows no namespace", v1alpha1.ReasonSourceNotAllowed, func(ctx context.Context, f *specFixture) *v1alpha1.Replika {
			f.setAnnotations(ctx, map[string]string{v1alpha1.AnnotationAllowedNamespaces: ""})
			return f.createReplika(ctx)
		}),
		Entry("whose owner allows no keys", v1alpha1.ReasonSourceNotAllowed, func(ctx context.Context, f *specFixture) *v1alpha1.Replika {
			f.setAnnotations(ctx, map[string]string{v1alpha1.AnnotationAllowedKeys: ""})
			return f.createReplika(ctx)
		}),
		Entry("without a key that the spec names", v1alpha1.ReasonKeyNotFound, func(ctx context.Context, f *specFixture) *v1alpha1.Replika {
			return f.createReplika(ctx, func(replika *v1alpha1.Replika) { replika.Spec.Source.Keys = []string{"absent"} })
		}),
		Entry("that does not exist", v1alpha1.ReasonSourceNotFound, func(ctx context.Context, f *specFixture) *v1alpha1.Replika {
			expect.Delete(ctx, admin, f.source)
			return f.createReplika(ctx)
		}),
		Entry("that no name matches", v1alpha1.ReasonSourceNotFound, func(ctx context.Context, f *specFixture) *v1alpha1.Replika {
			return f.createReplika(ctx, kit.SourceNames("nothing", "no-*"))
		}),
		Entry("of a kind that is not served", v1alpha1.ReasonKindNotFound, func(ctx context.Context, f *specFixture) *v1alpha1.Replika {
			return f.createReplika(ctx, kit.SourceKind("example.com", "v1", "Nothing"))
		}),
		Entry("of a cluster-scoped kind", v1alpha1.ReasonKindNotAllowed, func(ctx context.Context, f *specFixture) *v1alpha1.Replika {
			return f.createReplika(ctx, kit.SourceKind(rbacv1.GroupName, "v1", "ClusterRole"))
		}),
	)

	It("says that the source may not be read", func(ctx SpecContext) {
		f := newFixture(ctx, "render-unread", 1)
		replika := f.createReplika(ctx)
		user := createUser(ctx, f.name, replikaReader, namespaceReader)
		result := run(ctx, "render", replika.Name, "-n", replika.Namespace, "--in", f.targets[0], "--kubeconfig="+user)
		Expect(result.code).To(Equal(exitError))
		Expect(result.errOut).To(MatchRegexp(`(?m)^error: reading ConfigMap %s/%s: .*forbidden`, f.namespace, f.name))
	})

	DescribeTable("refuses a wrong command line in one line",
		func(ctx SpecContext, args []string, want string) {
			Expect(fail(ctx, append([]string{"render"}, args...)...)).To(ContainSubstring(want))
		},
		Entry("no Replika", []string{"--in", "x"}, "NAME of a Replika, or --filename, is required"),
		Entry("two Replikas", []string{"a", "-f", "b", "--in", "x"}, "exclude each other"),
		Entry("no namespace", []string{"a"}, "--in is required"),
		Entry("a format", []string{"a", "--in", "x", "-o", "wide"}, "must be yaml or json"),
		Entry("a Replika that does not exist", []string{"nothing", "--in", "x", "-n", "default"}, "there is no Replika nothing"),
	)
})

// targetingManifest returns the manifest of a Replika with these target namespaces.
func targetingManifest(name, namespaces string) string {
	return `apiVersion: replika.prosimcorp.com/v1alpha1
kind: Replika
metadata: {name: ` + name + `}
spec:
  source: {version: v1, kind: ConfigMap, name: settings}
  target: {namespaces: {` + namespaces + `}}
`
}
