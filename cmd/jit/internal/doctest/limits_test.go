package doctest

import (
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"regexp"
	"testing"

	"go/ast"
)

// TestLimits compares the values on the page of limits with the constants.
func TestLimits(t *testing.T) {
	page := read(t, filepath.Join(docs(t), "limits.md"))
	rows := regexp.MustCompile("(?m)^\\| `([a-z]+)\\.([A-Za-z]+)` \\| ([0-9]+) \\|").FindAllStringSubmatch(page, -1)
	if len(rows) < 45 {
		t.Errorf("only %d limits were found: the search is broken", len(rows))
	}
	known := map[string]map[string]constant.Value{}
	for _, row := range rows {
		pkg, name, want := row[1], row[2], row[3]
		if known[pkg] == nil {
			known[pkg] = constants(t, filepath.Join("../../../../pkg", pkg))
		}
		got, ok := known[pkg][name]
		if !ok {
			t.Errorf("%s.%s is no constant", pkg, name)
		} else if got.ExactString() != want {
			t.Errorf("%s.%s is %s, and the page says %s", pkg, name, got.ExactString(), want)
		}
	}
}

// constants gives the numeric constants of a package whose values need nothing but
// each other.
func constants(t *testing.T, dir string) map[string]constant.Value {
	t.Helper()
	set, text := token.NewFileSet(), "package p\n"
	for _, v := range constSpecs(t, dir) {
		for i, name := range v.Names {
			if i < len(v.Values) && name.Name != "_" {
				text += "const " + name.Name + " = " + types.ExprString(v.Values[i]) + "\n"
			}
		}
	}
	all, err := parser.ParseFile(set, "constants.go", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	// What names another package's is left out, and is no fault here.
	conf := types.Config{Error: func(error) {}}
	p, _ := conf.Check("p", set, []*ast.File{all}, nil)
	found := map[string]constant.Value{}
	for _, name := range p.Scope().Names() {
		if c, ok := p.Scope().Lookup(name).(*types.Const); ok && c.Val().Kind() == constant.Int {
			found[name] = c.Val()
		}
	}
	return found
}
