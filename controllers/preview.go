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

package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// Preview is what the operator would do with the copies of a Replika.
type Preview struct {
	// Status is the one that the operator would report in a dry run.
	Status v1alpha1.ReplikaStatus
	// Summary has the number of copies for each action that is planned, in one line; empty if there is nothing to do. Actions are those of
	// all these copies, sorted by namespace and name.
	Summary string
	Actions []v1alpha1.PlannedAction
	// NotReady is why the Replika as a whole cannot be reconciled, and Message explains it; empty if only single copies can fail.
	NotReady, Message string

	templates map[string]*planner.Template
	previewer *Previewer
}

// Content returns the copy as it is and as it would be; nil for none. It has what the operator compares: the content, and the labels and
// annotations.
func (p *Preview) Content(
	ctx context.Context, replika *v1alpha1.Replika, action *v1alpha1.PlannedAction,
) (before, after *unstructured.Unstructured, err error) {
	r := p.previewer.reconciler
	mapping, err := r.Mapper.Resolve(ctx, sourceGVK(replika))
	if err != nil {
		return nil, nil, err
	}
	client, err := r.Clients.clientFor(operatorIdentity)
	if err != nil {
		return nil, nil, err
	}
	live, err := client.objects.Resource(mapping.Resource).Namespace(action.Namespace).Get(ctx, action.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		live, err = nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s %s/%s: %w", mapping.Resource.GroupResource(), action.Namespace, action.Name, err)
	}
	template := p.templates[action.Name]
	switch action.Action {
	case v1alpha1.PlannedCreate, v1alpha1.PlannedRecreate:
		after, err = template.RenderOver(nil, planner.Keys{}, action.Namespace, false)
	case v1alpha1.PlannedUpdate, v1alpha1.PlannedAdopt:
		if live == nil {
			return nil, nil, nil // it was deleted meanwhile
		}
		observed, observeErr := r.Cleaner.Observe(mapping.Resource.GroupResource(), live)
		if observeErr != nil {
			return nil, nil, observeErr
		}
		update := &planner.Action{
			Type: planner.Update, Namespace: action.Namespace, Name: action.Name, Observed: observed, Template: template,
			Adopt: action.Action == v1alpha1.PlannedAdopt,
		}
		after, err = template.RenderOver(live, r.Cleaner.StaleKeys(update, live), action.Namespace, observed.Adopted || update.Adopt)
	case v1alpha1.PlannedDelete:
	default:
		after = live
	}
	return r.comparable(live), r.comparable(after), err
}

func (r *ReplikaReconciler) comparable(object *unstructured.Unstructured) *unstructured.Unstructured {
	if object == nil {
		return nil
	}
	return r.Cleaner.Comparable(object)
}

// Previewer plans by the steps of the operator, with the permissions of its own client, which only reads.
type Previewer struct {
	reconciler *ReplikaReconciler
	cluster    *snapshot
	// operator writes copies for Replikas without a ServiceAccount. Its user is empty if it is not known.
	operator authorizationv1.SubjectAccessReviewSpec
	reviews  authorizationclient.AuthorizationV1Interface

	mu    sync.Mutex
	notes []string
}

// NewPreviewer returns a previewer for an operator with the options. If the user of the operator is empty, it is not known, and
// its permissions are not reviewed.
func NewPreviewer(config *rest.Config, options Options, operator authorizationv1.SubjectAccessReviewSpec) (*Previewer, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // throttling is left to API Priority and Fairness
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("creating the HTTP client: %w", err)
	}
	lists, err := executor.NewClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("creating the client that lists copies: %w", err)
	}
	discoveryClient, err := discovery.NewDiscoveryClientForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("creating the discovery client: %w", err)
	}
	cleaner := planner.NewCleaner(options.DropKeys...)
	clients := newClients(config, cleaner, nil)
	clients.asCaller = true
	caller, err := clients.clientFor(operatorIdentity)
	if err != nil {
		return nil, err
	}
	cluster := &snapshot{}
	reconciler := &ReplikaReconciler{
		Client:              cluster,
		Namespaces:          func(context.Context) (toolscache.Store, error) { return cluster.namespaces, nil },
		Clients:             clients,
		Mapper:              tracking.NewMapper(discoveryClient),
		Cleaner:             cleaner,
		Clock:               clock.RealClock{},
		Policy:              options.Policy.withDefaults(),
		excluded:            planner.NewPatterns(options.Policy.ExcludedNamespaces),
		Timeouts:            Timeouts{WatchSyncTimeout: time.Nanosecond}.withDefaults(), // no watch ever syncs
		MaxConcurrentWrites: options.MaxConcurrentWrites,
	}
	// They are never started, and nothing is watched: whatever the steps need is listed.
	reconciler.Watches = tracking.NewWatches(nil, lists, caller.metadata, cleaner, reconciler.handleWatchEvent)
	reconciler.Lister = tracking.NewLister(reconciler.Watches)
	reconciler.sourceReads.clock = reconciler.Clock
	return &Previewer{reconciler: reconciler, cluster: cluster, operator: operator, reviews: caller.reviews}, nil
}

