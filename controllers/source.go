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
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// source is what a reconcile read of the source.
type source struct {
	// Template is what every copy must look like; nil when there is no source to copy.
	Template *planner.Template
	// Unchanged reports whether the previous reconcile had the same template.
	Unchanged bool
	// CopiedKeys match every key that the template can have.
	CopiedKeys []string
	// KeysWithdrawn reports whether, without a template, the copies can have keys that the source's owner no longer allows.
	KeysWithdrawn bool
	// NoneDesired reports whether no copies are desired: a live read confirmed that the source does not exist and its copies
	// are deleted with it, or that its owner allows none.
	NoneDesired bool
	// Unmatched is true if the object exists, and is not one of the Replika's many sources.
	Unmatched bool
}

// sourceGVK returns the kind that the spec names.
func sourceGVK(replika *v1alpha1.Replika) schema.GroupVersionKind {
	source := replika.Spec.Source
	return schema.GroupVersionKind{Group: source.Group, Version: source.Version, Kind: source.Kind}
}

// sourceIdentity identifies a source, or all sources of a Replika with many, which have no name. The version does not: all
// versions of a kind serve the same objects.
type sourceIdentity struct {
	kind schema.GroupKind
	key  tracking.Key
}

func sourceIdentityOf(replika *v1alpha1.Replika) sourceIdentity {
	return sourceIdentity{kind: sourceGVK(replika).GroupKind(), key: sourceKey(replika)}
}

// sourceKey returns the namespace and name of the source.
func sourceKey(replika *v1alpha1.Replika) tracking.Key {
	return tracking.Key{Namespace: replika.SourceNamespace(), Name: replika.Spec.Source.Name}
}

// sourceNameAmong returns the source's name if the objects of the kind include the source. Copies of a former kind do not.
func (s *scope) sourceNameAmong(kind schema.GroupKind) string {
	if sourceGVK(s.replika).GroupKind() != kind {
		return ""
	}
	return s.replika.Spec.Source.Name
}

// sourceSelectorAmong returns the selector of many sources if the objects of the kind include them, else nil.
func (s *scope) sourceSelectorAmong(mapping tracking.Mapping) *planner.SourceSelector {
	if s.many != nil {
		return s.many.selector
	}
	if !s.replika.HasManySources() || sourceGVK(s.replika).GroupKind() != mapping.GroupKind() {
		return nil
	}
	selector, err := planner.NewSourceSelector(mapping.Resource.GroupResource(), s.replika)
	if err != nil {
		return nil // it selects nothing, and names nothing
	}
	return selector
}

// resolveKind maps the source's kind to its resource, and checks that its objects can be copied.
func (r *ReplikaReconciler) resolveKind(ctx context.Context, s *scope) (tracking.Mapping, error) {
	return resolveKind(ctx, r.Mapper, s.replika)
}

func resolveKind(ctx context.Context, mapper *tracking.Mapper, replika *v1alpha1.Replika) (tracking.Mapping, error) {
	gvk := sourceGVK(replika)
	title := fmt.Sprintf("kind %s in %s", cmp.Or(gvk.Kind, `""`), cmp.Or(gvk.GroupVersion().String(), `""`))

	mapping, err := mapper.Resolve(ctx, gvk)
	switch {
	case errors.Is(err, tracking.ErrKindNotFound):
		return mapping, &notReadyError{
			Reason:  v1alpha1.ReasonKindNotFound,
			Message: title + " is not served by the API server: install its CustomResourceDefinition or fix spec.source",
		}
	case err != nil:
		return mapping, &notReadyError{
			Reason:    v1alpha1.ReasonProgressing,
			Message:   fmt.Sprintf("discovery of %s failed; retrying", title),
			Transient: true,
		}
	}
	if problem := kindProblem(mapping); problem != "" {
		// A CustomResourceDefinition that is being removed offers less and less, and may be installed again with another
		// scope: the next reconcile calls discovery again.
		mapper.Invalidate(mapping.GroupVersionKind)
		return mapping, &notReadyError{Reason: v1alpha1.ReasonKindNotAllowed, Message: title + " " + problem, Stalled: true}
	}
	return mapping, nil
}

// kindProblem returns why objects of a kind cannot be copied; empty when they can.
func kindProblem(mapping tracking.Mapping) string {
	if !mapping.Namespaced {
		return "is cluster-scoped; only namespaced objects can be copied"
	}
	if missing := mapping.MissingVerbs(); len(missing) > 0 {
		return fmt.Sprintf("does not support the verbs %s, which are required for replication", strings.Join(missing, ", "))
	}
	return ""
}

// reconcileSource reads the source, live, and renders the template.
func (r *ReplikaReconciler) reconcileSource(ctx context.Context, s *scope, mapping tracking.Mapping) (source, error) {
	object, err := r.readSource(ctx, s, mapping)
	if err != nil {
		return r.handleSourceError(s, mapping, err)
	}
	if s.many != nil && !s.many.selector.Matches(object) {
		return source{NoneDesired: true, Unmatched: true}, nil
	}
	assessed := r.Cleaner.Assess(mapping.Resource.GroupResource(), s.replika, object, r.Policy.RequireSourceConsent)
	if !assessed.ConsentKnown {
		return source{}, newNotReadyError(assessed.Problem)
	}
	src := source{Template: assessed.Template}
	if template := assessed.Template; template != nil {
		unchanged, version := s.state.recordTemplate(template.Digests, object.GetResourceVersion())
		src.Unchanged = unchanged
		src.CopiedKeys = planner.CopiedKeys(s.replika, object)
		if err := r.recordCopied(ctx, s, version, src.CopiedKeys); err != nil {
			return source{}, err
		}
	}
	recordAllowed(&s.replika.Status, assessed.Allowed)
	switch {
	case assessed.NoneAllowed:
		return source{Unchanged: src.Unchanged, NoneDesired: true}, newNotReadyError(assessed.Problem)
	case assessed.Problem != nil:
		// Consent wins over keys that are waited for: copies with keys that are no longer allowed do not stay as they are.
		src.KeysWithdrawn = planner.KeysWithdrawn(s.replika, object, assessed.Problem)
		return src, newNotReadyError(assessed.Problem)
	default:
		return src, nil
	}
}

