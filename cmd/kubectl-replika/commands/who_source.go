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

package commands

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// Answers about a copy. A copy that is not in sync has the fields that differ.
const (
	syncYes     = "yes"
	syncUnknown = "unknown"
)

// sourceHolders are the namespaces that have copies of a source.
type sourceHolders struct {
	Kind      string          `json:"kind"`
	Namespace string          `json:"namespace"`
	Name      string          `json:"name"`
	Replikas  []sourceReplika `json:"replikas"`
	Copies    []sourceCopy    `json:"copies"`
}

// sourceReplika is a Replika of the source.
type sourceReplika struct {
	Name   string `json:"name"`
	Ready  string `json:"ready"`
	Reason string `json:"reason"`
}

// sourceCopy is a copy of the source.
type sourceCopy struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Replika   string `json:"replika"`
	InSync    string `json:"inSync"`
}

// comparison compares copies with a template. It is nil if there is none.
type comparison struct {
	template *planner.Template
}

// newComparison renders the template of the Replika's copies of the source.
func (w *whoCommand) newComparison(mapping *meta.RESTMapping, replika *v1alpha1.Replika, source *unstructured.Unstructured) *comparison {
	one := planner.ForSource(replika, source.GetName(), replika.Status)
	template, err := w.cleaner.NewTemplate(mapping.Resource.GroupResource(), one, source)
	if err != nil {
		w.note("Replika %s does not copy the object: %s.", client.ObjectKeyFromObject(replika), oneLine(err))
		return nil
	}
	return &comparison{template: template}
}

// state returns whether the copy is in sync.
func (c *comparison) state(copied *planner.Observed) string {
	if c == nil {
		return syncUnknown
	}
	if fields := c.template.Digests.Differing(copied.Digests); len(fields) > 0 {
		return "no: " + strings.Join(fields, ", ")
	}
	return syncYes
}

