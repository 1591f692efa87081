// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"slices"
	"strings"
	"testing"
)

// A rule says what the packages under From may import of this module. The first rule whose From
// matches a package is the one that counts, so special cases stand above their room.
type rule struct {
	From string
	May  []string
}

// rules are the arrows cmd -> manager -> providers -> bank -> pkg and cmd, manager -> rpc.
// Nothing may import cmd, tools or test, because no rule lets it.
var rules = []rule{
	{From: "pkg/workflow", May: []string{"pkg/workflow", "pkg/leaktest"}}, // the task engine knows nothing of Karbor
	{From: "pkg", May: []string{"pkg"}},
	{From: "rpc", May: []string{"rpc"}}, // a library of its own: others may use it without the rest
	{From: "bank", May: []string{"bank", "pkg"}},
	{From: "providers", May: []string{"providers", "bank", "pkg"}},
	{From: "manager", May: []string{"manager", "providers", "bank", "pkg", "rpc"}},
	{From: "cmd", May: []string{"cmd", "manager", "providers", "bank", "pkg", "rpc"}},
	{From: "tools", May: []string{"tools", "cmd", "manager", "providers", "bank", "pkg", "rpc"}},
	{From: "test", May: []string{"test", "cmd", "manager", "providers", "bank", "pkg", "rpc"}},
}

// testKit reports whether the package exists for tests (conformance suites and fakes: rpc/rpctest,
// bank/banktest, everything under test). Only tests and other kits import such packages.
func testKit(path string) bool {
	return slices.ContainsFunc(strings.Split(path, "/"), func(s string) bool { return strings.HasSuffix(s, "test") })
}

func under(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

func underAny(path string, roots []string) bool {
	for _, r := range roots {
		if under(path, r) {
			return true
		}
	}
	return false
}

// violation returns why from must not import to ("" when it may); both are paths inside the module.
func violation(from, to string) string {
	for _, r := range rules {
		if !under(from, r.From) {
			continue
		}
		if !underAny(to, r.May) {
			return from + " imports " + to + "; packages under " + r.From + " may import only " + strings.Join(r.May, ", ")
		}
		return ""
	}
	return from + " is in no room of the rules; see docs/architecture.md"
}

func TestImports(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range list(t, "./...") {
		from, ok := rel(p.ImportPath)
		if !ok {
			t.Fatalf("go list ./... listed %s, which is not of this module", p.ImportPath)
		}
		seen[strings.SplitN(from, "/", 2)[0]] = true
		for _, imports := range [][]string{p.Imports, p.TestImports, p.XTestImports} {
			for _, i := range imports {
				if to, ours := rel(i); ours && to != from {
					if why := violation(from, to); why != "" {
						t.Error(why)
					}
				}
			}
		}
		for _, i := range p.Imports {
			if to, ours := rel(i); ours && testKit(to) && !testKit(from) && !under(from, "tools") {
				t.Errorf("%s imports %s outside of its tests", from, to)
			}
		}
	}
	for _, room := range []string{"cmd", "manager", "providers", "bank", "pkg", "rpc"} {
		if !seen[room] {
			t.Errorf("no package under %s: the rules watch over an empty room", room)
		}
	}
}

// TestBinaries keeps test libraries out of what is shipped.
func TestBinaries(t *testing.T) {
	t.Parallel()
	testOnly := []string{"testing", "github.com/google/go-cmp", "go.uber.org/goleak", "pgregory.net/rapid"}
	for _, p := range list(t, "-deps", "./cmd/...") {
		if underAny(p.ImportPath, testOnly) {
			t.Errorf("%s is linked into a program under cmd", p.ImportPath)
		}
		if path, ours := rel(p.ImportPath); ours && testKit(path) {
			t.Errorf("%s is linked into a program under cmd", path)
		}
	}
}

// TestViolation holds the rules themselves to what they are meant to say.
func TestViolation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"cmd/karbor-protection", "manager", true},
		{"manager/operation", "providers/protection", true},
		{"manager", "rpc", true},
		{"providers", "bank/checkpoint", true},
		{"bank/swift", "pkg/config", true},
		{"rpc/rabbit", "rpc", true},
		{"test/functional", "cmd/karborctl", true},
		{"rpc", "pkg/fault", false},
		{"pkg/workflow", "pkg/fault", false},
		{"pkg/workflows", "pkg/fault", true},
		{"pkg/openstack", "bank", false},
		{"bank/swift", "providers", false},
		{"bank", "manager", false},
		{"providers", "rpc", false},
		{"manager", "cmd/karborctl", false},
		{"pkg/config", "tools/testreport", false},
		{"attic", "pkg/config", false},
	} {
		if why := violation(c.from, c.to); (why == "") != c.ok {
			t.Errorf("%s -> %s: %q, want allowed = %v", c.from, c.to, why, c.ok)
		}
	}
}
