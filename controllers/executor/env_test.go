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

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/test/kit/expect"
)

const (
	// envLabel is on the namespace of a spec, so that its admission policies match no other namespace.
	envLabel = "env"
	// otherFinalizer is the finalizer of another controller.
	otherFinalizer = "example.com/finalizer"
)

// env is the environment of one spec: a target namespace, and an Executor whose requests are recorded and can be intercepted.
type env struct {
	id          string
	namespace   string
	interceptor *interceptor
	executor    *executor.Executor
}

// newEnv creates the environment. The labels are added to the namespace.
func newEnv(ctx context.Context, labels ...map[string]string) *env {
	GinkgoHelper()
	e := &env{id: "t" + rand.String(6)}
	e.namespace = e.id + "-target"
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.namespace, Labels: map[string]string{envLabel: e.id}}}
	for _, more := range labels {
		maps.Copy(namespace.Labels, more)
	}
	Expect(api.Create(ctx, namespace)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { expect.DropNamespace(ctx, api, namespace) })
	e.connect(controlPlane.Config)
	return e
}

// connect replaces the Executor by one that uses the config.
func (e *env) connect(config *rest.Config) {
	GinkgoHelper()
	transport, err := rest.TransportFor(config)
	Expect(err).NotTo(HaveOccurred())
	e.interceptor = &interceptor{transport: transport}
	client, err := executor.NewClient(config, &http.Client{Transport: e.interceptor})
	Expect(err).NotTo(HaveOccurred())
	e.executor = executor.New(client, cleaner, executor.NewFairSemaphore(16, 0))
}

// connectWithRules replaces the Executor by one of a user who has only these permissions, in the target namespace.
func (e *env) connectWithRules(ctx context.Context, rules ...rbacv1.PolicyRule) {
	GinkgoHelper()
	user := e.id + "-user"
	if len(rules) > 0 {
		role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "permissions"}, Rules: rules}
		Expect(api.Create(ctx, role)).To(Succeed())
		Expect(api.Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "permissions"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		})).To(Succeed())
		last := rules[len(rules)-1]
		Eventually(ctx, func(g Gomega) {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User: user,
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: e.namespace, Group: last.APIGroups[0], Resource: last.Resources[0], Verb: last.Verbs[0],
				},
			}}
			g.Expect(api.Create(ctx, review)).To(Succeed())
			g.Expect(review.Status.Allowed).To(BeTrue())
		}).Should(Succeed())
	}
	config, err := controlPlane.User(user)
	Expect(err).NotTo(HaveOccurred())
	e.connect(config)
}

// execute executes the action on behalf of the Replika. The interceptor then contains only the requests of this action.
func (e *env) execute(ctx context.Context, kind schema.GroupVersionKind, action planner.Action) executor.Result {
	GinkgoHelper()
	e.interceptor.reset()
	return e.executor.Execute(ctx, resourceOf(kind), replika, &action)
}

func (e *env) createAction(template *planner.Template) planner.Action {
	return planner.Action{Type: planner.Create, Namespace: e.namespace, Name: template.Name, Desired: true, Template: template}
}

func (e *env) updateAction(observed *planner.Observed, template *planner.Template) planner.Action {
	return planner.Action{
		Type: planner.Update, Namespace: e.namespace, Name: template.Name, Desired: true, Template: template, Observed: observed,
	}
}

// action returns an action that needs no template.
func (e *env) action(actionType planner.ActionType, observed *planner.Observed) planner.Action {
	return planner.Action{Type: actionType, Namespace: e.namespace, Name: observed.Name, Observed: observed}
}

func (e *env) handOverAction(observed *planner.Observed) planner.Action {
	action := e.action(planner.HandOver, observed)
	action.NewOwner = otherReplika
	return action
}

// createCopy creates the copy of the template and returns it as observed.
func (e *env) createCopy(ctx context.Context, template *planner.Template) *planner.Observed {
	GinkgoHelper()
	result := e.execute(ctx, template.Kind, e.createAction(template))
	expectOutcome(result, planner.Done)
	e.interceptor.reset()
	return result.Object
}