// readSource reads the source, live. Replikas with one source share the request, unless an event could have been missed: the
// Replika did not use the watch of the source before, the watch does not work, or the annotation requests a read.
func (r *ReplikaReconciler) readSource(ctx context.Context, s *scope, mapping tracking.Mapping) (*unstructured.Unstructured, error) {
	key := sourceKey(s.replika)
	request := func() (*unstructured.Unstructured, error) {
		return s.client.objects.Resource(mapping.Resource).Namespace(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
	}
	if same, _ := s.state.statusIsOf(sourceIdentityOf(s.replika)); !same || s.anew || s.many != nil || s.watchState != tracking.Synced {
		return request()
	}
	return r.sourceReads.get(ctx, s.name, sourceObjectOf(s.replika, mapping), s.identity, request)
}

// readSourceVersion reads the metadata of the source, live, and returns its resourceVersion; empty if it could not be read.
func (r *ReplikaReconciler) readSourceVersion(ctx context.Context, s *scope, mapping tracking.Mapping) string {
	key := sourceKey(s.replika)
	return r.sourceReads.getVersion(s.name, sourceObjectOf(s.replika, mapping), s.identity, func() (string, error) {
		object, err := s.client.metadata.Resource(mapping.Resource).Namespace(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
		if err != nil {
			return "", err // the read of the whole source reports it
		}
		return object.ResourceVersion, nil
	})
}

// recordCopied shows in the status what is copied of the source. Until all copies are in sync, some can have former keys. More
// keys than before are in the status before they are in any copy: an operator that is killed meanwhile must know of them.
func (r *ReplikaReconciler) recordCopied(ctx context.Context, s *scope, version string, keys []string) error {
	if s.dryRun != nil {
		return nil // no copy has the keys
	}
	if s.replika.Status.Source == nil {
		s.replika.Status.Source = &v1alpha1.SourceStatus{}
	}
	status := s.replika.Status.Source
	former, known := status.CopiedKeys, status.ResourceVersion != ""
	status.CopiedKeys = planner.WidenCopiedKeys(status, keys)
	// Not only when it changed: the last reconcile may have failed to write its status.
	status.ResourceVersion = version
	if !known || slices.Equal(former, status.CopiedKeys) || s.many != nil {
		return nil
	}
	return r.patchStatus(ctx, s)
}

// recordFormerKeysGone shows in the status that no copy has keys of a former template, once all copies are in sync.
func (s *scope) recordFormerKeysGone(src source) {
	results := &s.results
	if s.dryRun == nil && src.Template != nil && results.failed == 0 && len(results.pending) == 0 && results.synced == results.desired {
		s.replika.Status.Source.CopiedKeys = src.CopiedKeys
	}
}

// recordAllowed shows the consent of the source's owner in the status. The list of allowed namespaces is part of the selection,
// also of the Replika as others with the same targets see it: two Replikas whose sources both deny a namespace must not hand
// over a copy to each other forever.
func recordAllowed(status *v1alpha1.ReplikaStatus, allowed []string) {
	if status.Source == nil && allowed != nil {
		status.Source = &v1alpha1.SourceStatus{}
	}
	if status.Source != nil {
		status.Source.AllowedNamespaces = allowed
	}
}

// sourceNotFound returns the error of the one source that does not exist.
func sourceNotFound(replika *v1alpha1.Replika) *notReadyError {
	return &notReadyError{Reason: v1alpha1.ReasonSourceNotFound, Message: sourceTitle(replika) + " not found"}
}

// handleSourceError distinguishes a source that does not exist from one that cannot be read now.
func (r *ReplikaReconciler) handleSourceError(s *scope, mapping tracking.Mapping, err error) (source, error) {
	title := s.sourceTitle()
	switch {
	case executor.Classify(err) == planner.KindGone:
		r.Mapper.Invalidate(mapping.GroupVersionKind)
		return source{}, &notReadyError{
			Reason:    v1alpha1.ReasonKindNotFound,
			Message:   mapping.Kind + " is no longer served by the API server",
			Transient: true,
		}
	case apierrors.IsNotFound(err):
		return source{NoneDesired: s.replika.Spec.Synchronization.OnSourceDeletion == v1alpha1.SourceDeletionDelete},
			sourceNotFound(s.replika)
	case apierrors.IsForbidden(err):
		return source{}, &notReadyError{Reason: v1alpha1.ReasonForbidden, Message: s.forbiddenMessage(mapping, err)}
	default:
		return source{}, &notReadyError{
			Reason:    v1alpha1.ReasonProgressing,
			Message:   fmt.Sprintf("reading %s failed; retrying", title),
			Transient: true,
		}
	}
}
