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

// The operator's ServiceAccount, as config/default names it.
const (
	accountNamespace = "replika"
	accountName      = "replika-controller-manager"
	accountUser      = "system:serviceaccount:" + accountNamespace + ":" + accountName
)

// grantAccess writes a kubeconfig with exactly the permissions of a deployed operator, so that authorization and API
// Priority and Fairness apply to the measured requests as they do in a real cluster.
func (e *environment) grantAccess(ctx context.Context) (string, error) {
	if err := e.createNamespace(ctx, accountNamespace); err != nil {
		return "", err
	}
	var role rbacv1.ClusterRole
	if err := readManifest(filepath.Join(e.opts.config, "rbac", "role.yaml"), &role); err != nil {
		return "", err
	}
	var leaderElection rbacv1.Role
	if err := readManifest(filepath.Join(e.opts.config, "rbac", "leader_election_role.yaml"), &leaderElection); err != nil {
		return "", err
	}
	role.Rules = append(role.Rules, leaderElection.Rules...)
	role.Name = accountName
	if err := e.client.Create(ctx, &role); err != nil {
		return "", err
	}
	if err := e.client.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: accountName},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: accountName},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: accountNamespace, Name: accountName}},
	}); err != nil {
		return "", err
	}
	user, err := e.cluster.User(accountUser, "system:serviceaccounts", "system:serviceaccounts:"+accountNamespace)
	if err != nil {
		return "", err
	}
	path := filepath.Join(e.dir, "operator.kubeconfig")
	return path, e.cluster.KubeconfigFor(user, path)
}

func readManifest(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}
