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

package cluster

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// startAndBlockEnv makes the test binary start a cluster, print its Dir and block
// until a test kills it.
const startAndBlockEnv = "REPLIKA_TEST_HOLD_CLUSTER"

func TestMain(m *testing.M) {
	if os.Getenv(startAndBlockEnv) == "" {
		os.Exit(m.Run())
	}
	c, err := Start(context.Background(), Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(c.Dir)
	select {}
}

func TestCluster(t *testing.T) {
	g := NewWithT(t)
	g.SetDefaultEventuallyTimeout(time.Minute)
	ctx := t.Context()

	var log bytes.Buffer
	began := time.Now()
	c, err := Start(ctx, Options{AuditLog: true, Log: &log, CRDs: []string{"testdata"}})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = c.Stop() })
	t.Logf("started in %s", time.Since(began).Round(time.Millisecond))

	t.Run("controllers", func(t *testing.T) { testControllers(t, c) })
	t.Run("access", func(t *testing.T) { testAccess(t, c) })
	t.Run("audit", func(t *testing.T) { testAudit(t, c) })
	t.Run("outages", func(t *testing.T) { testOutages(t, c) })
	t.Run("no controllers", func(t *testing.T) { testNoControllers(t, c) })

	began = time.Now()
	g.Expect(c.Stop()).To(Succeed())
	t.Logf("stopped in %s", time.Since(began).Round(time.Millisecond))
	g.Expect(c.Stop()).To(Succeed())
	g.Expect(c.Dir).NotTo(BeADirectory())
	g.Eventually(processesOf).WithArguments(c.Dir).Should(BeEmpty())
	g.Expect(log.String()).To(ContainSubstring("kube-controller-manager"))
}

// testOutages checks that writes fail while the API server is stopped, time out
// while etcd is paused, and succeed afterwards.
func testOutages(t *testing.T, c *Cluster) {
	g, ctx := NewWithT(t), t.Context()
	g.SetDefaultEventuallyTimeout(time.Minute)
	admin := clientOf(g, c.Config, "")
	writeWithin := func(timeout time.Duration, name string) error {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return admin.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}})
	}
	write := func(name string) error { return writeWithin(time.Minute, name) }
	g.Expect(write("before")).To(Succeed())

	g.Expect(c.StopAPIServer()).To(Succeed())
	g.Expect(write("while-stopped")).To(MatchError(ContainSubstring("connection refused")))
	g.Expect(c.StopAPIServer()).NotTo(Succeed(), "it is stopped already")
	g.Expect(c.StartAPIServer()).To(Succeed())
	g.Eventually(write).WithArguments("after-restart").Should(Succeed())
	g.Expect(admin.Get(ctx, client.ObjectKey{Namespace: "default", Name: "before"}, &corev1.ConfigMap{})).To(Succeed())

	g.Expect(c.PauseEtcd()).To(Succeed())
	g.Expect(writeWithin(time.Second, "while-paused")).To(MatchError(context.DeadlineExceeded))
	g.Expect(c.ResumeEtcd()).To(Succeed())
	g.Eventually(write).WithArguments("after-resume").Should(Succeed())
}

// testNoControllers checks that the controller manager can be stopped, more than
// once.
func testNoControllers(t *testing.T, c *Cluster) {
	g := NewWithT(t)
	c.StopControllerManager()
	c.StopControllerManager()
	g.Expect(c.manager.exited).To(BeClosed())
}

