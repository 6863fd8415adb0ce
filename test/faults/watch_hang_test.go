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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/proxy"
)

var _ = It("watches of one kind hang: it is polled, and no other waits for it", func() {
	const others = 8 // more Replikas than are worked on at once
	i := startInstance("one-hangs")
	var hanging atomic.Int32
	i.Intercept(func(r proxy.Request) *proxy.Fault {
		if isWatch(r) && r.Resource == "secrets" {
			hanging.Add(1)
			return proxy.Delay(time.Hour)
		}
		return nil
	})
	f := newFixture("one-hangs", 2)
	secrets := make([]*corev1.Secret, others)
	for n := range secrets {
		secrets[n] = f.replicateSecret(fmt.Sprintf("secret-%d", n))
	}
	f.replicate(replikaName, withInterval(watchesOnly))
	for _, secret := range secrets {
		Eventually(f.expectSecret).WithArguments(secret).Should(Succeed())
	}
	Eventually(f.expectReplicated).Should(Succeed())
	reportFault(int(hanging.Load()), "watches of Secrets that are never answered")

	for range 3 {
		then := time.Now()
		f.editSource()
		f.eventuallyReplicated("edit while another kind hangs", then, 5*time.Second)
	}
	updateObject(secrets[0], func() { secrets[0].Data = map[string][]byte{"key": []byte("two")} })
	Eventually(f.expectSecret).WithArguments(secrets[0]).WithTimeout(5 * synchronizationTime).Should(Succeed())
	reportCheck("a Secret, by polling")
	for _, secret := range secrets {
		Expect(admin.Delete(context.Background(), f.replika(secret.Name))).To(Succeed())
	}
	f.deleteReplikas()
})

// serveSecret makes a Secret and a Replika of it, both of that name.
func (f *fixture) replicateSecret(name string) *corev1.Secret {
	GinkgoHelper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.sourceNamespace, Name: name}, Data: map[string][]byte{"key": []byte("one")},
	}
	create(secret)
	replika := f.replika(name)
	replika.Spec.Synchronization.Time.Duration = synchronizationTime
	replika.Spec.Source = v1alpha1.SourceSpec{Version: "v1", Kind: "Secret", Name: name}
	replika.Spec.Target.Namespaces.ReplicateIn = []string{f.name + "-target-*"}
	create(replika)
	return secret
}

// expectSecret expects copies of it that are as it is.
func (f *fixture) expectSecret(g Gomega, secret *corev1.Secret) {
	for _, target := range f.targetNamespaces {
		found := &corev1.Secret{}
		g.Expect(admin.Get(context.Background(), client.ObjectKey{Namespace: target, Name: secret.Name}, found)).To(Succeed())
		g.Expect(found.Data).To(Equal(secret.Data))
	}
}
