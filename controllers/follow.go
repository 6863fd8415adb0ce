package controllers

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// What a Replika has watched, by purpose.
const (
	purposeReplicate = "replicate" // its source and copies
	purposeObstacles = "obstacles" // foreign objects in their way
	purposeKinds     = "kinds"     // on nobody's behalf in particular
)

// follow watches, for as long as the Replika wants it, its source and the copies of the source's kind. It waits for neither.
func (r *ReplikaReconciler) follow(replika *v1alpha1.Replika, kind tracking.Mapping) {
	source := tracking.Key{Namespace: replika.SourceNamespace(), Name: replika.Spec.Source.Name}
	r.Watches.Set(tracking.User{Replika: client.ObjectKeyFromObject(replika), Purpose: purposeReplicate},
		tracking.CopiesOf(kind.Resource), tracking.SourceAt(kind.Resource, source))
}

// unfollow ends the watches of a Replika whose kind cannot be replicated.
func (r *ReplikaReconciler) unfollow(replika types.NamespacedName) {
	r.Watches.Set(tracking.User{Replika: replika, Purpose: purposeReplicate})
	r.Watches.Set(tracking.User{Replika: replika, Purpose: purposeObstacles})
}

// forget drops all that is kept of a Replika that is gone.
func (r *ReplikaReconciler) forget(replika types.NamespacedName) {
	r.memories.forget(replika)
	forgetMetrics(replika)
	r.unfollow(replika)
}

// watchObstacles watches what bears the copies' name for as long as foreign objects are known to be in the way.
func (p *pass) watchObstacles(ctx context.Context, kind tracking.Mapping) {
	var interests []tracking.WatchKey
	if view := p.view(ctx, kind); view != nil && view.HasForeign(p.replika.TargetName()) {
		interests = append(interests, tracking.ConflictingObjectsNamed(kind.Resource, p.replika.TargetName()))
	}
	p.Watches.Set(tracking.User{Replika: p.name, Purpose: purposeObstacles}, interests...)
}

// awaitWatches waits until changes of source and copies will be told: what is read after that is never out of date for long.
// It notes when a watch cannot be had.
func (p *pass) awaitWatches(ctx context.Context, kind tracking.Mapping) {
	ctx, cancel := context.WithTimeout(ctx, watchPatience)
	defer cancel()
	source := tracking.Key{Namespace: p.replika.SourceNamespace(), Name: p.replika.Spec.Source.Name}
	p.unwatched = !p.Watches.WaitForSync(ctx, tracking.SourceAt(kind.Resource, source)) || !p.Watches.WaitForSync(ctx, tracking.CopiesOf(kind.Resource))
}

// follower keeps the watched set in step with the Replikas on an instance that does not lead, so that a takeover needs no
// list.
type follower struct {
	*ReplikaReconciler
}

// Reconcile follows one Replika.
func (f follower) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	replika := &v1alpha1.Replika{}
	err := f.Get(ctx, request.NamespacedName, replika)
	if apierrors.IsNotFound(err) {
		f.forget(request.NamespacedName)
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	kind, err := f.Kinds.Resolve(ctx, sourceKind(replika))
	switch {
	case err == nil && kind.Namespaced && len(kind.MissingVerbs(slices.Clone(neededVerbs)...)) == 0:
		f.follow(replika, kind)
	case err == nil, errors.Is(err, tracking.ErrKindNotFound):
		f.unfollow(request.NamespacedName)
	}
	return ctrl.Result{}, ignoreKindNotFound(err)
}

// ignoreKindNotFound drops the error that a change of definitions will end.
func ignoreKindNotFound(err error) error {
	if errors.Is(err, tracking.ErrKindNotFound) {
		return nil
	}
	return err
}

// settling is how long after a definition changed discovery may lag behind; the kinds are looked at again then.
var settling = []time.Duration{0, time.Second, 3 * time.Second, 10 * time.Second}

