package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// neededVerbs are the requests without which a kind cannot be replicated.
var neededVerbs = []string{"get", "list", "create", "patch", "delete"}

// resolveKind finds how the API server serves the source's kind, and whether objects of it can be copied.
func (p *pass) resolveKind(ctx context.Context) (tracking.Mapping, bool) {
	wanted := sourceKind(p.replika)
	title := fmt.Sprintf("kind %s in %s", wanted.Kind, wanted.GroupVersion())

	kind, err := p.Kinds.Resolve(ctx, wanted)
	switch {
	case errors.Is(err, tracking.ErrKindNotFound):
		p.hinder(obstacle{
			Reason:  v1alpha1.ReasonKindNotFound,
			Message: fmt.Sprintf("the API server does not serve %s: install its CustomResourceDefinition, or correct spec.source; waiting for it", title),
		})
		return kind, false
	case err != nil:
		p.hinder(obstacle{
			Reason:    v1alpha1.ReasonProgressing,
			Message:   fmt.Sprintf("the API server does not tell whether it serves %s; trying again", title),
			Transient: true,
		})
		return kind, false
	case !kind.Namespaced:
		p.Kinds.Invalidate(kind.GroupVersionKind) // it may be replaced by a namespaced one
		p.hinder(obstacle{
			Reason:  v1alpha1.ReasonKindNotAllowed,
			Message: fmt.Sprintf("%s is cluster-scoped; only objects that live in a namespace can be copied", title),
			Stalled: true,
		})
		return kind, false
	}
	if missing := kind.MissingVerbs(append([]string(nil), neededVerbs...)...); len(missing) > 0 {
		// What is being removed offers less and less, and may be installed again: the next pass asks anew.
		p.Kinds.Invalidate(kind.GroupVersionKind)
		p.hinder(obstacle{
			Reason:  v1alpha1.ReasonKindNotAllowed,
			Message: fmt.Sprintf("%s does not offer %s, without which its objects cannot be copied", title, strings.Join(missing, ", ")),
			Stalled: true,
		})
		return kind, false
	}
	return kind, true
}

// readSource reads the source, live, and makes the template of it; nil while there is none.
func (p *pass) readSource(ctx context.Context, kind tracking.Mapping) *planner.Template {
	namespace, name := p.replika.SourceNamespace(), p.replika.Spec.Source.Name
	title := fmt.Sprintf("source %s %s/%s", kind.Kind, namespace, name)

	source, err := p.as.objects.Resource(kind.Resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		p.sourceNotFound(kind, title, err)
		return nil
	case apierrors.IsForbidden(err):
		p.hinder(obstacle{Reason: v1alpha1.ReasonForbidden, Message: p.explainForbidden(kind, title, err)})
		return nil
	case err != nil:
		p.hinder(obstacle{
			Reason:    v1alpha1.ReasonProgressing,
			Message:   fmt.Sprintf("the API server does not answer about the %s; trying again", title),
			Transient: true,
		})
		return nil
	}
	template, err := p.Cleaner.NewTemplate(p.replika, source)
	if err != nil {
		p.hinder(obstacle{Reason: v1alpha1.ReasonSourceNotAllowed, Message: err.Error(), Stalled: true})
		return nil
	}
	p.see(template, source.GetResourceVersion())
	if !p.hasConsent(source, title) {
		return nil
	}
	return template
}

// hasConsent tells whether the source allows copies at all. One that allows none wants those gone that there are.
func (p *pass) hasConsent(source *unstructured.Unstructured, title string) bool {
	allowed := planner.AllowedNamespaces(source)
	// From here the selection has it, also that of the Replika as its rivals see it: two whose sources both deny a
	// namespace must not hand the copy there back and forth.
	p.replika.Status.Source.AllowedNamespaces = allowed
	var lacks string
	switch {
	case allowed == nil && p.Policy.RequireSourceConsent:
		lacks = "does not carry the annotation"
	case allowed != nil && len(allowed) == 0:
		lacks = "allows no namespace in the annotation"
	default:
		return true
	}
	p.unwanted = true
	p.hinder(obstacle{
		Reason: v1alpha1.ReasonSourceNotAllowed,
		Message: fmt.Sprintf("the %s %s %s: have its owner list there the namespaces that may have a copy",
			title, lacks, v1alpha1.AnnotationAllowedNamespaces),
		Stalled: true,
	})
	return false
}

// sourceNotFound tells a source that does not exist from a kind that is no longer served.
func (p *pass) sourceNotFound(kind tracking.Mapping, title string, err error) {
	var status apierrors.APIStatus
	if errors.As(err, &status) && (status.Status().Details == nil || status.Status().Details.Name == "") {
		p.Kinds.Invalidate(kind.GroupVersionKind)
		p.hinder(obstacle{
			Reason:    v1alpha1.ReasonKindNotFound,
			Message:   fmt.Sprintf("the API server no longer serves %s; waiting for it", kind.Kind),
			Transient: true,
		})
		return
	}
	p.unwanted = p.replika.Spec.Synchronization.OnSourceDeletion == v1alpha1.SourceDeletionDelete
	p.hinder(obstacle{Reason: v1alpha1.ReasonSourceNotFound, Message: fmt.Sprintf("the %s does not exist; waiting for it", title)})
}

// see remembers the template, and shows in the status the source's resourceVersion at the last change of what is copied.
func (p *pass) see(template *planner.Template, resourceVersion string) {
	p.templateKnown = p.memory.template == template.Digests
	// What was copied of the source before this operator started is not known, so any change may be one.
	if !p.templateKnown {
		p.memory.template, p.memory.templateVersion = template.Digests, resourceVersion
	}
	// Not only when it is news: the last pass may not have been able to write its status.
	if p.replika.Status.Source == nil {
		p.replika.Status.Source = &v1alpha1.SourceStatus{}
	}
	p.replika.Status.Source.ResourceVersion = p.memory.templateVersion
}