// showHolders prints which namespaces have copies of the object.
func (w *whoCommand) showHolders(ctx context.Context, object *namedObject) error {
	replikas, err := w.replikasOf(ctx, object)
	if err != nil {
		return err
	}
	holders := &sourceHolders{
		Kind: object.GetKind(), Namespace: object.GetNamespace(), Name: object.GetName(), Replikas: []sourceReplika{}, Copies: []sourceCopy{},
	}
	comparisons := map[types.NamespacedName]*comparison{}
	for _, replika := range replikas {
		name := client.ObjectKeyFromObject(replika)
		comparisons[name] = w.newComparison(object.mapping, replika, object.Unstructured)
		row := sourceReplika{Name: name.String(), Ready: string(metav1.ConditionUnknown)}
		if ready := readyCondition(replika); ready != nil {
			row.Ready, row.Reason = string(ready.Status), ready.Reason
		}
		holders.Replikas = append(holders.Replikas, row)
	}
	err = w.forEachCopy(ctx, object, replikas, func(copied *planner.Observed) {
		owner, _ := copied.Owner()
		holders.Copies = append(holders.Copies, sourceCopy{
			Namespace: copied.Namespace, Name: copied.Name, Replika: owner.String(), InSync: comparisons[owner].state(copied),
		})
	})
	if err != nil {
		return err
	}
	slices.SortFunc(holders.Copies, func(a, b sourceCopy) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return w.printHolders(object, holders)
}

// replikasOf returns the Replikas whose spec selects the object as a source.
func (w *whoCommand) replikasOf(ctx context.Context, object *namedObject) ([]*v1alpha1.Replika, error) {
	var selecting []*v1alpha1.Replika
	add := func(replika *v1alpha1.Replika) {
		if selectsSource(replika, object) {
			selecting = append(selecting, replika.DeepCopy())
		}
	}
	err := w.forEachReplika(ctx, metav1.NamespaceAll, add)
	if apierrors.IsForbidden(err) {
		w.note("You may not list Replikas in all namespaces: the answer covers only those in namespace %s.", object.GetNamespace())
		err = w.forEachReplika(ctx, object.GetNamespace(), add)
		if apierrors.IsForbidden(err) {
			w.note("You may not list Replikas in namespace %s either: whether the copies are in sync is unknown.", object.GetNamespace())
			return nil, nil
		}
	}
	return selecting, err
}

// selectsSource reports whether the object is a source of the Replika.
func selectsSource(replika *v1alpha1.Replika, object *namedObject) bool {
	kind, source := object.GroupVersionKind().GroupKind(), &replika.Spec.Source
	if source.Group != kind.Group || source.Kind != kind.Kind || replika.SourceNamespace() != object.GetNamespace() {
		return false
	}
	if !replika.HasManySources() {
		return source.Name == object.GetName()
	}
	selector, err := planner.NewSourceSelector(object.mapping.Resource.GroupResource(), replika)
	return err == nil && selector.Matches(object)
}

// forEachCopy calls visit for each copy of the object, whether its Replika still exists or not. Without the permission to list them, it
// looks where the Replikas name a namespace.
func (w *whoCommand) forEachCopy(
	ctx context.Context, object *namedObject, replikas []*v1alpha1.Replika, visit func(*planner.Observed),
) error {
	observe := func(found *unstructured.Unstructured) error {
		copied, err := w.cleaner.Observe(object.mapping.Resource.GroupResource(), found)
		if err == nil && copied.Marks == planner.MarksValid && copied.Origin.Value().Source == object.key() {
			visit(copied)
		}
		return err
	}
	err := w.listCopies(ctx, object, observe)
	if !apierrors.IsForbidden(err) {
		return err
	}
	w.note("You may not list %s in all namespaces: the answer covers only namespaces that the Replikas name.", object.resourceName())
	return w.getCopies(ctx, object, replikas, observe)
}

// listCopies calls observe for each copy of the kind.
func (w *whoCommand) listCopies(ctx context.Context, object *namedObject, observe func(*unstructured.Unstructured) error) error {
	objects, err := w.objects()
	if err != nil {
		return err
	}
	progress := w.startProgress("Reading " + object.resourceName())
	defer progress.done()
	marked := labels.Set{v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue}
	options := metav1.ListOptions{LabelSelector: marked.String(), Limit: pageSize}
	for {
		page, err := objects.Resource(object.mapping.Resource).List(ctx, options)
		if err != nil {
			return err
		}
		for i := range page.Items {
			if err := observe(&page.Items[i]); err != nil {
				return err
			}
		}
		progress.add(len(page.Items))
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}

// getCopies calls observe for each copy in a namespace that a Replika names.
func (w *whoCommand) getCopies(
	ctx context.Context, object *namedObject, replikas []*v1alpha1.Replika, observe func(*unstructured.Unstructured) error,
) error {
	objects, err := w.objects()
	if err != nil {
		return err
	}
	seen := map[types.NamespacedName]bool{object.key(): true}
	for _, replika := range replikas {
		for _, namespace := range planner.NamesAndGlobs(&replika.Spec.Target.Namespaces) {
			key := types.NamespacedName{Namespace: namespace, Name: replika.TargetNameOf(object.GetName())}
			if strings.Contains(namespace, "*") || seen[key] {
				continue
			}
			seen[key] = true
			found, err := objects.Resource(object.mapping.Resource).Namespace(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
			switch {
			case apierrors.IsForbidden(err):
				w.note("You may not read %s in namespace %s.", object.resourceName(), namespace)
			case err == nil:
				if err := observe(found); err != nil {
					return err
				}
			case !apierrors.IsNotFound(err):
				return err
			}
		}
	}
	return nil
}

// printHolders prints the answer. Many copies are grouped in a table.
func (w *whoCommand) printHolders(object *namedObject, holders *sourceHolders) error {
	if w.isTable() && len(holders.Copies) == 0 {
		_, err := fmt.Fprintln(w.Out, holders.noCopies(object))
		return err
	}
	v := &view{object: holders}
	var rows [][]any
	for _, copied := range holders.Copies {
		v.names = append(v.names, object.resourceName()+"/"+copied.Name)
		rows = append(rows, []any{copied.Namespace, copied.Name, copied.Replika, copied.InSync})
	}
	v.setObjectRows([]metav1.TableColumnDefinition{column("Name"), column("Replika"), column("In sync")}, rows, w.all)
	return w.print(w.Out, v)
}

// noCopies says why there is nothing to list.
func (h *sourceHolders) noCopies(object *namedObject) string {
	if len(h.Replikas) == 0 {
		return object.title() + " is not a copy, and no Replika has it as a source."
	}
	var replikas []string
	for _, replika := range h.Replikas {
		replikas = append(replikas, fmt.Sprintf("%s (%s)", replika.Name, cmp.Or(replika.Reason, "not reconciled yet")))
	}
	return fmt.Sprintf("%s has no copies. It is a source of: %s.", object.title(), strings.Join(replikas, ", "))
}
