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

package cluster

import (
	"os"
	"testing"

	. "github.com/onsi/gomega"
)

func TestAuditEvents(t *testing.T) {
	const (
		first = `{"stage":"ResponseComplete","verb":"get","userAgent":"a/1","user":{"username":"admin"},` +
			`"impersonatedUser":{"username":"jane"},"objectRef":{"resource":"pods","apiGroup":"","name":"p"},"responseStatus":{"code":404}}` + "\n"
		second = `{"stage":"ResponseStarted","verb":"watch","userAgent":"b/1","user":{"username":"joe"}}` + "\n"
		torn   = `{"stage":"Respon`
	)
	tests := map[string]struct {
		log       string
		since     int
		text      string
		keep      []Filter
		wantUsers []string
	}{
		"incomplete last line":   {log: first + second + torn, wantUsers: []string{"jane", "joe"}},
		"mark between two lines": {log: first + second, since: len(first), wantUsers: []string{"joe"}},
		"mark inside a line":     {log: first + second, since: len(first) - 5, wantUsers: []string{"joe"}},
		"mark at the end":        {log: first + second, since: len(first + second)},
		"several filters": {
			log: first + second, wantUsers: []string{"joe"},
			keep: []Filter{ByUserAgent("b/"), func(e AuditEvent) bool { return e.Verb == "watch" }},
		},
		"text":      {log: first + second, text: `"watch"`, wantUsers: []string{"joe"}},
		"empty log": {log: ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			c := &Cluster{Dir: t.TempDir()}
			g.Expect(os.WriteFile(c.auditLog(), []byte(tc.log), 0o600)).To(Succeed())
			events, err := c.AuditEventsWith(tc.text, int64(tc.since), tc.keep...)
			g.Expect(err).NotTo(HaveOccurred())
			var users []string
			for _, e := range events {
				users = append(users, e.User)
			}
			g.Expect(users).To(Equal(tc.wantUsers))
		})
	}
}

func TestAuditEvents_Impersonation(t *testing.T) {
	g := NewWithT(t)
	c := &Cluster{Dir: t.TempDir()}
	g.Expect(os.WriteFile(c.auditLog(), []byte(`{"user":{"username":"admin"},"impersonatedUser":{"username":"jane"}}`+"\n"), 0o600)).
		To(Succeed())
	g.Expect(c.AuditEvents(0)).To(ConsistOf(AuditEvent{Sender: "admin", User: "jane"}))
}

func TestAuditEvents_NoAuditLog(t *testing.T) {
	g := NewWithT(t)
	_, err := (&Cluster{Dir: t.TempDir()}).AuditEvents(0)
	g.Expect(err).To(MatchError(ErrNoAuditLog))
}
