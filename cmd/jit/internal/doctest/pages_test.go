package doctest

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/reconcile"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/target/builtin"
)

// blocks gives the fenced blocks of a page with the given words after the fence.
func blocks(page, info string) []string {
	var found []string
	form := regexp.MustCompile("(?s)\n```" + regexp.QuoteMeta(info) + "\n(.*?)\n?```\n")
	for _, m := range form.FindAllStringSubmatch(page, -1) {
		found = append(found, m[1]+"\n")
	}
	return found
}

// TestReasonCodesAreExplained finds every reason code in the source and looks
// for it in the tables of docs/store-format.md.
func TestReasonCodesAreExplained(t *testing.T) {
	page := read(t, filepath.Join(docs(t), "store-format.md"))
	page = page[strings.Index(page, "## Reason codes"):]
	seen := 0
	for _, where := range []struct{ dir, kind, prefix string }{
		{"record", "Reason", ""}, {"policy", "Code", ""}, {"gitstore", "ViolationKind", ""}, {"ledger", "", "Reason"},
	} {
		for name, code := range codes(t, filepath.Join("../../../../pkg", where.dir), where.kind, where.prefix) {
			seen++
			if !strings.Contains(page, "`"+code+"`") {
				t.Errorf("%s.%s: the code %q is not explained", where.dir, name, code)
			}
		}
	}
	if seen < 80 {
		t.Errorf("only %d codes were found: the search is broken", seen)
	}
	// Nor does a table explain what is not there.
	all := map[string]bool{}
	for _, where := range []struct{ dir, kind, prefix string }{
		{"record", "Reason", ""}, {"policy", "Code", ""}, {"gitstore", "ViolationKind", ""}, {"ledger", "", "Reason"},
	} {
		for _, code := range codes(t, filepath.Join("../../../../pkg", where.dir), where.kind, where.prefix) {
			all[code] = true
		}
	}
	page, _, _ = strings.Cut(page, "## Checking")
	for line := range strings.Lines(page) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
			if !all[m[1]] {
				t.Errorf("the code %q is explained and does not exist", m[1])
			}
		}
	}
}

// codes gives the string constants of a package, by name, that have the type
// kind, or, with no kind, no type and a name with the prefix.
func codes(t *testing.T, dir, kind, prefix string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, v := range constSpecs(t, dir) {
		typed, _ := v.Type.(*ast.Ident)
		if kind != "" && (typed == nil || typed.Name != kind) || kind == "" && (v.Type != nil || !strings.HasPrefix(v.Names[0].Name, prefix)) {
			continue
		}
		for i, name := range v.Names {
			if lit, ok := v.Values[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				var err error
				if found[name.Name], err = strconv.Unquote(lit.Value); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return found
}

// constSpecs gives what declares constants in the files of a package, but its tests.
func constSpecs(t *testing.T, dir string) (all []*ast.ValueSpec) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
				for _, s := range g.Specs {
					all = append(all, s.(*ast.ValueSpec))
				}
			}
		}
	}
	return all
}

// TestCommandsRun runs the commands that the pages mark as run, each page's in
// one shell, which stops at the first that fails.
func TestCommandsRun(t *testing.T) {
	for program, pkg := range map[string]string{"git": "git", "gpgconf": "gpg-agent", "gpg": "gnupg", "bash": "bash", "awk": "mawk", "sha256sum": "coreutils"} {
		testenv.Need(t, program, pkg)
	}
	ran := 0
	for _, page := range pages(t) {
		script := blocks(read(t, page), "sh run")
		if len(script) == 0 {
			continue
		}
		ran++
		// gpg's agent needs a short path for its socket.
		dir, err := os.MkdirTemp("", "doc")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			kill := exec.Command("gpgconf", "--homedir", filepath.Join(dir, "gnupg"), "--kill", "all")
			_ = kill.Run() // there may be none
			_ = os.RemoveAll(dir)
		})
		if err := os.Symlink(docs(t), filepath.Join(dir, "docs")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", strings.Join(script, "\n"))
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "HOME="+dir, "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", filepath.Base(page), err, out)
		}
		if e := openExample(t); !strings.Contains(string(out), string(e.ledger.Identity())) {
			t.Errorf("%s: the identity is not printed:\n%s", filepath.Base(page), out)
		}
		for _, line := range strings.Split(string(out), "\n") {
			if strings.HasPrefix(line, "M\t") || strings.HasPrefix(line, "D\t") {
				t.Errorf("%s: the example store is not append-only: %s", filepath.Base(page), line)
			}
		}
	}
	if ran == 0 {
		t.Error("no page has commands to run")
	}
}

