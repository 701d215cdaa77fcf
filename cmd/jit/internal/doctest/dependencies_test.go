package doctest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// module is what `go list -m -json` says of one.
type module struct {
	Path, Version, Dir string
	Main, Indirect     bool
	Replace            *module
}

// goCommand runs the go command in the module, without cgo.
func goCommand(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = filepath.Dir(docs(t))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly -buildvcs=false")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// licenceMarks are words by which a licence's text is known, the first that fits.
var licenceMarks = []struct{ words, name string }{
	{"covered by two different licenses: MIT and Apache", "MIT and Apache-2.0"},
	{"SPDX-License-Identifier: BSD-3-Clause AND MPL-2.0", "BSD-3-Clause AND MPL-2.0"},
	{"Apache License Version 2.0", "Apache-2.0"},
	{"Mozilla Public License", "MPL-2.0"},
	{"Neither the name", "BSD-3-Clause"},
	{"Neither name of", "BSD-3-Clause"},
	{"Redistributions in binary form must", "BSD-2-Clause"},
	{"Permission is hereby granted, free of charge", "MIT"},
}

// licenceOf tells a module's licence from the file in the module cache.
func licenceOf(t *testing.T, m module) string {
	t.Helper()
	for _, name := range []string{"COPYING.md", "LICENSE", "LICENSE.txt", "LICENSE.md", "COPYING"} {
		text, err := os.ReadFile(filepath.Join(m.Dir, name))
		if err != nil {
			continue
		}
		plain := strings.Join(strings.Fields(string(text)), " ")
		for _, mark := range licenceMarks {
			if strings.Contains(plain, mark.words) {
				return mark.name
			}
		}
	}
	t.Errorf("%s %s: no licence that is known in %s", m.Path, m.Version, m.Dir)
	return ""
}

// shippable are the licences of what is compiled into the program. The MPL part of
// the one that has two is used as it is.
var shippable = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MIT", "MIT and Apache-2.0", "BSD-3-Clause AND MPL-2.0"}

var dependencyRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.*) \\| ([^|]+) \\|$")

// TestDependencies holds docs/dependencies.md to go.mod, and the licences to what
// the modules say.
func TestDependencies(t *testing.T) {
	all := map[string]module{}
	stream := json.NewDecoder(strings.NewReader(goCommand(t, "list", "-m", "-json", "all")))
	for stream.More() {
		var m module
		if err := stream.Decode(&m); err != nil {
			t.Fatal(err)
		}
		if m.Replace != nil {
			t.Errorf("%s is replaced by %s", m.Path, m.Replace.Path)
		}
		all[m.Path] = m
	}
	page := read(t, filepath.Join(docs(t), "dependencies.md"))
	direct, others, ok := strings.Cut(page, "## Worth knowing")
	if !ok {
		t.Fatal("the page has no second table")
	}
	rows := map[string]string{} // the words of each by module
	for i, part := range []string{direct, others} {
		for _, row := range dependencyRow.FindAllStringSubmatch(part, -1) {
			m, known := all[row[1]]
			switch {
			case !known || m.Main:
				t.Errorf("%s is listed, and is not in go.mod", row[1])
				continue
			case m.Indirect != (i == 1):
				t.Errorf("%s stands in the wrong table", row[1])
			}
			rows[m.Path] = row[2]
			if got := licenceOf(t, m); got != row[3] {
				t.Errorf("%s: its licence is %q, and %q is listed", m.Path, got, row[3])
			}
		}
	}
	shipped := map[string]bool{}
	for path := range strings.Lines(goCommand(t, "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./cmd/jit")) {
		shipped[strings.TrimSpace(path)] = true
	}
	for path, m := range all {
		if m.Main {
			continue
		}
		words, listed := rows[path]
		if !m.Indirect && !listed {
			t.Errorf("%s is used directly, and is not listed", path)
		}
		if listed && !m.Indirect && strings.HasPrefix(words, "tests only") == shipped[path] {
			t.Errorf("%s: compiled in %v, and listed as %q", path, shipped[path], words)
		}
		if shipped[path] && !slices.Contains(shippable, licenceOf(t, m)) {
			t.Errorf("%s is compiled in under %q", path, licenceOf(t, m))
		}
	}
	if len(rows) < 30 || len(shipped) < 30 {
		t.Errorf("%d modules are listed and %d compiled in: the search is broken", len(rows), len(shipped))
	}
}

// TestNoCgo: nothing of what is compiled in needs a C compiler, for any of the systems
// that are released.
func TestNoCgo(t *testing.T) {
	release := read(t, filepath.Join(filepath.Dir(docs(t)), ".goreleaser.yaml"))
	if !strings.Contains(release, "CGO_ENABLED=0") {
		t.Error("releases are not built without cgo")
	}
	// With cgo allowed, what uses it would list files in it.
	cmd := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{range .CgoFiles}}{{$.ImportPath}}/{{.}}\n{{end}}{{end}}", "./cmd/jit")
	cmd.Dir = filepath.Dir(docs(t))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	out, err := cmd.Output()
	if err != nil || len(out) > 0 {
		t.Errorf("these use cgo: %s (%v)", out, err)
	}
}

// TestHookReasonsAreExplained finds the hook's own reasons in docs/hosting.md, and none
// there that is not one.
func TestHookReasonsAreExplained(t *testing.T) {
	page := read(t, filepath.Join(docs(t), "hosting.md"))
	explained := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z][a-z-]+)` \\|").FindAllStringSubmatch(page, -1) {
		explained[m[1]] = true
	}
	reasons := codes(t, "../../../../pkg/replica", "GateReason", "")
	for name, code := range reasons {
		if !explained[code] {
			t.Errorf("replica.%s: the reason %q is not explained", name, code)
		}
		delete(explained, code)
	}
	if len(reasons) < 8 || len(explained) > 0 {
		t.Errorf("%d reasons were found, and these are explained and do not exist: %v", len(reasons), explained)
	}
}
