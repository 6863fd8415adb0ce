package tracking

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// Subject is what a watch is about.
type WatchType string

const (
	// Copies are all objects of a resource that bear our label, content and all, reduced to digests on arrival.
	Copies WatchType = "copies"
	// Source is one object, by its metadata.
	Source WatchType = "source"
	// Obstacles are all objects of a resource that bear one name, by their metadata, while foreign ones are in the way.
	ConflictingObjects WatchType = "obstacles"
	// Definitions are the CustomResourceDefinitions, by their metadata.
	CRDs WatchType = "definitions"
)

// Interest is one thing to watch. Equal interests share one watch.
type WatchKey struct {
	Type     WatchType
	Resource schema.GroupVersionResource
	// Namespace is that of a source, and empty for all others.
	Namespace string
	// Name is that of a source or of obstacles, and empty for all others.
	Name string
}

// CopiesOf is the interest in the copies of a kind.
func CopiesOf(resource schema.GroupVersionResource) WatchKey {
	return WatchKey{Type: Copies, Resource: resource}
}

// SourceAt is the interest in one source.
func SourceAt(resource schema.GroupVersionResource, source Key) WatchKey {
	return WatchKey{Type: Source, Resource: resource, Namespace: source.Namespace, Name: source.Name}
}

// ObstaclesNamed is the interest in whatever bears the name of copies.
func ConflictingObjectsNamed(resource schema.GroupVersionResource, name string) WatchKey {
	return WatchKey{Type: ConflictingObjects, Resource: resource, Name: name}
}

// AllDefinitions is the interest in which kinds are installed.
func AllCRDs() WatchKey {
	return WatchKey{Type: CRDs, Resource: schema.GroupVersionResource{
		Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions",
	}}
}

func (i WatchKey) String() string {
	return fmt.Sprintf("%s of %s %s/%s", i.Type, i.Resource.GroupResource(), i.Namespace, i.Name)
}

// narrow makes the request as narrow as the interest.
func (i WatchKey) applySelectors(options *metav1.ListOptions) {
	if i.Type == Copies {
		options.LabelSelector = labels.Set{v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue}.String()
	}
	if i.Name != "" {
		options.FieldSelector = fields.OneTermEqualSelector("metadata.name", i.Name).String()
	}
}

// listWatch lists and watches what the interest is about. opened is told of every stream of events, failed of every error,
// so that the watch's state can say what is wrong.
func (w *Watches) listWatch(interest WatchKey, opened func(), failed func(error)) cache.ListerWatcher {
	list := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return w.metadata.Resource(interest.Resource).Namespace(interest.Namespace).List(ctx, options)
	}
	open := func(ctx context.Context, options metav1.ListOptions) (apiwatch.Interface, error) {
		return w.metadata.Resource(interest.Resource).Namespace(interest.Namespace).Watch(ctx, options)
	}
	if interest.Type == Copies {
		list = func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return w.objects.Resource(interest.Resource).List(ctx, options)
		}
		open = func(ctx context.Context, options metav1.ListOptions) (apiwatch.Interface, error) {
			return w.objects.Resource(interest.Resource).Watch(ctx, options)
		}
	}
	// client-go first asks for a watch that lists too, and for a list when it gets none. Where watching is not allowed, that
	// list would be of no use.
	var useless error
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			if err := useless; err != nil {
				useless = nil
				return nil, err
			}
			interest.applySelectors(&options)
			answer, err := list(ctx, options)
			if err != nil {
				failed(err)
			}
			return answer, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (apiwatch.Interface, error) {
			interest.applySelectors(&options)
			answer, err := open(ctx, options)
			if err != nil {
				failed(err)
				if isRefusal(err) && options.SendInitialEvents != nil {
					useless = err
				}
				return nil, err
			}
			opened()
			return answer, nil
		},
	}, w.objects)
}

// arrival is an object as the watch hands it on: reduced, with just enough metadata for client-go to find its key.
type reducedObject struct {
	metav1.PartialObjectMetadata
	observed *planner.Observed
}

// reduce is the transform of every watch: it keeps what is needed of an object and throws its content away. client-go
// may call it twice on one object, so its own result passes through.
func (w *Watches) transform(object any) (any, error) {
	switch typed := object.(type) {
	case *reducedObject:
		return typed, nil
	case *unstructured.Unstructured:
		observed, err := w.cleaner.Observe(typed)
		if err != nil {
			return nil, err
		}
		return newReducedObject(observed), nil
	case *metav1.PartialObjectMetadata:
		observed, err := observeMetadata(w.cleaner, typed)
		if err != nil {
			return nil, err
		}
		return newReducedObject(observed), nil
	default:
		return nil, fmt.Errorf("a watch delivered a %T", object)
	}
}

func newReducedObject(observed *planner.Observed) *reducedObject {
	reduced := &reducedObject{observed: observed}
	reduced.Namespace, reduced.Name = observed.Namespace, observed.Name
	return reduced
}

// observeMetadata reduces an object of which only the metadata is known.
func observeMetadata(cleaner *planner.Cleaner, metadata *metav1.PartialObjectMetadata) (*planner.Observed, error) {
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetNamespace(metadata.Namespace)
	object.SetName(metadata.Name)
	object.SetUID(metadata.UID)
	object.SetResourceVersion(metadata.ResourceVersion)
	object.SetLabels(metadata.Labels)
	object.SetAnnotations(metadata.Annotations)
	object.SetDeletionTimestamp(metadata.DeletionTimestamp)
	object.SetOwnerReferences(metadata.OwnerReferences)
	observed, err := cleaner.Observe(object)
	if err != nil {
		return nil, err
	}
	observed.MetadataOnly = true
	return observed, nil
}
