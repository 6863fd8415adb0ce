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
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
)

// The cast: Replika ops/sync copies from namespace vault; dev/sync is another Replika.
var (
	ours    = types.NamespacedName{Namespace: "ops", Name: "sync"}
	theirs  = types.NamespacedName{Namespace: "dev", Name: "sync"}
	cleaner = planner.NewCleaner()
)

const (
	// stageLabel is on a spec's namespace, so that policies meet nobody else.
	stageLabel = "stage"
	// hold is somebody's finalizer.
	hold = "example.com/hold"
)

// stage is what one spec has to itself: a target namespace, and a Writer whose connection it watches and disturbs.
type stage struct {
	id        string
	namespace string
	wire      *wire
	writer    *executor.Executor
}

func newStage(ctx context.Context, labels ...map[string]string) *stage {
	GinkgoHelper()
	s := &stage{id: "t" + rand.String(6)}
	s.namespace = s.id + "-target"
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace, Labels: map[string]string{stageLabel: s.id}}}
	for _, more := range labels {
		maps.Copy(namespace.Labels, more)
	}
	Expect(api.Create(ctx, namespace)).To(Succeed())
	// Nobody waits for it: that takes seconds, and no spec sees another's namespaces.
	DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(api.Delete(ctx, namespace))).To(Succeed()) })
	s.connect(controlPlane.Config)
	return s
}

// connect makes the stage's Writer anew, with the given access.
func (s *stage) connect(config *rest.Config) {
	GinkgoHelper()
	transport, err := rest.TransportFor(config)
	Expect(err).NotTo(HaveOccurred())
	s.wire = &wire{transport: transport}
	client, err := executor.NewClient(config, &http.Client{Transport: s.wire})
	Expect(err).NotTo(HaveOccurred())
	s.writer = executor.New(client, cleaner, executor.NewFairSemaphore(16))
}

// connectAs makes the Writer act as a user who has these rights, and no others, in the stage's namespace.
func (s *stage) connectAs(ctx context.Context, rules ...rbacv1.PolicyRule) {
	GinkgoHelper()
	user := s.id + "-user"
	if len(rules) > 0 {
		role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "rights"}, Rules: rules}
		Expect(api.Create(ctx, role)).To(Succeed())
		Expect(api.Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "rights"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		})).To(Succeed())
		last := rules[len(rules)-1]
		Eventually(ctx, func(g Gomega) {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User: user,
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: s.namespace, Group: last.APIGroups[0], Resource: last.Resources[0], Verb: last.Verbs[0],
				},
			}}
			g.Expect(api.Create(ctx, review)).To(Succeed())
			g.Expect(review.Status.Allowed).To(BeTrue())
		}).Should(Succeed())
	}
	config, err := controlPlane.User(user)
	Expect(err).NotTo(HaveOccurred())
	s.connect(config)
}

// do carries an action out as Replika ops/sync, and leaves a record of only its requests on the wire.
func (s *stage) do(ctx context.Context, kind schema.GroupVersionKind, action planner.Action) executor.Result {
	GinkgoHelper()
	s.wire.forget()
	return s.writer.Execute(ctx, resourceOf(kind), ours, &action)
}

func (s *stage) create(template *planner.Template) planner.Action {
	return planner.Action{Type: planner.Create, Namespace: s.namespace, Name: template.Name, Desired: true, Template: template}
}

func (s *stage) update(observed *planner.Observed, template *planner.Template) planner.Action {
	return planner.Action{
		Type: planner.Update, Namespace: s.namespace, Name: template.Name, Desired: true, Template: template, Observed: observed,
	}
}

func (s *stage) about(action planner.ActionType, observed *planner.Observed) planner.Action {
	return planner.Action{Type: action, Namespace: s.namespace, Name: observed.Name, Observed: observed}
}

// copied makes the copy of the template and returns how it is observed.
func (s *stage) copied(ctx context.Context, template *planner.Template) *planner.Observed {
	GinkgoHelper()
	result := s.do(ctx, template.Kind, s.create(template))
	expectOutcome(result, planner.Done)
	s.wire.forget()
	return result.Object
}

