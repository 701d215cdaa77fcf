package policy

import (
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
)

// Reads are the words of a request that a condition asks about. What is said of who
// asks, for what and when, is not among them.
type Reads struct {
	Reason, Ticket bool
	Inputs         map[string]bool // by name
}

// Reads gives what the condition asks about under a rule with these inputs. A
// condition that was checked has no error.
func (c Condition) Reads(inputs map[string]Input) (Reads, error) {
	r := Reads{Inputs: map[string]bool{}}
	kind := inputsKind(inputs)
	e, err := (&compiler{environments: map[string]*cel.Env{}}).environment(kind.signature(), kind)
	if err != nil {
		return r, fmt.Errorf("conditions cannot be compiled: %w", err)
	}
	checked, issues := e.Compile(c.Expr)
	if issues.Err() != nil {
		return r, issueError(issues)
	}
	a := checked.NativeRep()
	// The types tell the variables from what a macro names alike.
	walkEach(a, func(x ast.Expr) {
		if x.Kind() != ast.SelectKind {
			return
		}
		field := x.AsSelect().FieldName()
		switch a.GetType(x.AsSelect().Operand().ID()).TypeName() {
		case inputsType.TypeName():
			r.Inputs[field] = true
		case requestType.TypeName():
			r.Reason, r.Ticket = r.Reason || field == "reason", r.Ticket || field == "ticket"
		}
	})
	return r, nil
}
