package planner_test

import (
	"os/exec"
	"strings"
	"testing"
)

// The package is pure: what talks to an API server stays out of it, however indirectly.
func TestImports(t *testing.T) {
	output, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, output)
	}
	packages := strings.Fields(string(output))
	if len(packages) < 10 {
		t.Fatalf("go list names %d packages only", len(packages))
	}
	for _, imported := range packages {
		for _, forbidden := range []string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime"} {
			if imported == forbidden || strings.HasPrefix(imported, forbidden+"/") {
				t.Errorf("the package depends on %s", imported)
			}
		}
	}
}