// testControllers checks what only a controller manager does.
func testControllers(t *testing.T, c *Cluster) {
	g, ctx := NewWithT(t), t.Context()
	g.SetDefaultEventuallyTimeout(time.Minute)
	admin := clientOf(g, c.Config, "")

	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "short-lived"}}
	g.Expect(admin.Create(ctx, ns)).To(Succeed())
	account := &corev1.ServiceAccount{}
	g.Eventually(func() error {
		return admin.Get(ctx, client.ObjectKey{Namespace: ns.Name, Name: "default"}, account)
	}).Should(Succeed())
	g.Eventually(func() error {
		return admin.Get(ctx, client.ObjectKey{Namespace: ns.Name, Name: "kube-root-ca.crt"}, &corev1.ConfigMap{})
	}).Should(Succeed())

	owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: "owner"}}
	g.Expect(admin.Create(ctx, owner)).To(Succeed())
	owned := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Namespace: ns.Name, Name: "owned",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}},
	}}
	g.Expect(admin.Create(ctx, owned)).To(Succeed())
	g.Expect(admin.Delete(ctx, owner)).To(Succeed())
	g.Eventually(func() error { return admin.Get(ctx, client.ObjectKeyFromObject(owned), owned) }).
		Should(Satisfy(apierrors.IsNotFound), "the garbage collector deletes dependents")

	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: "few"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/secrets": resource.MustParse("0")}},
	}
	g.Expect(admin.Create(ctx, quota)).To(Succeed())
	g.Eventually(func() error {
		return admin.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, GenerateName: "over-"}})
	}).Should(MatchError(ContainSubstring("exceeded quota")))

	g.Expect(admin.Delete(ctx, ns)).To(Succeed())
	g.Eventually(func() error { return admin.Get(ctx, client.ObjectKeyFromObject(ns), ns) }).
		Should(Satisfy(apierrors.IsNotFound), "the namespace controller empties and finalizes the namespace")
}

// testAccess checks that users, tokens and kubeconfig files authenticate as the
// right user, and have only that user's permissions.
func testAccess(t *testing.T, c *Cluster) {
	g, ctx := NewWithT(t), t.Context()
	whoami := func(cfg *rest.Config) string {
		review := &authenticationv1.SelfSubjectReview{}
		g.Expect(clientOf(g, cfg, "").Create(ctx, review)).To(Succeed())
		return review.Status.UserInfo.Username
	}

	jane, err := c.User("jane", "developers")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(whoami(jane)).To(Equal("jane"))
	err = clientOf(g, jane, "").List(ctx, &corev1.ConfigMapList{})
	g.Expect(err).To(Satisfy(apierrors.IsForbidden), "RBAC is enabled")

	token := &authenticationv1.TokenRequest{}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "default"}}
	g.Expect(clientOf(g, c.Config, "").SubResource("token").Create(ctx, account, token)).To(Succeed())
	bearer := rest.AnonymousClientConfig(c.Config)
	bearer.BearerToken = token.Status.Token
	g.Expect(whoami(bearer)).To(Equal("system:serviceaccount:default:default"))

	attached, err := Attach(c.Kubeconfig)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(attached.Dir).To(Equal(c.Dir))
	joe, err := attached.User("joe")
	g.Expect(err).NotTo(HaveOccurred())
	file := filepath.Join(t.TempDir(), "joe.kubeconfig")
	g.Expect(attached.KubeconfigFor(joe, file)).To(Succeed())
	asJoe, err := Attach(file)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(whoami(asJoe.Config)).To(Equal("joe"))
	g.Expect(attached.Stop()).To(Succeed())
	g.Expect(whoami(c.Config)).To(Equal("admin"), "Stop of an attached cluster does nothing")
}

// testAudit checks that requests since a mark are found by their user agent.
func testAudit(t *testing.T, c *Cluster) {
	g, ctx := NewWithT(t), t.Context()
	const agent = "audited-test/1.0"
	cl := clientOf(g, c.Config, agent)
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "before-mark"}}
	g.Expect(cl.Create(ctx, cm)).To(Succeed())
	g.Eventually(c.AuditEvents).WithArguments(int64(0), ByUserAgent(agent), AuditEvent.Writes).Should(HaveLen(1))

	mark := c.Mark()
	cm = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "after-mark"}}
	g.Expect(cl.Create(ctx, cm)).To(Succeed())
	g.Expect(clientOf(g, c.Config, "other/1.0").Delete(ctx, cm)).To(Succeed())
	var events []AuditEvent
	g.Eventually(func() (_ []AuditEvent, err error) {
		events, err = c.AuditEvents(mark, ByUserAgent(agent), AuditEvent.Writes)
		return events, err
	}).Should(HaveLen(1))
	e := events[0]
	g.Expect(e.Received).To(BeTemporally("~", time.Now(), time.Minute))
	g.Expect(e.Completed).To(BeTemporally(">=", e.Received))
	e.Received, e.Completed = time.Time{}, time.Time{}
	g.Expect(e).To(Equal(AuditEvent{
		Verb: "create", UserAgent: agent, User: "admin", Sender: "admin", Resource: "configmaps", Namespace: "default", Name: "after-mark",
		Code: 201, Stage: StageComplete, RequestURI: "/api/v1/namespaces/default/configmaps",
	}))

	watching, err := client.NewWithWatch(agentConfig(c.Config, agent), client.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	w, err := watching.Watch(ctx, &corev1.ConfigMapList{})
	g.Expect(err).NotTo(HaveOccurred())
	defer w.Stop()
	started := func(e AuditEvent) bool { return e.Verb == "watch" && e.Stage == StageStarted }
	g.Eventually(c.AuditEvents).WithArguments(mark, ByUserAgent(agent), Filter(started)).Should(HaveLen(1))
}

