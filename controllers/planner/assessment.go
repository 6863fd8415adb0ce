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

package planner

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// Assessment is what becomes of a source: a template of its copies, or the reason why it is not copied.
type Assessment struct {
	// Template is nil if there is none, see Problem. It can exist although the source's owner allows no namespace.
	Template *Template
	// Problem is why the source is not copied; nil if it is.
	Problem *TemplateError
	// ConsentKnown is false if the source must not be copied at all, or if it is not known what its owner allows. Then the copies stay
	// as they are.
	ConsentKnown bool
	// Allowed are the namespaces that the source's owner allows, see [AllowedNamespaces].
	Allowed []string
	// NoneAllowed is true if the source's owner allows no namespace: no copies are desired.
	NoneAllowed bool
}

// Assess returns what becomes of a source of the Replika, an object of the resource. The administrator can require that sources have
// the annotation that lists the namespaces which may receive a copy.
func (c *Cleaner) Assess(
	resource schema.GroupResource, replika *v1alpha1.Replika, source *unstructured.Unstructured, consentRequired bool,
) *Assessment {
	template, err := c.NewTemplate(resource, replika, source)
	problem, known := errors.AsType[*TemplateError](err)
	if err != nil && !known {
		return &Assessment{Problem: sourceNotAllowed(err.Error())}
	}
	allowed, err := AllowedNamespaces(source)
	if err != nil {
		// Neither consent nor its withdrawal: the copies stay as they are, and the last list in the status still applies.
		return &Assessment{Problem: sourceNotAllowed(UnreadableConsentMessage(v1alpha1.AnnotationAllowedNamespaces, source, err))}
	}
	assessment := &Assessment{Template: template, Problem: problem, ConsentKnown: true, Allowed: allowed}
	if denial := ConsentProblem(allowed, consentRequired); denial != "" {
		assessment.NoneAllowed = true
		assessment.Problem = sourceNotAllowed(fmt.Sprintf("%s %s/%s %s %s: ask its owner to list the namespaces that may receive a copy",
			source.GetKind(), source.GetNamespace(), source.GetName(), denial, v1alpha1.AnnotationAllowedNamespaces))
	}
	return assessment
}

func sourceNotAllowed(message string) *TemplateError {
	return &TemplateError{Reason: v1alpha1.ReasonSourceNotAllowed, Message: message, Stalled: true}
}

// ConsentProblem returns why a source allows no copies at all; empty when it allows some. allowed is nil for a source without
// the annotation, which the administrator can require, and empty for one that allows no namespace.
func ConsentProblem(allowed []string, required bool) string {
	switch {
	case allowed == nil && required:
		return "does not have the annotation"
	case allowed != nil && len(allowed) == 0:
		return "allows no namespaces in the annotation"
	default:
		return ""
	}
}
