package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// deletionPatience is how long a Replika in deletion waits for copies that cannot be dealt with before it lets them go,
// so that neither it nor its namespace ever hangs.
const deletionPatience = 20 * time.Second

// deletionRetry is the longest delay between two attempts at it.
const deletionRetry = 5 * time.Second

// claimKind writes down, before the first copy of a kind is made, that there may be copies of it: the finalizer, and the
// kind in an annotation, so that an operator which starts later finds them whatever the spec says by then.
func (p *pass) claimKind(ctx context.Context, kind tracking.Mapping) error {
	kinds := p.claimedKinds()
	resource := kind.Resource.GroupResource()
	if controllerutil.ContainsFinalizer(p.replika, v1alpha1.Finalizer) && slices.Contains(kinds, resource) {
		return nil
	}
	if !slices.Contains(kinds, resource) {
		kinds = append(kinds, resource)
	}
	return p.patchMetadata(ctx, func() {
		controllerutil.AddFinalizer(p.replika, v1alpha1.Finalizer)
		p.setClaimedKinds(kinds)
	})
}

// giveUpFormerKinds gives up the copies of kinds that the spec no longer names. It tells whether none are left.
func (p *pass) giveUpFormerKinds(ctx context.Context, current tracking.Mapping) bool {
	gone := true
	for _, resource := range p.claimedKinds() {
		if resource == current.Resource.GroupResource() {
			continue
		}
		kind, err := p.Kinds.ResolveResource(ctx, resource)
		if errors.Is(err, tracking.ErrKindNotFound) {
			continue
		}
		if err != nil {
			gone = false
			p.hinderCopies(kind, err)
			continue
		}
		if kind.GroupKind() != p.sourceKind() {
			gone = p.giveUp(ctx, kind) && gone
		}
	}
	return gone
}

// giveUp gives up all copies of the kind. It tells whether none are left.
func (p *pass) giveUp(ctx context.Context, kind tracking.Mapping) bool {
	input, err := p.input(ctx, kind)
	if err != nil {
		p.hinderCopies(kind, err)
		return false
	}
	failed := p.report.failed
	p.carryOut(ctx, kind, input)
	return p.report.failed == failed
}

// forgetFormerKinds takes off the Replika the kinds of which no copies are left.
func (p *pass) forgetFormerKinds(ctx context.Context, current tracking.Mapping) error {
	resource := current.Resource.GroupResource()
	if len(p.claimedKinds()) == 1 || p.obstacle != nil {
		return nil
	}
	return p.patchMetadata(ctx, func() { p.setClaimedKinds([]schema.GroupResource{resource}) })
}

// finalize gives up every copy of a Replika in deletion, then lets it go.
func (p *pass) finalize(ctx context.Context) error {
	if !controllerutil.ContainsFinalizer(p.replika, v1alpha1.Finalizer) {
		return nil
	}
	p.giveUpUnclaimedKind(ctx)
	for _, resource := range p.claimedKinds() {
		kind, err := p.Kinds.ResolveResource(ctx, resource)
		switch {
		case errors.Is(err, tracking.ErrKindNotFound):
			// The copies went with their kind.
		case err != nil:
			p.hinderCopies(kind, err)
		default:
			p.giveUpWithStripped(ctx, kind)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if p.obstacle != nil || p.report.failed > 0 {
		waited := time.Since(p.replika.DeletionTimestamp.Time)
		if waited < deletionPatience || p.report.transient || (p.obstacle != nil && p.obstacle.Transient) {
			return p.finish(ctx)
		}
		p.tellWhatStays(ctx)
	}
	p.tellChanges(ctx)
	err := p.patchMetadata(ctx, func() { controllerutil.RemoveFinalizer(p.replika, v1alpha1.Finalizer) })
	return client.IgnoreNotFound(err)
}

// giveUpUnclaimedKind gives up the copies of the spec's kind if the annotation does not name it. It may have inherited some
// while it was suspended; or somebody took the annotation off, and then the spec's kind is all that is left to go by.
func (p *pass) giveUpUnclaimedKind(ctx context.Context) {
	claimed := p.claimedKinds()
	if len(claimed) == 0 {
		if kind, usable := p.resolveKind(ctx); usable {
			p.giveUpWithStripped(ctx, kind)
		}
		return
	}
	kind, err := p.Kinds.Resolve(ctx, sourceKind(p.replika))
	if err == nil && kind.Namespaced && !slices.Contains(claimed, kind.Resource.GroupResource()) {
		p.giveUpWithStripped(ctx, kind)
	}
}

// giveUpWithStripped gives up all copies of the kind, those among them that lost our labels but kept our marks.
func (p *pass) giveUpWithStripped(ctx context.Context, kind tracking.Mapping) {
	input, err := p.input(ctx, kind)
	if err != nil {
		p.hinderCopies(kind, err)
		return
	}
	named, err := p.Reader.ListByName(ctx, kind.Resource, input.Name)
	if err != nil {
		p.hinderCopies(kind, err) // those that are known are given up all the same
	}
	known := make(map[tracking.Key]bool, len(input.Observed))
	for _, object := range input.Observed {
		known[object.Key()] = true
	}
	for _, object := range named {
		if !known[object.Key()] {
			input.Observed = append(input.Observed, object)
		}
	}
	p.carryOut(ctx, kind, input)
}

// tellWhatStays says which copies a Replika leaves behind because they could not be dealt with. In a namespace that is being
// deleted no event can be made; then it is about that namespace, and kept where those about the cluster are.
func (p *pass) tellWhatStays(ctx context.Context) {
	var left []string
	for _, failure := range p.report.sorted() {
		left = append(left, fmt.Sprintf("%s (%s)", failure.Namespace, failure.Reason))
	}
	if p.obstacle != nil {
		left = append(left, p.obstacle.Message)
	}
	var about client.Object = p.replika
	if home := namespaceMetadata(); p.Get(ctx, client.ObjectKey{Name: p.name.Namespace}, home) == nil && home.DeletionTimestamp != nil {
		about = home
	}
	p.Recorder.Eventf(about, p.replika, corev1.EventTypeWarning, "CopiesLeftBehind", "Finalize",
		"%s", shorten(fmt.Sprintf("Replika %s is deleted, but copies stay: %s", p.name, strings.Join(left, "; "))))
}

// claimedKinds are the kinds of which the Replika may have copies.
func (p *pass) claimedKinds() []schema.GroupResource {
	var kinds []schema.GroupResource
	for name := range strings.SplitSeq(p.replika.Annotations[v1alpha1.AnnotationKinds], ",") {
		if name != "" {
			kinds = append(kinds, schema.ParseGroupResource(name))
		}
	}
	return kinds
}

func (p *pass) setClaimedKinds(kinds []schema.GroupResource) {
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = kind.String()
	}
	if p.replika.Annotations == nil {
		p.replika.Annotations = map[string]string{}
	}
	p.replika.Annotations[v1alpha1.AnnotationKinds] = strings.Join(names, ",")
}

// patchMetadata changes the Replika's metadata, provided nobody else did meanwhile. The status that the pass has gathered
// so far is kept: it is written at the end.
func (p *pass) patchMetadata(ctx context.Context, change func()) error {
	status := p.replika.Status.DeepCopy()
	base := p.replika.DeepCopy()
	change()
	if err := p.Patch(ctx, p.replika, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("update the metadata of Replika %s: %w", p.name, err)
	}
	log.FromContext(ctx).V(1).Info("updated the Replika's metadata")
	p.memory.written = p.replika.DeepCopy()
	p.replika.Status = *status
	return nil
}
