package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/prosimcorp/replika/controllers/planner"
)

// requestTimeout bounds one request, so that a connection that went silent holds nothing up for long.
const requestTimeout = 30 * time.Second

// Writer carries out actions.
type Executor struct {
	client  rest.Interface
	cleaner *planner.Cleaner
	limit   *FairSemaphore
}

// NewWriter returns a Writer that sends its requests through the client, at most as many at once as the limit allows, and
// observes the answers with the cleaner.
func New(client rest.Interface, cleaner *planner.Cleaner, limit *FairSemaphore) *Executor {
	return &Executor{client: client, cleaner: cleaner, limit: limit}
}

// Result is what became of an action.
type Result struct {
	Outcome planner.Outcome
	// Now is the object as the API server answered last; nil when there is none, or when that is unknown.
	Object *planner.Observed
	// Err says why the outcome is a failure. It names the object and quotes the API server, but never a Secret's content.
	Err error
}

// Do carries the action out on an object of the resource. It blocks until the limit, shared among all Replikas, has room.
// An action that needs no request is answered at once.
func (w *Executor) Execute(ctx context.Context, resource schema.GroupVersionResource, owner types.NamespacedName, action *planner.Action) Result {
	if !action.Type.Writes() {
		return Result{Outcome: planner.Unchanged, Object: action.Observed}
	}
	release, err := w.limit.Acquire(ctx, owner)
	if err != nil {
		return Result{Outcome: planner.Unavailable, Err: err}
	}
	defer release()

	target := target{writer: w, resource: resource, namespace: action.Namespace, name: action.Name}
	result := w.dispatch(ctx, target, action)
	if result.Err != nil {
		result.Err = redact(resource.GroupResource(), action.Template, fmt.Errorf("%s %s: %w", action.Type, target, result.Err))
	}
	return result
}

func (w *Executor) dispatch(ctx context.Context, target target, action *planner.Action) Result {
	switch action.Type {
	case planner.Create:
		return target.create(ctx, action.Template)
	case planner.Update:
		if planner.HasInstanceFields(action.Template.Kind.GroupKind()) {
			return target.merge(ctx, action)
		}
		return target.update(ctx, action)
	case planner.Recreate:
		return target.recreate(ctx, action)
	case planner.Delete:
		return target.delete(ctx, action.Observed)
	case planner.Release:
		return target.patch(ctx, action, releasePatch(action.Observed))
	case planner.HandOver:
		return target.patch(ctx, action, handOverPatch(action.Observed, action.NewOwner))
	default:
		return Result{Outcome: planner.Unavailable, Err: fmt.Errorf("unknown action %q", action.Type)}
	}
}

// target is one object, there or not, that requests are about.
type target struct {
	writer    *Executor
	resource  schema.GroupVersionResource
	namespace string
	name      string
}

func (t target) String() string {
	return fmt.Sprintf("%s %s/%s", t.resource.GroupResource(), t.namespace, t.name)
}

// create makes the copy. It fails on anything in the way, and then tells what that is: a quota or a validation may have
// answered first although the name is taken.
func (t target) create(ctx context.Context, template *planner.Template) Result {
	answer, err := t.post(ctx, template)
	if err == nil {
		return t.handleResponse(answer, template)
	}
	outcome := Classify(err)
	if apierrors.IsNotFound(err) && outcome == planner.Stale {
		// Not the copy is missing, which was to be made, but something that it refers to.
		outcome = planner.Rejected
	}
	switch outcome {
	case planner.Stale, planner.Forbidden, planner.QuotaExceeded, planner.Rejected:
		found, getErr := t.get(ctx)
		if getErr != nil && outcome == planner.Stale {
			return readFailed(getErr)
		}
		if getErr != nil {
			return Result{Outcome: outcome, Err: err}
		}
		if found != nil || outcome == planner.Stale {
			return Result{Outcome: planner.Stale, Object: found, Err: err}
		}
	default:
	}
	return Result{Outcome: outcome, Err: err}
}

// update patches what differs, provided that the object is still the one that was observed.
func (t target) update(ctx context.Context, action *planner.Action) Result {
	result := t.patch(ctx, action, updatePatch(action))
	switch result.Outcome {
	case planner.Rejected:
		return t.detectImmutable(ctx, action, result)
	case planner.Done:
		return t.detectConcurrentChange(action, result)
	default:
		return result
	}
}

// tellDrift looks for fields that differ from the template although they were not sent: they were right when the copy was
// observed, so it was not our write that the API server answered so, but somebody else's.
func (t target) detectConcurrentChange(action *planner.Action, result Result) Result {
	sent := append(action.Template.Digests.Differing(action.Observed.Digests), planner.MetadataField)
	for _, field := range action.Template.Digests.Differing(result.Object.Digests) {
		if !slices.Contains(sent, field) {
			result.Object.AcceptedDigests = ""
			return Result{Outcome: planner.Stale, Object: result.Object, Err: fmt.Errorf("somebody else changed %q at the same time", field)}
		}
	}
	return result
}

// recreate deletes the copy and makes it anew. That the API server accepts the template was tried, by a dry run, before
// the update was classed as refused for an immutable field.
func (t target) recreate(ctx context.Context, action *planner.Action) Result {
	if result := t.delete(ctx, action.Observed); result.Outcome != planner.Done {
		return result
	}
	return t.create(ctx, action.Template)
}

