package controllers_test

import (
	"context"
	"maps"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// sceneLabel is on every namespace of a spec, with the scene's id.
const sceneLabel = "scene"

// scene is what one spec has to itself: namespaces whose names begin alike, and what is in them. Its end checks that every
// Replika in it keeps the contract of its status, and takes everything away.
type scene struct {
	id string
}

func newScene() *scene {
	s := &scene{id: "t" + rand.String(6)}
	DeferCleanup(s.end)
	return s
}

// name is the full name of the scene's namespace.
func (s *scene) name(suffix string) string {
	return s.id + "-" + suffix
}

// namespace makes a namespace, with the given labels beside the scene's.
func (s *scene) namespace(ctx context.Context, suffix string, labels ...map[string]string) string {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name(suffix), Labels: map[string]string{sceneLabel: s.id}}}
	for _, more := range labels {
		maps.Copy(namespace.Labels, more)
	}
	create(ctx, namespace)
	return namespace.Name
}

// replikas are those in the scene's namespaces.
func (s *scene) replikas(ctx context.Context) []v1alpha1.Replika {
	GinkgoHelper()
	var found []v1alpha1.Replika
	for _, namespace := range s.namespaces(ctx) {
		list := &v1alpha1.ReplikaList{}
		Expect(api.List(ctx, list, client.InNamespace(namespace.Name))).To(Succeed())
		found = append(found, list.Items...)
	}
	return found
}

func (s *scene) namespaces(ctx context.Context) []corev1.Namespace {
	GinkgoHelper()
	list := &corev1.NamespaceList{}
	Expect(api.List(ctx, list, client.MatchingLabels{sceneLabel: s.id})).To(Succeed())
	return list.Items
}

// removeReplikas checks all Replikas of the scene, and deletes them.
func (s *scene) removeReplikas(ctx SpecContext) {
	for _, replika := range s.replikas(ctx) {
		if replika.DeletionTimestamp == nil {
			await(ctx, &replika, func(g Gomega, now *v1alpha1.Replika) {
				g.Expect(violations(now, true)).To(BeEmpty())
			})
		}
		remove(ctx, &replika)
	}
}

func (s *scene) end(ctx SpecContext) {
	s.removeReplikas(ctx)
	for _, namespace := range s.namespaces(ctx) {
		// Nobody waits for it: that takes seconds, and no spec sees another's namespaces.
		Expect(client.IgnoreNotFound(api.Delete(ctx, &namespace))).To(Succeed())
	}
}

// change is made to a Replika before it is created.
type change func(*v1alpha1.Replika)

// replika makes a Replika of the source, in the source's namespace, that looks again every second.
func (s *scene) replika(ctx context.Context, source client.Object, changes ...change) *v1alpha1.Replika {
	GinkgoHelper()
	kind := kindOf(source)
	replika := &v1alpha1.Replika{
		ObjectMeta: metav1.ObjectMeta{Namespace: source.GetNamespace(), Name: "replika-of-" + source.GetName()},
		Spec: v1alpha1.ReplikaSpec{
			Synchronization: v1alpha1.SynchronizationSpec{Time: metav1.Duration{Duration: time.Second}},
			Source: v1alpha1.SourceSpec{
				Group: kind.Group, Version: kind.Version, Kind: kind.Kind, Name: source.GetName(), Namespace: source.GetNamespace(),
			},
		},
	}
	for _, change := range changes {
		change(replika)
	}
	return create(ctx, replika)
}

// called gives the Replika a name.
func called(name string) change {
	return func(replika *v1alpha1.Replika) { replika.Name = name }
}

// living puts the Replika into a namespace other than the source's.
func living(namespace string) change {
	return func(replika *v1alpha1.Replika) { replika.Namespace = namespace }
}

// into lists names and globs of target namespaces.
func into(namespaces ...string) change {
	return func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces.ReplicateIn = namespaces }
}

func excluding(namespaces ...string) change {
	return func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces.ExcludeFrom = namespaces }
}

func selecting(labels map[string]string) change {
	return func(replika *v1alpha1.Replika) {
		replika.Spec.Target.Namespaces.Selector = &v1alpha1.NamespaceSelector{MatchLabels: labels}
	}
}

