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

package crash

import (
	"context"
	"encoding/json"
	"maps"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// look is all that matters of a copy, to the last label.
type copyState struct {
	Namespace, Name     string
	Data                map[string]string
	BinaryData          map[string][]byte
	Labels, Annotations map[string]string
	// Marks are those annotations that are the operator's.
	Ownership map[string]string
}

// String is a line in which people see the difference.
func (l copyState) String() string {
	line, err := json.Marshal(l)
	Expect(err).NotTo(HaveOccurred())
	return string(line)
}

// copyOf is the copy that the Replika makes of the source.
func wantCopy(replika *v1alpha1.Replika, source *corev1.ConfigMap, namespace string) copyState {
	labels := maps.Clone(source.Labels)
	labels[v1alpha1.LabelCreatedBy] = v1alpha1.CreatedByValue
	labels[v1alpha1.LabelPartOf] = v1alpha1.PartOf(replika.Name)
	return copyState{
		Namespace: namespace, Name: replika.TargetName(),
		Data: source.Data, BinaryData: source.BinaryData, Labels: labels, Annotations: source.Annotations,
		Ownership: map[string]string{
			v1alpha1.AnnotationMarksVersion: v1alpha1.MarksVersion,
			v1alpha1.AnnotationOwner:        replika.Namespace + "/" + replika.Name,
			v1alpha1.AnnotationSource:       source.Namespace + "/" + source.Name,
			v1alpha1.AnnotationSelf:         namespace + "/" + replika.TargetName(),
			v1alpha1.AnnotationApplied:      `{"labels":["app"],"annotations":["example.com/note"]}`,
		},
	}
}

// lookOf is an object as it is.
func stateOf(object *corev1.ConfigMap) copyState {
	l := copyState{
		Namespace: object.Namespace, Name: object.Name, Data: object.Data, BinaryData: object.BinaryData, Labels: object.Labels,
		Annotations: map[string]string{}, Ownership: map[string]string{},
	}
	for key, value := range object.Annotations {
		if strings.HasPrefix(key, v1alpha1.KeyPrefix) {
			l.Ownership[key] = value
		} else {
			l.Annotations[key] = value
		}
	}
	return l
}

// expectCopies: these, and nothing else in the whole cluster, bear the
// operator's label.
func expectCopies(g Gomega, want ...copyState) {
	GinkgoHelper()
	ours := client.MatchingLabels{v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue}
	list, secrets := &corev1.ConfigMapList{}, &corev1.SecretList{}
	g.Expect(admin.List(context.Background(), list, ours)).To(Succeed())
	g.Expect(admin.List(context.Background(), secrets, ours)).To(Succeed())
	g.Expect(secrets.Items).To(BeEmpty())
	var gotLines, wantLines []string
	for i := range list.Items {
		gotLines = append(gotLines, stateOf(&list.Items[i]).String())
	}
	for _, one := range want {
		wantLines = append(wantLines, one.String())
	}
	g.Expect(gotLines).To(ConsistOf(wantLines))
}

// expectSynced: the status says that all is well, and speaks of the spec and
// the source as they are.
func (f *fixture) expectSynced(g Gomega, name string) {
	GinkgoHelper()
	replika := f.getReplika(g, name)
	status := replika.Status
	g.Expect(replika.Finalizers).To(ConsistOf(v1alpha1.Finalizer))
	g.Expect(replika.Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationKinds, "configmaps"))
	g.Expect(status.ObservedGeneration).To(Equal(replika.Generation))
	g.Expect(status.Conditions).To(HaveLen(1))
	ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	g.Expect(ready).NotTo(BeNil())
	g.Expect(ready.Status).To(Equal(metav1.ConditionTrue))
	g.Expect(ready.Reason).To(Equal(v1alpha1.ReasonSynced))
	g.Expect(ready.ObservedGeneration).To(Equal(replika.Generation))
	g.Expect(status.Copies).To(HaveValue(Equal(v1alpha1.CopiesStatus{Desired: 5, Synced: 5})))
	g.Expect(status.Failures).To(BeEmpty())
	g.Expect(status.Source).To(HaveValue(Equal(v1alpha1.SourceStatus{
		ResourceVersion: f.getSource(g, replika.Spec.Source.Name).ResourceVersion,
	})))
}

// expectCounted: the status says that every target has its copy.
func (f *fixture) expectAllSynced(g Gomega, name string) {
	GinkgoHelper()
	g.Expect(f.getReplika(g, name).Status.Copies).To(HaveValue(Equal(v1alpha1.CopiesStatus{Desired: 5, Synced: 5})))
}

// expectCopiesOf: every target has its copy of the source, the Replika of the
// same name says so, and there are no other copies.
func (f *fixture) expectCopiesOf(g Gomega, name string, change ...func(*copyState)) {
	GinkgoHelper()
	replika, source := f.getReplika(g, name), f.getSource(g, name)
	var want []copyState
	for _, namespace := range f.targetNamespaces {
		one := wantCopy(replika, source, namespace)
		for _, change := range change {
			change(&one)
		}
		want = append(want, one)
	}
	expectCopies(g, want...)
	f.expectSynced(g, name)
}
