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

package v1alpha1

import (
	"encoding/json"
	"os"
	"regexp"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"
)

// timeSchema returns the generated schema of spec.synchronization.time.
func timeSchema(t *testing.T) apiextensionsv1.JSONSchemaProps {
	t.Helper()
	content, err := os.ReadFile("../../config/crd/bases/replika.prosimcorp.com_replikas.yaml")
	if err != nil {
		t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(content, crd); err != nil {
		t.Fatal(err)
	}
	root := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
	return root.Properties["spec"].Properties["synchronization"].Properties["time"]
}

// A stored time that does not decode would stop the informer of all Replikas, so
// the schema must reject it.
func TestTimeSchema_AcceptedValuesDecode(t *testing.T) {
	schema := timeSchema(t)
	if schema.Type != "string" || schema.Format != "" {
		t.Fatalf("type %q, format %q: want a string without a format", schema.Type, schema.Format)
	}

	accepted := rapid.StringMatching(schema.Pattern).Filter(func(s string) bool {
		return int64(len(s)) <= *schema.MaxLength
	})
	rapid.Check(t, func(t *rapid.T) {
		text, err := json.Marshal(accepted.Draw(t, "time"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &metav1.Duration{}); err != nil {
			t.Fatalf("the schema accepts %s, but it does not decode: %v", text, err)
		}
	})
}

// Go clients send the format of time.Duration.String, not what users wrote.
func TestTimeSchema_AcceptsGoFormat(t *testing.T) {
	schema := timeSchema(t)
	pattern := regexp.MustCompile(schema.Pattern)
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.Int64Range(int64(time.Second), int64(8760*time.Hour)).Draw(t, "nanoseconds")
		text := time.Duration(d).String()
		if !pattern.MatchString(text) || int64(len(text)) > *schema.MaxLength {
			t.Fatalf("the schema rejects %q", text)
		}
	})
}
