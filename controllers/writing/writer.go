package writing

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

	"github.com/prosimcorp/replika/controllers/replication"
)

// requestTimeout bounds one request, so that a connection that went silent holds nothing up for long.
const requestTimeout = 30 * time.Second

// Writer carries out actions.
type Writer struct {
	client  rest.Interface
	cleaner *replication.Cleaner
	limit   *Limit
}

// NewWriter returns a Writer that sends its requests through the client, at most as many at once as the limit allows, and
// observes the answers with the cleaner.
func NewWriter(client rest.Interface, cleaner *replication.Cleaner, limit *Limit) *Writer {
	return &Writer{client: client, cleaner: cleaner, limit: limit}
}

// Result is what became of an action.
type Result struct {
	Outcome replication.Outcome
	// Now is the object as the API server answered last; nil when there is none, or when that is unknown.
	Now *replication.Observed
	// Err says why the outcome is a failure. It names the object and quotes the API server, but never a Secret's content.
	Err error
}

// Do carries the action out on an object of the resource. It blocks until the limit, shared among all Replikas, has room.
// An action that needs no request is answered at once.
func (w *Writer) Do(ctx context.Context, resource schema.GroupVersionResource, owner types.NamespacedName, action *replication.Action) Result {
	if !action.Type.Writes() {
		return Result{Outcome: replication.Unchanged, Now: action.Observed}
	}
	release, err := w.limit.Acquire(ctx, owner)
	if err != nil {
		return Result{Outcome: replication.Failed, Err: err}
	}
	defer release()

	target := target{writer: w, resource: resource, namespace: action.Namespace, name: action.Name}
	result := w.carryOut(ctx, target, action)
	if result.Err != nil {
		result.Err = withhold(resource.GroupResource(), action.Template, fmt.Errorf("%s %s: %w", action.Type, target, result.Err))
	}
	return result
}

func (w *Writer) carryOut(ctx context.Context, target target, action *replication.Action) Result {
	switch action.Type {
	case replication.Create:
		return target.create(ctx, action.Template)
	case replication.Update:
		if replication.HasInstanceFields(action.Template.Kind.GroupKind()) {
			return target.merge(ctx, action)
		}
		return target.update(ctx, action)
	case replication.Recreate:
		return target.recreate(ctx, action)
	case replication.Delete:
		return target.delete(ctx, action.Observed)
	case replication.Release:
		return target.patch(ctx, action, releasePatch(action.Observed))
	case replication.HandOver:
		return target.patch(ctx, action, handOverPatch(action.Observed, action.Heir))
	default:
		return Result{Outcome: replication.Failed, Err: fmt.Errorf("unknown action %q", action.Type)}
	}
}

// target is one object, there or not, that requests are about.
type target struct {
	writer    *Writer
	resource  schema.GroupVersionResource
	namespace string
	name      string
}

func (t target) String() string {
	return fmt.Sprintf("%s %s/%s", t.resource.GroupResource(), t.namespace, t.name)
}

// create makes the copy. It fails on anything in the way, and then tells what that is: a quota or a validation may have
// answered first although the name is taken.
func (t target) create(ctx context.Context, template *replication.Template) Result {
	answer, err := t.post(ctx, template)
	if err == nil {
		return t.answered(answer, template)
	}
	outcome := Classify(err)
	if apierrors.IsNotFound(err) && outcome == replication.Surprised {
		// Not the copy is missing, which was to be made, but something that it refers to.
		outcome = replication.RefusedInvalid
	}
	switch outcome {
	case replication.Surprised, replication.RefusedForbidden, replication.RefusedQuota, replication.RefusedInvalid:
		found, getErr := t.get(ctx)
		if getErr != nil && outcome == replication.Surprised {
			return unread(getErr)
		}
		if getErr != nil {
			return Result{Outcome: outcome, Err: err}
		}
		if found != nil || outcome == replication.Surprised {
			return Result{Outcome: replication.Surprised, Now: found, Err: err}
		}
	default:
	}
	return Result{Outcome: outcome, Err: err}
}

// update patches what differs, provided that the object is still the one that was observed.
func (t target) update(ctx context.Context, action *replication.Action) Result {
	result := t.patch(ctx, action, updatePatch(action))
	switch result.Outcome {
	case replication.RefusedInvalid:
		return t.tellImmutable(ctx, action, result)
	case replication.Done:
		return t.tellDrift(action, result)
	default:
		return result
	}
}

// tellDrift looks for fields that differ from the template although they were not sent: they were right when the copy was
// observed, so it was not our write that the API server answered so, but somebody else's.
func (t target) tellDrift(action *replication.Action, result Result) Result {
	sent := append(action.Template.Digests.Differing(action.Observed.Digests), replication.MetadataField)
	for _, field := range action.Template.Digests.Differing(result.Now.Digests) {
		if !slices.Contains(sent, field) {
			result.Now.Answers = ""
			return Result{Outcome: replication.Surprised, Now: result.Now, Err: fmt.Errorf("somebody else changed %q at the same time", field)}
		}
	}
	return result
}

// recreate deletes the copy and makes it anew. That the API server accepts the template was tried, by a dry run, before
// the update was classed as refused for an immutable field.
func (t target) recreate(ctx context.Context, action *replication.Action) Result {
	if result := t.delete(ctx, action.Observed); result.Outcome != replication.Done {
		return result
	}
	return t.create(ctx, action.Template)
}