// tellImmutable tells why the API server found the update invalid, by a dry-run create of the same template: when the
// taken name is all that is wrong with that, the update failed for an immutable field. Where it was no field that was
// refused, nothing is to be told.
func (t target) detectImmutable(ctx context.Context, action *planner.Action, refused Result) Result {
	if !refusesField(refused.Err) {
		return refused
	}
	_, err := t.post(ctx, action.Template, metav1.DryRunAll)
	if err == nil {
		// Nothing is in the way any more.
		return Result{Outcome: planner.Stale, Err: refused.Err}
	}
	switch {
	case apierrors.IsAlreadyExists(err):
		refused.Outcome = planner.Immutable
		return refused
	case Classify(err) == planner.Rejected:
		return refused
	default:
		return readFailed(err)
	}
}

// delete removes exactly the object that was observed.
func (t target) delete(ctx context.Context, observed *planner.Observed) Result {
	background := metav1.DeletePropagationBackground
	options, err := json.Marshal(metav1.DeleteOptions{
		TypeMeta:          metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"},
		PropagationPolicy: &background,
		Preconditions:     &metav1.Preconditions{UID: &observed.UID, ResourceVersion: &observed.ResourceVersion},
	})
	if err != nil {
		return Result{Outcome: planner.Unavailable, Err: err}
	}
	answer, err := t.request(ctx, t.writer.client.Delete().Body(options).SetHeader("Content-Type", "application/json"), t.name)
	if err != nil {
		return t.handleError(ctx, err, nil)
	}
	object, err := decode(answer)
	if err != nil || !isTerminating(object) {
		return Result{Outcome: planner.Done}
	}
	return t.handleResponse(answer, nil)
}

// lingers tells whether the object that a deletion was answered with is still there, on its way out, held by finalizers or
// given time to end. Many kinds answer with what was there last, all others with a Status.
func isTerminating(object *unstructured.Unstructured) bool {
	grace := object.GetDeletionGracePeriodSeconds()
	return object.GetDeletionTimestamp() != nil && (len(object.GetFinalizers()) > 0 || grace != nil && *grace > 0)
}

// patch sends a JSON Patch, whose tests guard it.
func (t target) patch(ctx context.Context, action *planner.Action, operations jsonPatch) Result {
	body, err := operations.encode()
	if err != nil {
		return Result{Outcome: planner.Unavailable, Err: err}
	}
	answer, err := t.request(ctx, t.writer.client.Patch(types.JSONPatchType).Body(body), t.name)
	if err != nil {
		return t.handleError(ctx, err, action)
	}
	return t.handleResponse(answer, action.Template)
}

// given classes the answer to a request about an object that was there. Whenever it may not have been as observed, it is
// read once.
func (t target) handleError(ctx context.Context, err error, action *planner.Action) Result {
	outcome := Classify(err)
	switch {
	case isGone(err) && action == nil:
		// A delete of what is not there: nothing is left to do.
		return Result{Outcome: planner.Done}
	case outcome == planner.Stale:
		found, getErr := t.get(ctx)
		if getErr != nil {
			return readFailed(getErr)
		}
		if action != nil && found != nil && found.UID == action.Observed.UID && apierrors.IsNotFound(err) {
			// Not the copy is missing, but something that it refers to.
			return Result{Outcome: planner.Rejected, Err: err}
		}
		return Result{Outcome: planner.Stale, Object: found, Err: err}
	default:
		return Result{Outcome: outcome, Err: err}
	}
}

// unread classes a read that failed. Whatever the answer says, nothing is known of the object: it is no surprise, which
// would tell what is there, or that nothing is.
func readFailed(err error) Result {
	outcome := Classify(err)
	if outcome == planner.Stale {
		outcome = planner.Unavailable
	}
	return Result{Outcome: outcome, Err: err}
}

// answered turns the API server's answer to a write into what is there now. If the server or a webhook changed what we
// sent, its answer is remembered as the one to expect for this template.
func (t target) handleResponse(answer []byte, template *planner.Template) Result {
	now, err := t.observe(answer)
	if err != nil {
		return Result{Outcome: planner.Unavailable, Err: err}
	}
	if template != nil && now.Digests != template.Digests {
		now.AcceptedDigests = template.Digests
	}
	return Result{Outcome: planner.Done, Object: now}
}

// get reads what is there now; nil for nothing.
func (t target) get(ctx context.Context) (*planner.Observed, error) {
	object, err := t.read(ctx)
	if err != nil || object == nil {
		return nil, err
	}
	return t.writer.cleaner.Observe(object)
}

// read reads the object whole; nil for nothing.
func (t target) read(ctx context.Context) (*unstructured.Unstructured, error) {
	answer, err := t.request(ctx, t.writer.client.Get(), t.name)
	if isGone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decode(answer)
}

func (t target) post(ctx context.Context, template *planner.Template, dryRun ...string) ([]byte, error) {
	body, err := template.Render(t.namespace)
	if err != nil {
		return nil, err
	}
	request := t.writer.client.Post().Body([]byte(body)).SetHeader("Content-Type", "application/json")
	for _, directive := range dryRun {
		request.Param("dryRun", directive)
	}
	return t.request(ctx, request)
}

// send sends the request to the resource in the namespace, or to the object when a name is given.
func (t target) request(ctx context.Context, request *rest.Request, name ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	prefix := "/apis/" + t.resource.Group
	if t.resource.Group == "" {
		prefix = "/api"
	}
	segments := append([]string{prefix, t.resource.Version, "namespaces", t.namespace, t.resource.Resource}, name...)
	result := request.AbsPath(segments...).Do(ctx)
	// Error, and not Raw, decodes the server's reasons and causes.
	if err := result.Error(); err != nil {
		return nil, err
	}
	return result.Raw()
}

func (t target) observe(answer []byte) (*planner.Observed, error) {
	object, err := decode(answer)
	if err != nil {
		return nil, err
	}
	return t.writer.cleaner.Observe(object)
}

func decode(answer []byte) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(answer); err != nil {
		return nil, fmt.Errorf("decode the API server's answer: %w", err)
	}
	return object, nil
}
