package controllers_test

import (
	"context"
	"net/http"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
)

// mostRounds bounds a contest of a suite, so that no defect of the operator makes it endless.
const mostRounds = 300

// strike is what somebody else does to a copy. It tells whether it did anything.
type strike func(ctx context.Context, now *corev1.ConfigMap) bool

// rewriting strikes by an update, if the function finds anything to change.
func rewriting(change func(*corev1.ConfigMap) bool) strike {
	return func(ctx context.Context, now *corev1.ConfigMap) bool {
		return change(now) && api.Update(ctx, now) == nil
	}
}

// deleting strikes by a delete.
func deleting(ctx context.Context, now *corev1.ConfigMap) bool { return api.Delete(ctx, now) == nil }

// contest has somebody else strike the copy as soon as it is as the operator wants it, again and again, until the function
// that it returns is called.
func contest(copy *corev1.ConfigMap, strike strike) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var contester sync.WaitGroup
	contester.Go(func() {
		for round := 0; round < mostRounds && ctx.Err() == nil; {
			now := &corev1.ConfigMap{}
			if api.Get(ctx, client.ObjectKeyFromObject(copy), now) == nil && strike(ctx, now) {
				round++
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	end = func() {
		cancel()
		contester.Wait()
	}
	DeferCleanup(end)
	return end
}

// repairs lists when the operator changed the object since the moment.
func (s *scene) repairs(since moment, copy client.Object) []time.Time {
	GinkgoHelper()
	var times []time.Time
	for _, event := range s.requests(since, cluster.AuditEvent.Writes) {
		if event.Namespace == copy.GetNamespace() && event.Name == copy.GetName() && event.Code < http.StatusBadRequest {
			times = append(times, event.Received)
		}
	}
	return times
}

// strikes are what a careless tool might do to copies for ever.
var strikes = map[string]strike{
	"content": rewriting(func(copy *corev1.ConfigMap) bool {
		changed := copy.Data["key"] != "theirs"
		copy.Data["key"] = "theirs"
		return changed
	}),
	"label": rewriting(func(copy *corev1.ConfigMap) bool {
		_, there := copy.Labels["tier"]
		delete(copy.Labels, "tier")
		return there
	}),
	"all-labels": rewriting(func(copy *corev1.ConfigMap) bool {
		there := len(copy.Labels) > 0
		copy.Labels = nil
		return there
	}),
	"all-annotations": rewriting(func(copy *corev1.ConfigMap) bool {
		there := len(copy.Annotations) > 0
		copy.Annotations = nil
		return there
	}),
	"owner": rewriting(func(copy *corev1.ConfigMap) bool {
		forged := copy.Namespace + "/nobody"
		changed := copy.Annotations[v1alpha1.AnnotationOwner] != forged
		copy.Annotations[v1alpha1.AnnotationOwner] = forged
		return changed
	}),
	"existence": deleting,
}

var _ = Describe("A contested copy", func() {
	It("is repaired less and less often, reported, and repaired for good when the contest is over", func(ctx SpecContext) {
		const interval = 3 * time.Second // the longest that a copy is left alone
		s := newScene()
		a, b, home := s.namespace(ctx, "a"), s.namespace(ctx, "b"), s.namespace(ctx, "source")
		sources, replikas := map[string]*corev1.ConfigMap{}, map[string]*v1alpha1.Replika{}
		for name := range strikes {
			source := configMap(home, name, "one")
			source.Labels = map[string]string{"tier": "back"}
			sources[name] = create(ctx, source)
			replikas[name] = s.replika(ctx, source, into(a, b), lookingEvery(interval))
		}
		var ends []func()
		began := thisMoment()
		for name, strike := range strikes {
			eventuallyReady(ctx, replikas[name], 2)
			ends = append(ends, contest(in(a, sources[name]), strike))
		}
		for name := range strikes {
			By("contesting its " + name)
			copy := in(a, sources[name])
			eventuallyFailing(ctx, replikas[name], map[string]string{a: v1alpha1.FailureContested})
			// After it was made, three times at once, then after 0.5, 1, 2 and 3 seconds, and every 3 seconds from then on.
			Eventually(ctx, func() int { return len(s.repairs(began, copy)) }).Should(BeNumerically(">", 8))
			repairs := s.repairs(began, copy)
			Expect(repairs[8].Sub(repairs[3])).To(BeNumerically(">", 6*time.Second), "%v", repairs)
			Expect(len(repairs)).To(BeNumerically("<=", 8+int(time.Since(repairs[7])/interval)), "%v", repairs)
			eventuallyFailing(ctx, replikas[name], map[string]string{a: v1alpha1.FailureContested})
		}
		for _, end := range ends {
			end()
		}
		for name, source := range sources {
			eventuallyReady(ctx, replikas[name], 2)
			eventuallyCopied(ctx, source, a, b)
		}
	})

	It("gets a change of the source at once", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a), lookingEvery(time.Hour))
		eventuallyReady(ctx, replika, 1)
		end := contest(in(a, source), rewriting(func(copy *corev1.ConfigMap) bool {
			changed := copy.Data["key"] == "one"
			copy.Data["key"] = "theirs"
			return changed
		}))
		eventuallyFailing(ctx, replika, map[string]string{a: v1alpha1.FailureContested})
		edit(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		eventuallyCopied(ctx, source, a)
		end()
		eventuallyReady(ctx, replika, 1) // when it is over, however long the synchronization time
	})

	It("stays reported while somebody changes it who is in no hurry", func(ctx SpecContext) {
		const pause = 2 * time.Second
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a), lookingEvery(time.Hour))
		eventuallyReady(ctx, replika, 1)
		began, struck := thisMoment(), time.Time{}
		contest(in(a, source), func(ctx context.Context, now *corev1.ConfigMap) bool {
			if time.Since(struck) < pause || !strikes["content"](ctx, now) {
				return false
			}
			struck = time.Now()
			return true
		})
		reported := eventuallyFailing(ctx, replika, map[string]string{a: v1alpha1.FailureContested})
		Consistently(ctx, func() string { return read(ctx, replika, replika.Namespace).GetResourceVersion() }).
			WithTimeout(6 * pause).Should(Equal(reported.ResourceVersion))
		// Three at once, and after 0.5, 1, 2 and 4 seconds, or when it is struck if that is later.
		Expect(len(s.repairs(began, in(a, source)))).To(BeNumerically("~", 6, 1))
	})
})
