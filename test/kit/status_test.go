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

package kit

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func TestStatusViolations(t *testing.T) {
	condition := func(conditionType string, status metav1.ConditionStatus, reason string) metav1.Condition {
		return metav1.Condition{Type: conditionType, Status: status, Reason: reason, Message: "why", ObservedGeneration: 2}
	}
	valid := func() *v1alpha1.Replika {
		return &v1alpha1.Replika{
			ObjectMeta: metav1.ObjectMeta{Generation: 2},
			Status: v1alpha1.ReplikaStatus{
				ObservedGeneration: 2,
				Copies:             &v1alpha1.CopiesStatus{Desired: 3, Synced: 1, Failed: 2},
				Conditions: []metav1.Condition{
					condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonCopiesFailed),
					condition(v1alpha1.ConditionReconciling, metav1.ConditionTrue, v1alpha1.ReasonCopiesFailed),
				},
				Failures: []v1alpha1.Failure{
					{Namespace: "a", Reason: v1alpha1.FailureConflict, Message: "why"},
					{Namespace: "b", Reason: v1alpha1.FailureRejected, Message: "why"},
				},
			},
		}
	}
	t.Run("none", func(t *testing.T) {
		if violations := StatusViolations(valid(), true); len(violations) > 0 {
			t.Error(violations)
		}
	})
	t.Run("progress of a newer generation", func(t *testing.T) {
		replika := valid()
		replika.Status.ObservedGeneration = 1
		for i := range replika.Status.Conditions {
			replika.Status.Conditions[i].Reason = v1alpha1.ReasonProgressing
		}
		if violations := StatusViolations(replika, false); len(violations) > 0 {
			t.Error(violations)
		}
	})
	for name, spoil := range map[string]func(*v1alpha1.ReplikaStatus){
		"earlier generation":               func(s *v1alpha1.ReplikaStatus) { s.ObservedGeneration = 1 },
		"condition of earlier generation":  func(s *v1alpha1.ReplikaStatus) { s.Conditions[1].ObservedGeneration = 1 },
		"empty status":                     func(s *v1alpha1.ReplikaStatus) { *s = v1alpha1.ReplikaStatus{} },
		"no Ready":                         func(s *v1alpha1.ReplikaStatus) { s.Conditions = s.Conditions[1:] },
		"no condition beside Ready":        func(s *v1alpha1.ReplikaStatus) { s.Conditions = s.Conditions[:1] },
		"wrong condition beside Ready":     func(s *v1alpha1.ReplikaStatus) { s.Conditions[1].Type = v1alpha1.ConditionStalled },
		"False condition beside Ready":     func(s *v1alpha1.ReplikaStatus) { s.Conditions[1].Status = metav1.ConditionFalse },
		"unknown reason":                   func(s *v1alpha1.ReplikaStatus) { s.Conditions[0].Reason = "Oops" },
		"Ready=True with a failing reason": func(s *v1alpha1.ReplikaStatus) { s.Conditions[0].Status = metav1.ConditionTrue },
		"no message":                       func(s *v1alpha1.ReplikaStatus) { s.Conditions[0].Message = "" },
		"too long a message":               func(s *v1alpha1.ReplikaStatus) { s.Conditions[0].Message = strings.Repeat("x", 1025) },
		"more synced than desired":         func(s *v1alpha1.ReplikaStatus) { s.Copies.Synced = 4 },
		"copy neither synced nor failed":   func(s *v1alpha1.ReplikaStatus) { s.Copies.Synced = 0 },
		"failure not listed":               func(s *v1alpha1.ReplikaStatus) { s.Failures = s.Failures[1:] },
		"failures not sorted":              func(s *v1alpha1.ReplikaStatus) { slices.Reverse(s.Failures) },
		"failure with an unknown reason":   func(s *v1alpha1.ReplikaStatus) { s.Failures[0].Reason = "Oops" },
		"failure without a message":        func(s *v1alpha1.ReplikaStatus) { s.Failures[0].Message = "" },
		"unknown condition beside Ready": func(s *v1alpha1.ReplikaStatus) {
			s.Conditions = append(s.Conditions, condition("Healthy", metav1.ConditionTrue, v1alpha1.ReasonCopiesFailed))
		},
	} {
		t.Run(name, func(t *testing.T) {
			replika := valid()
			spoil(&replika.Status)
			if len(StatusViolations(replika, true)) == 0 {
				t.Error("no violation found")
			}
		})
	}
}
