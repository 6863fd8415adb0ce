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

package commands

import (
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/prosimcorp/replika/controllers"
)

func TestParseOptions(t *testing.T) {
	defaults, err := parseOptions(nil)
	if err != nil {
		t.Fatal(err)
	}
	if defaults.MaxConcurrentWrites == 0 || defaults.Policy.MaxCopies == 0 {
		t.Errorf("without arguments: %+v, want the defaults", defaults)
	}
	cases := map[string]struct {
		args []string
		want func(*controllers.Options)
	}{
		"flags of the manager": {
			[]string{"/manager", "--leader-elect", "--metrics-bind-address", ":8443", "--zap-log-level=debug", "--later-version=x"},
			func(*controllers.Options) {},
		},
		"one dash": {[]string{"-require-source-consent"}, func(o *controllers.Options) { o.Policy.RequireSourceConsent = true }},
		"a value that is a flag of its own": {
			[]string{"--default-service-account", "copier", "--require-service-account"},
			func(o *controllers.Options) {
				o.Policy.DefaultServiceAccount, o.Policy.RequireServiceAccount = "copier", true
			},
		},
		"repeated": {
			[]string{"--excluded-namespaces=kube-system,kube-public", "--leader-elect", "--excluded-namespaces=replika", "--drop-key=a/*"},
			func(o *controllers.Options) {
				o.Policy.ExcludedNamespaces, o.DropKeys = []string{"kube-system", "kube-public", "replika"}, []string{"a/*"}
			},
		},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			want := defaults
			testCase.want(&want)
			got, err := parseOptions(testCase.args)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	if _, err := parseOptions([]string{"--max-concurrent-writes=many"}); err == nil {
		t.Error("an invalid value is accepted")
	}
}

func TestExpandAll(t *testing.T) {
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	container := &corev1.Container{
		Command: []string{"/manager"},
		Args:    []string{"--a=$(POD_NAMESPACE)", "--b=$(PLAIN)-$(PLAIN)", "--c=$(POD_IP)", "--d=$$(PLAIN)", "--e=$PLAIN"},
		Env: []corev1.EnvVar{
			{Name: "POD_NAMESPACE", ValueFrom: field("metadata.namespace")},
			{Name: "POD_IP", ValueFrom: field("status.podIP")},
			{Name: "PLAIN", Value: "x"},
		},
	}
	want := []string{"/manager", "--a=replika", "--b=x-x", "--c=$(POD_IP)", "--d=$(PLAIN)", "--e=$PLAIN"}
	if got := expandAll(container, "replika"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestImageTag(t *testing.T) {
	for image, want := range map[string]string{
		"prosimcorp/replika:v0.5.0":                     "v0.5.0",
		"registry.example.com:5000/replika":             "",
		"registry.example.com:5000/replika:v1":          "v1",
		"prosimcorp/replika:v0.5.0@sha256:0123456789ab": "v0.5.0",
		"prosimcorp/replika":                            "",
	} {
		if got := imageTag(image); got != want {
			t.Errorf("%s: got %q, want %q", image, got, want)
		}
	}
}
