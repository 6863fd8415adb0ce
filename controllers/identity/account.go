// Package identity says as whom requests are made: as the operator itself, or as a ServiceAccount by impersonation.
package identity

import (
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// Account is the ServiceAccount that requests are made as. The zero Account is the operator itself.
type Account struct {
	Namespace, Name string
}

// Operator is the operator itself.
var Operator = Account{}

// Of is the account that the Replika is served as: the one that its spec names, else the one that the administrator gives
// to all, else the operator. It is always one of the Replika's own namespace.
func Of(replika *v1alpha1.Replika, byDefault string) Account {
	name := replika.Spec.ServiceAccountName
	if name == "" {
		name = byDefault
	}
	if name == "" {
		return Operator
	}
	return Account{Namespace: replika.Namespace, Name: name}
}

// String names the account, for people.
func (a Account) String() string {
	if a == Operator {
		return "the operator"
	}
	return fmt.Sprintf("ServiceAccount %s/%s", a.Namespace, a.Name)
}

// impersonation makes requests those of the account. The API server adds the groups of a ServiceAccount by itself.
func (a Account) impersonation() rest.ImpersonationConfig {
	return rest.ImpersonationConfig{UserName: "system:serviceaccount:" + a.Namespace + ":" + a.Name}
}

// MayNotImpersonate tells whether a request was refused because the operator may not act as the account, whatever the
// account itself may do.
func MayNotImpersonate(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), " cannot impersonate")
}
