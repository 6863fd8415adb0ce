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

package planner

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// keyRuleExamples has, for each rule of the table, keys that it strips and similar keys that it keeps.
var keyRuleExamples = map[string]struct{ stripped, kept []string }{
	"kubectl.kubernetes.io/last-applied-configuration": {
		stripped: []string{"kubectl.kubernetes.io/last-applied-configuration"},
		kept:     []string{"kubectl.kubernetes.io/default-container", "kubernetes.io/change-cause", "kubernetes.io/description"},
	},

	"argocd.argoproj.io/tracking-id":     {stripped: []string{"argocd.argoproj.io/tracking-id"}, kept: []string{"argocd.argoproj.io/secret-type"}},
	"argocd.argoproj.io/installation-id": {stripped: []string{"argocd.argoproj.io/installation-id"}, kept: []string{"argocd.argoproj.io/sync-wave"}},
	"argocd.argoproj.io/instance":        {stripped: []string{"argocd.argoproj.io/instance"}, kept: []string{"argocd.argoproj.io/hook", "argocd.argoproj.io/sync-options"}},
	"app.kubernetes.io/instance": {
		stripped: []string{"app.kubernetes.io/instance"},
		kept:     []string{"app.kubernetes.io/name", "app.kubernetes.io/component", "app.kubernetes.io/part-of", "app.kubernetes.io/version"},
	},

	"*.toolkit.fluxcd.io/*": {
		stripped: []string{
			"kustomize.toolkit.fluxcd.io/name", "kustomize.toolkit.fluxcd.io/namespace", "kustomize.toolkit.fluxcd.io/prune",
			"helm.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/namespace",
		},
		kept: []string{"toolkit.fluxcd.io/name", "reconcile.fluxcd.io/watch", "kustomize.toolkit.fluxcd.io.example.com/name"},
	},
	"fluxcd.controlplane.io/name":      {stripped: []string{"fluxcd.controlplane.io/name"}, kept: []string{"fluxcd.controlplane.io/reconcileEvery"}},
	"fluxcd.controlplane.io/namespace": {stripped: []string{"fluxcd.controlplane.io/namespace"}, kept: []string{"fluxcd.controlplane.io/namespaces"}},
	"*.fluxcd.controlplane.io/*": {
		stripped: []string{"resourceset.fluxcd.controlplane.io/name", "resourceset.fluxcd.controlplane.io/namespace"},
		kept:     []string{"fluxcd.controlplane.io/prune"},
	},

	"meta.helm.sh/*":               {stripped: []string{"meta.helm.sh/release-name", "meta.helm.sh/release-namespace"}, kept: []string{"meta.helm.example/release-name"}},
	"helm.sh/*":                    {stripped: []string{"helm.sh/chart", "helm.sh/hook", "helm.sh/resource-policy"}, kept: []string{"charts.helm.sh/name", "chart"}},
	"app.kubernetes.io/managed-by": {stripped: []string{"app.kubernetes.io/managed-by"}, kept: []string{"app.kubernetes.io/managed-by-team"}},

	"applyset.kubernetes.io/*":           {stripped: []string{"applyset.kubernetes.io/part-of", "applyset.kubernetes.io/id"}, kept: []string{"applysets.kubernetes.io/id"}},
	"kapp.k14s.io/*":                     {stripped: []string{"kapp.k14s.io/app", "kapp.k14s.io/association", "kapp.k14s.io/original"}, kept: []string{"kappctrl.k14s.io/app"}},
	"config.k8s.io/owning-inventory":     {stripped: []string{"config.k8s.io/owning-inventory"}, kept: []string{"config.k8s.io/id", "config.kubernetes.io/local-config"}},
	"cli-utils.sigs.k8s.io/inventory-id": {stripped: []string{"cli-utils.sigs.k8s.io/inventory-id"}, kept: []string{"cli-utils.sigs.k8s.io/on-remove"}},
	"configsync.gke.io/*":                {stripped: []string{"configsync.gke.io/resource-id", "configsync.gke.io/manager"}, kept: []string{"client.lifecycle.config.k8s.io/mutation"}},
	"configmanagement.gke.io/*":          {stripped: []string{"configmanagement.gke.io/managed", "configmanagement.gke.io/token"}, kept: []string{"gke.io/managed"}},
	"olm.owner":                          {stripped: []string{"olm.owner"}, kept: []string{"olm.owners", "olm.skipRange"}},
	"olm.owner.*":                        {stripped: []string{"olm.owner.kind", "olm.owner.namespace"}, kept: []string{"olm.properties"}},
	"olm.managed":                        {stripped: []string{"olm.managed"}, kept: []string{"olm.managed-by"}},
	"olm.copiedFrom":                     {stripped: []string{"olm.copiedFrom"}, kept: []string{"olm.targetNamespaces"}},
	"olm.operatorframework.io/owner-*":   {stripped: []string{"olm.operatorframework.io/owner-kind", "olm.operatorframework.io/owner-name"}, kept: []string{"olm.operatorframework.io/metadata.name"}},
	"operators.coreos.com/*":             {stripped: []string{"operators.coreos.com/etcd.default"}, kept: []string{"operatorframework.io/arch.amd64", "monitoring.coreos.com/name"}},
	"objectset.rio.cattle.io/*":          {stripped: []string{"objectset.rio.cattle.io/hash", "objectset.rio.cattle.io/owner-name"}, kept: []string{"field.cattle.io/description"}},
	"velero.io/backup-*":                 {stripped: []string{"velero.io/backup-name"}, kept: []string{"backup.velero.io/backup-volumes"}},
	"velero.io/restore-*":                {stripped: []string{"velero.io/restore-name", "velero.io/restore-uid"}, kept: []string{"velero.io/exclude-from-backup"}},
	"velero.io/schedule-name":            {stripped: []string{"velero.io/schedule-name"}, kept: []string{"velero.io/change-storage-class"}},
	"reconcile.external-secrets.io/*":    {stripped: []string{"reconcile.external-secrets.io/data-hash", "reconcile.external-secrets.io/created-by", "reconcile.external-secrets.io/managed"}, kept: []string{"external-secrets.io/type"}},
	"cert-manager.io/certificate-name":   {stripped: []string{"cert-manager.io/certificate-name"}, kept: []string{"cert-manager.io/allow-direct-injection", "cert-manager.io/alt-names", "cert-manager.io/common-name", "cert-manager.io/issuer-name", "cert-manager.io/issuer-kind", "cert-manager.io/issuer-group"}},
	"cert-manager.io/next-private-key":   {stripped: []string{"cert-manager.io/next-private-key"}, kept: []string{"cert-manager.io/private-key-size", "cert-manager.io/private-key-rotation-policy"}},
	"controller.cert-manager.io/*":       {stripped: []string{"controller.cert-manager.io/fao"}, kept: []string{"cert-manager.io/cluster-issuer", "cert-manager.io/issuer", "acme.cert-manager.io/http01-edit-in-place"}},
	"trust.cert-manager.io/*":            {stripped: []string{"trust.cert-manager.io/bundle", "trust.cert-manager.io/hash"}, kept: []string{"cert-manager.io/inject-ca-from"}},
	"secrets.hashicorp.com/vso-*":        {stripped: []string{"secrets.hashicorp.com/vso-ownerRefUID"}, kept: []string{"vault.hashicorp.com/agent-inject"}},
	"sealedsecrets.bitnami.com/managed":  {stripped: []string{"sealedsecrets.bitnami.com/managed"}, kept: []string{"sealedsecrets.bitnami.com/sealed-secrets-key"}},
	"sealedsecrets.bitnami.com/patch":    {stripped: []string{"sealedsecrets.bitnami.com/patch"}, kept: []string{"sealedsecrets.bitnami.com/cluster-wide", "sealedsecrets.bitnami.com/namespace-wide"}},
	"reflector.v1.k8s.emberstack.com/*":  {stripped: []string{"reflector.v1.k8s.emberstack.com/reflection-allowed", "reflector.v1.k8s.emberstack.com/reflects"}, kept: []string{"emberstack.com/reflects"}},
	"replicator.v1.mittwald.de/*":        {stripped: []string{"replicator.v1.mittwald.de/replicate-to", "replicator.v1.mittwald.de/replicated-from-version"}, kept: []string{"mittwald.de/replicate-to"}},
	"kubed.appscode.com/*":               {stripped: []string{"kubed.appscode.com/sync", "kubed.appscode.com/origin", "kubed.appscode.com/origin.name"}, kept: []string{"appscode.com/sync"}},
	"generate.kyverno.io/*":              {stripped: []string{"generate.kyverno.io/policy-name", "generate.kyverno.io/clone-source"}, kept: []string{"cleanup.kyverno.io/ttl"}},
	"policy.kyverno.io/*":                {stripped: []string{"policy.kyverno.io/policy-name", "policy.kyverno.io/synchronize"}, kept: []string{"policies.kyverno.io/title"}},
	"kyverno.io/*":                       {stripped: []string{"kyverno.io/generated-by-kind", "kyverno.io/verify-images"}, kept: []string{"pod-policies.kyverno.io/autogen-controllers"}},
	"hnc.x-k8s.io/*":                     {stripped: []string{"hnc.x-k8s.io/inherited-from"}, kept: []string{"x-k8s.io/inherited-from"}},
	"*.hnc.x-k8s.io/*":                   {stripped: []string{"propagate.hnc.x-k8s.io/treeSelect", "team-a.tree.hnc.x-k8s.io/depth"}, kept: []string{"hnc-x-k8s.io/depth"}},
	"projectsveltos.io/owner-*":          {stripped: []string{"projectsveltos.io/owner-kind", "projectsveltos.io/owner-tier"}, kept: []string{"projectsveltos.io/template"}},
	"projectsveltos.io/reference-*":      {stripped: []string{"projectsveltos.io/reference-kind", "projectsveltos.io/reference-namespace"}, kept: []string{"projectsveltos.io/instantiate"}},
	"projectsveltos.io/hash":             {stripped: []string{"projectsveltos.io/hash"}, kept: []string{"projectsveltos.io/subresources"}},
	"deployment.kubernetes.io/*":         {stripped: []string{"deployment.kubernetes.io/revision", "deployment.kubernetes.io/desired-replicas", "deployment.kubernetes.io/max-replicas"}, kept: []string{"controller.kubernetes.io/pod-deletion-cost"}},
	"batch.kubernetes.io/job-tracking":   {stripped: []string{"batch.kubernetes.io/job-tracking"}, kept: []string{"batch.kubernetes.io/job-index-failure-count"}},
	"pv.kubernetes.io/*":                 {stripped: []string{"pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"}, kept: []string{"kubernetes.io/pv"}},
	"volume.kubernetes.io/selected-node": {stripped: []string{"volume.kubernetes.io/selected-node"}, kept: []string{"volume.kubernetes.io/label"}},
	"control-plane.alpha.kubernetes.io/leader": {
		stripped: []string{"control-plane.alpha.kubernetes.io/leader"},
		kept:     []string{"node-role.kubernetes.io/control-plane"},
	},
	"deprecated.daemonset.template.generation": {
		stripped: []string{"deprecated.daemonset.template.generation"}, kept: []string{"daemonset.template.generation"},
	},
	"batch.kubernetes.io/cronjob-scheduled-timestamp": {
		stripped: []string{"batch.kubernetes.io/cronjob-scheduled-timestamp"}, kept: []string{"cronjob.kubernetes.io/instantiate"},
	},
	"volume.kubernetes.io/storage-provisioner": {
		stripped: []string{"volume.kubernetes.io/storage-provisioner"}, kept: []string{"volume.kubernetes.io/storage-class"},
	},
	"volume.kubernetes.io/storage-resizer": {
		stripped: []string{"volume.kubernetes.io/storage-resizer"}, kept: []string{"volume.beta.kubernetes.io/mount-options"},
	},
	"volume.beta.kubernetes.io/storage-provisioner": {
		stripped: []string{"volume.beta.kubernetes.io/storage-provisioner"}, kept: []string{"volume.beta.kubernetes.io/storage-class"},
	},
	"autoscaling.alpha.kubernetes.io/conditions": {
		stripped: []string{"autoscaling.alpha.kubernetes.io/conditions"}, kept: []string{"autoscaling.alpha.kubernetes.io/behavior"},
	},
	"autoscaling.alpha.kubernetes.io/current-metrics": {
		stripped: []string{"autoscaling.alpha.kubernetes.io/current-metrics"}, kept: []string{"autoscaling.alpha.kubernetes.io/metrics"},
	},
	"endpoints.kubernetes.io/*": {
		stripped: []string{
			"endpoints.kubernetes.io/last-change-trigger-time", "endpoints.kubernetes.io/over-capacity", "endpoints.kubernetes.io/managed-by",
		},
		kept: []string{"service.kubernetes.io/topology-mode"},
	},
	"endpointslice.kubernetes.io/managed-by": {
		stripped: []string{"endpointslice.kubernetes.io/managed-by"}, kept: []string{"endpointslice.kubernetes.io/skip-mirror", "kubernetes.io/service-name"},
	},
	"field.cattle.io/publicEndpoints": {stripped: []string{"field.cattle.io/publicEndpoints"}, kept: []string{"field.cattle.io/projectId"}},
	"cloud.google.com/neg-status":     {stripped: []string{"cloud.google.com/neg-status"}, kept: []string{"cloud.google.com/neg"}},

	"operator.istio.io/*":                                       {stripped: []string{"operator.istio.io/managed"}, kept: []string{"istio.io/rev"}},
	"install.operator.istio.io/*":                               {stripped: []string{"install.operator.istio.io/owning-resource"}, kept: []string{"sidecar.istio.io/inject"}},
	"skaffold.dev/run-id":                                       {stripped: []string{"skaffold.dev/run-id"}, kept: []string{"skaffold.dev/mode"}},
	"*.karmada.io/*":                                            {stripped: []string{"propagationpolicy.karmada.io/name"}, kept: []string{"karmada.example.com/name"}},
	"karmada.io/managed":                                        {stripped: []string{"karmada.io/managed"}, kept: []string{"karmada.io/manage"}},
	"vcluster.loft.sh/*":                                        {stripped: []string{"vcluster.loft.sh/managed-by"}, kept: []string{"loft.sh/project"}},
	"secrets-store.csi.k8s.io/managed":                          {stripped: []string{"secrets-store.csi.k8s.io/managed"}, kept: []string{"secrets-store.csi.k8s.io/used"}},
	"crossplane.io/composite":                                   {stripped: []string{"crossplane.io/composite"}, kept: []string{"crossplane.io/paused"}},
	"crossplane.io/claim-name":                                  {stripped: []string{"crossplane.io/claim-name"}, kept: []string{"crossplane.io/claims"}},
	"crossplane.io/claim-namespace":                             {stripped: []string{"crossplane.io/claim-namespace"}, kept: []string{"crossplane.io/poll-interval"}},
	"crossplane.io/composition-resource-name":                   {stripped: []string{"crossplane.io/composition-resource-name"}, kept: []string{"crossplane.io/composition-resource"}},
	"crossplane.io/external-name":                               {stripped: []string{"crossplane.io/external-name"}, kept: []string{"crossplane.io/external-names"}},
	"strimzi.io/*":                                              {stripped: []string{"strimzi.io/cluster"}, kept: []string{"kafka.strimzi.example.com/cluster"}},
	"*.k8s.elastic.co/*":                                        {stripped: []string{"eck.k8s.elastic.co/owner-name"}, kept: []string{"elastic.co/app"}},
	"cnpg.io/cluster":                                           {stripped: []string{"cnpg.io/cluster"}, kept: []string{"cnpg.io/reload"}},
	"cnpg.io/instanceName":                                      {stripped: []string{"cnpg.io/instanceName"}, kept: []string{"cnpg.io/hibernation"}},
	"cnpg.io/operatorVersion":                                   {stripped: []string{"cnpg.io/operatorVersion"}, kept: []string{"cnpg.io/operator"}},
	"cnpg.io/userType":                                          {stripped: []string{"cnpg.io/userType"}, kept: []string{"cnpg.io/user"}},
	"postgres-operator.crunchydata.com/*":                       {stripped: []string{"postgres-operator.crunchydata.com/cluster"}, kept: []string{"crunchydata.com/cluster"}},
	"batch.kubernetes.io/controller-uid":                        {stripped: []string{"batch.kubernetes.io/controller-uid"}, kept: []string{"batch.kubernetes.io/job-index-failure-count"}},
	"batch.kubernetes.io/job-name":                              {stripped: []string{"batch.kubernetes.io/job-name"}, kept: []string{"batch.kubernetes.io/job-index-failure-count"}},
	"batch.kubernetes.io/job-completion-index":                  {stripped: []string{"batch.kubernetes.io/job-completion-index"}, kept: []string{"batch.kubernetes.io/job-index-failure-count"}},
	"pod-template-hash":                                         {stripped: []string{"pod-template-hash"}, kept: []string{"pod-template"}},
	"pod-template-generation":                                   {stripped: []string{"pod-template-generation"}, kept: []string{"pod-template"}},
	"controller-revision-hash":                                  {stripped: []string{"controller-revision-hash"}, kept: []string{"controller"}},
	"statefulset.kubernetes.io/pod-name":                        {stripped: []string{"statefulset.kubernetes.io/pod-name"}, kept: []string{"statefulset.kubernetes.io/name"}},
	"apps.kubernetes.io/pod-index":                              {stripped: []string{"apps.kubernetes.io/pod-index"}, kept: []string{"apps.kubernetes.io/name"}},
	"kubernetes.digitalocean.com/load-balancer-id":              {stripped: []string{"kubernetes.digitalocean.com/load-balancer-id"}, kept: []string{"service.beta.kubernetes.io/do-loadbalancer-name"}},
	"kubernetes.vultr.com/load-balancer-id":                     {stripped: []string{"kubernetes.vultr.com/load-balancer-id"}, kept: []string{"service.beta.kubernetes.io/vultr-loadbalancer-protocol"}},
	"load-balancer.hetzner.cloud/id":                            {stripped: []string{"load-balancer.hetzner.cloud/id"}, kept: []string{"load-balancer.hetzner.cloud/name"}},
	"load-balancer.hetzner.cloud/ipv4":                          {stripped: []string{"load-balancer.hetzner.cloud/ipv4"}, kept: []string{"load-balancer.hetzner.cloud/name"}},
	"load-balancer.hetzner.cloud/ipv4-rdns":                     {stripped: []string{"load-balancer.hetzner.cloud/ipv4-rdns"}, kept: []string{"load-balancer.hetzner.cloud/name"}},
	"load-balancer.hetzner.cloud/ipv6":                          {stripped: []string{"load-balancer.hetzner.cloud/ipv6"}, kept: []string{"load-balancer.hetzner.cloud/name"}},
	"load-balancer.hetzner.cloud/ipv6-rdns":                     {stripped: []string{"load-balancer.hetzner.cloud/ipv6-rdns"}, kept: []string{"load-balancer.hetzner.cloud/name"}},
	"service.beta.kubernetes.io/scw-loadbalancer-id":            {stripped: []string{"service.beta.kubernetes.io/scw-loadbalancer-id"}, kept: []string{"service.beta.kubernetes.io/scw-loadbalancer-type"}},
	"k8s.scaleway.com/*":                                        {stripped: []string{"k8s.scaleway.com/cluster"}, kept: []string{"scaleway.com/cluster"}},
	"service.beta.kubernetes.io/exoscale-loadbalancer-id":       {stripped: []string{"service.beta.kubernetes.io/exoscale-loadbalancer-id"}, kept: []string{"service.beta.kubernetes.io/exoscale-loadbalancer-zone"}},
	"loadbalancer.openstack.org/load-balancer-id":               {stripped: []string{"loadbalancer.openstack.org/load-balancer-id"}, kept: []string{"loadbalancer.openstack.org/keep-floatingip"}},
	"loadbalancer.openstack.org/load-balancer-address":          {stripped: []string{"loadbalancer.openstack.org/load-balancer-address"}, kept: []string{"loadbalancer.openstack.org/keep-floatingip"}},
	"service.beta.kubernetes.io/hash":                           {stripped: []string{"service.beta.kubernetes.io/hash"}, kept: []string{"service.beta.kubernetes.io/alibaba-cloud-loadbalancer-spec"}},
	"service.k8s.alibaba/loadbalancer-id":                       {stripped: []string{"service.k8s.alibaba/loadbalancer-id"}, kept: []string{"service.beta.kubernetes.io/class"}},
	"service.kubernetes.io/loadbalance-id":                      {stripped: []string{"service.kubernetes.io/loadbalance-id"}, kept: []string{"service.kubernetes.io/service-proxy-name"}},
	"service.kubernetes.io/backend-service*":                    {stripped: []string{"service.kubernetes.io/backend-service-ipv6"}, kept: []string{"service.kubernetes.io/service-proxy-name"}},
	"service.kubernetes.io/firewall-rule*":                      {stripped: []string{"service.kubernetes.io/firewall-rule-for-hc"}, kept: []string{"service.kubernetes.io/service-proxy-name"}},
	"service.kubernetes.io/healthcheck*":                        {stripped: []string{"service.kubernetes.io/healthcheck"}, kept: []string{"service.kubernetes.io/service-proxy-name"}},
	"service.kubernetes.io/tcp-forwarding-rule*":                {stripped: []string{"service.kubernetes.io/tcp-forwarding-rule-ipv6"}, kept: []string{"service.kubernetes.io/service-proxy-name"}},
	"service.kubernetes.io/udp-forwarding-rule*":                {stripped: []string{"service.kubernetes.io/udp-forwarding-rule"}, kept: []string{"service.kubernetes.io/service-proxy-name"}},
	"service.kubernetes.io/l3-forwarding-rule*":                 {stripped: []string{"service.kubernetes.io/l3-forwarding-rule"}, kept: []string{"service.kubernetes.io/service-proxy-name"}},
	"metallb.io/ip-allocated-from-pool":                         {stripped: []string{"metallb.io/ip-allocated-from-pool"}, kept: []string{"metallb.io/address-pool"}},
	"metallb.universe.tf/ip-allocated-from-pool":                {stripped: []string{"metallb.universe.tf/ip-allocated-from-pool"}, kept: []string{"metallb.io/address-pool"}},
	"kube-vip.io/vipHost":                                       {stripped: []string{"kube-vip.io/vipHost"}, kept: []string{"kube-vip.io/loadbalancerIPs"}},
	"purelb.io/allocated-*":                                     {stripped: []string{"purelb.io/allocated-by"}, kept: []string{"purelb.io/service-group"}},
	"purelb.io/announcing-*":                                    {stripped: []string{"purelb.io/announcing-node"}, kept: []string{"purelb.io/service-group"}},
	"ingress.kubernetes.io/backends":                            {stripped: []string{"ingress.kubernetes.io/backends"}, kept: []string{"ingress.kubernetes.io/rewrite-target"}},
	"ingress.kubernetes.io/forwarding-rule":                     {stripped: []string{"ingress.kubernetes.io/forwarding-rule"}, kept: []string{"ingress.kubernetes.io/rewrite-target"}},
	"ingress.kubernetes.io/https-forwarding-rule":               {stripped: []string{"ingress.kubernetes.io/https-forwarding-rule"}, kept: []string{"ingress.kubernetes.io/rewrite-target"}},
	"ingress.kubernetes.io/target-proxy":                        {stripped: []string{"ingress.kubernetes.io/target-proxy"}, kept: []string{"ingress.kubernetes.io/rewrite-target"}},
	"ingress.kubernetes.io/https-target-proxy":                  {stripped: []string{"ingress.kubernetes.io/https-target-proxy"}, kept: []string{"ingress.kubernetes.io/rewrite-target"}},
	"ingress.kubernetes.io/url-map":                             {stripped: []string{"ingress.kubernetes.io/url-map"}, kept: []string{"ingress.kubernetes.io/rewrite-target"}},
	"ingress.kubernetes.io/redirect-url-map":                    {stripped: []string{"ingress.kubernetes.io/redirect-url-map"}, kept: []string{"ingress.kubernetes.io/rewrite-target"}},
	"ingress.kubernetes.io/ssl-cert":                            {stripped: []string{"ingress.kubernetes.io/ssl-cert"}, kept: []string{"ingress.kubernetes.io/rewrite-target"}},
	"ingress.kubernetes.io/static-ip":                           {stripped: []string{"ingress.kubernetes.io/static-ip"}, kept: []string{"ingress.kubernetes.io/rewrite-target"}},
	"lifecycle.cattle.io/*":                                     {stripped: []string{"lifecycle.cattle.io/create.namespace-auth"}, kept: []string{"field.cattle.io/description"}},
	"status.virtual-server.f5.com/*":                            {stripped: []string{"status.virtual-server.f5.com/ip"}, kept: []string{"virtual-server.f5.com/ip"}},
	"ako.vmware.com/controller-cluster-uuid":                    {stripped: []string{"ako.vmware.com/controller-cluster-uuid"}, kept: []string{"ako.vmware.com/enable-shared-vip"}},
	"ako.vmware.com/host-fqdn-vs-uuid-map":                      {stripped: []string{"ako.vmware.com/host-fqdn-vs-uuid-map"}, kept: []string{"ako.vmware.com/enable-shared-vip"}},
	"openshift.io/host.generated":                               {stripped: []string{"openshift.io/host.generated"}, kept: []string{"openshift.io/display-name"}},
	"openshift.io/internal-registry-pull-secret-ref":            {stripped: []string{"openshift.io/internal-registry-pull-secret-ref"}, kept: []string{"openshift.io/display-name"}},
	"openshift.io/internal-registry-auth-token.*":               {stripped: []string{"openshift.io/internal-registry-auth-token.service-account"}, kept: []string{"openshift.io/display-name"}},
	"openshift.io/token-secret.*":                               {stripped: []string{"openshift.io/token-secret.name"}, kept: []string{"openshift.io/display-name"}},
	"openshift.io/image.dockerRepositoryCheck":                  {stripped: []string{"openshift.io/image.dockerRepositoryCheck"}, kept: []string{"openshift.io/display-name"}},
	"service.alpha.openshift.io/expiry":                         {stripped: []string{"service.alpha.openshift.io/expiry"}, kept: []string{"service.alpha.openshift.io/serving-cert-secret-name"}},
	"service.alpha.openshift.io/originating-*":                  {stripped: []string{"service.alpha.openshift.io/originating-service-uid"}, kept: []string{"service.alpha.openshift.io/serving-cert-secret-name"}},
	"service.alpha.openshift.io/serving-cert-generation-error*": {stripped: []string{"service.alpha.openshift.io/serving-cert-generation-error-num"}, kept: []string{"service.alpha.openshift.io/serving-cert-secret-name"}},
	"service.alpha.openshift.io/serving-cert-signed-by":         {stripped: []string{"service.alpha.openshift.io/serving-cert-signed-by"}, kept: []string{"service.alpha.openshift.io/serving-cert-secret-name"}},
	"service.beta.openshift.io/expiry":                          {stripped: []string{"service.beta.openshift.io/expiry"}, kept: []string{"service.beta.openshift.io/inject-cabundle"}},
	"service.beta.openshift.io/originating-*":                   {stripped: []string{"service.beta.openshift.io/originating-service-name"}, kept: []string{"service.beta.openshift.io/inject-cabundle"}},
	"service.beta.openshift.io/serving-cert-generation-error*":  {stripped: []string{"service.beta.openshift.io/serving-cert-generation-error"}, kept: []string{"service.beta.openshift.io/inject-cabundle"}},
	"service.beta.openshift.io/serving-cert-signed-by":          {stripped: []string{"service.beta.openshift.io/serving-cert-signed-by"}, kept: []string{"service.beta.openshift.io/inject-cabundle"}},
	"volumehealth.storage.kubernetes.io/*":                      {stripped: []string{"volumehealth.storage.kubernetes.io/health"}, kept: []string{"storage.kubernetes.io/health"}},
	"cns.vmware.com/pv-to-backingdiskobjectid-mapping":          {stripped: []string{"cns.vmware.com/pv-to-backingdiskobjectid-mapping"}, kept: []string{"csi.vsphere.volume-requested-topology"}},
	"cdi.kubevirt.io/ownedByDataVolume":                         {stripped: []string{"cdi.kubevirt.io/ownedByDataVolume"}, kept: []string{"cdi.kubevirt.io/storage.usePopulator"}},
	"cdi.kubevirt.io/storage.condition.*":                       {stripped: []string{"cdi.kubevirt.io/storage.condition.running"}, kept: []string{"cdi.kubevirt.io/storage.usePopulator"}},
	"cdi.kubevirt.io/storage.pod.*":                             {stripped: []string{"cdi.kubevirt.io/storage.pod.phase"}, kept: []string{"cdi.kubevirt.io/storage.usePopulator"}},
	"cdi.kubevirt.io/storage.populatedFor":                      {stripped: []string{"cdi.kubevirt.io/storage.populatedFor"}, kept: []string{"cdi.kubevirt.io/storage.usePopulator"}},
	"argo-rollouts.argoproj.io/managed-by-rollouts":             {stripped: []string{"argo-rollouts.argoproj.io/managed-by-rollouts"}, kept: []string{"argo-rollouts.argoproj.io/managed"}},
	"rollout.argoproj.io/*":                                     {stripped: []string{"rollout.argoproj.io/revision"}, kept: []string{"notifications.argoproj.io/subscribe"}},
	"serving.knative.dev/creator":                               {stripped: []string{"serving.knative.dev/creator"}, kept: []string{"serving.knative.dev/visibility"}},
	"serving.knative.dev/lastModifier":                          {stripped: []string{"serving.knative.dev/lastModifier"}, kept: []string{"serving.knative.dev/visibility"}},
	"eventing.knative.dev/creator":                              {stripped: []string{"eventing.knative.dev/creator"}, kept: []string{"eventing.knative.dev/broker.class"}},
	"eventing.knative.dev/lastModifier":                         {stripped: []string{"eventing.knative.dev/lastModifier"}, kept: []string{"eventing.knative.dev/broker.class"}},
	"messaging.knative.dev/creator":                             {stripped: []string{"messaging.knative.dev/creator"}, kept: []string{"messaging.knative.dev/subscribable"}},
	"messaging.knative.dev/lastModifier":                        {stripped: []string{"messaging.knative.dev/lastModifier"}, kept: []string{"messaging.knative.dev/subscribable"}},
	"crossplane.io/external-create-*":                           {stripped: []string{"crossplane.io/external-create-pending"}, kept: []string{"crossplane.io/external"}},
	"serviceoperator.azure.com/latest-reconciled-generation":    {stripped: []string{"serviceoperator.azure.com/latest-reconciled-generation"}, kept: []string{"serviceoperator.azure.com/reconcile-policy"}},
	"serviceoperator.azure.com/operator-namespace":              {stripped: []string{"serviceoperator.azure.com/operator-namespace"}, kept: []string{"serviceoperator.azure.com/reconcile-policy"}},
	"serviceoperator.azure.com/owner-*":                         {stripped: []string{"serviceoperator.azure.com/owner-name"}, kept: []string{"serviceoperator.azure.com/reconcile-policy"}},
	"serviceoperator.azure.com/poller-resume-*":                 {stripped: []string{"serviceoperator.azure.com/poller-resume-token"}, kept: []string{"serviceoperator.azure.com/reconcile-policy"}},
	"serviceoperator.azure.com/resource-id":                     {stripped: []string{"serviceoperator.azure.com/resource-id"}, kept: []string{"serviceoperator.azure.com/reconcile-policy"}},

	v1alpha1.KeyPrefix + "*": {
		stripped: []string{v1alpha1.LabelCreatedBy, v1alpha1.LabelPartOf, v1alpha1.AnnotationOwner, v1alpha1.KeyPrefix + "whatever"},
		kept:     []string{"prosimcorp.com/owner", "replika.prosimcorp.com.example/owner", "replika.prosimcorp.com"},
	},
}

