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
	"context"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// Answers about what a copy names.
const (
	existsYes     = "exists"
	existsNo      = "does not exist"
	existsUnknown = "unknown"
)

// copyOrigin is where a copy comes from.
type copyOrigin struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Replika and Source are namespace/name.
	Replika       string `json:"replika"`
	ReplikaStatus string `json:"replikaStatus"`
	Source        string `json:"source"`
	SourceStatus  string `json:"sourceStatus"`
	Adopted       bool   `json:"adopted"`
	InSync        string `json:"inSync"`
}

// showOrigin prints which Replika made the copy, of which source.
func (w *whoCommand) showOrigin(ctx context.Context, object *namedObject, observed *planner.Observed) error {
	marked := observed.Origin.Value()
	origin := &copyOrigin{
		Kind: object.GetKind(), Namespace: object.GetNamespace(), Name: object.GetName(),
		Replika: marked.Owner.String(), Source: marked.Source.String(), Adopted: observed.Adopted, InSync: syncUnknown,
	}
	replika := &v1alpha1.Replika{}
	reader, err := w.client()
	if err != nil {
		return err
	}
	if origin.ReplikaStatus, err = w.existence("Replika "+origin.Replika, reader.Get(ctx, marked.Owner, replika)); err != nil {
		return err
	}
	source, err := w.getSource(ctx, object, marked.Source)
	if origin.SourceStatus, err = w.existence(object.GetKind()+" "+origin.Source, err); err != nil {
		return err
	}
	if origin.ReplikaStatus == existsYes && origin.SourceStatus == existsYes {
		origin.InSync = w.newComparison(object.mapping, replika, source).state(observed)
	}
	return w.print(w.Out, origin.view(object, replika))
}

// getSource reads the source of a copy, which has the same kind.
func (w *whoCommand) getSource(ctx context.Context, object *namedObject, key types.NamespacedName) (*unstructured.Unstructured, error) {
	objects, err := w.objects()
	if err != nil {
		return nil, err
	}
	return objects.Resource(object.mapping.Resource).Namespace(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
}

// existence returns what the error of a read says about the object. It notes what could not be read.
func (w *whoCommand) existence(title string, err error) (string, error) {
	switch {
	case err == nil:
		return existsYes, nil
	case apierrors.IsNotFound(err):
		return existsNo, nil
	case apierrors.IsForbidden(err):
		w.note("You may not read %s: whether it exists is unknown.", title)
		return existsUnknown, nil
	}
	return "", err
}

// view returns the answer in all formats.
func (o *copyOrigin) view(object *namedObject, replika *v1alpha1.Replika) *view {
	reason := ""
	if ready := readyCondition(replika); ready != nil {
		reason = ready.Reason
	}
	return &view{
		object: o,
		columns: []metav1.TableColumnDefinition{
			column("Replika"), column("Status"), column("Source"), column("Status"), column("In sync"), column("Adopted"), wideColumn("Reason"),
		},
		rows:  [][]any{{o.Replika, o.ReplikaStatus, o.Source, o.SourceStatus, o.InSync, yesOrNo(o.Adopted), reason}},
		names: []string{resourceTitle + "/" + client.ObjectKeyFromObject(replika).Name, object.resourceName() + "/" + strings.SplitN(o.Source, "/", 2)[1]},
	}
}

func yesOrNo(value bool) string {
	if value {
		return "yes"
	}
	return "no"
}
