// Package layout holds the order of this module's packages: which of them may
// import which. It owns the table and its check, and is imported by nothing but
// its own tests, which run `go list` over the module, and compare the table with
// depguard's rules in .golangci.yml, so that the two cannot drift apart.
//
// It imports nothing of this module.
package layout

import (
	"fmt"
	"slices"
	"strings"
)

// Module is the path of this module.
const Module = "github.com/jitaccess/jit"

// layers is the line along which data flows, lowest first. A package may import
// any that stands before it and none that stands after it.
var layers = []string{
	"pkg/record",
	"pkg/policy",
	"pkg/receipt",
	"pkg/request",
	"pkg/revoke",
	"pkg/approve",
	"pkg/trial",
	"pkg/ledger",
	"pkg/replica",
	"pkg/reconcile",
	"cmd/jit",
}

// aside are the packages that stand beside the line: they import nothing on it,
// nor each other, and only the packages named here may import them.
var aside = map[string][]string{
	"pkg/gitstore": {"pkg/ledger", "pkg/replica", "pkg/reconcile", "cmd/jit", "bench"},
	"pkg/target":   {"pkg/reconcile", "cmd/jit"},
	// Who may change a file.
	"internal/owned": {"pkg/gitstore", "pkg/replica", "pkg/target", "pkg/reconcile", "cmd/jit"},
	// Whether there is no room.
	"internal/full": {"pkg/target", "pkg/reconcile"},
	// Files that a program carries with it, and nothing else.
	"testdata/policies": {"cmd/jit"},
}

// programs are main packages besides cmd/jit, which nothing may import; each may
// import what stands beside its name.
var programs = map[string][]string{
	"bench": {"pkg/approve", "pkg/gitstore", "pkg/ledger", "pkg/policy", "pkg/receipt", "pkg/reconcile", "pkg/record", "pkg/replica", "pkg/request", "pkg/revoke", "pkg/target"},
}

// testOnly are packages that no package outside of themselves may import but
// from a test. They import nothing of this module, but for those named here.
var testOnly = map[string][]string{
	"internal/testenv":   {},
	"internal/bigpolicy": {"pkg/record", "pkg/policy"},
	"internal/storetest": {"pkg/record", "pkg/policy", "pkg/receipt", "pkg/request", "pkg/revoke", "pkg/approve",
		"pkg/ledger", "pkg/replica"},
	"pkg/target/conformance": {"pkg/target", "internal/testenv"},
	"internal/vectors":       {"pkg/record", "internal/testenv"},
}

// alone are packages that nobody imports and that import nothing of this module.
var alone = []string{"internal/layout"}

// library is the use of a library that belongs to a few packages only.
// Packages below a named one count as that one. Tests are free in this.
type library struct {
	path   string   // the module path; every package of it is meant
	only   []string // who may import it; empty when never is not
	never  []string // who may not, whatever else
	reason string
}

var libraries = []library{
	{path: "github.com/spf13/cobra", only: []string{"cmd/jit"}, reason: "commands and flags are cmd/jit's"},
	{path: "github.com/spf13/pflag", only: []string{"cmd/jit"}, reason: "commands and flags are cmd/jit's"},
	{path: "github.com/charmbracelet/lipgloss", only: []string{"cmd/jit"}, reason: "how things look is cmd/jit's"},
	{path: "github.com/go-git/go-git/v5", only: []string{"pkg/gitstore"}, reason: "git stands behind pkg/gitstore"},
	{path: "github.com/jackc/pgx/v5", only: []string{"pkg/target"}, reason: "databases are reached by their driver"},
	{path: "cel.dev/cel-go", only: []string{"pkg/policy"}, reason: "conditions are pkg/policy's"},
	{path: "gopkg.in/yaml.v3", never: []string{"pkg/gitstore"}, reason: "the store knows bytes, not documents"},
	{path: "github.com/ProtonMail/go-crypto", never: []string{"pkg/gitstore", "pkg/target"}, reason: "signatures are pkg/record's"},
}

// Package is what the check needs to know of one package: paths as `go list`
// prints them.
type Package struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// Violations says, one sentence each and sorted, which imports the order does
// not allow. It is empty when all is well.
func Violations(pkgs []Package) []string {
	var out []string
	for _, p := range pkgs {
		from, ok := inModule(p.ImportPath)
		if !ok {
			continue
		}
		if !known(from) {
			out = append(out, fmt.Sprintf("%s has no place in the order of packages: give it one in internal/layout and in .golangci.yml", from))
			continue
		}
		for _, imp := range p.Imports {
			if why := refuse(from, imp, false); why != "" {
				out = append(out, fmt.Sprintf("%s imports %s: %s", from, imp, why))
			}
		}
		for _, imp := range slices.Concat(p.TestImports, p.XTestImports) {
			if why := refuse(from, imp, true); why != "" {
				out = append(out, fmt.Sprintf("a test of %s imports %s: %s", from, imp, why))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// refuse returns why the package from may not import the path imp, or "".
func refuse(from, imp string, test bool) string {
	if to, ok := inModule(imp); ok {
		return refuseInside(from, to, test)
	}
	if test || slices.Contains(alone, from) {
		return ""
	}
	for _, l := range libraries {
		if !under(imp, l.path) {
			continue
		}
		in := func(p string) bool { return under(from, p) }
		if slices.ContainsFunc(l.never, in) || len(l.only) > 0 && !slices.ContainsFunc(l.only, in) {
			return l.reason
		}
	}
	return ""
}

// refuseInside is refuse for two packages of this module.
func refuseInside(from, to string, test bool) string {
	if from == to {
		return ""
	}
	if _, ok := testOnly[group(to)]; ok && test {
		return ""
	}
	if allowed(group(from), group(to)) {
		return ""
	}
	switch {
	case slices.Contains(layers, group(from)) && slices.Contains(layers, group(to)):
		return "it stands above, and imports go down only"
	case isTestOnly(to):
		return "only tests may import it"
	case aside[group(to)] != nil:
		return fmt.Sprintf("only %s may", strings.Join(aside[group(to)], ", "))
	case aside[group(from)] != nil:
		return fmt.Sprintf("%s stands by itself", group(from))
	}
	return "the order of packages does not name it"
}

// allowed reports whether code of the group from, tests apart, may import the
// group to.
func allowed(from, to string) bool {
	if from == to {
		return true
	}
	if i, j := slices.Index(layers, from), slices.Index(layers, to); i >= 0 && j >= 0 {
		return j < i
	}
	return slices.Contains(aside[to], from) ||
		slices.Contains(programs[from], to) ||
		slices.Contains(testOnly[from], to)
}

// group is the entry of the tables to which a package belongs: itself, or the
// nearest above it. A driver in pkg/target/postgres belongs to pkg/target.
func group(pkg string) string {
	best := ""
	for _, g := range groups() {
		if under(pkg, g) && len(g) > len(best) {
			best = g
		}
	}
	return best
}

// groups lists every entry of the tables.
func groups() []string {
	all := slices.Concat(layers, alone)
	for _, table := range []map[string][]string{aside, programs, testOnly} {
		for g := range table {
			all = append(all, g)
		}
	}
	slices.Sort(all)
	return all
}

func known(pkg string) bool { return group(pkg) != "" }

func isTestOnly(pkg string) bool { _, ok := testOnly[group(pkg)]; return ok }

// under reports whether path is dir or lies below it.
func under(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// inModule cuts the module's path off an import path.
func inModule(path string) (string, bool) {
	if path == Module {
		return ".", true
	}
	return strings.CutPrefix(path, Module+"/")
}