// live is the object of the template's kind and name as the API server has it.
func (s *stage) live(ctx context.Context, template *planner.Template) *unstructured.Unstructured {
	GinkgoHelper()
	object := newObject(template.Kind, s.namespace, template.Name)
	Expect(api.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
	return object
}

func (s *stage) observed(ctx context.Context, template *planner.Template) *planner.Observed {
	GinkgoHelper()
	return observe(s.live(ctx, template))
}

func (s *stage) expectNothing(ctx context.Context, template *planner.Template) {
	GinkgoHelper()
	object := newObject(template.Kind, s.namespace, template.Name)
	Expect(apierrors.IsNotFound(api.Get(ctx, client.ObjectKeyFromObject(object), object))).To(BeTrue(), "%v", object.Object)
}

// meanwhile changes the object as somebody else.
func (s *stage) meanwhile(ctx context.Context, template *planner.Template, change func(*unstructured.Unstructured)) {
	GinkgoHelper()
	Expect(retry.OnError(retry.DefaultRetry, apierrors.IsConflict, func() error {
		object := newObject(template.Kind, s.namespace, template.Name)
		if err := api.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		change(object)
		return api.Update(ctx, object)
	})).To(Succeed())
}

// removed deletes the object as somebody else and returns when it is gone.
func (s *stage) removed(ctx context.Context, template *planner.Template) {
	GinkgoHelper()
	object := newObject(template.Kind, s.namespace, template.Name)
	Expect(api.Delete(ctx, object)).To(Succeed())
	s.expectNothing(ctx, template)
}

// remade deletes the object as somebody else and makes it anew, marks and all, with another UID.
func (s *stage) remade(ctx context.Context, template *planner.Template) {
	GinkgoHelper()
	object := s.live(ctx, template)
	s.removed(ctx, template)
	object.SetUID("")
	object.SetResourceVersion("")
	object.SetManagedFields(nil)
	Expect(api.Create(ctx, object)).To(Succeed())
}

// held puts a finalizer on the object, and takes it off when the spec is over.
func (s *stage) held(ctx context.Context, template *planner.Template) {
	GinkgoHelper()
	s.meanwhile(ctx, template, func(object *unstructured.Unstructured) { object.SetFinalizers([]string{hold}) })
	s.freedLater(newObject(template.Kind, s.namespace, template.Name))
}

// boss makes an object and returns what names it as the controller of another. It must exist: the garbage collector
// deletes what belongs to nobody.
func (s *stage) boss(ctx context.Context) metav1.OwnerReference {
	GinkgoHelper()
	boss := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "boss"}}
	Expect(api.Create(ctx, boss)).To(Succeed())
	return *metav1.NewControllerRef(boss, corev1.SchemeGroupVersion.WithKind("ConfigMap"))
}

func (s *stage) freedLater(object *unstructured.Unstructured) {
	DeferCleanup(func(ctx SpecContext) {
		patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
		Expect(client.IgnoreNotFound(api.Patch(ctx, object, patch))).To(Succeed())
	})
}

// templateOf is the template of a source as the API server serves it: defaults filled in, values of its own given.
func templateOf(ctx context.Context, from client.Object, changes ...func(*v1alpha1.Replika)) *planner.Template {
	GinkgoHelper()
	object := unstructuredOf(from)
	object.SetNamespace(metav1.NamespaceDefault)
	Expect(api.Create(ctx, object, client.DryRunAll)).To(Succeed())
	return rawTemplateOf(object, changes...)
}

// rawTemplateOf is the template of a source that the API server was not asked about.
func rawTemplateOf(from client.Object, changes ...func(*v1alpha1.Replika)) *planner.Template {
	GinkgoHelper()
	object := unstructuredOf(from)
	object.SetNamespace("vault")
	replika := &v1alpha1.Replika{
		ObjectMeta: metav1.ObjectMeta{Namespace: ours.Namespace, Name: ours.Name},
		Spec:       v1alpha1.ReplikaSpec{Source: v1alpha1.SourceSpec{Name: object.GetName()}},
	}
	for _, change := range changes {
		change(replika)
	}
	template, err := cleaner.NewTemplate(replika, object)
	Expect(err).NotTo(HaveOccurred())
	return template
}

// labelling and annotating add keys to a template.
func labelling(keys map[string]string) func(*v1alpha1.Replika) {
	return func(replika *v1alpha1.Replika) { replika.Spec.Target.Labels = keys }
}

