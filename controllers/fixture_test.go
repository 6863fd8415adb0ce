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

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// fixtureLabel is on every namespace of a fixture. Its value is the fixture's id.
const fixtureLabel = "fixture"

// fixture owns what one spec creates: namespaces with a common prefix, and the objects in them. At the spec's end it checks
// the status of every Replika in these namespaces, and deletes everything.
type fixture struct {
	id string
}

func newFixture() *fixture {
	f := &fixture{id: "t" + rand.String(6)}
	DeferCleanup(f.cleanUp)
	return f
}

// name returns the full name of the fixture's namespace with this suffix.
func (f *fixture) name(suffix string) string {
	return f.id + "-" + suffix
}

// namespace creates a namespace, with the given labels beside the fixture's, and returns its name.
func (f *fixture) namespace(ctx context.Context, suffix string, labels ...map[string]string) string {
	GinkgoHelper()
	labels = append([]map[string]string{{fixtureLabel: f.id}}, labels...)
	return create(ctx, kit.Namespace(f.name(suffix), labels...)).Name
}

// replika creates a Replika of the source.
func (f *fixture) replika(ctx context.Context, source client.Object, options ...kit.ReplikaOption) *v1alpha1.Replika {
	GinkgoHelper()
	return create(ctx, kit.NewReplika(source, append([]kit.ReplikaOption{kit.WithName("replika-of-" + source.GetName())}, options...)...))
}

// replikas lists the Replikas in the fixture's namespaces.
func (f *fixture) replikas(ctx context.Context) []v1alpha1.Replika {
	GinkgoHelper()
	var found []v1alpha1.Replika
	for _, namespace := range f.namespaces(ctx) {
		list := &v1alpha1.ReplikaList{}
		Expect(api.List(ctx, list, client.InNamespace(namespace.Name))).To(Succeed())
		found = append(found, list.Items...)
	}
	return found
}

// namespaces lists the fixture's namespaces.
func (f *fixture) namespaces(ctx context.Context) []corev1.Namespace {
	GinkgoHelper()
	list := &corev1.NamespaceList{}
	Expect(api.List(ctx, list, client.MatchingLabels{fixtureLabel: f.id})).To(Succeed())
	return list.Items
}

// copies lists, as namespace/name, the objects of like's kind in the fixture that have the operator's label.
func (f *fixture) copies(ctx context.Context, like client.Object) []string {
	GinkgoHelper()
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kit.KindOf(like))
	Expect(api.List(ctx, list, client.HasLabels{v1alpha1.LabelCreatedBy})).To(Succeed())
	var found []string
	for i := range list.Items {
		if copied := &list.Items[i]; strings.HasPrefix(copied.Namespace, f.name("")) {
			found = append(found, copied.Namespace+"/"+copied.Name)
		}
	}
	return found
}

// deleteReplikas checks the status of the fixture's Replikas, deletes them, and waits until they are gone.
func (f *fixture) deleteReplikas(ctx SpecContext) {
	replikas := f.replikas(ctx)
	for i := range replikas {
		replika := &replikas[i]
		if replika.DeletionTimestamp == nil {
			expect.Status(ctx, api, replika, func(g Gomega, current *v1alpha1.Replika) {
				g.Expect(kit.StatusViolations(current, true)).To(BeEmpty())
			})
		}
		Expect(client.IgnoreNotFound(api.Delete(ctx, replika))).To(Succeed())
	}
	for i := range replikas {
		expect.Gone(ctx, api, &replikas[i], replikas[i].Namespace)
	}
}

func (f *fixture) cleanUp(ctx SpecContext) {
	f.deleteReplikas(ctx)
	for _, namespace := range f.namespaces(ctx) {
		expect.DropNamespace(ctx, api, &namespace)
	}
}
