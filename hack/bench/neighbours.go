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
	"context"
	"fmt"
	"net"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/test/kit"
)

const (
	// hangingNeighbours is the number of namespaces, and of Replikas, whose requests hang.
	hangingNeighbours = 40
	// neighbourCopies is the number of copies whose latency is measured, neighbourEdits how often their source is edited.
	neighbourCopies = 200
	neighbourEdits  = 10
	webhookTimeout  = 10 * time.Second
	editGoal        = time.Second
	hangingRatio    = 2
)

// measureNeighbours measures how requests that hang delay the copies of others: first in namespaces of the same Replika, then of
// Replikas whose kind hangs.
func (b *bench) measureNeighbours(ctx context.Context) error {
	copies := min(b.opts.targets(), neighbourCopies)
	if err := b.ensureNamespaces(ctx, copies); err != nil {
		return err
	}
	if err := b.startOperator(ctx); err != nil {
		return err
	}
	if err := b.measureHangingNamespaces(ctx, copies); err != nil {
		return err
	}
	return b.measureHangingKind(ctx)
}

func (b *bench) measureHangingNamespaces(ctx context.Context, copies int) error {
	for number := range hangingNeighbours {
		if err := b.createNamespace(ctx, fmt.Sprintf("hanging-%d", number)); err != nil {
			return err
		}
	}
	workload := newWorkload("neighbours", b.opts.contentBytes(), noResync, append(targetGlobs(copies), "hanging-*"))
	if err := b.create(ctx, workload, copies+hangingNeighbours); err != nil {
		return err
	}
	without, err := b.editLatencies(ctx, workload, copies)
	if err != nil {
		return err
	}
	uninstall, err := b.installHangingWebhook(ctx)
	if err != nil {
		return err
	}
	with, err := b.editLatencies(ctx, workload, copies)
	if err != nil {
		return err
	}
	ratio := percentile(with, 99) / percentile(without, 99)
	b.report.add(row{
		Name: fmt.Sprintf("edit to %d copies while the webhook of %d namespaces hangs", copies, hangingNeighbours),
		Goal: fmt.Sprintf("p99 at most %d × without", hangingRatio), Measured: fmt.Sprintf("p99 %.0f ms", percentile(with, 99)*1000),
		Baseline: fmt.Sprintf("p99 %.0f ms", percentile(without, 99)*1000), Ratio: ratio, Verdict: verdictOf(ratio <= hangingRatio),
		Data: map[string][]float64{"without": without, "with": with},
	})
	if err := uninstall(); err != nil {
		return err
	}
	return b.delete(ctx, workload)
}

// editLatencies edits the source repeatedly, and returns, for each edit and copy, the seconds from the edit to the write of the
// copy, both by the audit log.
func (b *bench) editLatencies(ctx context.Context, workload *workload, copies int) ([]float64, error) {
	var latencies []float64
	for range neighbourEdits {
		mark := b.cluster.Mark()
		if err := b.edit(ctx, workload); err != nil {
			return nil, err
		}
		record, err := b.waitForRequests(ctx, mark, copies, onCopies(workload.name), writes)
		if err != nil {
			return nil, err
		}
		edited := record.only(byBench, request("patch", "configmaps", workload.name)).lastCompleted()
		for _, event := range record.only(byOperator, onCopies(workload.name), writes) {
			latencies = append(latencies, event.Completed.Sub(edited).Seconds())
		}
		if err := sleep(ctx, idlePeriod); err != nil {
			return nil, err
		}
	}
	return latencies, nil
}

// measureHangingKind measures how long an edit takes while the conversion webhook of another kind hangs, which many Replikas copy.
func (b *bench) measureHangingKind(ctx context.Context) error {
	if err := b.startHangingKind(ctx); err != nil {
		return err
	}
	workload := newWorkload("unrelated-kind", b.opts.contentBytes(), noResync, []string{targetName(0)})
	if err := b.create(ctx, workload, 1); err != nil {
		return err
	}
	latencies, err := b.editLatencies(ctx, workload, 1)
	if err != nil {
		return err
	}
	p99 := percentile(latencies, 99)
	b.report.add(row{
		Name: fmt.Sprintf("edit of a ConfigMap while the kind of %d Replikas hangs", hangingNeighbours),
		Goal: fmt.Sprintf("p99 under %s", editGoal), Measured: fmt.Sprintf("p50 %.0f ms, p99 %.0f ms", percentile(latencies, 50)*1000, p99*1000),
		Verdict: verdictOf(p99 < editGoal.Seconds()), Data: latencies,
	})
	// The operator stops without waiting for responses then.
	return b.updateDefinition(ctx, hangingDefinition("v2", "{strategy: None}"))
}

// silentURL is that of a server that accepts connections and never responds, until this process ends.
func silentURL() (string, error) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return "https://" + silent.Addr().String() + "/", nil
}

