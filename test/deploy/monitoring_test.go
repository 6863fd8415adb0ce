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

package deploy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// scrape is what the operator's metrics endpoint answers to the token, as the ServiceMonitor has Prometheus ask.
func scrape(ctx context.Context, address, token string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/metrics", http.NoBody)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the metrics endpoint says %s: %s", response.Status, body)
	}
	return string(body), err
}

// prometheus makes a ServiceAccount, lets it read the metrics as the documentation says, and returns a token of it.
func createPrometheusAccount(ctx context.Context) string {
	GinkgoHelper()
	account := types.NamespacedName{Namespace: "monitoring", Name: "prometheus"}
	Expect(admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: account.Namespace}})).To(Succeed())
	Expect(admin.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: account.Namespace, Name: account.Name}})).To(Succeed())
	shell(ctx, folder, strings.Replace(grantMetrics, "NAMESPACE:PROMETHEUS_SERVICE_ACCOUNT", account.Namespace+":"+account.Name, 1))
	return tokenOf(ctx, account)
}

// expectKnown fails unless the operator exposes every metric and label that the alerts and dashboards ask for.
func expectMetricsExist(ctx context.Context, metrics string) {
	GinkgoHelper()
	file := filepath.Join(folder, "metrics.txt")
	Expect(os.WriteFile(file, []byte(metrics), 0o600)).To(Succeed())
	monitoring, err := filepath.Abs(filepath.Join(repository, "config", "prometheus"))
	Expect(err).NotTo(HaveOccurred())
	dashboards, err := filepath.Glob(filepath.Join(monitoring, "dashboards", "*.json"))
	Expect(err).NotTo(HaveOccurred())
	Expect(dashboards).NotTo(BeEmpty())
	command(ctx, "go", append([]string{
		"-C", filepath.Join(repository, "hack", "monitoring"), "run", ".", "check", file, filepath.Join(monitoring, "prometheus_rule.yaml"),
	}, dashboards...)...)
}

// expectConnected fails unless the ServiceMonitor finds the Service, the Service the Pods, and the alerts both.
func expectMonitoringConnected(ctx context.Context) {
	GinkgoHelper()
	monitor := &unstructured.Unstructured{}
	monitor.SetAPIVersion("monitoring.coreos.com/v1")
	monitor.SetKind("ServiceMonitor")
	Expect(admin.Get(ctx, deploymentName, monitor)).To(Succeed())
	service := &corev1.Service{}
	Expect(admin.Get(ctx, types.NamespacedName{Namespace: "replika", Name: "replika-controller-manager-metrics-service"}, service)).To(Succeed())
	deployment := &appsv1.Deployment{}
	Expect(admin.Get(ctx, deploymentName, deployment)).To(Succeed())

	selected, _, err := unstructured.NestedStringMap(monitor.Object, "spec", "selector", "matchLabels")
	Expect(err).NotTo(HaveOccurred())
	Expect(selected).NotTo(BeEmpty())
	for label, value := range selected {
		Expect(service.Labels).To(HaveKeyWithValue(label, value))
	}
	for label, value := range service.Spec.Selector {
		Expect(deployment.Spec.Template.Labels).To(HaveKeyWithValue(label, value))
	}
	endpoints, _, err := unstructured.NestedSlice(monitor.Object, "spec", "endpoints")
	Expect(err).NotTo(HaveOccurred())
	Expect(endpoints).To(ConsistOf(HaveKeyWithValue("port", service.Spec.Ports[0].Name)))

	rules, err := os.ReadFile(filepath.Join(repository, "config", "prometheus", "prometheus_rule.yaml"))
	Expect(err).NotTo(HaveOccurred())
	Expect(string(rules)).To(ContainSubstring(`up{job="%s"}`, service.Name), "Prometheus calls the job as the Service is called")
	// Each alert's runbook is a heading of the docs.
	operations, err := os.ReadFile(filepath.Join(repository, "docs", "operations.md"))
	Expect(err).NotTo(HaveOccurred())
	for line := range strings.Lines(string(rules)) {
		if _, alert, found := strings.Cut(strings.TrimSpace(line), "- alert: "); found {
			Expect(string(operations)).To(ContainSubstring("\n### " + alert + "\n"))
			Expect(string(rules)).To(ContainSubstring("docs/operations.md#" + strings.ToLower(alert) + "\n"))
		}
	}
}
