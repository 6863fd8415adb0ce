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
	"context"
	"iter"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// parts is a plan in parts. The actions of a large plan, and their results, are never in memory together: each part is planned,
// executed and recorded before the next one.
type parts struct {
	inputs []*planner.Input
	plan   func(*planner.Input) []planner.Action
	// actions are those of the only part.
	actions []planner.Action

	// desired is the number of desired copies, and namespaces that of namespaces with an action.
	desired, namespaces int
	// counts has the number of actions by type.
	counts map[planner.ActionType]int
}

// newParts divides the input, and plans all parts once to count their actions. visit is called with the actions of each part.
func newParts(in *planner.Input, plan func(*planner.Input) []planner.Action, visit ...func([]planner.Action)) *parts {
	p := &parts{inputs: in.Parts(maxPartNamespaces), plan: plan, counts: map[planner.ActionType]int{}}
	if len(p.inputs) == 1 {
		p.actions = plan(in)
	}
	for _, actions := range p.each() {
		p.count(actions)
		for _, visit := range visit {
			visit(actions)
		}
	}
	return p
}

// each yields the parts and their actions. Those of several parts are planned again each time.
func (p *parts) each() iter.Seq2[*planner.Input, []planner.Action] {
	return func(yield func(*planner.Input, []planner.Action) bool) {
		for _, in := range p.inputs {
			actions := p.actions
			if len(p.inputs) > 1 {
				actions = p.plan(in)
			}
			if !yield(in, actions) {
				return
			}
		}
	}
}

// count adds the actions of a part, which are sorted by namespace.
func (p *parts) count(actions []planner.Action) {
	for i := range actions {
		p.counts[actions[i].Type]++
		if actions[i].Desired {
			p.desired++
		}
		if i == 0 || actions[i].Namespace != actions[i-1].Namespace {
			p.namespaces++
		}
	}
}

// log logs how many actions of each type the plan has.
func (p *parts) log(ctx context.Context, mapping tracking.Mapping) {
	if len(p.counts) > 0 {
		ctrl.LoggerFrom(ctx).V(1).Info("Planned actions", "resource", mapping.Resource.GroupResource(), "actions", p.counts)
	}
}
