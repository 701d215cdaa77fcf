package layout

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// TestImports holds the module, as it is, against the order of packages. Each
// system that is released for is listed, for files can be bound to one.
func TestImports(t *testing.T) {
	for _, goos := range []string{"linux", "darwin"} {
		pkgs := list(t, goos)
		if len(pkgs) < 2 {
			t.Fatalf("go list for %s found %d packages: too few to be this module", goos, len(pkgs))
		}
		for _, v := range Violations(pkgs) {
			t.Errorf("%s: %s", goos, v)
		}
	}
}

// TestViolations shows that the check can fail, each case by one import.
func TestViolations(t *testing.T) {
	tests := []struct {
		name     string
		from     string
		imports  string
		test     bool
		violates bool
	}{
		{"down", "pkg/ledger", Module + "/pkg/approve", false, false},
		{"down over several", "cmd/jit", Module + "/pkg/record", false, false},
		{"up", "pkg/record", Module + "/pkg/policy", false, true},
		{"up from a test", "pkg/policy", Module + "/pkg/ledger", true, true},
		{"store by the ledger", "pkg/ledger", Module + "/pkg/gitstore", false, false},
		{"store by policy", "pkg/policy", Module + "/pkg/gitstore", false, true},
		{"store imports records", "pkg/gitstore", Module + "/pkg/record", false, true},
		{"driver by reconcile", "pkg/reconcile", Module + "/pkg/target/postgres", false, false},
		{"driver by the ledger", "pkg/ledger", Module + "/pkg/target", false, true},
		{"driver by a sibling", "pkg/target/builtin", Module + "/pkg/target/postgres", false, false},
		{"driver imports records", "pkg/target/postgres", Module + "/pkg/record", false, true},
		{"store imports a driver", "pkg/gitstore", Module + "/pkg/target", false, true},
		{"test help from a test", "pkg/gitstore", Module + "/internal/testenv", true, false},
		{"test help from code", "pkg/gitstore", Module + "/internal/testenv", false, true},
		{"conformance from a driver's test", "pkg/target/postgres", Module + "/pkg/target/conformance", true, false},
		{"conformance from a driver", "pkg/target/postgres", Module + "/pkg/target/conformance", false, true},
		{"unknown package", "pkg/nowhere", "fmt", false, true},
		{"unknown below a layer", "cmd/jit/internal/ui", "github.com/charmbracelet/lipgloss", false, false},
		{"lipgloss elsewhere", "pkg/approve", "github.com/charmbracelet/lipgloss", false, true},
		{"cobra's second package", "pkg/ledger", "github.com/spf13/cobra/doc", false, true},
		{"go-git elsewhere", "pkg/record", "github.com/go-git/go-git/v5/plumbing", false, true},
		{"go-git in a test", "pkg/ledger", "github.com/go-git/go-git/v5", true, false},
		{"conditions elsewhere", "pkg/request", "cel.dev/cel-go/cel", false, true},
		{"conditions in the policy", "pkg/policy", "cel.dev/cel-go/cel", false, false},
		{"yaml in the store", "pkg/gitstore", "gopkg.in/yaml.v3", false, true},
		{"yaml in records", "pkg/record", "gopkg.in/yaml.v3", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := Package{ImportPath: Module + "/" + tt.from}
			if tt.test {
				p.XTestImports = []string{tt.imports}
			} else {
				p.Imports = []string{tt.imports}
			}
			got := Violations([]Package{p})
			if (len(got) > 0) != tt.violates {
				t.Errorf("%s imports %s: got %q, want a violation: %v", tt.from, tt.imports, got, tt.violates)
			}
		})
	}
}

// TestLinterAgrees reads depguard's rules out of .golangci.yml and asks them
// about every pair of groups: the table and the linter give the same answer.
func TestLinterAgrees(t *testing.T) {
	rules := depguard(t)
	for _, from := range groups() {
		if slices.Contains(alone, from) {
			continue
		}
		for _, to := range groups() {
			want := allowed(from, to)
			got := rules.allow(from, Module+"/"+to)
			if got != want {
				t.Errorf("%s imports %s: depguard allows: %v, the table: %v", from, to, got, want)
			}
		}
		for _, l := range libraries {
			want := refuse(from, l.path, false) == ""
			if got := rules.allow(from, l.path); got != want {
				t.Errorf("%s imports %s: depguard allows: %v, the table: %v", from, l.path, got, want)
			}
		}
	}
}

// list runs go list over the module as for the system goos.
func list(t *testing.T, goos string) []Package {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list for %s: %v\n%s", goos, err, stderr.String())
	}
	var pkgs []Package
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p Package
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatalf("go list for %s: %v", goos, err)
		}
		pkgs = append(pkgs, p)
	}
}

// root is the folder of go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatalf("%q is not the module's folder: %v", dir, err)
	}
	return dir
}

// guard is one of depguard's rules, as .golangci.yml spells it.
type guard struct {
	Files []string `yaml:"files"`
	Mode  string   `yaml:"list-mode"`
	Allow []string `yaml:"allow"`
	Deny  []struct {
		Pkg string `yaml:"pkg"`
	} `yaml:"deny"`
}

type guards map[string]guard

func depguard(t *testing.T) guards {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root(t), ".golangci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Linters struct {
			Enable   []string `yaml:"enable"`
			Settings struct {
				Depguard struct {
					Rules guards `yaml:"rules"`
				} `yaml:"depguard"`
			} `yaml:"settings"`
		} `yaml:"linters"`
	}
	if err := yaml.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(config.Linters.Enable, "depguard") {
		t.Fatal(".golangci.yml does not switch depguard on")
	}
	for name, g := range config.Linters.Settings.Depguard.Rules {
		if g.Mode != "lax" {
			t.Fatalf("depguard's rule %q has list-mode %q: this test reads lax ones only", name, g.Mode)
		}
	}
	return config.Linters.Settings.Depguard.Rules
}

// allow answers as depguard does for a file of the package from that is no test:
// every rule that fits the file must agree; in a lax rule what is denied is
// refused, unless a longer prefix allows it.
func (rules guards) allow(from, path string) bool {
	for _, g := range rules {
		if !g.fits(from) {
			continue
		}
		var deny []string
		for _, d := range g.Deny {
			deny = append(deny, d.Pkg)
		}
		denied, allowed := nearest(deny, path), nearest(g.Allow, path)
		if denied != "" && len(allowed) <= len(denied) {
			return false
		}
	}
	return true
}

// fits reports whether the rule is about files of the package. It knows the
// forms of glob that the file uses: ${base-path}/DIR/** and /*.go, $all, $test.
func (g guard) fits(pkg string) bool {
	in := false
	for _, f := range g.Files {
		pattern, not := strings.CutPrefix(f, "!")
		dir := strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(pattern, "${base-path}/"), "/**"), "/*.go")
		hit := pattern == "$all" || pkg == dir || strings.HasSuffix(pattern, "/**") && under(pkg, dir)
		switch {
		case hit && not:
			return false
		case hit:
			in = true
		}
	}
	return in
}

// nearest returns the prefix of path that depguard would find in the list: it
// looks only at the last one that does not sort after path.
func nearest(list []string, path string) string {
	list = slices.Sorted(slices.Values(list))
	i, found := slices.BinarySearch(list, path)
	if found {
		return path
	}
	if i == 0 || !strings.HasPrefix(path, list[i-1]) {
		return ""
	}
	return list[i-1]
}
