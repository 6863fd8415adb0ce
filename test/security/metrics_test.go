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

package security

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/cert"

	"github.com/prosimcorp/replika/test/e2e"
)

var _ = Describe("The metrics", Ordered, func() {
	const namespace = "monitoring"
	BeforeAll(func(ctx SpecContext) {
		create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
		for _, name := range []string{"prometheus", "unauthorized"} {
			create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
		}
		allowMetrics(ctx, namespace, "prometheus")
	})

	DescribeTable("are served over TLS to clients that RBAC allows", func(ctx SpecContext, account string, want int) {
		token := ""
		if account != "" {
			token = tokenOf(ctx, namespace, account)
		}
		Eventually(ctx, func(g Gomega) {
			status, body := scrape(ctx, g, leader.metrics, token, &tls.Config{InsecureSkipVerify: true})
			g.Expect(status).To(Equal(want))
			if want == http.StatusOK {
				g.Expect(body).To(ContainSubstring("controller_runtime_reconcile_total"))
			} else {
				g.Expect(body).NotTo(ContainSubstring("controller_runtime"))
			}
		}).Should(Succeed())
	},
		Entry("without a token", "", http.StatusUnauthorized),
		Entry("without the permission", "unauthorized", http.StatusForbidden),
		Entry("with the permission", "prometheus", http.StatusOK),
	)

	It("are not served without TLS", func(ctx SpecContext) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+leader.metrics+"/metrics", http.NoBody)
		Expect(err).NotTo(HaveOccurred())
		request.Header.Set("Authorization", "Bearer "+tokenOf(ctx, namespace, "prometheus"))
		response, err := http.DefaultClient.Do(request)
		Expect(err).NotTo(HaveOccurred())
		Expect(response.Body.Close()).To(Succeed())
		Expect(response.StatusCode).To(Equal(http.StatusBadRequest))
	})

	It("use the administrator's certificate", func(ctx SpecContext) {
		dir := GinkgoT().TempDir()
		certificate, key, err := cert.GenerateSelfSignedCertKey("127.0.0.1", nil, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(os.WriteFile(filepath.Join(dir, "tls.crt"), certificate, 0o600)).To(Succeed())
		Expect(os.WriteFile(filepath.Join(dir, "tls.key"), key, 0o600)).To(Succeed())
		known := x509.NewCertPool()
		Expect(known.AppendCertsFromPEM(certificate)).To(BeTrue())

		standby := startOperator(ctx, "with-certificate", "--metrics-cert-dir="+dir)
		DeferCleanup(standby.stop)
		token := tokenOf(ctx, namespace, "prometheus")
		Eventually(ctx, func(g Gomega) {
			status, _ := scrape(ctx, g, standby.metrics, token, &tls.Config{RootCAs: known})
			g.Expect(status).To(Equal(http.StatusOK))
		}).Should(Succeed())
	})
})

// allowMetrics grants the account the permission to read the metrics, and waits until the API server applies it: the operator
// caches a denial for half a minute.
func allowMetrics(ctx context.Context, namespace, account string) {
	GinkgoHelper()
	bindCluster(ctx, "replika-metrics-reader", serviceAccount(namespace, account))
	Eventually(ctx, func(g Gomega) {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: accountUser(namespace, account), NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: "/metrics", Verb: "get"},
		}}
		g.Expect(admin.Create(ctx, review)).To(Succeed())
		g.Expect(review.Status.Allowed).To(BeTrue())
	}).Should(Succeed())
}

// scrape reads the metrics as Prometheus does.
func scrape(ctx context.Context, g Gomega, address, token string, config *tls.Config) (status int, body string) {
	GinkgoHelper()
	status, body, err := e2e.Scrape(ctx, address, token, config)
	g.Expect(err).NotTo(HaveOccurred())
	return status, body
}
