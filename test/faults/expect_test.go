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
	"encoding/json"
	"maps"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// look is all that matters of a copy, to the last mark.
type copyState struct {
	Namespace, Name     string
	Data                map[string]string
	BinaryData          map[string][]byte
	Labels, Annotations map[string]string
}

// line is the look as text, in which people see a difference.
func (l copyState) json() string {
	line, err := json.Marshal(l)
	Expect(err).NotTo(HaveOccurred())
	return string(line)
}

func stateOf(object *corev1.ConfigMap) copyState {
	return copyState{
		Namespace: object.Namespace, Name: object.Name, Data: object.Data, BinaryData: object.BinaryData,
		Labels: object.Labels, Annotations: object.Annotations,
	}
}

// copyOf is the copy that the Replika makes of the source.
func wantCopy(replika *v1alpha1.Replika, source *corev1.ConfigMap, namespace string) copyState {
	l := copyState{
		Namespace: namespace, Name: replika.TargetName(), Data: source.Data, BinaryData: source.BinaryData,
		Labels: maps.Clone(source.Labels), Annotations: maps.Clone(source.Annotations),
	}
	l.Labels[v1alpha1.LabelCreatedBy] = v1alpha1.CreatedByValue
	l.Labels[v1alpha1.LabelPartOf] = v1alpha1.PartOf(replika.Name)
	maps.Copy(l.Annotations, map[string]string{
		v1alpha1.AnnotationMarksVersion: v1alpha1.MarksVersion,
		v1alpha1.AnnotationOwner:        replika.Namespace + "/" + replika.Name,
		v1alpha1.AnnotationSource:       source.Namespace + "/" + source.Name,
		v1alpha1.AnnotationSelf:         namespace + "/" + replika.TargetName(),
		v1alpha1.AnnotationApplied:      `{"labels":["app"],"annotations":["example.com/note"]}`,
	})
	return l
}

// expectCopies: the copies that are wished for are there, equal to their sources,
// and nothing else in the whole cluster bears the operator's label.
func (f *fixture) expectCopies(g Gomega) {
	GinkgoHelper()
	ctx := context.Background()
	var got, want []string
	for _, wish := range f.expectations {
		replika, source := f.replika(wish.name), &corev1.ConfigMap{}
		g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(replika), replika)).To(Succeed())
		g.Expect(admin.Get(ctx, client.ObjectKey{Namespace: f.sourceNamespace, Name: wish.name}, source)).To(Succeed())
		for _, namespace := range wish.namespaces {
			want = append(want, wantCopy(replika, source, namespace).json())
		}
	}
	list := &corev1.ConfigMapList{}
	g.Expect(admin.List(ctx, list, client.HasLabels{v1alpha1.LabelCreatedBy})).To(Succeed())
	for i := range list.Items {
		got = append(got, stateOf(&list.Items[i]).json())
	}
	g.Expect(got).To(ConsistOf(want))
}

// expectSynced: the status says that all is well, and nothing but that.
func (f *fixture) expectStatus(g Gomega) {
	GinkgoHelper()
	for _, wish := range f.expectations {
		replika := f.replika(wish.name)
		g.Expect(admin.Get(context.Background(), client.ObjectKeyFromObject(replika), replika)).To(Succeed())
		status, all := replika.Status, int32(len(wish.namespaces))
		g.Expect(status.ObservedGeneration).To(Equal(replika.Generation))
		g.Expect(status.Conditions).To(HaveLen(1))
		ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
		g.Expect(ready).NotTo(BeNil())
		g.Expect(ready.Status).To(Equal(metav1.ConditionTrue))
		g.Expect(ready.Reason).To(Equal(v1alpha1.ReasonSynced))
		g.Expect(status.Copies).To(HaveValue(Equal(v1alpha1.CopiesStatus{Desired: all, Synced: all})))
		g.Expect(status.Failures).To(BeEmpty())
		source := &corev1.ConfigMap{}
		g.Expect(admin.Get(context.Background(), client.ObjectKey{Namespace: f.sourceNamespace, Name: wish.name}, source)).To(Succeed())
		g.Expect(status.Source).To(HaveValue(Equal(v1alpha1.SourceStatus{ResourceVersion: source.ResourceVersion})))
	}
}

// expectServed: copies and status are exactly right.
func (f *fixture) expectReplicated(g Gomega) {
	GinkgoHelper()
	f.expectCopies(g)
	f.expectStatus(g)
}

// eventuallyServed waits for the exact right state, and tells how long that took
// from then on.
func (f *fixture) eventuallyReplicated(what string, then time.Time, within time.Duration) {
	GinkgoHelper()
	Eventually(f.expectReplicated).WithTimeout(max(time.Until(then.Add(within)), time.Second)).Should(Succeed())
	copies := 0
	for _, wish := range f.expectations {
		copies += len(wish.namespaces)
	}
	reportCheck("%s: %d copies exact, none over, Ready Synced after %s", what, copies, elapsed(then))
}
