package controllers_test

import (
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var _ = Describe("Replication", func() {
	It("brings edits of a ConfigMap to every copy, and takes away what the source drops", func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		source := configMap(s.namespace(ctx, "source"), "settings", "one")
		source.Data["dropped"] = "soon"
		source.BinaryData = map[string][]byte{"bytes": {0, 1, 255}}
		source.Labels = map[string]string{"tier": "back", "dropped": "soon"}
		source.Annotations = map[string]string{"note": "first", "dropped": "soon"}
		create(ctx, source)
		replika := s.replika(ctx, source, into(a, b))
		eventuallyCopied(ctx, source, a, b)
		Expect(read(ctx, source, a).GetLabels()).To(HaveKeyWithValue("dropped", "soon"))
		first := eventuallyReady(ctx, replika, 2).Status.Source.ResourceVersion
		uid := read(ctx, source, a).GetUID()

		edit(ctx, source, func(source *corev1.ConfigMap) {
			source.Data = map[string]string{"key": "two", "new": ""}
			source.BinaryData = nil
			source.Labels = map[string]string{"tier": "front"}
			source.Annotations = map[string]string{"note": "second"}
		})
		eventuallyCopied(ctx, source, a, b)
		for _, namespace := range []string{a, b} {
			Eventually(ctx, func(g Gomega) {
				now := read(ctx, source, namespace)
				g.Expect(now.Object).NotTo(HaveKey("binaryData"))
				g.Expect(now.GetLabels()).To(And(HaveKeyWithValue("tier", "front"), Not(HaveKey("dropped"))))
				g.Expect(now.GetAnnotations()).To(And(HaveKeyWithValue("note", "second"), Not(HaveKey("dropped"))))
			}).Should(Succeed())
		}
		Expect(read(ctx, source, a).GetUID()).To(Equal(uid), "an edit is no reason to make a copy anew")
		await(ctx, replika, func(g Gomega, now *v1alpha1.Replika) {
			g.Expect(now.Status.Source.ResourceVersion).To(And(Equal(source.ResourceVersion), Not(Equal(first))))
		})
	})

	It("brings edits deep inside nested lists to every copy", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, playlist(s.namespace(ctx, "source"), "evening"))
		source.Object["status"] = map[string]any{"plays": int64(7)}
		Expect(api.Status().Update(ctx, source)).To(Succeed())
		replika := s.replika(ctx, source, into(a))
		eventuallyCopied(ctx, source, a)
		Expect(read(ctx, source, a).Object).NotTo(HaveKey("status"), "a status belongs to one object")

		edit(ctx, source, func(source *unstructured.Unstructured) {
			records, _, _ := unstructured.NestedSlice(source.Object, "spec", "records")
			tracks := records[0].(map[string]any)["tracks"].([]any)
			tracks[0].(map[string]any)["tags"] = []any{"slow"}
			records[0].(map[string]any)["tracks"] = tracks[:1]
			Expect(unstructured.SetNestedSlice(source.Object, records, "spec", "records")).To(Succeed())
		})
		eventuallyCopied(ctx, source, a)
		eventuallyReady(ctx, replika, 1)
	})

	It("copies a Secret with its type, and takes away a key that the source drops", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := secret(s.namespace(ctx, "source"), "account", "pass")
		source.Type = "example.com/account"
		source.Data["old"] = []byte{0, 255}
		create(ctx, source)
		s.replika(ctx, source, into(a))
		eventuallyCopied(ctx, source, a)
		Expect(content(read(ctx, source, a))).To(And(HaveKeyWithValue("type", "example.com/account"), HaveKeyWithValue("data", HaveKey("old"))))

		edit(ctx, source, func(source *corev1.Secret) { delete(source.Data, "old") })
		eventuallyCopied(ctx, source, a)
	})

	It("copies a Secret of 1 MiB and its edits", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := secret(s.namespace(ctx, "source"), "large", strings.Repeat("x", corev1.MaxSecretSize))
		create(ctx, source)
		replika := s.replika(ctx, source, into(a))
		eventuallyCopied(ctx, source, a)

		edit(ctx, source, func(source *corev1.Secret) { source.Data["key"][corev1.MaxSecretSize-1] = 'y' })
		eventuallyCopied(ctx, source, a)
		eventuallyReady(ctx, replika, 1)
	})

	It("works under a name of 253 characters", func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		other := create(ctx, configMap(source.Namespace, "others", "one"))
		long := strings.Repeat("n", 252)
		replika := s.replika(ctx, source, into(a), called(long+"1"))
		// It differs from the first only where a label value is cut.
		twin := s.replika(ctx, other, into(a), called(long+"2"))
		eventuallyReady(ctx, replika, 1)
		eventuallyReady(ctx, twin, 1)
		eventuallyCopied(ctx, source, a)
		eventuallyCopied(ctx, other, a)
		Expect(read(ctx, source, a).GetLabels()[v1alpha1.LabelPartOf]).
			NotTo(Equal(read(ctx, other, a).GetLabels()[v1alpha1.LabelPartOf]))

		edit(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces.ReplicateIn = []string{b} })
		eventuallyCopied(ctx, source, b)
		eventuallyGone(ctx, source, a)
		remove(ctx, replika)
		eventuallyGone(ctx, source, b)
		Expect(read(ctx, other, a)).NotTo(BeNil())
	})

	It("copies a source whose name is as long as can be", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), strings.Repeat("s", 253), "one"))
		eventuallyReady(ctx, s.replika(ctx, source, into(a), called("short")), 1)
		eventuallyCopied(ctx, source, a)
	})

	It("looks for the source in the Replika's own namespace when the spec names none", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(s.id+"-*"), func(replika *v1alpha1.Replika) { replika.Spec.Source.Namespace = "" })
		eventuallyReady(ctx, replika, 1)
		eventuallyCopied(ctx, source, a)
		Expect(read(ctx, source, source.Namespace).GetResourceVersion()).To(Equal(source.ResourceVersion), "the source")
	})

	It("copies from a namespace that is not the Replika's, and into the Replika's own", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		eventuallyReady(ctx, s.replika(ctx, source, living(a), into(a)), 1)
		eventuallyCopied(ctx, source, a)
	})

	It("serves a new namespace at once, however long the synchronization time", func(ctx SpecContext) {
		s := newScene()
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(s.id+"-*"), lookingEvery(time.Hour))
		eventuallyReady(ctx, replika, 0)

		a := s.namespace(ctx, "a")
		eventuallyCopied(ctx, source, a)
		eventuallyReady(ctx, replika, 1)
	})

	It("uses the default synchronization time when the spec gives none", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a), lookingEvery(0))
		Expect(replika.Spec.Synchronization.Time).To(Equal(metav1.Duration{Duration: time.Minute}))
		eventuallyReady(ctx, replika, 1)
	})
})
