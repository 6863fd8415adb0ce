package identity

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func TestOf(t *testing.T) {
	cases := map[string]struct {
		named, byDefault string
		want             Account
		wantName         string
	}{
		"the operator":             {"", "", Operator, "the operator"},
		"its own":                  {"copier", "", Account{"team", "copier"}, "ServiceAccount team/copier"},
		"the default":              {"", "replika", Account{"team", "replika"}, "ServiceAccount team/replika"},
		"its own over the default": {"copier", "replika", Account{"team", "copier"}, "ServiceAccount team/copier"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			replika := &v1alpha1.Replika{
				ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "sync"},
				Spec:       v1alpha1.ReplikaSpec{ServiceAccountName: c.named},
			}
			if got := Of(replika, c.byDefault); got != c.want || got.String() != c.wantName {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
