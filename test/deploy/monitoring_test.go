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
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/test/e2e"
)

// scrape reads the operator's metrics with the token, as Prometheus does with the ServiceMonitor.
func scrape(ctx context.Context, address, token string) (string, error) {
	status, body, err := e2e.Scrape(ctx, address, token, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return "", err
	}
	if status != http.StatusOK {
		return "", fmt.Errorf("the metrics endpoint returned %d: %s", status, body)
	}
	return body, nil
}

// repairs matches the number of repaired copies of the Replika.
var repairs = regexp.MustCompile(`replika_drift_repairs_total{name="pager",.*} (\d+)\n`)

// scrapeRepairs returns the number of repaired copies of the Replika.
func scrapeRepairs(ctx context.Context, address, token string) (int, error) {
	metrics, err := scrape(ctx, address, token)
	if err != nil {
		return 0, err
	}
	match := repairs.FindStringSubmatch(metrics)
	if match == nil {
		return 0, nil
	}
	return strconv.Atoi(match[1])
}

// createPrometheusAccount creates a ServiceAccount, grants it the permission to read the metrics with the documentation's
// command, and returns a token of it.
func createPrometheusAccount(ctx context.Context) string {
	GinkgoHelper()
	account := types.NamespacedName{Namespace: "monitoring", Name: "prometheus"}
	create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: account.Namespace}})
	create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: account.Namespace, Name: account.Name}})
	afterFailure(func(ctx context.Context) {
		terminal.Run(ctx, workDir, "kubectl delete clusterrolebinding prometheus-reads-replika --ignore-not-found")
	})
	terminal.Run(ctx, workDir, strings.Replace(grantMetrics, "NAMESPACE:PROMETHEUS_SERVICE_ACCOUNT", account.Namespace+":"+account.Name, 1))
	token, err := env.Token(ctx, account)
	Expect(err).NotTo(HaveOccurred())
	return token
}

// expectMetricsExist expects that the operator exposes every metric and label that the alerts and dashboards query.
func expectMetricsExist(ctx context.Context, metrics string) {
	GinkgoHelper()
	file := filepath.Join(workDir, "metrics.txt")
	Expect(os.WriteFile(file, []byte(metrics), 0o600)).To(Succeed())
	monitoring, err := filepath.Abs(filepath.Join(repository, "config", "prometheus"))
	Expect(err).NotTo(HaveOccurred())
	dashboards, err := filepath.Glob(filepath.Join(monitoring, "dashboards", "*.json"))
	Expect(err).NotTo(HaveOccurred())
	Expect(dashboards).NotTo(BeEmpty())
	terminal.Command(ctx, "go", append([]string{
		"-C", filepath.Join(repository, "hack", "monitoring"), "run", ".", "check", file, filepath.Join(monitoring, "prometheus_rule.yaml"),
	}, dashboards...)...)
}

// expectMonitoringConnected expects that the ServiceMonitor selects the Service, the Service selects the Pods, and the alerts
// use the Service's name and headings of the docs.
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
	Expect(string(rules)).To(ContainSubstring(`up{job="%s"}`, service.Name), "the name of Prometheus' job is the name of the Service")
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