// naming is what the copies are called.
func naming(name string) change {
	return func(replika *v1alpha1.Replika) { replika.Spec.Target.Name = name }
}

func lookingEvery(interval time.Duration) change {
	return func(replika *v1alpha1.Replika) {
		replika.Spec.Synchronization.Time = metav1.Duration{Duration: interval}
	}
}

func retaining(replika *v1alpha1.Replika) {
	replika.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain
}

func adopting(replika *v1alpha1.Replika) {
	replika.Spec.Target.ConflictPolicy = v1alpha1.ConflictPolicyAdopt
}

func suspended(replika *v1alpha1.Replika) {
	replika.Spec.Suspend = true
}

func withImmutableFields(policy v1alpha1.ImmutableFieldsPolicy) change {
	return func(replika *v1alpha1.Replika) { replika.Spec.Target.ImmutableFields = policy }
}

func onSourceDeletion(policy v1alpha1.SourceDeletionPolicy) change {
	return func(replika *v1alpha1.Replika) { replika.Spec.Synchronization.OnSourceDeletion = policy }
}

// configMap is a ConfigMap to be created, with one entry.
func configMap(namespace, name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Data:       map[string]string{"key": value},
	}
}

// secret likewise.
func secret(namespace, name, value string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Type:       corev1.SecretTypeOpaque,
		Data:       map[string][]byte{"key": []byte(value)},
	}
}

// kindOf is the object's kind, whether it says so itself or not.
func kindOf(object client.Object) schema.GroupVersionKind {
	GinkgoHelper()
	kind, err := api.GroupVersionKindFor(object)
	Expect(err).NotTo(HaveOccurred())
	return kind
}

func create[T client.Object](ctx context.Context, object T) T {
	GinkgoHelper()
	Expect(api.Create(ctx, object)).To(Succeed())
	return object
}

// edit changes an object as it is now, whoever else writes to it. The object passed in gives kind and name, and becomes what
// was answered.
func edit[T any, Object interface {
	*T
	client.Object
}](ctx context.Context, object Object, change func(Object)) {
	GinkgoHelper()
	Expect(retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		now := Object(new(T))
		now.GetObjectKind().SetGroupVersionKind(kindOf(object))
		if err := api.Get(ctx, client.ObjectKeyFromObject(object), now); err != nil {
			return err
		}
		change(now)
		if err := api.Update(ctx, now); err != nil {
			return err
		}
		*object = *now
		return nil
	})).To(Succeed())
}

// remove deletes the object and waits until it is gone.
func remove(ctx context.Context, object client.Object) {
	GinkgoHelper()
	Expect(client.IgnoreNotFound(api.Delete(ctx, object))).To(Succeed())
	eventuallyGone(ctx, object, object.GetNamespace())
}

// removeNamespace deletes the namespace and waits until it is gone. When that is, is up to a controller that may be busy with
// the namespaces of other specs.
func removeNamespace(ctx context.Context, name string) {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	Expect(client.IgnoreNotFound(api.Delete(ctx, namespace))).To(Succeed())
	Eventually(ctx, func() *unstructured.Unstructured { return read(ctx, namespace, "") }).
		WithTimeout(2*time.Minute).Should(BeNil(), name)
}

// read reads the object of like's kind and name in a namespace; nil for none.
func read(ctx context.Context, like client.Object, namespace string) *unstructured.Unstructured {
	GinkgoHelper()
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(kindOf(like))
	err := api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: like.GetName()}, object)
	if apierrors.IsNotFound(err) {
		return nil
	}
	Expect(err).NotTo(HaveOccurred())
	return object
}

// content is what copies have in common with their source.
func content(object *unstructured.Unstructured) map[string]any {
	fields := maps.Clone(object.Object)
	for _, field := range []string{"apiVersion", "kind", "metadata", "status"} {
		delete(fields, field)
	}
	return fields
}

// eventuallyCopied waits until each namespace has a copy with the source's present content, and our labels and marks.
func eventuallyCopied(ctx context.Context, source client.Object, namespaces ...string) {
	GinkgoHelper()
	eventuallyCopiedAs(ctx, source, source.GetName(), namespaces...)
}

