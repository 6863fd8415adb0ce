package controllers_test

import (
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/prosimcorp/replika/test/cluster"
)

// patienceForNothing is a few of the shortest synchronization times.
const patienceForNothing = 2500 * time.Millisecond

// moment is a point in the audit log: a request that was received earlier may be recorded behind it.
type moment struct {
	mark int64
	time time.Time
}

func thisMoment() moment {
	return moment{mark: controlPlane.Mark(), time: time.Now()}
}

// requests lists what the operator asked for in the scene's namespaces since the moment, but for events.
func (s *scene) requests(since moment, filters ...cluster.Filter) []cluster.AuditEvent {
	GinkgoHelper()
	filters = append(filters, cluster.ByUserAgent(operatorAgent), func(e cluster.AuditEvent) bool {
		return e.Received.After(since.time) && e.Resource != "events" && strings.HasPrefix(e.Namespace, s.id+"-")
	})
	events, err := controlPlane.AuditEvents(since.mark, filters...)
	Expect(err).NotTo(HaveOccurred())
	return events
}

// writes lists what the operator wrote in the scene's namespaces since the moment, for people.
func (s *scene) writes(since moment) []string {
	GinkgoHelper()
	var written []string
	for _, event := range s.requests(since, cluster.AuditEvent.Writes) {
		written = append(written, fmt.Sprintf("%s %s/%s %s/%s: %d",
			event.Verb, event.Resource, event.Subresource, event.Namespace, event.Name, event.Code))
	}
	return written
}
