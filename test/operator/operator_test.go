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

package operator

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// unreachableKubeconfig is a kubeconfig of a cluster that does not exist: these
// tests are about the process.
const unreachableKubeconfig = `{apiVersion: v1, kind: Config, current-context: it,
contexts: [{name: it, context: {cluster: it}}],
clusters: [{name: it, cluster: {server: "https://127.0.0.1:1"}}]}`

// startAndBlockEnv makes the test binary start the operator in the folder that
// the variable names, print its process ID, and block until a test kills it.
const startAndBlockEnv = "REPLIKA_TEST_HOLD_OPERATOR"

// dir holds the binary and the kubeconfig of all tests.
var dir string

func TestMain(m *testing.M) {
	if dir = os.Getenv(startAndBlockEnv); dir != "" {
		p, err := Start(options(filepath.Join(dir, "blocked.log")))
		if err != nil {
			panic(err)
		}
		fmt.Println(p.command.Process.Pid)
		select {}
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if dir, err = os.MkdirTemp("", "replika-operator-"); err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if _, err := Build(context.Background(), dir); err != nil {
		panic(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kubeconfig"), []byte(unreachableKubeconfig), 0o600); err != nil {
		panic(err)
	}
	return m.Run()
}

func options(log string, args ...string) Options {
	return Options{
		Binary: filepath.Join(dir, "replika"), Kubeconfig: filepath.Join(dir, "kubeconfig"), LogFile: log, Args: args,
	}
}

func start(t *testing.T, args ...string) (*WithT, *Process) {
	g := NewWithT(t)
	g.SetDefaultEventuallyTimeout(time.Minute)
	p, err := Start(options(filepath.Join(t.TempDir(), "operator.log"), args...))
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() {
		if p.Running() {
			_ = p.Kill()
		}
	})
	return g, p
}

func TestProcess_PauseResumeStop(t *testing.T) {
	g, p := start(t)
	g.Eventually(p.Ready).Should(Succeed())
	g.Expect(p.Pause()).To(Succeed())
	g.Eventually(p.Ready).Should(MatchError(ContainSubstring("readiness probe")))
	g.Expect(p.Running()).To(BeTrue())
	g.Expect(p.Resume()).To(Succeed())
	g.Eventually(p.Ready).Should(Succeed())
	g.Expect(p.Stop()).To(Succeed(), p.Log())
	g.Expect(p.Running()).To(BeFalse())
	g.Expect(p.PanicsAndRaces()).To(BeEmpty())
	g.Expect(p.Kill()).NotTo(Succeed(), "it has exited already")
}

func TestProcess_Kill(t *testing.T) {
	g, p := start(t)
	g.Eventually(p.Ready).Should(Succeed())
	g.Expect(p.Kill()).To(Succeed())
	g.Expect(p.Running()).To(BeFalse())
	g.Expect(p.Ready()).To(MatchError(ContainSubstring("signal: killed")))
	g.Expect(p.Log()).To(ContainSubstring("Starting manager"))
}

func TestProcess_ExitsByItself(t *testing.T) {
	g, p := start(t, "--no-such-flag")
	g.Eventually(p.Ready).Should(MatchError(ContainSubstring("exit status 2")))
	g.Expect(p.Log()).To(ContainSubstring("no-such-flag"))
	g.Expect(p.Stop()).NotTo(Succeed())
}

func TestProcess_Restart(t *testing.T) {
	tests := map[string]struct {
		restart bool
		message string
		want    int // starts
	}{
		"lost leadership":                    {restart: true, message: "leader election lost", want: 2},
		"paused":                             {restart: true, message: "the process was paused for 6s and may have lost leadership", want: 2},
		"another error":                      {restart: true, message: "no such file", want: 1},
		"lost leadership, without a kubelet": {message: "leader election lost", want: 1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			g.SetDefaultEventuallyTimeout(time.Minute)
			o := options(filepath.Join(t.TempDir(), "operator.log"))
			o.Restart = tc.restart
			// It fails when it is started for the first time.
			o.Binary = filepath.Join(t.TempDir(), "operator")
			script := "#!/bin/sh\nif mkdir \"$0.ran\"; then echo started; echo '" + tc.message + "'; exit 1; fi\necho started\nexec sleep 1000\n"
			g.Expect(os.WriteFile(o.Binary, []byte(script), 0o700)).To(Succeed())
			p, err := Start(o)
			g.Expect(err).NotTo(HaveOccurred())
			if tc.want == 1 {
				g.Eventually(p.Exited()).Should(BeClosed())
			} else {
				g.Eventually(func() int { return strings.Count(p.Log(), "started\n") }).Should(Equal(tc.want))
				g.Expect(p.Kill()).To(Succeed(), "it is not started again")
			}
			g.Expect(strings.Count(p.Log(), "started\n")).To(Equal(tc.want))
		})
	}
}

func TestProcess_PanicsAndRaces(t *testing.T) {
	g := NewWithT(t)
	p := &Process{options: Options{LogFile: filepath.Join(t.TempDir(), "log")}}
	log := "INFO starting\nWARNING: DATA RACE\nERROR Observed a panic {}\npanic: nil map\n"
	g.Expect(os.WriteFile(p.options.LogFile, []byte(log), 0o600)).To(Succeed())
	g.Expect(p.PanicsAndRaces()).To(Equal([]string{"WARNING: DATA RACE", "ERROR Observed a panic {}", "panic: nil map"}))
}

func TestProcess_StopsWhenItsParentIsKilled(t *testing.T) {
	g := NewWithT(t)
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), startAndBlockEnv+"="+dir)
	parent.Stderr = os.Stderr
	out, err := parent.StdoutPipe()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(parent.Start()).To(Succeed())
	line, err := bufio.NewReader(out).ReadString('\n')
	g.Expect(err).NotTo(HaveOccurred())
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	g.Expect(err).NotTo(HaveOccurred())
	group := func() error { return syscall.Kill(-pid, 0) }
	g.Expect(group()).To(Succeed())

	g.Expect(parent.Process.Kill()).To(Succeed())
	_ = parent.Wait()
	g.Eventually(group).WithTimeout(time.Minute).Should(MatchError(syscall.ESRCH), "both the operator and the reader are killed")
}