var strippedKeys = slices.Concat(trackingKeys, replicatorKeys, claimKeys, instanceKeys)

func TestCleaner_Keys(t *testing.T) {
	cleaner := NewCleaner()
	for _, rule := range strippedKeys {
		t.Run(rule, func(t *testing.T) {
			testCase, found := keyRuleExamples[rule]
			if !found || len(testCase.stripped) == 0 || len(testCase.kept) == 0 {
				t.Fatalf("no example of a stripped and a kept key for %s", rule)
			}
			for _, key := range testCase.stripped {
				if !matchesKey(rule, key) {
					t.Errorf("the rule does not match %s", key)
				}
				if left := cleaner.Keys(configMapKind, newKeys(key)); len(left) > 0 {
					t.Errorf("%s is kept", key)
				}
			}
			for _, key := range testCase.kept {
				if diff := cmp.Diff(newKeys(key), cleaner.Keys(configMapKind, newKeys(key))); diff != "" {
					t.Errorf("%s is stripped: %s", key, diff)
				}
			}
		})
	}
	for rule := range keyRuleExamples {
		if !slices.Contains(strippedKeys, rule) {
			t.Errorf("%s is tested but is not a rule", rule)
		}
	}
}

// The keys by which an operator claims what it created are configuration on its own resources.
func TestCleaner_Keys_ClaimedByOperator(t *testing.T) {
	claimed := newKeys("strimzi.io/cluster", "eck.k8s.elastic.co/owner-name", "cnpg.io/cluster")
	cases := map[string]struct {
		kind schema.GroupKind
		want map[string]string
	}{
		"Secret":        {secretKind, map[string]string{}},
		"KafkaTopic":    {schema.GroupKind{Group: "kafka.strimzi.io", Kind: "KafkaTopic"}, newKeys("strimzi.io/cluster")},
		"Elasticsearch": {schema.GroupKind{Group: "elasticsearch.k8s.elastic.co", Kind: "Elasticsearch"}, newKeys("eck.k8s.elastic.co/owner-name")},
		"another group": {schema.GroupKind{Group: "notstrimzi.io", Kind: "KafkaTopic"}, map[string]string{}},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(testCase.want, NewCleaner().Keys(testCase.kind, claimed)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStrippedKeys_Unique(t *testing.T) {
	sorted := slices.Sorted(slices.Values(strippedKeys))
	if diff := cmp.Diff(slices.Compact(slices.Clone(sorted)), sorted); diff != "" {
		t.Error(diff)
	}
	for _, rule := range strippedKeys {
		if inner := strings.Trim(rule, "*"); inner == "" || inner == "/" || strings.Contains(inner, "*") {
			t.Errorf("%s matches all keys, or none", rule)
		}
	}
}

func TestNewCleaner_ExtraKeys(t *testing.T) {
	cleaner := NewCleaner("example.com/owner", "tool.example.com/*", "*.suite.example.com/*")
	before := newKeys(
		"example.com/owner", "tool.example.com/a", "a.suite.example.com/b", "helm.sh/chart",
		"example.com/owners", "tools.example.com/a", "suite.example.com/b",
	)
	want := newKeys("example.com/owners", "tools.example.com/a", "suite.example.com/b")
	unchanged := maps.Clone(before)
	if diff := cmp.Diff(want, cleaner.Keys(configMapKind, before)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(unchanged, before); diff != "" {
		t.Errorf("the input changed: %s", diff)
	}
	if len(NewCleaner().Keys(configMapKind, newKeys("example.com/owner"))) != 1 {
		t.Error("the extra keys of one Cleaner affect another")
	}
	if got := cleaner.Keys(configMapKind, nil); len(got) != 0 {
		t.Errorf("got %v for no keys", got)
	}
}

func TestCleaner_Content(t *testing.T) {
	job := schema.GroupKind{Group: "batch", Kind: "Job"}
	cases := map[string]struct {
		kind   schema.GroupKind
		object map[string]any
		want   map[string]any
	}{
		"metadata, status and null fields": {
			configMapKind,
			map[string]any{
				"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "x"}, "status": "busy",
				"data": map[string]any{"a": "1"}, "binaryData": nil, "immutable": false,
			},
			map[string]any{"data": map[string]any{"a": "1"}, "immutable": false},
		},
		"Service addresses and node ports": {
			schema.GroupKind{Kind: "Service"},
			map[string]any{"spec": map[string]any{
				"clusterIP": "10.0.0.1", "clusterIPs": []any{"10.0.0.1"}, "healthCheckNodePort": int64(30001), "type": "NodePort",
				"loadBalancerIP": "192.0.2.1", "externalIPs": []any{"192.0.2.2"}, "selector": map[string]any{"app": "shop"},
				"ports": []any{
					map[string]any{"port": int64(80), "nodePort": int64(30080)},
					map[string]any{"port": int64(443), "targetPort": "https"},
				},
			}},
			map[string]any{"spec": map[string]any{
				"type": "NodePort", "loadBalancerIP": "192.0.2.1", "externalIPs": []any{"192.0.2.2"},
				"selector": map[string]any{"app": "shop"},
				"ports":    []any{map[string]any{"port": int64(80)}, map[string]any{"port": int64(443), "targetPort": "https"}},
			}},
		},
		"headless Service": {
			schema.GroupKind{Kind: "Service"},
			map[string]any{"spec": map[string]any{"clusterIP": "None", "clusterIPs": []any{"None"}}},
			map[string]any{"spec": map[string]any{"clusterIP": "None"}},
		},
		"Service of another group": {
			schema.GroupKind{Group: "serving.knative.dev", Kind: "Service"},
			map[string]any{"spec": map[string]any{"clusterIP": "10.0.0.1"}},
			map[string]any{"spec": map[string]any{"clusterIP": "10.0.0.1"}},
		},
		"PersistentVolumeClaim volume": {
			schema.GroupKind{Kind: "PersistentVolumeClaim"},
			map[string]any{"spec": map[string]any{
				"volumeName": "pv-1", "storageClassName": "fast", "volumeMode": "Filesystem", "dataSource": map[string]any{"name": "s"},
			}},
			map[string]any{"spec": map[string]any{
				"storageClassName": "fast", "volumeMode": "Filesystem", "dataSource": map[string]any{"name": "s"},
			}},
		},
		"ServiceAccount token secrets": {
			schema.GroupKind{Kind: "ServiceAccount"},
			map[string]any{
				"secrets":          []any{map[string]any{"name": "token"}},
				"imagePullSecrets": []any{map[string]any{"name": "pull"}}, "automountServiceAccountToken": false,
			},
			map[string]any{"imagePullSecrets": []any{map[string]any{"name": "pull"}}, "automountServiceAccountToken": false},
		},
		"ServiceAccount pull secrets of OpenShift": {
			serviceAccountKind,
			map[string]any{"imagePullSecrets": []any{
				map[string]any{"name": "builder-dockercfg-x7k2p"}, map[string]any{"name": "pull"},
			}},
			map[string]any{"imagePullSecrets": []any{map[string]any{"name": "pull"}}},
		},
		"ServiceAccount with pull secrets of OpenShift only": {
			serviceAccountKind,
			map[string]any{"imagePullSecrets": []any{map[string]any{"name": "builder-dockercfg-x7k2p"}}},
			map[string]any{},
		},
		"Route with generated host": {
			schema.GroupKind{Group: "route.openshift.io", Kind: "Route"},
			map[string]any{
				"metadata": map[string]any{"annotations": map[string]any{"openshift.io/host.generated": "true"}},
				"spec":     map[string]any{"host": "shop-web.apps.example.com", "path": "/"},
			},
			map[string]any{"spec": map[string]any{"path": "/"}},
		},
		"Route with host set by a user": {
			schema.GroupKind{Group: "route.openshift.io", Kind: "Route"},
			map[string]any{"metadata": map[string]any{}, "spec": map[string]any{"host": "shop.example.com"}},
			map[string]any{"spec": map[string]any{"host": "shop.example.com"}},
		},
		"Pod node": {
			schema.GroupKind{Kind: "Pod"},
			map[string]any{"spec": map[string]any{"nodeName": "n1", "nodeSelector": map[string]any{"disk": "ssd"}}},
			map[string]any{"spec": map[string]any{"nodeSelector": map[string]any{"disk": "ssd"}}},
		},
		"Job selector and labels": {
			job,
			map[string]any{"spec": map[string]any{
				"selector": map[string]any{"matchLabels": map[string]any{"batch.kubernetes.io/controller-uid": "u"}},
				"template": map[string]any{
					"metadata": map[string]any{"creationTimestamp": nil, "labels": map[string]any{
						"controller-uid": "u", "job-name": "j",
						"batch.kubernetes.io/controller-uid": "u", "batch.kubernetes.io/job-name": "j", "app": "shop",
					}},
					"spec": map[string]any{"restartPolicy": "Never"},
				},
				"completions": int64(1),
			}},
			map[string]any{"spec": map[string]any{
				"template": map[string]any{
					"metadata": map[string]any{"labels": map[string]any{"app": "shop"}},
					"spec":     map[string]any{"restartPolicy": "Never"},
				},
				"completions": int64(1),
			}},
		},
		"Job with manual selector": {
			job,
			map[string]any{"spec": map[string]any{
				"manualSelector": true,
				"selector":       map[string]any{"matchLabels": map[string]any{"job-name": "mine"}},
				"template":       map[string]any{"metadata": map[string]any{"labels": map[string]any{"job-name": "mine"}}},
			}},
			map[string]any{"spec": map[string]any{
				"manualSelector": true,
				"selector":       map[string]any{"matchLabels": map[string]any{"job-name": "mine"}},
				"template":       map[string]any{"metadata": map[string]any{"labels": map[string]any{"job-name": "mine"}}},
			}},
		},
		"Job with manualSelector false": {
			job,
			map[string]any{"spec": map[string]any{"manualSelector": false, "selector": map[string]any{}}},
			map[string]any{"spec": map[string]any{"manualSelector": false}},
		},
		"path does not exist": {
			schema.GroupKind{Kind: "Service"},
			map[string]any{"spec": "text"},
			map[string]any{"spec": "text"},
		},
		"unexpected type at path": {
			schema.GroupKind{Kind: "Service"},
			map[string]any{"spec": map[string]any{"ports": "all", "type": []any{"x"}}},
			map[string]any{"spec": map[string]any{"ports": "all", "type": []any{"x"}}},
		},
	}
	tested := map[schema.GroupKind]bool{}
	for name, testCase := range cases {
		tested[testCase.kind] = true
		t.Run(name, func(t *testing.T) {
			before := runtime.DeepCopyJSON(testCase.object)
			if diff := cmp.Diff(testCase.want, NewCleaner().Content(testCase.kind, testCase.object)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(before, testCase.object); diff != "" {
				t.Errorf("the object changed: %s", diff)
			}
		})
	}
	for kind := range instanceFields {
		if !tested[kind] {
			t.Errorf("%s is in the table but not tested", kind)
		}
		if !HasInstanceFields(kind) {
			t.Errorf("%s has per-instance fields", kind)
		}
	}
	if HasInstanceFields(configMapKind) || HasInstanceFields(schema.GroupKind{Group: "serving.knative.dev", Kind: "Service"}) {
		t.Error("HasInstanceFields is true for a kind without per-instance fields")
	}
}
