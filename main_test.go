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
	"errors"
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestParseFlags(t *testing.T) {
	for name, test := range map[string]struct {
		args    []string
		wantErr string // part of the error; empty for none
	}{
		"none":              {},
		"all that are used": {args: strings.Fields("--leader-elect --leader-election-namespace=replika --metrics-bind-address=:8443 --pprof-bind-address=127.0.0.1:6060 --health-probe-bind-address=0 --max-concurrent-writes=1 --max-concurrent-reconciles=1 --zap-log-level=debug")},
		"IPv6 address":      {args: []string{"--metrics-bind-address=[::1]:8443"}},

		"names and globs of namespaces": {args: []string{"--excluded-namespaces=kube-*, team-a,*", "--excluded-namespaces=", "--excluded-namespaces=a,"}},
		"typographic quotes":            {args: []string{"--excluded-namespaces=“kube-*”"}, wantErr: "--excluded-namespaces: "},
		"semicolons":                    {args: []string{"--excluded-namespaces=kube-*;team-*"}, wantErr: `"kube-*;team-*"`},
		"regular expression":            {args: []string{"--excluded-namespaces=kube-.*"}, wantErr: `"kube-.*"`},
		"unclosed class":                {args: []string{"--excluded-namespaces=[kube"}, wantErr: `"[kube"`},
		"upper case":                    {args: []string{"--excluded-namespaces=Kube-System"}, wantErr: "--excluded-namespaces: "},
		"spaces instead of commas":      {args: []string{"--excluded-namespaces=kube-system default"}, wantErr: "--excluded-namespaces: "},
		"second of two":                 {args: []string{"--excluded-namespaces=kube-system,team_a"}, wantErr: `"team_a"`},
		"not expanded":                  {args: []string{"--excluded-namespaces=$(POD_NAMESPACE)"}, wantErr: "--excluded-namespaces: "},
		"too long":                      {args: []string{"--excluded-namespaces=" + strings.Repeat("a", 64)}, wantErr: "--excluded-namespaces: "},

		"keys and prefixes":      {args: []string{"--drop-key=example.com/x", "--drop-key=team", "--drop-key=Example.com/*", "--drop-key=team-*"}},
		"empty key":              {args: []string{"--drop-key="}, wantErr: "--drop-key: "},
		"two keys":               {args: []string{"--drop-key=a,b"}, wantErr: "--drop-key: "},
		"glob in front of a key": {args: []string{"--drop-key=*.example.com/*"}, wantErr: "--drop-key: "},
		"two slashes":            {args: []string{"--drop-key=a/b/*"}, wantErr: "--drop-key: "},
		"key with a value":       {args: []string{"--drop-key=team=a"}, wantErr: "--drop-key: "},

		"ServiceAccount":              {args: []string{"--default-service-account=copier.v1"}},
		"user name of ServiceAccount": {args: []string{"--default-service-account=system:serviceaccount:a:b"}, wantErr: "--default-service-account: "},
		"ServiceAccount of namespace": {args: []string{"--default-service-account=a/b"}, wantErr: "--default-service-account: "},

		"no reconciles":     {args: []string{"--max-concurrent-reconciles=0"}, wantErr: "--max-concurrent-reconciles: "},
		"negative writes":   {args: []string{"--max-concurrent-writes=-1"}, wantErr: "--max-concurrent-writes: "},
		"writes in words":   {args: []string{"--max-concurrent-writes=many"}, wantErr: "max-concurrent-writes"},
		"port only":         {args: []string{"--metrics-bind-address=8443"}, wantErr: "--metrics-bind-address: "},
		"no metrics":        {args: []string{"--metrics-bind-address="}, wantErr: "--metrics-bind-address: "},
		"host only":         {args: []string{"--health-probe-bind-address=localhost"}, wantErr: "--health-probe-bind-address: "},
		"port out of range": {args: []string{"--pprof-bind-address=:65536"}, wantErr: "--pprof-bind-address: "},
		"URL":               {args: []string{"--pprof-bind-address=http://localhost:80"}, wantErr: "--pprof-bind-address: "},
		"lease namespace":   {args: []string{"--leader-election-namespace=a/b"}, wantErr: "--leader-election-namespace: "},
		"unused cert dir":   {args: []string{"--metrics-secure=false", "--metrics-cert-dir=/certs"}, wantErr: "--metrics-cert-dir: "},
		"log level":         {args: []string{"--zap-log-level=loud"}, wantErr: "zap-log-level"},
		"unknown flag":      {args: []string{"--exclude-namespaces=kube-*"}, wantErr: "exclude-namespaces"},
		// What follows an argument is not parsed: --require-source-consent would be off.
		"value without =": {args: []string{"--leader-elect", "true", "--require-source-consent"}, wantErr: `"true"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseFlags(flag.NewFlagSet("replika", flag.PanicOnError), test.args)
			switch {
			case test.wantErr == "" && err != nil:
				t.Errorf("unexpected error %q", err)
			case test.wantErr != "" && err == nil:
				t.Errorf("no error, want one with %q", test.wantErr)
			case err != nil && (!strings.Contains(err.Error(), test.wantErr) || strings.Contains(err.Error(), "\n")):
				t.Errorf("error %q, want one line with %q", err, test.wantErr)
			}
		})
	}
}

// runMain has the test binary run the operator with the arguments that the variable holds.
const runMain = "REPLIKA_TEST_ARGS"

func TestMain(m *testing.M) {
	if args, found := os.LookupEnv(runMain); found {
		os.Args = append([]string{"manager"}, strings.Fields(args)...)
		main()
		return
	}
	os.Exit(m.Run())
}

func TestInvalidFlagEndsTheProcess(t *testing.T) {
	operator := exec.Command(os.Args[0])
	operator.Env = append(os.Environ(), runMain+"=--leader-elect --excluded-namespaces=kube-*;team-*")
	var stderr strings.Builder
	operator.Stderr = &stderr
	err := operator.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("ended with %v, want exit code 2", err)
	}
	if output := stderr.String(); strings.Count(output, "\n") != 1 || !strings.Contains(output, "--excluded-namespaces") {
		t.Errorf("printed %q, want one line about --excluded-namespaces", output)
	}
}