// get returns the live object of the template's kind and name.
func (e *env) get(ctx context.Context, template *planner.Template) *unstructured.Unstructured {
	GinkgoHelper()
	object := newObject(template.Kind, e.namespace, template.Name)
	Expect(api.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
	return object
}

// observe returns the live object of the template's kind and name as observed.
func (e *env) observe(ctx context.Context, template *planner.Template) *planner.Observed {
	GinkgoHelper()
	return observe(e.get(ctx, template))
}

func (e *env) expectNotFound(ctx context.Context, template *planner.Template) {
	GinkgoHelper()
	object := newObject(template.Kind, e.namespace, template.Name)
	Expect(apierrors.IsNotFound(api.Get(ctx, client.ObjectKeyFromObject(object), object))).To(BeTrue(), "%v", object.Object)
}

// modify updates the object as another client.
func (e *env) modify(ctx context.Context, template *planner.Template, change func(*unstructured.Unstructured)) {
	GinkgoHelper()
	Expect(retry.OnError(retry.DefaultRetry, apierrors.IsConflict, func() error {
		object := newObject(template.Kind, e.namespace, template.Name)
		if err := api.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		change(object)
		return api.Update(ctx, object)
	})).To(Succeed())
}

// remove deletes the object as another client and returns when it no longer exists.
func (e *env) remove(ctx context.Context, template *planner.Template) {
	GinkgoHelper()
	object := newObject(template.Kind, e.namespace, template.Name)
	Expect(api.Delete(ctx, object)).To(Succeed())
	e.expectNotFound(ctx, template)
}

// recreate deletes and creates the object as another client. Only its UID and resourceVersion change.
func (e *env) recreate(ctx context.Context, template *planner.Template) {
	GinkgoHelper()
	object := e.get(ctx, template)
	e.remove(ctx, template)
	object.SetUID("")
	object.SetResourceVersion("")
	object.SetManagedFields(nil)
	Expect(api.Create(ctx, object)).To(Succeed())
}

// addFinalizer adds a finalizer to the object, and removes it at the end of the spec.
func (e *env) addFinalizer(ctx context.Context, template *planner.Template) {
	GinkgoHelper()
	e.modify(ctx, template, func(object *unstructured.Unstructured) { object.SetFinalizers([]string{otherFinalizer}) })
	e.removeFinalizersAfterSpec(newObject(template.Kind, e.namespace, template.Name))
}

func (e *env) removeFinalizersAfterSpec(object *unstructured.Unstructured) {
	DeferCleanup(func(ctx SpecContext) {
		patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
		Expect(client.IgnoreNotFound(api.Patch(ctx, object, patch))).To(Succeed())
	})
}

// newController creates an object and returns a controller reference to it. The object must exist, because the garbage
// collector deletes objects whose owner does not.
func (e *env) newController(ctx context.Context) metav1.OwnerReference {
	GinkgoHelper()
	owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "controller"}}
	Expect(api.Create(ctx, owner)).To(Succeed())
	return *metav1.NewControllerRef(owner, corev1.SchemeGroupVersion.WithKind("ConfigMap"))
}

func expectOutcome(result executor.Result, want planner.Outcome) {
	GinkgoHelper()
	Expect(result.Outcome).To(Equal(want), "%v", result.Err)
	if want == planner.Done {
		Expect(result.Err).NotTo(HaveOccurred())
	}
}

// expectInSync expects that the observed object is an up-to-date copy of the template.
func expectInSync(observed *planner.Observed, template *planner.Template) {
	GinkgoHelper()
	Expect(observed).NotTo(BeNil())
	Expect(template.Digests.Differing(observed.Digests)).To(BeEmpty())
	Expect(observed.OwnedBy(template.Owner)).To(BeTrue())
}

// renderWithout renders the object as JSON, without the paths and without the metadata that every write changes.
func renderWithout(object *unstructured.Unstructured, paths ...[]string) string {
	GinkgoHelper()
	stripped := object.DeepCopy()
	for _, path := range append(paths, []string{"metadata", "managedFields"}, []string{"metadata", "resourceVersion"}) {
		unstructured.RemoveNestedField(stripped.Object, path...)
	}
	rendered, err := json.Marshal(stripped.Object)
	Expect(err).NotTo(HaveOccurred())
	return string(rendered)
}
