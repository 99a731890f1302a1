package arrows

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// The map in docs/architecture.md names every package, and none that is gone.
func TestEveryPackageIsOnTheMap(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Map\n")
	parts := strings.Split(section, "```")
	if len(parts) != 3 {
		t.Fatalf("the map is not one block: %d parts", len(parts))
	}
	named := make(map[string]bool)
	folder := ""
	for line := range strings.Lines(parts[1]) {
		names, _, _ := strings.Cut(strings.TrimRight(line, "\n")+"  ", "   ")
		indented := strings.HasPrefix(names, "  ")
		for _, name := range strings.Fields(names) {
			if !indented {
				folder = name
				named[name] = true
				continue
			}
			named[folder+"/"+name] = true
		}
	}
	delete(named, "domain/saga") // a folder only
	there := make(map[string]bool)
	for pkg := range packages(t) {
		if !strings.HasPrefix(pkg, "api/gen/") {
			there[pkg] = true
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(there)) {
		if !named[pkg] {
			t.Errorf("%s is not on the map", pkg)
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(named)) {
		if !there[pkg] {
			t.Errorf("%s is on the map and nowhere else", pkg)
		}
	}
}
