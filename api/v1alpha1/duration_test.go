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

package v1alpha1_test

import (
	"encoding/json"
	"regexp"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"pgregory.net/rapid"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// timeSchema returns the generated schema of spec.synchronization.time.
func timeSchema(t *testing.T) apiextensionsv1.JSONSchemaProps {
	t.Helper()
	root := versionsOf(t)[v1alpha1.GroupVersion.Version].Schema.OpenAPIV3Schema
	return root.Properties["spec"].Properties["synchronization"].Properties["time"]
}

// A stored time that does not decode would stop the informer of all Replikas.
func TestDuration_DecodesEveryText(t *testing.T) {
	schema := timeSchema(t)
	if schema.Type != "string" || schema.Format != "" {
		t.Fatalf("type %q, format %q: want a string without a format", schema.Type, schema.Format)
	}
	texts := rapid.OneOf(rapid.String(), rapid.StringMatching(schema.Pattern), rapid.StringMatching(`-?[0-9]{1,30}(ns|us|h|d)?`))
	rapid.Check(t, func(t *rapid.T) {
		text := texts.Draw(t, "text")
		encoded, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var d v1alpha1.Duration
		if err := json.Unmarshal(encoded, &d); err != nil {
			t.Fatalf("%s does not decode: %v", encoded, err)
		}
		if d.Duration < v1alpha1.MinSynchronizationTime || d.Duration > v1alpha1.MaxSynchronizationTime {
			t.Fatalf("%s decodes to %s, which is out of bounds", encoded, d.Duration)
		}
		var again v1alpha1.Duration
		if reencoded, err := json.Marshal(d); err != nil || json.Unmarshal(reencoded, &again) != nil || again != d {
			t.Fatalf("%s decodes to %v, which is encoded as %s, %v", encoded, d, reencoded, err)
		}
	})
}

func TestDuration_Decode(t *testing.T) {
	for text, want := range map[string]v1alpha1.Duration{
		"20s":         {Duration: 20 * time.Second},
		"1h1m":        {Duration: 61 * time.Minute},
		"8760h":       {Duration: v1alpha1.MaxSynchronizationTime},
		"500ms":       {Duration: time.Second, Invalid: "500ms"},
		"0":           {Duration: time.Second, Invalid: "0"},
		"-5s":         {Duration: time.Second, Invalid: "-5s"},
		"9000h":       {Duration: v1alpha1.MaxSynchronizationTime, Invalid: "9000h"},
		"9999999999h": {Duration: time.Minute, Invalid: "9999999999h"},
		"soon":        {Duration: time.Minute, Invalid: "soon"},
	} {
		encoded, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var got v1alpha1.Duration
		if err := json.Unmarshal(encoded, &got); err != nil || got != want {
			t.Errorf("%q decodes to %v, %v: want %v", text, got, err, want)
		}
	}
	if err := json.Unmarshal([]byte("20"), &v1alpha1.Duration{}); err == nil {
		t.Error("a number decodes")
	}
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
