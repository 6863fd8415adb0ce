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

package planner

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// maxObjectName is the length of the longest name that any kind allows.
const maxObjectName = 253

// nameProblem returns the message of a copy that does not exist and whose name the API server rejects, whatever else the copy has;
// empty if it accepts the name, as far as is known. Only a name that the source does not have can be a problem.
func (in *Input) nameProblem(existing *Observed) string {
	if existing != nil || in.Name == in.SourceName || in.SourceName == "" {
		return ""
	}
	problem := ""
	switch {
	case len(in.Name) > maxObjectName:
		problem = fmt.Sprintf("it has %d characters, and at most %d are allowed", len(in.Name), maxObjectName)
	case in.Kind.Group == rbacGroup, !isDNSName(in.SourceName): // the kind allows other names
	default:
		problem = strings.Join(validation.IsDNS1123Subdomain(in.Name), "; ")
	}
	if problem == "" {
		return ""
	}
	return fmt.Sprintf("the name of the copy, %s, is not valid: %s; change spec.target (name, namePrefix, nameSuffix)", quoteEntry(in.Name), problem)
}

// rbacGroup is the API group whose kinds allow names such as system:reader.
const rbacGroup = "rbac.authorization.k8s.io"

func isDNSName(name string) bool { return len(validation.IsDNS1123Subdomain(name)) == 0 }
