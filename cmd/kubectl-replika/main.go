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

// Kubectl-replika is a kubectl plugin: it shows what the operator does with Replikas and their copies, and why. Package commands
// has the commands.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/prosimcorp/replika/cmd/kubectl-replika/commands"
)

// version is set at build time.
var version = "devel"

func main() {
	// The commands return their errors. What libraries log besides would repeat them.
	klog.SetLogger(logr.Discard())
	log.SetLogger(logr.Discard())

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	code := commands.Run(ctx, version, os.Args[1:], streams)
	stop()
	os.Exit(code)
}
