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

package commands

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

const (
	// aggregationLabel adds the rules of a ClusterRole to the role of the operator.
	aggregationLabel = "rbac.replika.prosimcorp.com/aggregate-to-manager"
	// operatorRoleName is the name of the ClusterRole for the operator.
	operatorRoleName = "replika-replicated-kinds"
)

// Verbs that are needed. The operator watches with its own permissions, whatever account reads and writes, and cleans up with its own
// when the namespace of the account is deleted.
var (
	operatorVerbs    = []string{"get", "list", "watch", "create", "patch", "delete"}
	watchingVerbs    = []string{"list", "watch", "patch", "delete"}
	sourceVerbs      = []string{"get"}
	manySourcesVerbs = []string{"get", "list"}
	copyVerbs        = []string{"get", "create", "patch", "delete"}
)

// permission is a permission on a resource, or on one object of it.
type permission struct {
	resource schema.GroupResource
	verb     string
	// object is the name of the only object; empty for all.
	object string
}

// permissions is a set of permissions.
type permissions map[permission]bool

// add adds the verbs.
func (p permissions) add(resource schema.GroupResource, verbs []string, object string) {
	for _, verb := range verbs {
		p[permission{resource, verb, object}] = true
	}
}

// rules returns as few rules as possible, in a stable order.
func (p permissions) rules() []rbacv1.PolicyRule {
	type scope struct {
		resource schema.GroupResource
		object   string
	}
	verbs := map[scope][]string{}
	for _, verb := range operatorVerbs { // keeps the order
		for one := range p {
			covered := one.object != "" && p[permission{one.resource, one.verb, ""}]
			if one.verb == verb && !covered {
				verbs[scope{one.resource, one.object}] = append(verbs[scope{one.resource, one.object}], verb)
			}
		}
	}
	scopes := slices.SortedFunc(maps.Keys(verbs), func(a, b scope) int {
		return cmp.Or(
			cmp.Compare(a.resource.Group, b.resource.Group),
			slices.Compare(verbs[a], verbs[b]),
			cmp.Compare(a.resource.Resource, b.resource.Resource),
			cmp.Compare(a.object, b.object))
	})
	var rules []rbacv1.PolicyRule
	for _, one := range scopes {
		rule := rbacv1.PolicyRule{APIGroups: []string{one.resource.Group}, Resources: []string{one.resource.Resource}, Verbs: verbs[one]}
		if one.object != "" {
			rule.ResourceNames = []string{one.object}
		}
		rules = appendRule(rules, rule)
	}
	return rules
}

// appendRule adds the rule to the last one if that differs only in the resource, or only in the object.
func appendRule(rules []rbacv1.PolicyRule, rule rbacv1.PolicyRule) []rbacv1.PolicyRule {
	if len(rules) > 0 {
		last := &rules[len(rules)-1]
		same := slices.Equal(last.APIGroups, rule.APIGroups) && slices.Equal(last.Verbs, rule.Verbs)
		switch {
		case same && last.ResourceNames == nil && rule.ResourceNames == nil:
			last.Resources = append(last.Resources, rule.Resources...)
			return rules
		case same && slices.Equal(last.Resources, rule.Resources) && last.ResourceNames != nil && rule.ResourceNames != nil:
			last.ResourceNames = append(last.ResourceNames, rule.ResourceNames...)
			return rules
		}
	}
	return append(rules, rule)
}

// printOperatorRole prints the ClusterRole that adds what the Replikas need to the role of the operator.
func (r *rbacCommand) printOperatorRole(kinds []replikaKind) error {
	needed := permissions{}
	for _, kind := range kinds {
		if kind.account == "" {
			needed.add(kind.resource, operatorVerbs, "")
		} else {
			needed.add(kind.resource, watchingVerbs, "")
		}
	}
	if len(needed) == 0 {
		return nil
	}
	return printObjects(r.Out, []any{&clusterRole{
		TypeMeta: metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole"},
		Metadata: roleMetadata{Name: operatorRoleName, Labels: map[string]string{aggregationLabel: "true"}},
		Rules:    needed.rules(),
	}})
}

