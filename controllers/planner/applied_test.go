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

package planner

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// longKeys returns keys of the maximum length of a name, 63 characters, with short prefixes.
func longKeys(prefix string, count int) map[string]string {
	keys := map[string]string{}
	for i := range count {
		name := fmt.Sprintf("%d", i)
		keys[prefix+"/"+strings.Repeat("k", 63-len(name))+name] = ""
	}
	return keys
}

// An API server accepts annotations of 256 KiB in total, and labels without a limit of their own.
const maxAnnotations = 256 * 1024

func annotationsSize(annotations map[string]string) int {
	size := 0
	for key, value := range annotations {
		size += len(key) + len(value)
	}
	return size
}

func TestNewTemplate_ManyKeys(t *testing.T) {
	cases := map[string]func() (labels, annotations map[string]string){
		"3,000 annotations": func() (map[string]string, map[string]string) { return nil, longKeys("example.com", 3000) },
		"4,200 labels":      func() (map[string]string, map[string]string) { return longKeys("example.com", 4200), nil },
	}
	for name, keys := range cases {
		t.Run(name, func(t *testing.T) {
			labels, annotations := keys()
			source := newObject("vault", "settings", withLabels(labels), withAnnotations(annotations))
			template := mustTemplate(t, newReplika(), source)
			object := newCopy(t, template, "shop")

			if size := annotationsSize(object.GetAnnotations()); size > maxAnnotations {
				t.Errorf("the annotations of a copy have %d bytes", size)
			}
			observed := mustObserve(t, object)
			if observed.Marks != MarksValid || observed.Digests != template.Digests || !observed.ManyKeys || observed.Origin.Value().Applied != "" {
				t.Errorf("a copy: marks %v, many keys %v, differing %v, %d bytes kept",
					observed.Marks, observed.ManyKeys, template.Digests.Differing(observed.Digests), len(observed.Origin.Value().Applied))
			}

			// A key that the source loses is removed, a key of another client is kept.
			withLabels(map[string]string{otherKeys + "label": "x"})(object)
			withAnnotations(map[string]string{otherKeys + "annotation": "x"})(object)
			smaller := mustTemplate(t, newReplika(), newObject("vault", "settings"))
			action := &Action{Type: Update, Namespace: "shop", Template: smaller, Observed: mustObserve(t, object)}
			if !action.NeedsLiveObject() {
				t.Error("the update does not read the object, so it cannot know the stale keys")
			}
			want := Keys{Labels: slices.Sorted(maps.Keys(labels)), Annotations: slices.Sorted(maps.Keys(annotations))}
			if diff := cmp.Diff(want, NewCleaner().StaleKeys(action, object), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The names of many keys, as earlier versions of the operator listed them, are equivalent to hashes.
func TestObserve_ManyKeysOfEarlierVersion(t *testing.T) {
	labels := longKeys("example.com", 500)
	template := mustTemplate(t, newReplika(), newObject("vault", "settings", withLabels(labels)))
	names := `{"labels":["` + strings.Join(slices.Sorted(maps.Keys(labels)), `","`) + `"]}`
	byName := mustObserve(t, newCopy(t, template, "shop", withAnnotations(map[string]string{v1alpha1.AnnotationApplied: names})))
	if byName.Digests != template.Digests || !byName.ManyKeys {
		t.Errorf("many keys %v, differing %v", byName.ManyKeys, template.Digests.Differing(byName.Digests))
	}
}

func TestObserve_ForgedApplied(t *testing.T) {
	template := mustTemplate(t, newReplika(), newObject("vault", "settings"))
	huge := strings.Repeat("x", maxAnnotations-1000)
	for name, applied := range map[string]string{
		"one name":   `{"labels":["` + huge + `"]}`,
		"not JSON":   huge,
		"hashes":     `{"hashes":"` + strings.Repeat("AAAAAAAAAAAAAAAA", 15000) + `"}`,
		"many names": `{"labels":["` + strings.Repeat(`x","`, 60000) + `"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, change := range []string{v1alpha1.AnnotationResource, v1alpha1.AnnotationOwner, v1alpha1.AnnotationMarksVersion} {
				observed := mustObserve(t, newCopy(t, template, "shop",
					withAnnotations(map[string]string{v1alpha1.AnnotationApplied: applied}), withoutAnnotation(change)))
				if kept := len(observed.Origin.Value().Applied); kept > maxAppliedNames {
					t.Errorf("%d bytes are kept", kept)
				}
			}
		})
	}
}

func TestApplied_Among(t *testing.T) {
	names := Applied{Labels: []string{"a", "b"}, Annotations: []string{"c"}, ImagePullSecrets: []string{"d"}}
	var hashes Applied
	for entries, list := range map[entryType][]string{labelEntry: {"a", "b"}, annotationEntry: {"c"}, imagePullSecretEntry: {"d"}} {
		for _, name := range list {
			hashes.Hashes = append(hashes.Hashes, hashEntry(entries, name)...)
		}
	}
	hashes.Hashes = sortHashes(hashes.Hashes)
	for form, applied := range map[string]Applied{"names": names, "hashes": hashes} {
		for entries, want := range map[entryType][]string{labelEntry: {"a", "b"}, annotationEntry: {"c"}, imagePullSecretEntry: {"d"}} {
			got := applied.among(entries, []string{"a", "b", "c", "d", "e"})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %s: %s", form, entries, diff)
			}
		}
	}
}

func sortHashes(hashes []byte) []byte {
	return slices.Concat(slices.SortedFunc(slices.Chunk(hashes, hashSize), slices.Compare[[]byte])...)
}
