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

package faults

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
	"github.com/prosimcorp/replika/test/proxy"
)

var _ = It("Watches of one kind hang: the operator polls this kind, and does not delay others", func() {
	const (
		workers  = 4
		replikas = 2 * workers // more than the operator reconciles in parallel
		// syncTimeout is how long the operator waits for a watch.
		syncTimeout = 10 * time.Second
	)
	i := startInstance("watch-hang", fmt.Sprint("--max-concurrent-reconciles=", workers))
	var hanging atomic.Int32
	i.Intercept(func(r proxy.Request) *proxy.Fault {
		if isWatch(r) && r.Resource == "secrets" {
			hanging.Add(1)
			return proxy.Delay(time.Hour)
		}
		return nil
	})
	f := newFixture("watch-hang", 2)
	secrets := make([]*corev1.Secret, replikas)
	for n := range secrets {
		secrets[n] = f.replicateSecret(fmt.Sprintf("secret-%d", n))
	}
	f.replicate(name, kit.Interval(watchesOnly))
	for _, secret := range secrets {
		Eventually(f.expectSecretCopies).WithArguments(secret).Should(Succeed())
	}
	Eventually(f.expectReplicated).Should(Succeed())
	Eventually(f.readyMessage).WithArguments(secrets[0].Name).Should(ContainSubstring("first list of this kind has not completed"))
	reportFault(int(hanging.Load()), "watches of Secrets without a response")

	// If the edits of one kind waited for the watches of another, each would take that long. A stall of the machine delays only some.
	for range 3 {
		Eventually(func(g Gomega) {
			start := time.Now()
			f.editSource()
			f.eventuallyReplicated("edit while another kind hangs", start)
			g.Expect(time.Since(start)).To(BeNumerically("<", syncTimeout/2))
		}).Should(Succeed())
	}
	expect.Update(context.Background(), env.Admin, secrets[0], func(secret *corev1.Secret) {
		secret.Data = map[string][]byte{"key": []byte("two")}
	})
	Eventually(f.expectSecretCopies).WithArguments(secrets[0]).Should(Succeed())
	reportCheck("edit of a Secret, by polling")
	f.deleteReplikas()
})

// readyMessage returns the message of the condition Ready.
func (f *fixture) readyMessage(g Gomega, replika string) string {
	found := &v1alpha1.Replika{}
	g.Expect(env.Admin.Get(context.Background(), client.ObjectKey{Namespace: f.SourceNamespace, Name: replika}, found)).To(Succeed())
	return kit.Ready(found).Message
}

// replicateSecret creates a Secret and a Replika of it, both of this name.
func (f *fixture) replicateSecret(name string) *corev1.Secret {
	GinkgoHelper()
	secret := kit.Secret(f.SourceNamespace, name, "one")
	expect.Create(context.Background(), env.Admin, secret)
	f.CreateReplika(secret)
	return secret
}

// expectSecretCopies expects a copy with the Secret's data in every target namespace.
func (f *fixture) expectSecretCopies(g Gomega, secret *corev1.Secret) {
	for _, namespace := range f.TargetNamespaces {
		found := &corev1.Secret{}
		g.Expect(env.Admin.Get(context.Background(), client.ObjectKey{Namespace: namespace, Name: secret.Name}, found)).To(Succeed())
		g.Expect(found.Data).To(Equal(secret.Data))
	}
}