// accountScope is where a ServiceAccount needs permissions. The namespace is empty for all.
type accountScope struct {
	account   types.NamespacedName
	namespace string
}

// printAccountRoles prints the roles of the ServiceAccounts, and their bindings.
func (r *rbacCommand) printAccountRoles(kinds []replikaKind) error {
	needed := map[accountScope]permissions{}
	add := func(account types.NamespacedName, namespace string, resource schema.GroupResource, verbs []string, object string) {
		scope := accountScope{account, namespace}
		if needed[scope] == nil {
			needed[scope] = permissions{}
		}
		needed[scope].add(resource, verbs, object)
	}
	for _, kind := range kinds {
		if kind.account == "" {
			r.note("Replika %s is left out: it has no ServiceAccount.", client.ObjectKeyFromObject(kind.replika))
			continue
		}
		account := types.NamespacedName{Namespace: kind.replika.Namespace, Name: kind.account}
		if kind.replika.HasManySources() {
			add(account, kind.replika.SourceNamespace(), kind.resource, manySourcesVerbs, "")
		} else {
			add(account, kind.replika.SourceNamespace(), kind.resource, sourceVerbs, kind.replika.Spec.Source.Name)
		}
		for _, namespace := range targetScopes(kind.replika) {
			add(account, namespace, kind.resource, copyVerbs, "")
		}
	}
	var objects []any
	for _, scope := range slices.SortedFunc(maps.Keys(needed), func(a, b accountScope) int {
		return cmp.Or(cmp.Compare(a.account.String(), b.account.String()), cmp.Compare(a.namespace, b.namespace))
	}) {
		objects = append(objects, scope.role(needed[scope].rules()), scope.binding())
	}
	return printObjects(r.Out, objects)
}

// targetScopes returns the target namespaces if the spec names them, else the empty name, which stands for all.
func targetScopes(replika *v1alpha1.Replika) []string {
	targets := &replika.Spec.Target.Namespaces
	isPattern := func(name string) bool { return strings.Contains(name, "*") }
	names := planner.NamesAndGlobs(targets)
	if targets.MatchAll || targets.Selector != nil || slices.ContainsFunc(names, isPattern) {
		return []string{metav1.NamespaceAll}
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(targets.ExcludeFrom, name) })
}

// The types below are those of package rbacv1, without the fields that the API server sets, which YAML would show.

type roleMetadata struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
}

type clusterRole struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        roleMetadata        `json:"metadata"`
	Rules           []rbacv1.PolicyRule `json:"rules"`
}

type roleBinding struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        roleMetadata     `json:"metadata"`
	RoleRef         rbacv1.RoleRef   `json:"roleRef"`
	Subjects        []rbacv1.Subject `json:"subjects"`
}

// name is unique: neither namespaces nor ServiceAccounts have colons in their names.
func (s accountScope) name() string { return "replika:" + s.account.Namespace + ":" + s.account.Name }

// kind is that of the role.
func (s accountScope) kind() string {
	if s.namespace == metav1.NamespaceAll {
		return "ClusterRole"
	}
	return "Role"
}

func (s accountScope) role(rules []rbacv1.PolicyRule) *clusterRole {
	return &clusterRole{
		TypeMeta: metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: s.kind()},
		Metadata: roleMetadata{Name: s.name(), Namespace: s.namespace},
		Rules:    rules,
	}
}

func (s accountScope) binding() *roleBinding {
	return &roleBinding{
		TypeMeta: metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: s.kind() + "Binding"},
		Metadata: roleMetadata{Name: s.name(), Namespace: s.namespace},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: s.kind(), Name: s.name()},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: s.account.Namespace, Name: s.account.Name}},
	}
}
