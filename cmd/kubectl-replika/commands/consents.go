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
	"strings"

	"github.com/prosimcorp/replika/controllers"
	"github.com/prosimcorp/replika/controllers/planner"
)

// consent is what the owners of some sources of a Replika allow, in the same way.
type consent struct {
	// sources are the names of the sources; none if the Replika has only one.
	sources   []string
	selection *planner.Selection
}

// consentGroups are the consents for all sources of a Replika.
type consentGroups struct {
	list []consent
	// index has the places in the list by what is allowed.
	index map[string]int
}

// add adds a source. The base is the selection with what is known without the source.
func (g *consentGroups) add(base *planner.Selection, source *controllers.InspectedSource, many bool) {
	key, selection := "unknown", base
	switch {
	case source.NoneAllowed:
		key, selection = "none", base.RestrictToNone()
	case source.ConsentKnown:
		key, selection = "allowed:"+strings.Join(source.Allowed, ","), base.Restrict(source.Allowed)
	}
	at, found := g.index[key]
	if !found {
		if g.index == nil {
			g.index = map[string]int{}
		}
		at = len(g.list)
		g.index[key] = at
		g.list = append(g.list, consent{selection: selection})
	}
	if many {
		g.list[at].sources = append(g.list[at].sources, source.Replika.Spec.Source.Name)
	}
}

// sourceCount is the number of sources with a consent.
func sourceCount(consents []consent) int {
	count := 0
	for _, one := range consents {
		count += max(1, len(one.sources))
	}
	return count
}
