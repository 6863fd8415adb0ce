package executor

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/controllers/planner"
)

// Classify names what an error answer of the API server means. It is the one place where answers are read.
func Classify(err error) planner.Outcome {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		// No answer: the connection broke, or time ran out.
		return planner.Unavailable
	}
	answer := status.Status()
	switch answer.Code {
	case http.StatusNotFound:
		return classifyNotFound(answer)
	case http.StatusConflict:
		return planner.Stale
	case http.StatusForbidden:
		return classifyForbidden(err, answer)
	case http.StatusUnprocessableEntity:
		// A failed test of a JSON Patch has no causes, a failed validation has one for each field.
		if answer.Details == nil || len(answer.Details.Causes) == 0 {
			return planner.Stale
		}
		return planner.Rejected
	case http.StatusUnauthorized:
		return planner.Forbidden
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge:
		return planner.Rejected
	default:
		return planner.Unavailable
	}
}

// classifyNotFound tells a missing namespace from a missing kind and a missing object. The API server names the resource
// of what is missing, and nothing at all when it does not know the path.
func classifyNotFound(answer metav1.Status) planner.Outcome {
	switch {
	case answer.Details != nil && answer.Details.Kind == "namespaces":
		return planner.NamespaceGone
	case answer.Details == nil || answer.Details.Name == "":
		return planner.KindGone
	default:
		return planner.Stale
	}
}

// quotaRefusals are what the quota plugin's sentences begin with; see k8s.io/apiserver/pkg/admission/plugin/resourcequota.
var quotaErrorPrefixes = []string{
	"exceeded quota: ", "failed quota: ", "status unknown for quota: ", "insufficient quota to ", "quota usage is negative ",
}

// classifyForbidden tells apart who says no: a namespace or a kind on its way out, a quota, missing rights, or admission.
// It looks at how a sentence begins, because a policy's own words, further on, may be any.
func classifyForbidden(err error, answer metav1.Status) planner.Outcome {
	_, sentence, _ := strings.Cut(answer.Message, " is forbidden: ")
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return planner.NamespaceGone
	case strings.HasSuffix(sentence, " not allowed while custom resource definition is terminating"):
		return planner.KindGone
	case slices.ContainsFunc(quotaErrorPrefixes, func(begin string) bool { return strings.HasPrefix(sentence, begin) }):
		return planner.QuotaExceeded
	case strings.HasPrefix(sentence, `User "`), strings.HasPrefix(sentence, `user "`):
		// The authorizer: User "…" cannot create resource "…" in API group "…". And RBAC itself: user "…" (groups=…) is
		// attempting to grant RBAC permissions not currently held.
		return planner.Forbidden
	default:
		return planner.Rejected
	}
}

// isGone tells whether the answer says that the very object asked for does not exist.
func isGone(err error) bool {
	return err != nil && apierrors.IsNotFound(err) && Classify(err) == planner.Stale
}

// refusesField tells whether the API server finds the value of a field of the content invalid. Of the metadata we change
// none that is immutable: they are refused because of what others put there besides. Policies and webhooks may answer in
// the same way, but that is their own will, and no property of the field.
func refusesField(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || !apierrors.IsInvalid(err) || denialPattern.MatchString(err.Error()) {
		return false
	}
	details := status.Status().Details
	return details != nil && slices.ContainsFunc(details.Causes, func(cause metav1.StatusCause) bool {
		return !strings.HasPrefix(cause.Field, "metadata.")
	})
}

// denial is how the API server begins to quote a policy or a webhook: what follows are their words.
var denialPattern = regexp.MustCompile(`denied (the )?request: |failed calling webhook "[^"]*": `)

// withhold keeps a Secret's content from being passed on. Policies and webhooks may quote anything, of the old object too
// and in any disguise, so of these it only passes on who they are.
func redact(resource schema.GroupResource, template *planner.Template, err error) error {
	if resource != (schema.GroupResource{Resource: "secrets"}) {
		return err
	}
	message := err.Error()
	if begin := denialPattern.FindStringIndex(message); begin != nil {
		return errors.New(message[:begin[1]] + "(withheld, because it may quote the Secret)")
	}
	if template == nil || !containsSecretValue(message, template.Content["data"]) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return errors.New("the API server refuses the copy; its message is withheld because it quotes the Secret")
}

// shortestQuote is the length under which a value is too common to be recognised as a quotation.
const minRedactLength = 4

func containsSecretValue(message string, data json.RawMessage) bool {
	var values map[string]string
	if len(data) == 0 || json.Unmarshal(data, &values) != nil {
		return false
	}
	for _, encoded := range values {
		decoded, err := base64.StdEncoding.DecodeString(encoded)
		if err == nil && len(decoded) >= minRedactLength && strings.Contains(message, string(decoded)) {
			return true
		}
		if len(encoded) >= minRedactLength && strings.Contains(message, encoded) {
			return true
		}
	}
	return false
}
