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

package tracking

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// State is whether a watch has synced and, if not, why.
type State string

const (
	// Synced means that the view of the watch is current.
	Synced State = "synced"
	// Syncing means that the watch has not received its first list yet.
	Syncing State = "syncing"
	// NotAllowed means that the operator has no permission to watch.
	NotAllowed State = "not allowed"
	// NotSupported means that the API server does not serve the kind, or offers no watch of it.
	NotSupported State = "not supported"
	// Failing means that requests fail, or are not answered.
	Failing State = "failing"
)

func (w *watch) state() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.synced:
		return Synced
	case w.problem != Synced:
		return w.problem
	default:
		return Syncing
	}
}

// availability is what users can expect of a watch.
type availability int

const (
	// pending means that the first list has not arrived yet, and that nothing has failed.
	pending availability = iota
	// available means that the watch has synced.
	available
	// unavailable means that the watch was refused, fails or is stale.
	unavailable
)

func (w *watch) currentAvailability() availability {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.availability()
}

// availability returns the current one. The lock is held.
func (w *watch) availability() availability {
	switch {
	case w.synced:
		return available
	case w.wasDown, w.problem != Synced:
		return unavailable
	default:
		return pending
	}
}

// problemOf returns what the failure of a request means for the watch.
func problemOf(err error) State {
	switch {
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return NotAllowed
	case apierrors.IsNotFound(err), apierrors.IsMethodNotSupported(err):
		return NotSupported
	default:
		return Failing
	}
}

// isRefusal reports whether the API server refuses the watch, so that it is of no use to wait.
func isRefusal(err error) bool { return problemOf(err) != Failing }
