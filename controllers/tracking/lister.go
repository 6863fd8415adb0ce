package tracking

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// pageSize bounds how many objects, content and all, are in memory at once while copies are listed.
const pageSize = 500

// Reader reads, by requests, which copies stand where, when no watch tells. What it returns holds digests, no content.
type Lister struct {
	objects  dynamic.Interface
	metadata metadata.Interface
	cleaner  *planner.Cleaner
}

// NewReader returns a reader of copies.
func NewLister(objects dynamic.Interface, metadata metadata.Interface, cleaner *planner.Cleaner) *Lister {
	return &Lister{objects: objects, metadata: metadata, cleaner: cleaner}
}

// List reads the objects that bear the labels of the Replika's copies, in every namespace. Replikas of the same name in
// other namespaces share these labels; the marks tell whose each object is.
func (c *Lister) List(ctx context.Context, resource schema.GroupVersionResource, replika string) ([]*planner.Observed, error) {
	options := metav1.ListOptions{
		Limit: pageSize,
		LabelSelector: labels.Set{
			v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue,
			v1alpha1.LabelPartOf:    v1alpha1.PartOf(replika),
		}.String(),
	}
	var copies []*planner.Observed
	for {
		page, err := c.objects.Resource(resource).List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list the copies among %s: %w", resource.GroupResource(), err)
		}
		for i := range page.Items {
			observed, err := c.cleaner.Observe(&page.Items[i])
			if err != nil {
				return nil, err
			}
			copies = append(copies, observed)
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return copies, nil
		}
	}
}

// ListNamed reads the metadata of every object of that name, so that copies which lost their labels, but not their marks,
// are found too. Their digests say nothing.
func (c *Lister) ListByName(ctx context.Context, resource schema.GroupVersionResource, name string) ([]*planner.Observed, error) {
	list, err := c.metadata.Resource(resource).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String(),
	})
	if err != nil {
		return nil, fmt.Errorf("list the %s named %s: %w", resource.GroupResource(), name, err)
	}
	named := make([]*planner.Observed, 0, len(list.Items))
	for i := range list.Items {
		observed, err := observeMetadata(c.cleaner, &list.Items[i])
		if err != nil {
			return nil, err
		}
		named = append(named, observed)
	}
	return named, nil
}
