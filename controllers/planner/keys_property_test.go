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
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// TestTemplate_ExcludedKeys checks that a key that the source's owner does not allow, or that the spec does not choose, is in no
// byte of a rendered copy, whatever source and spec are, and that every other key is.
func TestTemplate_ExcludedKeys(t *testing.T) {
	rapid.Check(t, checkExcludedKeys)
}

// FuzzTemplateKeys lets the fuzzer choose source and spec.
func FuzzTemplateKeys(f *testing.F) {
	f.Add([]byte("any source and spec"))
	f.Fuzz(rapid.MakeFuzz(checkExcludedKeys))
}

var (
	someKeys     = []string{"ca.crt", "tls.crt", "tls.key", "a", "b", "a.b", ".dockerconfigjson", "username"}
	somePatterns = append([]string{"*", "tls.*", "*.crt", "a*", "*a*", "*.*", "x"}, someKeys...)
)

// marker is in the value of the key and of no other.
func marker(key string) string { return fmt.Sprintf("(value of %s)", key) }

// keySource draws a source whose keys have a [marker]. Its annotations repeat its content, as kubectl does.
func keySource(t *rapid.T) (source *unstructured.Unstructured, kind string) {
	kind = rapid.SampledFrom([]string{"ConfigMap", "Secret"}).Draw(t, "kind")
	content := fields{}
	for _, key := range rapid.SliceOfNDistinct(rapid.SampledFrom(someKeys), 0, len(someKeys), rapid.ID).Draw(t, "keys") {
		field := "data"
		if kind == "ConfigMap" && rapid.Bool().Draw(t, "binary") {
			field = "binaryData"
		}
		entries, _ := content[field].(fields)
		if entries == nil {
			entries = fields{}
			content[field] = entries
		}
		entries[key] = marker(key)
	}
	if kind == "Secret" {
		content["type"] = rapid.SampledFrom([]string{"Opaque", "kubernetes.io/tls", "kubernetes.io/basic-auth"}).Draw(t, "type")
	}
	applied, _ := json.Marshal(content)
	return newObject("vault", "settings", withContent(kind, content), withAnnotations(map[string]string{
		"kubectl.kubernetes.io/last-applied-configuration": string(applied),
	})), kind
}

func keyReplika(t *rapid.T, kind string) *v1alpha1.Replika {
	patterns := rapid.SliceOfN(rapid.SampledFrom(somePatterns), 0, 3)
	replika := newReplika(withKeys(patterns.Draw(t, "chosen")...))
	for range rapid.IntRange(0, 2).Draw(t, "renamed") {
		replika.Spec.Target.Keys = append(replika.Spec.Target.Keys, v1alpha1.TargetKey{
			From: rapid.SampledFrom(someKeys).Draw(t, "from"), Name: rapid.SampledFrom(append([]string{"new"}, someKeys...)).Draw(t, "name"),
		})
	}
	if kind == "Secret" {
		replika.Spec.Target.Type = rapid.SampledFrom([]string{"", "Opaque", "kubernetes.io/tls"}).Draw(t, "target type")
	}
	return replika
}

func checkExcludedKeys(t *rapid.T) {
	source, kind := keySource(t)
	replika := keyReplika(t, kind)
	var allowed []string
	if rapid.Bool().Draw(t, "restricted") {
		allowed = rapid.SliceOfN(rapid.SampledFrom(somePatterns), 1, 3).Draw(t, "allowed")
		withAllowedKeys(strings.Join(allowed, " , "))(source)
	}
	template, err := NewCleaner().NewTemplate(resourceOf(source), replika, source)
	if err != nil {
		problem, known := errors.AsType[*TemplateError](err)
		if !known || strings.Contains(problem.Message, "(value of") {
			t.Fatalf("error %v", err)
		}
		return
	}
	copied := func(key string) bool {
		return (allowed == nil || naiveMatchesAny(allowed, key)) &&
			(len(replika.Spec.Source.Keys) == 0 || naiveMatchesAny(replika.Spec.Source.Keys, key))
	}
	checkRendered(t, template, source, copied)
}

// checkRendered checks that a copy has the values of the keys that are copied and of no others.
func checkRendered(t *rapid.T, template *Template, source *unstructured.Unstructured, copied func(key string) bool) {
	rendered, err := template.Render("shop")
	if err != nil {
		t.Fatal(err)
	}
	probe, err := template.RenderProbe("shop")
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range dataFields {
		entries, _ := source.Object[field].(fields)
		for key := range entries {
			for _, text := range [][]byte{rendered, probe} {
				if bytes.Contains(text, []byte(marker(key))) != copied(key) {
					t.Fatalf("the key %q is copied: %v, want %v: %s", key, !copied(key), copied(key), text)
				}
			}
		}
	}
}

func naiveMatchesAny(globs []string, key string) bool {
	return slices.ContainsFunc(globs, func(glob string) bool { return naiveMatch(glob, key) })
}

// FuzzAllowedKeys checks that a list of any text is either read in full, or an error with a short message, and that a key that
// no entry matches is not copied.
func FuzzAllowedKeys(f *testing.F) {
	for _, list := range []string{"", "a", "a,b*", "“a”", "a;b", "^a$", "a,,b", "..", "a/b", "[", "a\\", "é", "\x00", "*"} {
		f.Add(list, "a")
	}
	f.Fuzz(func(t *testing.T, list, key string) {
		source := newObject("vault", "settings", withContent("ConfigMap", fields{"data": fields{key: "the value"}}), withAllowedKeys(list))
		allowed, err := AllowedKeys(source)
		if err != nil && (allowed != nil || len(err.Error()) > 700) {
			t.Fatalf("got %v with the error %v", allowed, err)
		}
		template, templateErr := NewCleaner().NewTemplate(configMaps, newReplika(), source)
		if err != nil || templateErr != nil {
			if template != nil || (err == nil) != (templateErr == nil) {
				t.Fatalf("a template although the list is %q: %v, %v", list, err, templateErr)
			}
			return
		}
		for entry := range strings.SplitSeq(list, ",") {
			if !slices.Contains(allowed, strings.TrimSpace(entry)) {
				t.Errorf("the entry %q was dropped: %q", entry, allowed)
			}
		}
		if len(key) > 63 || strings.Count(list, "*") > 6 || naiveMatchesAny(allowed, key) {
			return
		}
		if rendered, err := template.Render("shop"); err == nil && bytes.Contains(rendered, []byte("the value")) {
			t.Errorf("%q is copied although the list is %q", key, list)
		}
	})
}
