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
	"sync"
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

const (
	// shortLived is the number of namespaces that are created and deleted; workers create them in parallel.
	shortLived = 300
	workers    = 12
)

// churnLabels are the labels of the short-lived namespaces. Each attempt has its own.
func (f *fixture) churnLabels() map[string]string { return map[string]string{"churn": f.Name} }

var _ = It("300 namespaces are created and deleted while Replikas select them", Label(heavy), func() {
	i := startInstance("churn")
	f := newFixture("churn", 5)
	f.replicate("by-glob")
	f.replicate("by-label", kit.TargetNamespaces(), kit.SelectNamespaces(f.churnLabels()))
	f.replicate("match-all", kit.TargetNamespaces(), kit.MatchAllNamespaces(),
		kit.ExcludeNamespaces(append([]string{"default", "kube-*", "*-source"}, targetsOfOtherFixtures(f)...)...))
	f.expected[1].namespaces = nil // the label is on the short-lived namespaces only
	Eventually(f.expectReplicated).Should(Succeed())
	mark, start := i.Mark(), time.Now()

	createAndDeleteNamespaces(f)
	duration := elapsed(start)
	Eventually(f.shortLivedNamespaces).WithTimeout(5 * time.Minute).Should(BeEmpty())
	reportCheck("all namespaces are deleted %s after the first was created", elapsed(start))
	created := i.writesToCopies(mark, func(r proxy.Request) bool { return r.Verb == "create" && r.TookEffect() })
	rejected := i.writesToCopies(mark, func(r proxy.Request) bool { return !r.TookEffect() })
	reportFault(shortLived, "namespaces created and deleted within %s", duration)
	reportFault(len(created), "copies created in them")
	Expect(len(created)).To(BeNumerically(">=", shortLived/3), "one third of the namespaces lives until it has its copies")
	f.eventuallyReplicated("after the last deletion", time.Now())
	Expect(len(rejected)).To(BeNumerically("<=", 3*shortLived), "at most one for each namespace and Replika")
	Expect(i.countErrors()).To(BeNumerically("<=", 10))
	reportCheck("%d writes rejected, %d errors in the log", len(rejected), i.countErrors())
	i.expectNoWrites(f)
	f.deleteReplikas()
})

// createAndDeleteNamespaces creates the namespaces. It deletes one third at once, one third when the copies of all Replikas
// exist, and the others at the end.
func createAndDeleteNamespaces(f *fixture) {
	GinkgoHelper()
	numbers := make(chan int, shortLived)
	for number := range shortLived {
		numbers <- number
	}
	close(numbers)
	var group sync.WaitGroup
	var mu sync.Mutex
	var remaining []string
	for range workers {
		group.Go(func() {
			defer GinkgoRecover()
			for number := range numbers {
				namespace := fmt.Sprintf("%s-target-x%d", f.Name, number)
				expect.Create(context.Background(), env.Admin, kit.Namespace(namespace, f.churnLabels()))
				switch number % 3 {
				case 0:
					deleteNamespace(namespace)
				case 1:
					Eventually(expectAllCopies).WithArguments(namespace).Should(Succeed())
					deleteNamespace(namespace)
				default:
					mu.Lock()
					remaining = append(remaining, namespace)
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	for _, namespace := range remaining {
		deleteNamespace(namespace)
	}
}

// expectAllCopies expects the copies of all three Replikas in the namespace.
func expectAllCopies(g Gomega, namespace string) {
	list := &corev1.ConfigMapList{}
	g.Expect(env.Admin.List(context.Background(), list, client.InNamespace(namespace), client.HasLabels{v1alpha1.LabelCreatedBy})).To(Succeed())
	g.Expect(list.Items).To(HaveLen(3))
}

// deleteNamespace starts the deletion of the namespace.
func deleteNamespace(name string) {
	GinkgoHelper()
	Expect(env.Admin.Delete(context.Background(), kit.Namespace(name))).To(Succeed())
}

// shortLivedNamespaces lists the short-lived namespaces that still exist.
func (f *fixture) shortLivedNamespaces(g Gomega) []string {
	list := &corev1.NamespaceList{}
	g.Expect(env.Admin.List(context.Background(), list, client.MatchingLabels(f.churnLabels()))).To(Succeed())
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names
}