// tellImmutable tells why the API server found the update invalid, by a dry-run create of the same template: when the
// taken name is all that is wrong with that, the update failed for an immutable field. Where it was no field that was
// refused, nothing is to be told.
func (t target) tellImmutable(ctx context.Context, action *replication.Action, refused Result) Result {
	if !refusesField(refused.Err) {
		return refused
	}
	_, err := t.post(ctx, action.Template, metav1.DryRunAll)
	if err == nil {
		// Nothing is in the way any more.
		return Result{Outcome: replication.Surprised, Err: refused.Err}
	}
	switch {
	case apierrors.IsAlreadyExists(err):
		refused.Outcome = replication.RefusedImmutable
		return refused
	case Classify(err) == replication.RefusedInvalid:
		return refused
	default:
		return unread(err)
	}
}

// delete removes exactly the object that was observed.
func (t target) delete(ctx context.Context, observed *replication.Observed) Result {
	background := metav1.DeletePropagationBackground
	options, err := json.Marshal(metav1.DeleteOptions{
		TypeMeta:          metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"},
		PropagationPolicy: &background,
		Preconditions:     &metav1.Preconditions{UID: &observed.UID, ResourceVersion: &observed.ResourceVersion},
	})
	if err != nil {
		return Result{Outcome: replication.Failed, Err: err}
	}
	answer, err := t.send(ctx, t.writer.client.Delete().Body(options).SetHeader("Content-Type", "application/json"), t.name)
	if err != nil {
		return t.given(ctx, err, nil)
	}
	object, err := decode(answer)
	if err != nil || !lingers(object) {
		return Result{Outcome: replication.Done}
	}
	return t.answered(answer, nil)
}

// lingers tells whether the object that a deletion was answered with is still there, on its way out, held by finalizers or
// given time to end. Many kinds answer with what was there last, all others with a Status.
func lingers(object *unstructured.Unstructured) bool {
	grace := object.GetDeletionGracePeriodSeconds()
	return object.GetDeletionTimestamp() != nil && (len(object.GetFinalizers()) > 0 || grace != nil && *grace > 0)
}

// patch sends a JSON Patch, whose tests guard it.
func (t target) patch(ctx context.Context, action *replication.Action, operations jsonPatch) Result {
	body, err := operations.encode()
	if err != nil {
		return Result{Outcome: replication.Failed, Err: err}
	}
	answer, err := t.send(ctx, t.writer.client.Patch(types.JSONPatchType).Body(body), t.name)
	if err != nil {
		return t.given(ctx, err, action)
	}
	return t.answered(answer, action.Template)
}

// given classes the answer to a request about an object that was there. Whenever it may not have been as observed, it is
// read once.
func (t target) given(ctx context.Context, err error, action *replication.Action) Result {
	outcome := Classify(err)
	switch {
	case isGone(err) && action == nil:
		// A delete of what is not there: nothing is left to do.
		return Result{Outcome: replication.Done}
	case outcome == replication.Surprised:
		found, getErr := t.get(ctx)
		if getErr != nil {
			return unread(getErr)
		}
		if action != nil && found != nil && found.UID == action.Observed.UID && apierrors.IsNotFound(err) {
			// Not the copy is missing, but something that it refers to.
			return Result{Outcome: replication.RefusedInvalid, Err: err}
		}
		return Result{Outcome: replication.Surprised, Now: found, Err: err}
	default:
		return Result{Outcome: outcome, Err: err}
	}
}

// unread classes a read that failed. Whatever the answer says, nothing is known of the object: it is no surprise, which
// would tell what is there, or that nothing is.
func unread(err error) Result {
	outcome := Classify(err)
	if outcome == replication.Surprised {
		outcome = replication.Failed
	}
	return Result{Outcome: outcome, Err: err}
}

// answered turns the API server's answer to a write into what is there now. If the server or a webhook changed what we
// sent, its answer is remembered as the one to expect for this template.
func (t target) answered(answer []byte, template *replication.Template) Result {
	now, err := t.observe(answer)
	if err != nil {
		return Result{Outcome: replication.Failed, Err: err}
	}
	if template != nil && now.Digests != template.Digests {
		now.Answers = template.Digests
	}
	return Result{Outcome: replication.Done, Now: now}
}

// get reads what is there now; nil for nothing.
func (t target) get(ctx context.Context) (*replication.Observed, error) {
	object, err := t.read(ctx)
	if err != nil || object == nil {
		return nil, err
	}
	return t.writer.cleaner.Observe(object)
}

// read reads the object whole; nil for nothing.
func (t target) read(ctx context.Context) (*unstructured.Unstructured, error) {
	answer, err := t.send(ctx, t.writer.client.Get(), t.name)
	if isGone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decode(answer)
}

func (t target) post(ctx context.Context, template *replication.Template, dryRun ...string) ([]byte, error) {
	body, err := template.Render(t.namespace)
	if err != nil {
		return nil, err
	}
	request := t.writer.client.Post().Body([]byte(body)).SetHeader("Content-Type", "application/json")
	for _, directive := range dryRun {
		request.Param("dryRun", directive)
	}
	return t.send(ctx, request)
}

// send sends the request to the resource in the namespace, or to the object when a name is given.
func (t target) send(ctx context.Context, request *rest.Request, name ...string) ([]byte, error) {
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

func (t target) observe(answer []byte) (*replication.Observed, error) {
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