// installHangingWebhook lets writes of ConfigMaps in the hanging namespaces hang.
func (b *bench) installHangingWebhook(ctx context.Context) (uninstall func() error, err error) {
	url, err := silentURL()
	if err != nil {
		return nil, err
	}
	names := make([]string, hangingNeighbours)
	for number := range names {
		names[number] = fmt.Sprintf("hanging-%d", number)
	}
	webhook := &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "hanging"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name:         "hanging.bench.example.com",
			ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: &url},
			NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
				Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpIn, Values: names,
			}}},
			SideEffects:             new(admissionregistrationv1.SideEffectClassNone),
			AdmissionReviewVersions: []string{"v1"},
			TimeoutSeconds:          new(int32(webhookTimeout / time.Second)),
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
		}},
	}
	if err := b.client.Create(ctx, webhook); err != nil {
		return nil, err
	}
	probe := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: names[0], GenerateName: "probe-"}}
	err = waitForHang(ctx, func(ctx context.Context) error { return b.client.Create(ctx, probe.DeepCopy(), client.DryRunAll) })
	return func() error { return b.client.Delete(ctx, webhook) }, err
}

const hangingGroup = "bench.example.com"

func hangingDefinition(storage, conversion string) *unstructured.Unstructured {
	version := func(name string) string {
		return fmt.Sprintf(`{name: %s, served: true, storage: %t, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}`,
			name, name == storage)
	}
	return kit.FromYAML(fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: hangings.%s}
spec:
  group: %s
  scope: Namespaced
  names: {kind: Hanging, listKind: HangingList, plural: hangings}
  conversion: %s
  versions: [%s, %s]
`, hangingGroup, hangingGroup, conversion, version("v1"), version("v2")))
}

// startHangingKind creates Replikas of objects that the API server can only read through a conversion webhook, which hangs.
func (b *bench) startHangingKind(ctx context.Context) error {
	if err := b.client.Create(ctx, hangingDefinition("v1", "{strategy: None}")); err != nil {
		return err
	}
	role := &rbacv1.ClusterRole{}
	if err := b.client.Get(ctx, client.ObjectKey{Name: accountName}, role); err != nil {
		return err
	}
	rule := *role.Rules[0].DeepCopy()
	rule.APIGroups, rule.Resources = []string{hangingGroup}, []string{"hangings"}
	role.Rules = append(role.Rules, rule)
	if err := b.client.Update(ctx, role); err != nil {
		return err
	}
	for number := range hangingNeighbours {
		object := kit.FromYAML(fmt.Sprintf(`{apiVersion: %s/v1, kind: Hanging, metadata: {namespace: %s, name: hanging-%d}}`, hangingGroup, sourceNamespace, number))
		created := func(ctx context.Context) (bool, error) { return b.client.Create(ctx, object.DeepCopy()) == nil, nil }
		if err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, created); err != nil {
			return fmt.Errorf("creating an object of the kind that hangs: %w", err)
		}
	}
	if err := b.hangConversion(ctx); err != nil {
		return err
	}
	for number := range hangingNeighbours {
		object := kit.FromYAML(fmt.Sprintf(`{apiVersion: %s/v2, kind: Hanging, metadata: {namespace: %s, name: hanging-%d}}`, hangingGroup, sourceNamespace, number))
		if err := b.client.Create(ctx, kit.NewReplika(object, kit.WithName(object.GetName()), kit.TargetNamespaces(targetName(1)))); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) hangConversion(ctx context.Context) error {
	url, err := silentURL()
	if err != nil {
		return err
	}
	definition := hangingDefinition("v2", fmt.Sprintf("{strategy: Webhook, webhook: {clientConfig: {url: %q}, conversionReviewVersions: [v1]}}", url))
	if err := b.updateDefinition(ctx, definition); err != nil {
		return err
	}
	probe := kit.FromYAML(fmt.Sprintf(`{apiVersion: %s/v2, kind: Hanging}`, hangingGroup))
	return waitForHang(ctx, func(ctx context.Context) error {
		return b.client.Get(ctx, client.ObjectKey{Namespace: sourceNamespace, Name: "hanging-0"}, probe.DeepCopy())
	})
}

func (b *bench) updateDefinition(ctx context.Context, definition *unstructured.Unstructured) error {
	current := definition.DeepCopy()
	if err := b.client.Get(ctx, client.ObjectKeyFromObject(current), current); err != nil {
		return err
	}
	definition.SetResourceVersion(current.GetResourceVersion())
	return b.client.Update(ctx, definition)
}

// waitForHang waits until the request gets no response for two seconds.
func waitForHang(ctx context.Context, request func(context.Context) error) error {
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return request(short) != nil && short.Err() != nil, nil
	})
}
