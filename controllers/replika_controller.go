// Package controllers holds the one controller of the operator: it makes the cluster what each Replika says.
package controllers

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/identity"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// ReplikaReconciler keeps the copies of every Replika equal to its source.
type ReplikaReconciler struct {
	// Client reads Replikas and the metadata of Namespaces from the manager's cache, and writes Replikas.
	client.Client
	// Clients read sources, live, and write copies, as the account of a Replika.
	Clients *identity.Clients[*Client]
	Kinds   *tracking.Mapper
	// Watches tell what changed; Reader reads what they cannot tell.
	Watches  *tracking.Watches
	Reader   *tracking.Lister
	Cleaner  *planner.Cleaner
	Recorder events.EventRecorder
	// Rules are the administrator's.
	Policy Policy
	// MaxConcurrentReconciles is how many Replikas are worked on at once; 1 by default.
	MaxConcurrentReconciles int
	// MaxConcurrentWrites is how many copies of one Replika are written at once; 1 by default. All of them together are
	// bounded by the limit that the Clients share.
	MaxConcurrentWrites int

	memories memories
	// wakeUp puts Replikas into the queue of the controller, wakeUpFollower into that of the follower.
	wakeUp, wakeUpFollower wakeUp
}

// Reconcile brings the copies of one Replika in line with its source, and says in its status what came of it.
func (r *ReplikaReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	replika := &v1alpha1.Replika{}
	if err := r.Get(ctx, request.NamespacedName, replika); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(request.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	pass, err := r.newPass(replika)
	if err != nil {
		return ctrl.Result{}, err
	}
	switch {
	case replika.DeletionTimestamp != nil:
		err = pass.finalize(ctx)
	case replika.Spec.Suspend:
		err = pass.finish(ctx)
	default:
		if err = pass.synchronize(ctx); err == nil {
			err = pass.finish(ctx)
		}
	}
	next, err := pass.nextLook(ctx, err)
	measureNextLook(request.NamespacedName, next)
	return next, err
}

// synchronize is one pass: kind, source, plan, requests. What stands in the way and what came of the requests is kept in
// the pass; it returns an error only when the Replika itself could not be written, or the pass was called off.
func (p *pass) synchronize(ctx context.Context) error {
	if p.refuseWithoutAccount() {
		p.unfollow(p.name)
		return nil
	}
	kind, usable := p.resolveKind(ctx)
	if !usable && !p.obstacle.Transient {
		p.unfollow(p.name)
	}
	if usable {
		p.follow(p.replika, kind)
		if err := p.claimKind(ctx, kind); err != nil {
			return err
		}
	}
	formerGone := p.giveUpFormerKinds(ctx, kind)
	if usable {
		p.awaitWatches(ctx, kind)
		noticed := p.memories.takeSourceChanged(p.name)
		template := p.readSource(ctx, kind)
		p.replicate(ctx, kind, template)
		p.measurePropagation(noticed)
		if formerGone {
			return errors.Join(p.forgetFormerKinds(ctx, kind), ctx.Err())
		}
	}
	return ctx.Err()
}
