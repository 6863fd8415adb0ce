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
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParsePins(t *testing.T) {
	cases := map[string]struct {
		goMod   string
		want    pins
		wantErr string
	}{
		"block, tool lines with the same path, comments": {
			goMod: "tool (\n\tk8s.io/kubernetes/cmd/kube-apiserver\n\tgo.etcd.io/etcd/server/v3\n)\n" +
				"require (\n\tgo.etcd.io/etcd/server/v3 v3.7.0 // indirect\n\tk8s.io/kubernetes v1.37.2 // indirect\n)\n",
			want: pins{kubernetes: "v1.37.2", etcd: "v3.7.0"},
		},
		"single lines": {
			goMod: "require k8s.io/kubernetes v1.38.0\nrequire go.etcd.io/etcd/server/v3 v3.8.1\n",
			want:  pins{kubernetes: "v1.38.0", etcd: "v3.8.1"},
		},
		"one module is missing": {
			goMod:   "require k8s.io/kubernetes v1.38.0\n",
			wantErr: "must require",
		},
		"incomplete version": {
			goMod:   "require k8s.io/kubernetes v1\nrequire go.etcd.io/etcd/server/v3 v3.8.1\n",
			wantErr: "not vMAJOR.MINOR.PATCH",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := parsePins(tc.goMod)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Fatalf("error is %v, want one with %q", err, tc.wantErr)
				}
				return
			}
			if err != nil || got != tc.want {
				t.Fatalf("got %+v, %v, want %+v", got, err, tc.want)
			}
		})
	}
}

func TestFindPins(t *testing.T) {
	latest, err := findPins(newest)
	if err != nil || latest.dir != "." {
		t.Fatalf("got %+v, %v, want the pins of this module", latest, err)
	}
	folders, err := os.ReadDir(versionsDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		got, err := findPins(folder.Name())
		if want := filepath.Join(versionsDir, folder.Name()); err != nil || got.dir != want {
			t.Errorf("got %+v, %v, want those in %s", got, err, want)
		}
		if !strings.HasPrefix(got.kubernetes, "v"+folder.Name()+".") {
			t.Errorf("%s pins Kubernetes %s", folder.Name(), got.kubernetes)
		}
	}
	major, minor, _ := latest.majorMinor()
	if got, err := findPins(major + "." + minor); err != nil || got != latest {
		t.Errorf("got %+v, %v, want those of the newest version", got, err)
	}
	if _, err := findPins("1.2"); err == nil || !strings.Contains(err.Error(), newest+", 1.30, ") {
		t.Errorf("error is %v, want one with the versions to choose from", err)
	}
}
