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

package main

import (
	"io"
	"strings"
	"testing"
)

func TestProgressMeter(t *testing.T) {
	m := &progressMeter{}
	m.begin("etcd", []string{"fmt", "net/http", "example.com/a"})
	stderr := &lineWriter{each: m.line}
	for _, chunk := range []string{"go: downloading example.com/a v1.0.0\nf", "mt\nexample.com/a\nfmt\n", "a.go:1: broken"} {
		if _, err := io.WriteString(stderr, chunk); err != nil {
			t.Fatal(err)
		}
	}
	stderr.flush()

	if got := m.String(); !strings.Contains(got, "etcd: 2 of at most 3 packages compiled") {
		t.Errorf("String returned %q", got)
	}
	if got := m.otherOutput(); got != "a.go:1: broken" {
		t.Errorf("otherOutput returned %q", got)
	}
}