// TestPolicyExamples holds the example policies to every check, and what the
// pages call wrong to failing one.
func TestPolicyExamples(t *testing.T) {
	good, bad := 0, 0
	for _, page := range pages(t) {
		text := read(t, page)
		for _, example := range blocks(text, "yaml policy example") {
			good++
			for _, p := range problems(t, page, example) {
				t.Errorf("%s: %s\n%s", filepath.Base(page), p, example)
			}
		}
		for _, example := range blocks(text, "yaml policy refused") {
			bad++
			if len(problems(t, page, example)) == 0 {
				t.Errorf("%s: this passes, and is said to be refused:\n%s", filepath.Base(page), example)
			}
		}
	}
	if good == 0 || bad == 0 {
		t.Errorf("%d good and %d bad example policies: the search is broken", good, bad)
	}
}

func problems(t *testing.T, page, example string) []policy.Problem {
	t.Helper()
	var body policy.Body
	if err := record.DecodeStrict([]byte(example), &body); err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(page), err, example)
	}
	return append(policy.Check(&body), policy.CheckParameters(&body, builtin.ValidateRole)...)
}

// TestReconcilerExamples reads the example configurations as a reconciler does.
func TestReconcilerExamples(t *testing.T) {
	n := 0
	for _, page := range pages(t) {
		for _, example := range blocks(read(t, page), "yaml reconciler example") {
			n++
			file := filepath.Join(t.TempDir(), "reconcile.yaml")
			if err := os.WriteFile(file, []byte(example), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := reconcile.LoadConfig(file, builtin.Drivers())
			if err != nil {
				t.Errorf("%s: %v\n%s", filepath.Base(page), err, example)
				continue
			}
			for name, target := range c.Targets {
				if len(target.Settings) == 0 {
					t.Errorf("%s: target %s has no settings", filepath.Base(page), name)
				}
			}
		}
	}
	if n == 0 {
		t.Error("no page has a reconciler's configuration")
	}
}

var (
	linkForm = regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`)
	codeForm = regexp.MustCompile("`((?:pkg|cmd|internal|docs|packaging|testdata|tools)/[A-Za-z0-9_./-]+)`")
	testForm = regexp.MustCompile("`((?:pkg|cmd|internal)/[a-z0-9_/]+) ((?:Test|Fuzz)[A-Za-z0-9]+)`")
	funcForm = regexp.MustCompile("`((?:pkg|cmd)/[a-z0-9_/]+\\.go)`\\s+`([A-Za-z]+)`")
	headForm = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// TestWhatPagesName looks for every link, anchor, file, function and test that a page
// names.
func TestWhatPagesName(t *testing.T) {
	root := filepath.Dir(docs(t))
	tests, functions := 0, 0
	for _, page := range pages(t) {
		name, text := filepath.Base(page), read(t, page)
		for _, m := range linkForm.FindAllStringSubmatch(text, -1) {
			to := page
			if m[1] != "" {
				to = filepath.Join(docs(t), m[1])
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
				continue
			}
			if m[2] != "" && !anchors(read(t, to))[m[2]] {
				t.Errorf("%s links to %s%s, where there is no such heading", name, m[1], m[2])
			}
		}
		for _, m := range codeForm.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s names %s: %v", name, m[1], err)
			}
		}
		for _, m := range funcForm.FindAllStringSubmatch(text, -1) {
			functions++
			source, err := os.ReadFile(filepath.Join(root, m[1]))
			if err != nil || !regexp.MustCompile(`(?m)^func (\([^)]*\) )?`+m[2]+`[(\[]`).Match(source) {
				t.Errorf("%s names the function %s in %s, which is not there", name, m[2], m[1])
			}
		}
		for _, m := range testForm.FindAllStringSubmatch(text, -1) {
			tests++
			files, _ := filepath.Glob(filepath.Join(root, m[1], "*_test.go"))
			found := false
			for _, file := range files {
				found = found || strings.Contains(read(t, file), "func "+m[2]+"(")
			}
			if !found {
				t.Errorf("%s names the test %s of %s, which is not there", name, m[2], m[1])
			}
		}
	}
	if tests < 20 || functions < 20 {
		t.Errorf("the pages name %d tests and %d functions: the search is broken", tests, functions)
	}
}

// anchors are the headings of a page as GitHub links to them.
func anchors(page string) map[string]bool {
	all := map[string]bool{}
	for _, m := range headForm.FindAllStringSubmatch(page, -1) {
		text := strings.ToLower(m[1])
		text = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(text, "")
		all["#"+strings.ReplaceAll(text, " ", "-")] = true
	}
	return all
}
