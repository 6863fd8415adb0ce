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

// Package planner computes the desired state of a Replika and the actions that lead to it. From the spec, the source, the
// namespaces, the observed objects and the claims of other Replikas, it returns one action for each object.
//
// The package is pure: it has no I/O, no clock and no client. The same input always gives the same plan, so table tests,
// property tests and fuzzers can cover states that are rare in a real cluster.
//
// Each rule has a file: selection.go (target namespaces), explanation.go (which rule decides about one), consent.go (who allows a copy), clean.go (what is stripped),
// template.go (the desired copy), marks.go (ownership annotations), digest.go and observed.go (comparing copies),
// claims.go (Replikas that select the same object), plan.go (the actions), outcome.go (what to do with the result of an
// action), retry.go (the backoff) and contest.go (copies that another client keeps changing).
package planner