// changed takes news from the watches and wakes the Replikas that it concerns.
func (r *ReplikaReconciler) changed(change tracking.Event, users []types.NamespacedName) {
	switch {
	case change.Watch.Type == tracking.CRDs:
		_, group, found := strings.Cut(change.Key.Name, ".")
		if !found {
			return // the watch itself is up, or down
		}
		for _, delay := range settling {
			// A queue keeps but the first of several delays of one Replika.
			time.AfterFunc(delay, func() { r.kindsChanged(group) })
		}
	case change.Watch.Type == tracking.Copies && change.Key != tracking.Key{}:
		now := time.Now()
		for _, replika := range r.concernedBy(change) {
			if !r.memories.holds(replika, change.Key, now) {
				r.wakeUp.now(replika)
			}
		}
	default:
		if change.Watch.Type == tracking.Source {
			r.memories.sourceChanged(users, time.Now())
		}
		r.wakeUp.now(users...)
	}
}

// kindsChanged has the Replikas of the API group ask anew how their kinds are served.
func (r *ReplikaReconciler) kindsChanged(group string) {
	r.Kinds.InvalidateGroup(group)
	replikas := r.ofGroup(group)
	r.wakeUp.now(replikas...)
	r.wakeUpFollower.now(replikas...)
}

// ofGroup lists the Replikas whose source is of the API group.
func (r *ReplikaReconciler) ofGroup(group string) []types.NamespacedName {
	return r.named(context.Background(), func(replika *v1alpha1.Replika) bool { return replika.Spec.Source.Group == group })
}

// concernedBy lists the Replikas that a change of a copy is for: those that its marks name and, unless one of these keeps
// it, all that may wish for a copy of that name. A rival must not be faster than the owner whose copy somebody deleted.
func (r *ReplikaReconciler) concernedBy(change tracking.Event) []types.NamespacedName {
	kept := false
	wishing := r.named(context.Background(), func(replika *v1alpha1.Replika) bool {
		if replika.Spec.Source.Group != change.Watch.Resource.Group || replika.TargetName() != change.Key.Name {
			return false
		}
		kept = kept || slices.Contains(change.Owners, client.ObjectKeyFromObject(replika)) &&
			r.wants(replika, change.Watch.Resource.GroupResource(), change.Key.Namespace)
		return true
	})
	if kept {
		return change.Owners
	}
	return append(change.Owners, wishing...)
}

// wants tells, as far as is known without asking, whether the Replika wants a copy of the kind in the namespace.
func (r *ReplikaReconciler) wants(replika *v1alpha1.Replika, resource schema.GroupResource, target string) bool {
	kind, known := r.Kinds.Cached(sourceKind(replika))
	claimant, claims := planner.NewClaimant(replika)
	namespace := namespaceMetadata()
	return known && kind.Resource.GroupResource() == resource && claims &&
		r.Get(context.Background(), client.ObjectKey{Name: target}, namespace) == nil &&
		planner.Claimants{claimant}.Claims(claimant.Replika, claimant.Kind, replika.TargetName(), r.asNamespace(namespace))
}

// sourceKind is the kind that the spec names.
func sourceKind(replika *v1alpha1.Replika) schema.GroupVersionKind {
	source := replika.Spec.Source
	return schema.GroupVersionKind{Group: source.Group, Version: source.Version, Kind: source.Kind}
}

// wake has a Replika looked at soon.
func (r *ReplikaReconciler) wake(replika types.NamespacedName) { r.wakeUp.now(replika) }

// wakeUp puts Replikas into the controller's queue, once that has started; before, there is nobody to wake.
type wakeUp struct {
	mu    sync.Mutex
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// Start implements the source of a controller: it is given the queue.
func (w *wakeUp) Start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = queue
	return nil
}

func (w *wakeUp) now(replikas ...types.NamespacedName) {
	w.mu.Lock()
	queue := w.queue
	w.mu.Unlock()
	if queue == nil {
		return
	}
	for _, replika := range replikas {
		queue.Add(reconcile.Request{NamespacedName: replika})
	}
}