// Cluster is what a preview depends on, besides the source and the copies.
type Cluster struct {
	// Replikas are all that exist. The one that is planned does not have to be among them.
	Replikas []v1alpha1.Replika
	// Namespaces are all that exist, or those that the caller may read.
	Namespaces []metav1.PartialObjectMetadata
	// Partial is true if there can be other namespaces. Copies are then looked for only in these.
	Partial bool
}

// Add adds a Replika, in the place of one that has its name.
func (c *Cluster) Add(replika *v1alpha1.Replika) {
	c.Replikas = slices.DeleteFunc(c.Replikas, func(other v1alpha1.Replika) bool {
		return other.Namespace == replika.Namespace && other.Name == replika.Name
	})
	c.Replikas = append(c.Replikas, *replika)
}

// Plan returns what the operator would do with the Replika. An error means that this is not known.
func (p *Previewer) Plan(ctx context.Context, replika *v1alpha1.Replika, cluster *Cluster) (*Preview, error) {
	r := p.reconciler
	enforced := replika.DeepCopy()
	enforced.Spec.Mode = v1alpha1.ModeEnforce
	if err := p.cluster.set(enforced, cluster); err != nil {
		return nil, err
	}
	if cluster.Partial {
		r.Lister = r.Lister.In(slices.Sorted(slices.Values(p.cluster.namespaces.ListKeys())))
	}
	s, err := r.newScope(enforced)
	if err != nil {
		return nil, err
	}
	s.dropFormerSource()
	err = r.predict(ctx, s, newDryRun(p.reviewAccess))
	notReady, ok := errors.AsType[*notReadyError](err)
	switch {
	case ok && (notReady.Reason == v1alpha1.ReasonForbidden || notReady.Transient):
		return nil, p.unreadable(s, notReady)
	case ok:
		s.notReady = notReady
	case err != nil:
		return nil, err
	}
	r.setStatus(s)
	planned := s.results.planned
	preview := &Preview{
		Status: s.replika.Status, Summary: planned.summary(), Actions: planned.sorted(),
		templates: planned.templates, previewer: p,
	}
	if s.notReady != nil {
		preview.NotReady, preview.Message = s.notReady.Reason, s.notReady.Message
	}
	return preview, nil
}

// unreadable returns the error of a plan that depends on something that could not be read.
func (*Previewer) unreadable(s *scope, notReady *notReadyError) error {
	if notReady.Reason != v1alpha1.ReasonForbidden {
		return errors.New(notReady.Message)
	}
	kind := s.replika.Spec.Source.Kind
	return fmt.Errorf("you may not read what the plan depends on: it needs get on the source (%s), and list on objects of kind %s in the "+
		"target namespaces", s.sourceTitle(), kind)
}

// reviewAccess asks as the caller for the permissions of the account. Without the permission to ask, every write counts as allowed.
func (p *Previewer) reviewAccess(ctx context.Context, asked access) (bool, error) {
	spec := p.operator
	if asked.as != operatorIdentity {
		spec = ServiceAccountSubject(types.NamespacedName{Namespace: asked.as.namespace, Name: asked.as.name})
	}
	if spec.User == "" {
		p.note("the permissions of the operator are not reviewed, because its ServiceAccount is not known")
		return true, nil
	}
	spec.ResourceAttributes = asked.attributes()
	review, err := p.reviews.SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
	switch {
	case apierrors.IsForbidden(err):
		p.note(fmt.Sprintf("the permissions of %s are not reviewed, because you may not create subjectaccessreviews.authorization.k8s.io", asked.as))
		return true, nil
	case err != nil:
		return false, err
	}
	return review.Status.Allowed, nil
}

// Notes say what the plans so far could not read, and what is not known therefore.
func (p *Previewer) Notes() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.notes)
}

// note adds a note, unless it was added before.
func (p *Previewer) note(note string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.notes, note) {
		p.notes = append(p.notes, note)
	}
}
