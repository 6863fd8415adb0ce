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

package e2e

import (
	"context"
	"encoding/json"
	"maps"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
)

// CopyState is everything of a copy that the operator determines.
type CopyState struct {
	Namespace, Name     string
	Data                map[string]string
	BinaryData          map[string][]byte
	Labels, Annotations map[string]string
	// Ownership are the annotations under the operator's own prefix.
	Ownership map[string]string
}

// String returns the state as JSON in one line, so that the output of a failed assertion shows the difference.
func (s CopyState) String() string {
	line, err := json.Marshal(s)
	Expect(err).NotTo(HaveOccurred())
	return string(line)
}

// WantCopy returns the state of the copy that the Replika makes of the source.
func WantCopy(replika *v1alpha1.Replika, source *corev1.ConfigMap, namespace string) CopyState {
	labels := maps.Clone(source.Labels)
	labels[v1alpha1.LabelCreatedBy] = v1alpha1.CreatedByValue
	labels[v1alpha1.LabelPartOf] = v1alpha1.PartOf(replika.Name)
	return CopyState{
		Namespace: namespace, Name: replika.TargetNameOf(source.Name),
		Data: source.Data, BinaryData: source.BinaryData, Labels: labels, Annotations: source.Annotations,
		Ownership: map[string]string{
			v1alpha1.AnnotationMarksVersion: v1alpha1.MarksVersion,
			v1alpha1.AnnotationOwner:        replika.Namespace + "/" + replika.Name,
			v1alpha1.AnnotationSource:       source.Namespace + "/" + source.Name,
			v1alpha1.AnnotationSelf:         namespace + "/" + replika.TargetNameOf(source.Name),
			v1alpha1.AnnotationResource:     "configmaps",
			v1alpha1.AnnotationApplied:      `{"labels":["app"],"annotations":["example.com/note"]}`,
		},
	}
}

// StateOf returns the state of an object.
func StateOf(object *corev1.ConfigMap) CopyState {
	s := CopyState{
		Namespace: object.Namespace, Name: object.Name, Data: object.Data, BinaryData: object.BinaryData, Labels: object.Labels,
		Annotations: map[string]string{}, Ownership: map[string]string{},
	}
	for key, value := range object.Annotations {
		if strings.HasPrefix(key, v1alpha1.KeyPrefix) {
			s.Ownership[key] = value
		} else {
			s.Annotations[key] = value
		}
	}
	return s
}

// ExpectCopies expects exactly these copies. No other ConfigMap in the cluster has the operator's label.
func ExpectCopies(g Gomega, admin client.Client, want ...CopyState) {
	GinkgoHelper()
	list := &corev1.ConfigMapList{}
	g.Expect(admin.List(context.Background(), list, client.HasLabels{v1alpha1.LabelCreatedBy})).To(Succeed())
	var gotLines, wantLines []string
	for i := range list.Items {
		gotLines = append(gotLines, StateOf(&list.Items[i]).String())
	}
	for _, state := range want {
		wantLines = append(wantLines, state.String())
	}
	g.Expect(gotLines).To(ConsistOf(wantLines))
}

// ExpectSynced expects a status that reports the current source and this number of copies, all of them synced.
func (f *Fixture) ExpectSynced(g Gomega, name string, copies int) {
	GinkgoHelper()
	replika := f.GetReplika(g, name)
	status := replika.Status
	g.Expect(replika.Finalizers).To(ConsistOf(v1alpha1.Finalizer))
	g.Expect(replika.Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationKinds, "configmaps"))
	g.Expect(kit.StatusViolations(replika, true)).To(BeEmpty())
	g.Expect(status.Conditions).To(ConsistOf(And(
		HaveField("Type", v1alpha1.ConditionReady), HaveField("Status", metav1.ConditionTrue), HaveField("Reason", v1alpha1.ReasonSynced))))
	g.Expect(status.Copies).To(HaveValue(Equal(v1alpha1.CopiesStatus{Desired: int32(copies), Synced: int32(copies)})))
	g.Expect(status.Failures).To(BeEmpty())
	if replika.HasManySources() {
		g.Expect(status.Source).To(BeNil())
		return
	}
	g.Expect(status.Sources).To(BeNil())
	g.Expect(status.Source).To(HaveValue(Equal(v1alpha1.SourceStatus{
		ResourceVersion: f.GetSource(g, replika.Spec.Source.Name).ResourceVersion,
	})))
}
