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

package controllers

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// scope holds what one reconcile reads, and what its status is computed from.
type scope struct {
	name types.NamespacedName
	// replika may be modified. original is the Replika as the reconcile began, the base of the status patch.
	replika, original *v1alpha1.Replika
	// state outlives the reconcile.
	state *replikaState
	// anew is true if source and namespaces are read anew, although nothing says that they changed: the annotation requests it.
	anew bool
	// client impersonates identity.
	identity identity
	client   *Client

	// watchState is the state of the watches of source and copies. Unless they have synced, changes are detected only by polling.
	watchState tracking.State
	// listPermits has the functions that release the permits for lists of copies which the reconcile has not sent yet.
	listPermits map[schema.GroupVersionResource]func()
	// notReady is why the Replika as a whole is not ready; nil when only single copies can have failed.
	notReady *notReadyError
	// results of the actions on copies.
	results results
	// postponed is true if the next reconcile reports the results, see report.go.
	postponed bool

	// many is set if this is the scope of one of many sources, which is served like that of a Replika of its own, see sources.go.
	// memory is then what outlives the reconcile.
	many   *manySources
	memory *sourceState
	// conflicts is true if foreign objects are where copies should be.
	conflicts bool
	// dryRun is set if nothing is written but the status.
	dryRun *dryRun
}

func (r *ReplikaReconciler) newScope(cached *v1alpha1.Replika) (*scope, error) {
	name := client.ObjectKeyFromObject(cached)
	state := r.states.get(name)
	replika := state.latest(cached)
	state.recordInventory(inventory(replika)...)
	identity := identityOf(replika, r.Policy.DefaultServiceAccount)
	client, err := r.Clients.clientFor(identity)
	if err != nil {
		return nil, err
	}
	return &scope{
		name:     name,
		replika:  replika,
		original: replika.DeepCopy(),
		state:    state,
		anew:     requested(replika),
		identity: identity,
		client:   client,
	}, nil
}

// sourceTitle names the source, or many sources, in messages.
func (s *scope) sourceTitle() string { return sourceTitle(s.replika) }

func sourceTitle(replika *v1alpha1.Replika) string {
	if replika.HasManySources() {
		return fmt.Sprintf("sources of kind %s in namespace %s", replika.Spec.Source.Kind, replika.SourceNamespace())
	}
	return fmt.Sprintf("%s %s/%s", replika.Spec.Source.Kind, replika.SourceNamespace(), replika.Spec.Source.Name)
}

// suspended reports whether only copies without consent are touched. Deletion is not suspended.
func (s *scope) suspended() bool {
	return s.replika.Spec.Suspend && s.replika.DeletionTimestamp == nil
}

// requested reports whether the annotation requests a reconcile that has not been finished yet.
func requested(replika *v1alpha1.Replika) bool {
	request := v1alpha1.HandledRequest(replika.Annotations[v1alpha1.AnnotationRequestedAt])
	return request != "" && request != replika.Status.LastHandledRequest
}
