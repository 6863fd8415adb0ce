package controllers_test

import (
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"

	"github.com/prosimcorp/replika/test/cluster"
)

// changesOf lists the writes of the operator since the moment that took effect on the scene's objects of the resource, and
// of the name unless that is empty, as people would say them: "create in team-a".
func (s *scene) changesOf(since moment, resource, name string) []string {
	GinkgoHelper()
	changes := []string{}
	for _, event := range s.attemptsOn(since, resource, name) {
		if event.Code < http.StatusMultipleChoices && !isDryRun(event) {
			changes = append(changes, event.Verb+" in "+event.Namespace)
		}
	}
	return changes
}

// attemptsOn lists the same writes, those among them that were refused or only tried.
func (s *scene) attemptsOn(since moment, resource, name string) []cluster.AuditEvent {
	GinkgoHelper()
	return s.requests(since, cluster.AuditEvent.Writes, func(event cluster.AuditEvent) bool {
		return event.Resource == resource && (name == "" || event.Name == name)
	})
}

// isDryRun tells whether a request only asked what would happen.
func isDryRun(event cluster.AuditEvent) bool {
	return strings.Contains(event.RequestURI, "dryRun=")
}