func TestStart_InvalidFlag(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("lists processes in /proc")
	}
	g := NewWithT(t)
	t.Setenv("TMPDIR", t.TempDir())
	_, err := Start(t.Context(), Options{APIServerArgs: map[string][]string{"no-such-flag": {"x"}}})
	g.Expect(err).To(MatchError(ContainSubstring("unknown flag: --no-such-flag")))
	expectNoLeftovers(g)
}

func TestStart_ContextCancelled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("lists processes in /proc")
	}
	g := NewWithT(t)
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := Start(ctx, Options{})
		ended <- err
	}()
	g.Eventually(processesOf).WithTimeout(time.Minute).WithArguments("run-kube-apiserver").ShouldNot(BeEmpty())
	cancel()
	g.Eventually(ended).WithTimeout(time.Minute).Should(Receive(MatchError(context.Canceled)))
	expectNoLeftovers(g)
}

func TestCluster_StopsWhenItsProcessIsKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("lists processes in /proc")
	}
	g := NewWithT(t)
	tmp := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), startAndBlockEnv+"=1", "TMPDIR="+tmp)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(cmd.Start()).To(Succeed())
	dir, err := bufio.NewReader(out).ReadString('\n')
	g.Expect(err).NotTo(HaveOccurred())
	dir = strings.TrimSpace(dir)
	g.Expect(processesOf(dir)).NotTo(BeEmpty())

	g.Expect(cmd.Process.Kill()).To(Succeed())
	_ = cmd.Wait()
	g.Eventually(processesOf).WithTimeout(time.Minute).WithArguments(dir).Should(BeEmpty())

	t.Setenv("TMPDIR", tmp)
	alive := filepath.Join(tmp, dirPrefix+"alive")
	g.Expect(os.Mkdir(alive, 0o700)).To(Succeed())
	watchdog, err := newWatchdog(alive)
	g.Expect(err).NotTo(HaveOccurred())
	defer watchdog.killAll()
	removeStaleDirs()
	g.Expect(dir).NotTo(BeADirectory(), "the folder of the killed process is removed")
	g.Expect(alive).To(BeADirectory())
}

// expectNoLeftovers checks that no process is running and TMPDIR is empty.
func expectNoLeftovers(g *WithT) {
	g.Eventually(processesOf).WithTimeout(time.Minute).WithArguments(os.TempDir()).Should(BeEmpty())
	left, err := os.ReadDir(os.TempDir())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(left).To(BeEmpty())
}

func clientOf(g *WithT, cfg *rest.Config, userAgent string) client.Client {
	c, err := client.New(agentConfig(cfg, userAgent), client.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	return c
}

func agentConfig(cfg *rest.Config, userAgent string) *rest.Config {
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent = userAgent
	return cfg
}

// processesOf returns the command lines that contain text, except that of this
// process. The command lines of all programs of a cluster, and of the watchdog's
// readers, contain the cluster's Dir.
func processesOf(text string) []string {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var out []string
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(line, []byte(text)) || filepath.Base(filepath.Dir(file)) == fmt.Sprint(os.Getpid()) {
			continue
		}
		out = append(out, string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
	}
	return out
}
