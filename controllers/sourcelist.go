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
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// readSources lists the sources and reads what their reconciles have in common.
func (r *ReplikaReconciler) readSources(ctx context.Context, s *scope, mapping tracking.Mapping) (*manySources, error) {
	selector, err := planner.NewSourceSelector(mapping.Resource.GroupResource(), s.replika)
	if err != nil {
		return nil, invalidSelector(err)
	}
	s.state.setSourceSelector(selector, s.original)
	many := &manySources{selector: selector, store: r.copyStore(ctx, mapping), keysRecorded: s.replika.Status.Sources != nil}
	if many.selection, err = r.selection(s); err != nil {
		return nil, err
	}
	if many.list, err = r.listSources(ctx, s, mapping, selector); err != nil {
		return nil, err
	}
	if len(many.list) > v1alpha1.MaxSources {
		return nil, tooManySources()
	}
	if many.store != nil {
		many.removed = many.store.PopRemovedByOthers(s.name)
		return many, nil
	}
	copies, err := r.pollCopies(ctx, s, mapping)
	if err != nil {
		return nil, r.copiesNotReady(mapping, err)
	}
	many.polled = map[string][]*planner.Observed{}
	for _, object := range copies {
		many.polled[object.Name] = append(many.polled[object.Name], object)
	}
	return many, nil
}

// listSources returns the resourceVersions of the sources by name, or of one more than the maximum. While the watch of their namespace
// works, they are listed again only after a change, and at the synchronization time.
func (r *ReplikaReconciler) listSources(
	ctx context.Context, s *scope, mapping tracking.Mapping, selector *planner.SourceSelector,
) (map[string]string, error) {
	if selector.MatchesNothing() {
		return nil, nil
	}
	now, basis := r.Clock.Now(), sourceListBasis{uid: s.replika.UID, generation: s.replika.Generation, as: s.identity}
	if list, current := s.state.sourceList(basis, now.Add(-s.replika.Spec.Synchronization.Time.Duration)); current && !s.anew && s.watchState == tracking.Synced {
		return list, nil
	}
	s.state.expireSourceList()
	list, err := listMatching(ctx, s.client.metadata.Resource(mapping.Resource).Namespace(s.replika.SourceNamespace()), selector)
	if err != nil {
		_, err = r.handleSourceError(s, mapping, err)
		return nil, err
	}
	s.state.setSourceList(basis, list, now)
	return list, nil
}

// listMatching returns the resourceVersions of the objects that match by name, or of one more than the maximum.
func listMatching(ctx context.Context, objects metadata.ResourceInterface, selector *planner.SourceSelector) (map[string]string, error) {
	list := map[string]string{}
	options := metav1.ListOptions{LabelSelector: selector.LabelSelector(), Limit: sourcePageSize}
	for {
		page, err := objects.List(ctx, options)
		if err != nil {
			return nil, err
		}
		for i := range page.Items {
			if object := &page.Items[i]; len(list) <= v1alpha1.MaxSources && selector.Matches(object) {
				list[object.Name] = object.ResourceVersion
			}
		}
		if options.Continue = page.Continue; options.Continue == "" || len(list) > v1alpha1.MaxSources {
			return list, nil
		}
	}
}

func tooManySources() error {
	return &notReadyError{
		Reason: v1alpha1.ReasonTooMany, Stalled: true,
		Message: fmt.Sprintf("spec.source matches more than %d objects: choose fewer, or use several Replikas", v1alpha1.MaxSources),
	}
}

// noSources returns the *notReadyError of a Replika without a source.
func noSources(replika *v1alpha1.Replika, missing []string) error {
	return &notReadyError{
		Reason: v1alpha1.ReasonSourceNotFound, Message: "no object matches spec.source: there are no " + sourceTitle(replika) + missingSources(missing),
	}
}

// missingSources names, at the end of a message, the names in spec.source.names for which there is no object. A Replika is ready without
// them: they are sources once they exist.
func missingSources(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "; spec.source.names without an object: " + strings.Join(names, ", ")
}

// limitCopies returns an error if the Replika would have too many copies.
func (r *ReplikaReconciler) limitCopies(ctx context.Context, many *manySources) error {
	namespaces, err := r.listNamespaces(ctx)
	if err != nil || len(namespaces)*len(many.list) <= r.Policy.MaxCopies {
		return err
	}
	selected := 0
	for _, namespace := range namespaces {
		if many.selection.Selects(namespace) {
			selected++
		}
	}
	if copies := selected * len(many.list); copies > r.Policy.MaxCopies {
		return r.Policy.tooManyCopies(copies)
	}
	return nil
}

func (p *Policy) tooManyCopies(copies int) error {
	return &notReadyError{
		Reason: v1alpha1.ReasonTooMany, Stalled: true,
		Message: fmt.Sprintf("the spec asks for %d copies, and at most %d are allowed (--max-copies-per-replika): "+
			"select fewer namespaces or sources, or use several Replikas", copies, p.MaxCopies),
	}
}
