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
	"flag"
	"io"
	"slices"
	"testing"
)

func TestParseSizes(t *testing.T) {
	tests := map[string]struct {
		text    string
		want    []int
		wantErr bool
	}{
		"one":               {text: "1000", want: []int{1000}},
		"three":             {text: "100,1000,10000", want: []int{100, 1000, 10_000}},
		"descending":        {text: "1000,100", wantErr: true},
		"one of them twice": {text: "100,100", wantErr: true},
		"not a number":      {text: "100,many", wantErr: true},
		"empty":             {text: "", wantErr: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseSizes(test.text)
			if !slices.Equal(got, test.want) || (err != nil) != test.wantErr {
				t.Errorf("parseSizes(%q) = %v, %v; want %v, error %t", test.text, got, err, test.want, test.wantErr)
			}
		})
	}
}

func TestOptions_Validate(t *testing.T) {
	tests := map[string]struct {
		args    []string
		wantErr string
	}{
		"defaults":                     {},
		"one source, many namespaces":  {args: []string{"--namespaces", "88000", "--size", "1"}},
		"many Replikas":                {args: []string{"--replikas", "1000", "--replika-namespaces", "100"}},
		"too few namespaces":           {args: []string{"--namespaces", "5"}, wantErr: "--namespaces must be from 20 to 100000"},
		"too many namespaces":          {args: []string{"--namespaces", "20,1000000"}, wantErr: "--namespaces must be from 20 to 100000"},
		"no Replika":                   {args: []string{"--replikas", "0"}, wantErr: "--replikas must be from 1 to 100000"},
		"no namespace":                 {args: []string{"--replika-namespaces", "0"}, wantErr: "--replika-namespaces must be from 1 to 100000"},
		"too large for the API server": {args: []string{"--size", "1024"}, wantErr: "--size must be from 1 to 1000"},
		"empty cold start":             {args: []string{"--coldstart-size", "0"}, wantErr: "--coldstart-size must be from 1 to 1000"},
		"no events":                    {args: []string{"--events", "0"}, wantErr: "--events must be at least 1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			flags := flag.NewFlagSet(name, flag.ContinueOnError)
			flags.SetOutput(io.Discard)
			got := ""
			if err := parseFlags(flags, test.args).validate(); err != nil {
				got = err.Error()
			}
			if got != test.wantErr {
				t.Errorf("validate returned %q, want %q", got, test.wantErr)
			}
		})
	}
}
