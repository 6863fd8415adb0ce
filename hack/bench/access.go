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
	"os"
	"path/filepath"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// The operator's account, as config/default names it.
const (
	accountNamespace = "replika"
	accountName      = "replika-controller-manager"
	accountUser      = "system:serviceaccount:" + accountNamespace + ":" + accountName
)

// grantAccess makes a kubeconfig with the rights that the operator has where it is deployed, and no others: what is
// measured is authorized, and queued by priority and fairness, as it would be there.
func (s *stage) grantAccess(ctx context.Context) (string, error) {
	if err := s.createNamespace(ctx, accountNamespace); err != nil {
		return "", err
	}
	var all rbacv1.ClusterRole
	if err := readManifest(filepath.Join(s.opts.config, "rbac", "role.yaml"), &all); err != nil {
		return "", err
	}
	var election rbacv1.Role
	if err := readManifest(filepath.Join(s.opts.config, "rbac", "leader_election_role.yaml"), &election); err != nil {
		return "", err
	}
	all.Rules = append(all.Rules, election.Rules...)
	all.Name = accountName
	if err := s.client.Create(ctx, &all); err != nil {
		return "", err
	}
	if err := s.client.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: accountName},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: accountName},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: accountNamespace, Name: accountName}},
	}); err != nil {
		return "", err
	}
	user, err := s.cluster.User(accountUser, "system:serviceaccounts", "system:serviceaccounts:"+accountNamespace)
	if err != nil {
		return "", err
	}
	path := filepath.Join(s.folder, "operator.kubeconfig")
	return path, s.cluster.KubeconfigFor(user, path)
}

func readManifest(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
