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
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// leaseName is the name of the operator's leader election lease.
const leaseName = "replika.prosimcorp.com"

// waitForLeader waits until the lease has a holder. An operator that shut down cleanly has released it before.
func (e *environment) waitForLeader(ctx context.Context) error {
	key := client.ObjectKey{Namespace: accountNamespace, Name: leaseName}
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, startTimeout, true, func(ctx context.Context) (bool, error) {
		lease := &coordinationv1.Lease{}
		if err := e.client.Get(ctx, key, lease); client.IgnoreNotFound(err) != nil {
			return false, err
		}
		hasHolder := lease.Spec.HolderIdentity != nil && *lease.Spec.HolderIdentity != ""
		return hasHolder, e.operator.exitError()
	})
	if err != nil {
		return fmt.Errorf("waiting for the operator to become the leader: %w", err)
	}
	return nil
}
