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

// Package executor carries out the actions that package planner decides. It knows HOW a copy is written: one atomic,
// guarded request for each action, what the responses of the API server mean, and the limit on concurrent requests that all
// Replikas share fairly. It makes no decision: package planner chooses the action, and what follows from its outcome.
package executor