// eventuallyCopiedAs likewise, for copies of another name.
func eventuallyCopiedAs(ctx context.Context, source client.Object, name string, namespaces ...string) {
	GinkgoHelper()
	wanted := read(ctx, source, source.GetNamespace())
	Expect(wanted).NotTo(BeNil(), "the source")
	like := wanted.DeepCopy()
	like.SetName(name)
	for _, namespace := range namespaces {
		Eventually(ctx, func(g Gomega) {
			found := read(ctx, like, namespace)
			g.Expect(found).NotTo(BeNil(), "no copy in %s", namespace)
			g.Expect(content(found)).To(Equal(content(wanted)), "the copy in %s", namespace)
			expectOurs(g, found)
		}).Should(Succeed())
	}
}

// expectOurs checks the labels and marks by which users find a copy and its owner.
func expectOurs(g Gomega, object *unstructured.Unstructured) {
	GinkgoHelper()
	g.Expect(object.GetLabels()).To(HaveKeyWithValue(v1alpha1.LabelCreatedBy, v1alpha1.CreatedByValue))
	g.Expect(object.GetLabels()).To(HaveKey(v1alpha1.LabelPartOf))
	g.Expect(object.GetAnnotations()).To(And(
		HaveKeyWithValue(v1alpha1.AnnotationMarksVersion, v1alpha1.MarksVersion),
		HaveKey(v1alpha1.AnnotationOwner),
		HaveKey(v1alpha1.AnnotationSource),
		HaveKeyWithValue(v1alpha1.AnnotationSelf, object.GetNamespace()+"/"+object.GetName()),
	))
}

// eventuallyGone waits until the namespaces have no object of like's kind and name.
func eventuallyGone(ctx context.Context, like client.Object, namespaces ...string) {
	GinkgoHelper()
	for _, namespace := range namespaces {
		Eventually(ctx, func() *unstructured.Unstructured { return read(ctx, like, namespace) }).Should(BeNil(), "in %s", namespace)
	}
}

// consistentlyAbsent checks that no object of like's kind and name appears in the namespaces.
func consistentlyAbsent(ctx context.Context, like client.Object, namespaces ...string) {
	GinkgoHelper()
	Consistently(ctx, func(g Gomega) {
		for _, namespace := range namespaces {
			g.Expect(read(ctx, like, namespace)).To(BeNil(), "in %s", namespace)
		}
	}).Should(Succeed())
}

// in is the object of the source's kind and name in another namespace, to be edited there.
func in[T any, Object interface {
	*T
	client.Object
}](namespace string, source Object) Object {
	object := Object(new(T))
	object.GetObjectKind().SetGroupVersionKind(kindOf(source))
	object.SetNamespace(namespace)
	object.SetName(source.GetName())
	return object
}

// foreignFinalizer keeps an object that somebody else is not done with.
const foreignFinalizer = "suite.example.com/hold"

// hold puts a finalizer on the object, and takes it off when the spec is over.
func hold(ctx context.Context, object client.Object) {
	GinkgoHelper()
	patchFinalizers(ctx, object, `["`+foreignFinalizer+`"]`)
	DeferCleanup(letGo, object)
}

// letGo takes all finalizers off the object, if it is still there.
func letGo(ctx context.Context, object client.Object) {
	GinkgoHelper()
	patchFinalizers(ctx, object, `null`)
}

func patchFinalizers(ctx context.Context, object client.Object, finalizers string) {
	GinkgoHelper()
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":`+finalizers+`}}`))
	Expect(client.IgnoreNotFound(api.Patch(ctx, object, patch))).To(Succeed())
}

func namespaceUID(ctx context.Context, name string) types.UID {
	GinkgoHelper()
	namespace := &corev1.Namespace{}
	Expect(api.Get(ctx, client.ObjectKey{Name: name}, namespace)).To(Succeed())
	return namespace.UID
}

// without is the map without some keys.
func without(from map[string]string, keys ...string) map[string]string {
	rest := maps.Clone(from)
	for _, key := range keys {
		delete(rest, key)
	}
	return rest
}

// eventuallyThere waits for an object that a controller makes.
func eventuallyThere(ctx context.Context, like client.Object, namespace, name string) {
	GinkgoHelper()
	like.SetName(name)
	Eventually(ctx, func() *unstructured.Unstructured { return read(ctx, like, namespace) }).ShouldNot(BeNil(), name)
}
