package planner

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var self = types.NamespacedName{Namespace: "shop", Name: "settings"}

func someMarks(change func(*Marks)) Marks {
	marks := Marks{
		Owner:   ours,
		Source:  types.NamespacedName{Namespace: "vault", Name: "settings"},
		Self:    self,
		Applied: Applied{Labels: []string{"app"}, Annotations: []string{"a", "example.com/b"}},
	}
	if change != nil {
		change(&marks)
	}
	return marks
}

func TestMarksRoundTrip(t *testing.T) {
	for name, marks := range map[string]Marks{
		"plain":           someMarks(nil),
		"adopted":         someMarks(func(m *Marks) { m.Adopted = true }),
		"nothing applied": someMarks(func(m *Marks) { m.Applied = Applied{} }),
	} {
		t.Run(name, func(t *testing.T) {
			got, state := readMarks(self, marks.Annotations())
			if state != MarksValid {
				t.Fatalf("state %v", state)
			}
			if diff := cmp.Diff(marks, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMarksThatAreWorthNothing(t *testing.T) {
	cases := map[string]struct {
		change func(map[string]string)
		want   MarkState
	}{
		"untouched":                {func(map[string]string) {}, MarksValid},
		"other annotations beside": {func(a map[string]string) { a["example.com/note"] = "x" }, MarksValid},
		"adopted is any other word": {
			func(a map[string]string) { a[v1alpha1.AnnotationAdopted] = "false" }, MarksValid,
		},
		"no version":          {func(a map[string]string) { delete(a, v1alpha1.AnnotationMarksVersion) }, MarksAbsent},
		"a newer version":     {func(a map[string]string) { a[v1alpha1.AnnotationMarksVersion] = "2" }, MarksNewer},
		"an unknown version":  {func(a map[string]string) { a[v1alpha1.AnnotationMarksVersion] = "" }, MarksNewer},
		"another namespace":   {func(a map[string]string) { a[v1alpha1.AnnotationSelf] = "web/settings" }, MarksAbsent},
		"another name":        {func(a map[string]string) { a[v1alpha1.AnnotationSelf] = "shop/settings-2" }, MarksAbsent},
		"no self":             {func(a map[string]string) { delete(a, v1alpha1.AnnotationSelf) }, MarksAbsent},
		"no owner":            {func(a map[string]string) { delete(a, v1alpha1.AnnotationOwner) }, MarksAbsent},
		"owner without name":  {func(a map[string]string) { a[v1alpha1.AnnotationOwner] = "ops/" }, MarksAbsent},
		"owner without place": {func(a map[string]string) { a[v1alpha1.AnnotationOwner] = "/sync" }, MarksAbsent},
		"owner of one part":   {func(a map[string]string) { a[v1alpha1.AnnotationOwner] = "sync" }, MarksAbsent},
		"owner of three":      {func(a map[string]string) { a[v1alpha1.AnnotationOwner] = "ops/sync/x" }, MarksAbsent},
		"no source":           {func(a map[string]string) { delete(a, v1alpha1.AnnotationSource) }, MarksAbsent},
		"source is nonsense":  {func(a map[string]string) { a[v1alpha1.AnnotationSource] = "?" }, MarksAbsent},
		"nothing applied":     {func(a map[string]string) { delete(a, v1alpha1.AnnotationApplied) }, MarksAbsent},
		"applied is no JSON":  {func(a map[string]string) { a[v1alpha1.AnnotationApplied] = "{" }, MarksAbsent},
		"applied is a list":   {func(a map[string]string) { a[v1alpha1.AnnotationApplied] = "[]" }, MarksAbsent},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			annotations := someMarks(nil).Annotations()
			c.change(annotations)
			marks, state := readMarks(self, annotations)
			if state != c.want {
				t.Fatalf("state: got %v, want %v", state, c.want)
			}
			if marks.Adopted {
				t.Error("read as adopted")
			}
			if state != MarksValid && !cmp.Equal(marks, Marks{}) {
				t.Errorf("worthless marks were read as %v", marks)
			}
		})
	}
	if _, state := readMarks(self, nil); state != MarksAbsent {
		t.Errorf("no annotations: %v", state)
	}
}

// A release takes off exactly what marking puts on.
func TestMarkKeysAreAllMarks(t *testing.T) {
	all := slices.Sorted(maps.Keys(someMarks(func(m *Marks) { m.Adopted = true }).Annotations()))
	if diff := cmp.Diff(all, slices.Sorted(slices.Values(MarkKeys()))); diff != "" {
		t.Error(diff)
	}
	for _, key := range MarkKeys() {
		if !strings.HasPrefix(key, v1alpha1.KeyPrefix) {
			t.Errorf("%s is not under %s", key, v1alpha1.KeyPrefix)
		}
	}
}

func TestAppliedWithout(t *testing.T) {
	before := Applied{Labels: []string{"a", "b"}, Annotations: []string{"c"}}
	after := Applied{Labels: []string{"b", "d"}, Annotations: []string{"a"}}
	want := Applied{Labels: []string{"a"}, Annotations: []string{"c"}}
	if diff := cmp.Diff(want, before.Without(after)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Applied{Labels: []string{"a", "b"}, Annotations: []string{"c"}}, before); diff != "" {
		t.Errorf("the receiver changed: %s", diff)
	}
}
