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
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"sigs.k8s.io/yaml"
)

var (
	root  = filepath.Join("..", "..")
	chart = filepath.Join(root, "charts", "replika")
)

// readInputs reads what Helm and Kustomize read. Go runs tests again after a change of a file only if they read it themselves.
var readInputs = sync.OnceValue(func() error {
	for _, folder := range []string{chart, filepath.Join(root, "manifests"), filepath.Join(root, "config")} {
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				_, err = os.ReadFile(path)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
})

// everything enables every component.
var everything = []string{
	"--set", "impersonation.enabled=true,policy.enabled=true,networkPolicy.enabled=true,prometheus.enabled=true",
}

func TestDefaults(t *testing.T) {
	want := kustomize(t, filepath.Join(root, "manifests"))
	got := render(t, "--namespace", "replika")
	expectKept(t, got)
	expectEqual(t, got, want)
}

func TestEverything(t *testing.T) {
	want := kustomize(t, overlay(t, ""))
	got := render(t, append(everything, "--namespace", "replika")...)
	expectKept(t, got)
	expectEqual(t, got, want)
}

// Kustomize knows the fields with a namespace.
func TestNamespace(t *testing.T) {
	want := kustomize(t, overlay(t, "namespace: other\n"))
	for name, args := range map[string][]string{
		"of_the_release": {"--namespace", "other"},
		"as_a_value":     {"--namespace", "apps", "--set", "namespace.name=other"},
	} {
		t.Run(name, func(t *testing.T) {
			got := render(t, append(everything, args...)...)
			expectKept(t, got)
			expectEqual(t, got, want)
			for key, object := range got {
				if text := fmt.Sprint(object); strings.Contains(text, "namespace:replika") {
					t.Errorf("%s has the default namespace: %s", key, text)
				}
			}
		})
	}
}

func TestComponents(t *testing.T) {
	all := render(t, append(everything, "--namespace", "replika")...)
	for value, want := range map[string][]string{
		"namespace.create":            {"Namespace replika"},
		"crds.install":                {"CustomResourceDefinition replikas.replika.prosimcorp.com"},
		"podDisruptionBudget.enabled": {"PodDisruptionBudget replika-controller-manager"},
		"operatorPolicy.enabled":      {"ValidatingAdmissionPolicy replika-operator", "ValidatingAdmissionPolicyBinding replika-operator"},
		"policy.enabled":              {"ValidatingAdmissionPolicy replika-service-account", "ValidatingAdmissionPolicyBinding replika-service-account"},
		"networkPolicy.enabled":       {"NetworkPolicy replika-controller-manager"},
		"prometheus.enabled": {
			"ConfigMap replika-dashboard", "PrometheusRule replika-controller-manager", "Service replika-controller-manager-metrics-service",
			"ServiceMonitor replika-controller-manager",
		},
		"impersonation.enabled=false,policy.enabled": {
			"ClusterRole replika-impersonator-role", "ValidatingAdmissionPolicy replika-service-account",
			"ValidatingAdmissionPolicyBinding replika-service-account",
		},
	} {
		t.Run(value, func(t *testing.T) {
			got := render(t, slices.Concat(everything, []string{"--namespace", "replika", "--set", value + "=false"})...)
			rest := maps.Clone(all)
			var missing []string
			for key := range all {
				if got[key] == nil {
					missing = append(missing, key)
					delete(rest, key)
				}
			}
			if slices.Sort(missing); !slices.Equal(missing, want) {
				t.Errorf("without %s: %v, want %v", value, missing, want)
			}
			expectEqual(t, got, rest)
		})
	}
}

func TestComponents_CRDNotKept(t *testing.T) {
	got := render(t, "--namespace", "replika", "--set", "crds.keep=false")
	expectEqual(t, got, kustomize(t, filepath.Join(root, "manifests")))
}

const (
	deploymentKey = "Deployment replika-controller-manager"
	ruleKey       = "PrometheusRule replika-controller-manager"
	monitorKey    = "ServiceMonitor replika-controller-manager"
	roleKey       = "ClusterRole replika-manager-role"
	policyKey     = "ValidatingAdmissionPolicy replika-operator"
)

// Each value changes what a JSON patch of the default changes, and nothing else.
func TestValues(t *testing.T) {
	original := render(t, append(everything, "--namespace", "replika")...)
	container := "/spec/template/spec/containers/0"
	for name, test := range map[string]struct {
		values string
		// want are JSON patches by object.
		want map[string]string
	}{
		"replicas": {
			"replicas: 3", map[string]string{deploymentKey: `[{"op": "replace", "path": "/spec/replicas", "value": 3}]`},
		},
		"no_replicas": {
			"replicas: 0", map[string]string{deploymentKey: `[{"op": "replace", "path": "/spec/replicas", "value": 0}]`},
		},
		"resources": {
			"resources: {limits: {memory: 1Gi, cpu: 2}}", map[string]string{deploymentKey: `[
				{"op": "replace", "path": "` + container + `/resources/limits", "value": {"memory": "1Gi", "cpu": 2}}]`},
		},
		"flags": {
			`flags: {max-concurrent-writes: 32, max-copies-per-replika: 10000000, drop-key: [example.com/a, "example.com/b*"], require-source-consent: true,
				metrics-secure: false, excluded-namespaces: ["kube-*", $(POD_NAMESPACE)], zap-log-level: "5"}`, map[string]string{deploymentKey: `[
				{"op": "replace", "path": "` + container + `/args/3", "value": "--excluded-namespaces=kube-*"},
				{"op": "add", "path": "` + container + `/args/-", "value": "--drop-key=example.com/a"},
				{"op": "add", "path": "` + container + `/args/-", "value": "--drop-key=example.com/b*"},
				{"op": "add", "path": "` + container + `/args/-", "value": "--max-concurrent-writes=32"},
				{"op": "add", "path": "` + container + `/args/-", "value": "--max-copies-per-replika=10000000"},
				{"op": "add", "path": "` + container + `/args/-", "value": "--metrics-secure=false"},
				{"op": "add", "path": "` + container + `/args/-", "value": "--require-source-consent"},
				{"op": "add", "path": "` + container + `/args/-", "value": "--zap-log-level=5"}]`},
		},
		"no_flag": {
			"flags: {metrics-bind-address: null, excluded-namespaces: []}", map[string]string{deploymentKey: `[
				{"op": "remove", "path": "` + container + `/args/4"}, {"op": "remove", "path": "` + container + `/args/3"},
				{"op": "remove", "path": "` + container + `/args/2"}]`},
		},
		"image": {
			"image: {repository: registry.example.com/replika, tag: dev, pullPolicy: Always}\nimagePullSecrets: [{name: registry}]",
			map[string]string{deploymentKey: `[
				{"op": "replace", "path": "` + container + `/image", "value": "registry.example.com/replika:dev"},
				{"op": "add", "path": "` + container + `/imagePullPolicy", "value": "Always"},
				{"op": "add", "path": "/spec/template/spec/imagePullSecrets", "value": [{"name": "registry"}]}]`},
		},
		"digest": {
			"image: {digest: 'sha256:" + strings.Repeat("a", 64) + "'}", map[string]string{deploymentKey: `[
				{"op": "replace", "path": "` + container + `/image", "value": "prosimcorp/replika@sha256:` + strings.Repeat("a", 64) + `"}]`},
		},
		"scheduling": {
			"nodeSelector: {disk: ssd}\ntolerations: [{operator: Exists}]\naffinity: {nodeAffinity: {}}\npriorityClassName: system-cluster-critical",
			map[string]string{deploymentKey: `[
				{"op": "add", "path": "/spec/template/spec/nodeSelector", "value": {"disk": "ssd"}},
				{"op": "add", "path": "/spec/template/spec/tolerations", "value": [{"operator": "Exists"}]},
				{"op": "add", "path": "/spec/template/spec/affinity", "value": {"nodeAffinity": {}}},
				{"op": "add", "path": "/spec/template/spec/priorityClassName", "value": "system-cluster-critical"}]`},
		},
		"labels": {
			"podLabels: {team: platform, control-plane: another}\npodAnnotations: {note: 'true'}\nprometheus: {labels: {release: monitoring}}",
			map[string]string{
				deploymentKey: `[{"op": "add", "path": "/spec/template/metadata/labels/team", "value": "platform"},
					{"op": "add", "path": "/spec/template/metadata/annotations/note", "value": "true"}]`,
				ruleKey:    `[{"op": "add", "path": "/metadata/labels/release", "value": "monitoring"}]`,
				monitorKey: `[{"op": "add", "path": "/metadata/labels/release", "value": "monitoring"}]`,
			},
		},
		"extra_kinds": {
			"extraKinds: [{group: networking.k8s.io, resources: [networkpolicies, ingresses]}, {group: '', resources: [services]}]",
			map[string]string{roleKey: `[
				{"op": "copy", "from": "/rules/0", "path": "/rules/-"}, {"op": "copy", "from": "/rules/0", "path": "/rules/-"},
				{"op": "replace", "path": "/rules/6/apiGroups", "value": ["networking.k8s.io"]},
				{"op": "replace", "path": "/rules/6/resources", "value": ["networkpolicies", "ingresses"]},
				{"op": "replace", "path": "/rules/7/resources", "value": ["services"]}]`},
		},
		"writes_in_kube-system": {
			"operatorPolicy: {protectedNamespaces: []}\nflags: {excluded-namespaces: [$(POD_NAMESPACE)]}", map[string]string{
				policyKey:     `[{"op": "replace", "path": "/spec/variables/1/expression", "value": "[variables.operatorNamespace]"}]`,
				deploymentKey: `[{"op": "remove", "path": "` + container + `/args/3"}]`,
			},
		},
		"more_protected_namespaces": {
			"operatorPolicy: {protectedNamespaces: [kube-system, kube-public]}", map[string]string{policyKey: `[
				{"op": "replace", "path": "/spec/variables/1/expression", "value": "['kube-system', 'kube-public', variables.operatorNamespace]"}]`},
		},
		"of_a_parent_chart": {"global: {region: north}\nenabled: true", nil},
	} {
		t.Run(name, func(t *testing.T) {
			values := filepath.Join(t.TempDir(), "values.yaml")
			writeFile(t, values, test.values)
			got := render(t, append(everything, "--namespace", "replika", "--values", values)...)
			want := maps.Clone(original)
			for key, patch := range test.want {
				want[key] = patched(t, original[key], patch)
			}
			expectEqual(t, got, want)
		})
	}
}

func TestSchema(t *testing.T) {
	for name, test := range map[string]struct{ value, want string }{
		"unknown_value":                    {"replica=3", "replica"},
		"unknown_value_of_a_group":         {"crds.enabled=true", "enabled"},
		"text_for_a_number":                {"replicas=two", "replicas"},
		"negative_number":                  {"replicas=-1", "replicas"},
		"text_for_a_bool":                  {"crds.keep=maybe", "keep"},
		"unknown_flag":                     {"flags.max-writes=3", "max-writes"},
		"flag_of_another_type":             {"flags.max-concurrent-writes=many", "max-concurrent-writes"},
		"flag_that_only_prints":            {"flags.version=true", "version"},
		"port_that_no_Service_has":         {"flags.metrics-bind-address=:9000", "metrics-bind-address"},
		"unknown_resource":                 {"resources.limit.memory=1Gi", "limit"},
		"digest_without_algorithm":         {"image.digest=abc", "digest"},
		"unknown_pull_policy":              {"image.pullPolicy=Sometimes", "pullPolicy"},
		"kind_without_a_group":             {"extraKinds[0].resources[0]=services", "group"},
		"kind_without_resources":           {"extraKinds[0].group=apps", "resources"},
		"all_kinds_of_a_group":             {"extraKinds[0].group=apps,extraKinds[0].resources[0]=*", "resources"},
		"namespace_that_is_an_expression":  {"operatorPolicy.protectedNamespaces[0]=a'", "protectedNamespaces"},
		"policy_without_impersonation":     {"policy.enabled=true", "impersonation"},
		"replicas_without_leader_election": {"flags.leader-elect=false", "leader-elect"},
		"replicas_without_the_flag":        {"flags.leader-elect=null", "leader-elect"},
	} {
		t.Run(name, func(t *testing.T) {
			output, err := helm("template", "replika", chart, "--set", test.value).CombinedOutput()
			if err == nil {
				t.Fatalf("--set %s is accepted", test.value)
			}
			if !strings.Contains(string(output), "schema") || !strings.Contains(string(output), test.want) {
				t.Errorf("--set %s: %s", test.value, output)
			}
		})
	}
	if output, err := helm("template", "replika", chart, "--set", "replicas=1,flags.leader-elect=false").CombinedOutput(); err != nil {
		t.Errorf("one replica without leader election: %s", output)
	}
}

// The versions of Kubernetes that the chart and OLM accept are the same.
func TestKubeVersion(t *testing.T) {
	read := func(path string, value any) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(content, value); err != nil {
			t.Fatal(err)
		}
	}
	metadata := struct{ KubeVersion string }{}
	read(filepath.Join(chart, "Chart.yaml"), &metadata)
	csv := struct {
		Spec struct{ MinKubeVersion string }
	}{}
	read(filepath.Join(root, "config", "manifests", "bases", "replika.clusterserviceversion.yaml"), &csv)
	if want := ">=" + csv.Spec.MinKubeVersion + "-0"; metadata.KubeVersion != want {
		t.Errorf("kubeVersion %s, want %s", metadata.KubeVersion, want)
	}
}

