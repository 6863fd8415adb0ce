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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/proxy"
)

// How many namespaces come and go, and how many do at once.
const (
	shortLived = 300
	workers     = 12
)

var _ = It("300 namespaces are created and deleted while Replikas select them", Label(heavy), func() {
	i := startInstance("churn")
	f := newFixture("churn", 5)
	f.replicate("by-glob")
	f.replicate("by-label", func(replika *v1alpha1.Replika) {
		replika.Spec.Target.Namespaces = v1alpha1.TargetNamespaces{Selector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]string{"churn": "yes"}}}
	})
	f.replicate("everywhere", func(replika *v1alpha1.Replika) {
		replika.Spec.Target.Namespaces = v1alpha1.TargetNamespaces{
			MatchAll: true, ExcludeFrom: append([]string{"default", "kube-*", "*-home"}, targetsOfOtherFixtures(f)...),
		}
	})
	f.expectations[1].namespaces = nil
	Eventually(f.expectReplicated).Should(Succeed())
	begin, then := i.Mark(), time.Now()

	createAndDeleteNamespaces(f)
	came := elapsed(then)
	Eventually(f.shortLivedNamespaces).WithTimeout(3 * time.Minute).Should(BeEmpty())
	reportCheck("the last namespace gone %s after the first came", elapsed(then))
	made := i.writesToCopies(begin, func(r proxy.Request) bool { return r.Verb == "create" && r.TookEffect() })
	refused := i.writesToCopies(begin, func(r proxy.Request) bool { return !r.TookEffect() })
	reportFault(shortLived, "namespaces that came and went, within %s", came)
	reportFault(len(made), "copies made in them")
	Expect(len(made)).To(BeNumerically(">=", shortLived/3), "those that lived to be served")
	f.eventuallyReplicated("after the last is gone", time.Now(), 30*time.Second)
	Expect(len(refused)).To(BeNumerically("<=", 3*shortLived), "at most once for each namespace and Replika")
	Expect(i.countErrors()).To(BeNumerically("<=", 10))
	reportCheck("%d writes refused, %d errors in the log", len(refused), i.countErrors())
	i.expectNoWrites(f)
	f.deleteReplikas()
})

// comeAndGo makes the namespaces and deletes them: a third at once, a third when
// the last Replika has served it, the others after all have come.
func createAndDeleteNamespaces(f *fixture) {
	GinkgoHelper()
	numbers := make(chan int, shortLived)
	for number := range shortLived {
		numbers <- number
	}
	close(numbers)
	var group sync.WaitGroup
	var mu sync.Mutex
	var last []string
	for range workers {
		group.Go(func() {
			defer GinkgoRecover()
			for number := range numbers {
				namespace := fmt.Sprintf("%s-target-x%d", f.name, number)
				create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{"churn": "yes"}}})
				switch number % 3 {
				case 0:
					deleteNamespace(namespace)
				case 1:
					Eventually(expectAllCopies).WithArguments(namespace).Should(Succeed())
					deleteNamespace(namespace)
				default:
					mu.Lock()
					last = append(last, namespace)
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	for _, namespace := range last {
		deleteNamespace(namespace)
	}
}

// served: the namespace has the copies of all three Replikas.
func expectAllCopies(g Gomega, namespace string) {
	list := &corev1.ConfigMapList{}
	g.Expect(admin.List(context.Background(), list, client.InNamespace(namespace), client.HasLabels{v1alpha1.LabelCreatedBy})).To(Succeed())
	g.Expect(list.Items).To(HaveLen(3))
}

func deleteNamespace(name string) {
	GinkgoHelper()
	Expect(admin.Delete(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})).To(Succeed())
}

// shortLived lists those that are still there.
func (f *fixture) shortLivedNamespaces(g Gomega) []string {
	list := &corev1.NamespaceList{}
	g.Expect(admin.List(context.Background(), list, client.MatchingLabels{"churn": "yes"})).To(Succeed())
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names
}
