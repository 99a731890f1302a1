// Package arrows guards the house: which room may know which.
package arrows

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/emet-node/emet/"

// mayKnow lists, for each room, the other rooms that it may import.
var mayKnow = map[string][]string{
	"domain":       {},
	"eventschemas": {"domain"},
	"projections":  {"domain"},
	"adapters":     {"domain", "projections"},
	"api":          {"domain", "projections"},
}

func TestArrowsPointInward(t *testing.T) {
	t.Parallel()
	for pkg, imports := range packages(t) {
		room := first(pkg)
		allowed, guarded := mayKnow[room]
		if !guarded {
			continue
		}
		for _, imp := range imports {
			if other := first(imp); other != room && !slices.Contains(allowed, other) {
				t.Errorf("%s imports %s: %s may know only %v", pkg, imp, room, allowed)
			}
		}
	}
}

func TestDomainKnowsTheStandardLibraryOnly(t *testing.T) {
	t.Parallel()
	out := run(t, "list", "-f", "{{range .Imports}}{{$.ImportPath}} {{.}}\n{{end}}", module+"domain/...")
	for line := range strings.Lines(out) {
		pkg, imp, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") && !strings.HasPrefix(imp, module) {
			t.Errorf("%s imports %s: the domain is pure", pkg, imp)
		}
	}
}

// Adapters do not know each other; the parts of one adapter's folder may know
// their parent and their siblings' vocabulary.
func TestAdaptersDoNotKnowEachOther(t *testing.T) {
	t.Parallel()
	for pkg, imports := range packages(t) {
		if first(pkg) != "adapters" {
			continue
		}
		for _, imp := range imports {
			if first(imp) == "adapters" && adapter(imp) != adapter(pkg) {
				t.Errorf("%s imports %s: adapters do not know each other", pkg, imp)
			}
		}
	}
}

// packages maps each of our packages to the packages of ours that it imports,
// both without the module's prefix.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	out := run(t, "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", module+"...")
	all := make(map[string][]string)
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		var ours []string
		for _, imp := range f[1:] {
			if rest, ok := strings.CutPrefix(imp, module); ok {
				ours = append(ours, rest)
			}
		}
		all[strings.TrimPrefix(f[0], module)] = ours
	}
	if len(all) < 5 {
		t.Fatalf("found only %d packages", len(all))
	}
	return all
}

func run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

func first(pkg string) string { a, _, _ := strings.Cut(pkg, "/"); return a }

func adapter(pkg string) string { return strings.Join(strings.SplitN(pkg, "/", 3)[:2], "/") }

// The second verifier is worth something only while it shares nothing with the
// first: it knows the standard library, hash functions and tree proofs.
func TestTheSecondVerifierIsIndependent(t *testing.T) {
	t.Parallel()
	allowed := []string{"golang.org/x/crypto/", "github.com/transparency-dev/merkle/"}
	for line := range strings.Lines(run(t, "list", "-f", "{{range .Imports}}{{.}}\n{{end}}", module+"verifier")) {
		imp := strings.TrimSpace(line)
		if strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") && !slices.ContainsFunc(allowed, func(p string) bool { return strings.HasPrefix(imp, p) }) {
			t.Errorf("verifier imports %s", imp)
		}
	}
	for line := range strings.Lines(run(t, "list", "-deps", module+"cmd/emet-verify")) {
		dep := strings.TrimSpace(line)
		if strings.HasPrefix(dep, module) && dep != module+"verifier" && dep != module+"cmd/emet-verify" {
			t.Errorf("cmd/emet-verify is linked with %s", dep)
		}
	}
}