func TestLint(t *testing.T) {
	run(t, helm(append([]string{"lint", "--strict", chart}, everything...)...))
}

// expectKept expects the only difference to Kustomize, and removes it.
func expectKept(t *testing.T, objects map[string]map[string]any) {
	t.Helper()
	annotations := objects["CustomResourceDefinition replikas.replika.prosimcorp.com"]["metadata"].(map[string]any)["annotations"].(map[string]any)
	if annotations["helm.sh/resource-policy"] != "keep" {
		t.Errorf("annotations of the CRD: %v", annotations)
	}
	delete(annotations, "helm.sh/resource-policy")
}

func expectEqual(t *testing.T, got, want map[string]map[string]any) {
	t.Helper()
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if diff := cmp.Diff(want[key], got[key]); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", key, diff)
		}
	}
	for key := range got {
		if want[key] == nil {
			t.Errorf("there is also %s", key)
		}
	}
}

// overlay writes an overlay with all components, and returns its folder.
func overlay(t *testing.T, fields string) string {
	t.Helper()
	folder := t.TempDir()
	reference := func(path string) string {
		absolute, err := filepath.Abs(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		relative, err := filepath.Rel(folder, absolute) // Kustomize refuses absolute paths
		if err != nil {
			t.Fatal(err)
		}
		return "- " + relative + "\n"
	}
	writeFile(t, filepath.Join(folder, "kustomization.yaml"), fields+
		"resources:\n"+reference("manifests")+reference("config/prometheus")+
		"components:\n"+reference("config/impersonation")+reference("config/policy")+reference("config/network-policy"))
	return folder
}

// kustomize returns what Kustomize builds from the folder.
func kustomize(t *testing.T, folder string) map[string]map[string]any {
	t.Helper()
	objects := decode(t, run(t, exec.Command(kustomizePath(), "build", folder)))
	for _, object := range objects {
		// Kustomize takes these kinds for namespaced ones, as config/default explains.
		if strings.HasPrefix(object["apiVersion"].(string), "admissionregistration.k8s.io/") {
			delete(object["metadata"].(map[string]any), "namespace")
		}
	}
	return objects
}

// render returns what the chart contains.
func render(t *testing.T, args ...string) map[string]map[string]any {
	t.Helper()
	return decode(t, run(t, helm(append([]string{"template", "replika", chart}, args...)...)))
}

// `go tool` with -n compiles a tool and prints where it is. To run it by `go tool` takes ten times as long.
var (
	helmPath      = sync.OnceValue(func() string { return toolPath("helm", "helm") })
	kustomizePath = sync.OnceValue(func() string { return toolPath(".", "kustomize") })
)

func toolPath(module, name string) string {
	output, err := exec.Command("go", "tool", "-modfile="+filepath.Join(root, "hack", "tools", module, "go.mod"), "-n", name).Output()
	if err != nil {
		panic(fmt.Errorf("%s: %w", name, err))
	}
	return strings.TrimSpace(string(output))
}

func helm(args ...string) *exec.Cmd { return exec.Command(helmPath(), args...) }

func run(t *testing.T, command *exec.Cmd) []byte {
	t.Helper()
	if err := readInputs(); err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", command, err, output, stderr.String())
	}
	return output
}

// decode returns the objects by kind and name.
func decode(t *testing.T, manifest []byte) map[string]map[string]any {
	t.Helper()
	path := filepath.Join(t.TempDir(), "objects.yaml")
	writeFile(t, path, string(manifest))
	decoded, err := readObjects(path)
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]map[string]any{}
	for _, object := range decoded {
		key := object.GetKind() + " " + object.GetName()
		if objects[key] != nil {
			t.Errorf("there are two of %s", key)
		}
		objects[key] = object.Object
	}
	return objects
}

// patched returns the object with the JSON patch.
func patched(t *testing.T, object map[string]any, patch string) map[string]any {
	t.Helper()
	original, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	operations, err := jsonpatch.DecodePatch([]byte(patch))
	if err != nil {
		t.Fatal(err)
	}
	changed, err := operations.Apply(original)
	if err != nil {
		t.Fatal(err)
	}
	for _, result := range decode(t, changed) {
		return result
	}
	return nil
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