func annotating(keys map[string]string) func(*v1alpha1.Replika) {
	return func(replika *v1alpha1.Replika) { replika.Spec.Target.Annotations = keys }
}

func configMap(data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: data}
}

func secret(data map[string]string) *corev1.Secret {
	encoded := map[string][]byte{}
	for key, value := range data {
		encoded[key] = []byte(value)
	}
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "credentials"}, Type: corev1.SecretTypeOpaque, Data: encoded}
}

func newObject(kind schema.GroupVersionKind, namespace, name string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(kind)
	object.SetNamespace(namespace)
	object.SetName(name)
	return object
}

// custom is an object of one of the suite's own kinds with the given top-level fields.
func custom(kind schema.GroupVersionKind, fields map[string]any) *unstructured.Unstructured {
	object := newObject(kind, "", "thing")
	maps.Copy(object.Object, fields)
	return object
}

func unstructuredOf(object client.Object) *unstructured.Unstructured {
	GinkgoHelper()
	if already, is := object.(*unstructured.Unstructured); is {
		return already.DeepCopy()
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	Expect(err).NotTo(HaveOccurred())
	converted := &unstructured.Unstructured{Object: content}
	kinds, _, err := clientgoscheme.Scheme.ObjectKinds(object)
	Expect(err).NotTo(HaveOccurred())
	converted.SetGroupVersionKind(kinds[0])
	return converted
}

func observe(object *unstructured.Unstructured) *planner.Observed {
	GinkgoHelper()
	observed, err := cleaner.Observe(object)
	Expect(err).NotTo(HaveOccurred())
	return observed
}

func resourceOf(kind schema.GroupVersionKind) schema.GroupVersionResource {
	GinkgoHelper()
	mapping, err := api.RESTMapper().RESTMapping(kind.GroupKind(), kind.Version)
	Expect(err).NotTo(HaveOccurred())
	return mapping.Resource
}

func expectOutcome(result executor.Result, outcome planner.Outcome) {
	GinkgoHelper()
	Expect(result.Outcome).To(Equal(outcome), "%v", result.Err)
	if outcome == planner.Done {
		Expect(result.Err).NotTo(HaveOccurred())
	}
}

// expectInSync checks that the object is observed as the template's copy.
func expectInSync(observed *planner.Observed, template *planner.Template) {
	GinkgoHelper()
	Expect(observed).NotTo(BeNil())
	Expect(template.Digests.Differing(observed.Digests)).To(BeEmpty())
	Expect(observed.OwnedBy(template.Owner)).To(BeTrue())
}

// whole renders all that an object is, but for the given paths and for what every write changes.
func whole(object *unstructured.Unstructured, but ...[]string) string {
	GinkgoHelper()
	stripped := object.DeepCopy()
	for _, path := range append(but, []string{"metadata", "managedFields"}, []string{"metadata", "resourceVersion"}) {
		unstructured.RemoveNestedField(stripped.Object, path...)
	}
	rendered, err := json.Marshal(stripped.Object)
	Expect(err).NotTo(HaveOccurred())
	return string(rendered)
}

// wire is a connection to the API server that keeps a record of what goes over it and lets a spec act in between.
type wire struct {
	transport http.RoundTripper

	mu sync.Mutex
	// sent are the requests so far: their methods, and "dry run" where it is one.
	sent []string
	// meddle, if set, stands between the Writer and the API server. It gets each request's number, from 1.
	meddle func(number int, request *http.Request) (*http.Response, error)
}

func (w *wire) RoundTrip(request *http.Request) (*http.Response, error) {
	w.mu.Lock()
	description := request.Method
	if request.URL.Query().Has("dryRun") {
		description += " dry run"
	}
	w.sent = append(w.sent, description)
	number, meddle := len(w.sent), w.meddle
	w.mu.Unlock()
	if meddle != nil {
		return meddle(number, request)
	}
	return w.transport.RoundTrip(request)
}

// before calls act when the request of that number is about to be sent.
func (w *wire) before(number int, act func()) {
	w.meddle = func(now int, request *http.Request) (*http.Response, error) {
		if now == number {
			act()
		}
		return w.transport.RoundTrip(request)
	}
}

func (w *wire) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = nil
}

// requests are those since the last action began.
func (w *wire) requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.sent)
}

func rule(group string, resources []string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs}
}
