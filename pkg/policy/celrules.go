package policy

import (
	"errors"
	"fmt"
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
)

// What is refused here is refused so that checking an expression, and judging by
// it, takes little whoever wrote it, and gives the same on every machine. CEL by
// itself promises neither: the cost of a step does not grow with a value that
// holds another many times over, and maps are gone through in any order.

// checkParsed judges an expression before its types are known: what could make
// the types themselves large, and patterns. It gives the sizes of the patterns.
func checkParsed(a *ast.AST, work *patternWork) (map[string]int, error) {
	patterns := map[string]int{}
	full := false
	err := walk(a, func(e ast.Expr) (message, hint string) {
		switch {
		case e.Kind() == ast.MapKind || e.Kind() == ast.StructKind:
			return "maps and objects cannot be written in a condition", "compare with each value, joined by || or &&"
		case e.Kind() == ast.CallKind && e.AsCall().FunctionName() == overloads.Matches && len(e.AsCall().Args()) > 0:
			pattern, ok := literalText(e.AsCall().Args()[len(e.AsCall().Args())-1])
			if !ok {
				return "a pattern must be written out", `write it in quotes: request.ticket.matches("^OPS-[0-9]+$")`
			}
			size, err := work.take(pattern)
			if err != nil {
				full = errors.Is(err, errPatternWork)
				return err.Error(), "RE2 syntax"
			}
			patterns[pattern] = size
		}
		return "", ""
	})
	if full {
		err = errPatternWork
	}
	return patterns, err
}

// checkTyped judges an expression whose types are known.
func checkTyped(a *ast.AST) error {
	joins := map[int64]bool{} // lists that a macro joins, item by item
	walkEach(a, func(e ast.Expr) {
		if e.Kind() != ast.ComprehensionKind {
			return
		}
		walkExpr(e.AsComprehension().LoopStep(), func(step ast.Expr) {
			if isJoin(a, step) && step.AsCall().Args()[0].Kind() == ast.IdentKind &&
				step.AsCall().Args()[0].AsIdent() == e.AsComprehension().AccuVar() {
				joins[step.ID()] = true
			}
		})
	})
	return walk(a, func(e ast.Expr) (message, hint string) {
		if t := a.GetType(e.ID()); t.Kind() == types.ListKind && len(t.Parameters()) == 1 && t.Parameters()[0].Kind() == types.ListKind {
			return "a list of lists is not allowed", "ask about one list after the other"
		}
		switch e.Kind() {
		case ast.ComprehensionKind:
			over := e.AsComprehension().IterRange()
			if t := a.GetType(over.ID()); t.Kind() != types.ListKind {
				return fmt.Sprintf("only a list can be gone through, and this is %s", t), `ask for one key: "pii" in resource.labels`
			}
		case ast.CallKind:
			return checkCall(a, e, joins[e.ID()])
		}
		return "", ""
	})
}

// isJoin reports whether e may join two lists.
func isJoin(a *ast.AST, e ast.Expr) bool {
	return e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.Add && len(e.AsCall().Args()) == 2 &&
		slices.Contains(a.GetOverloadIDs(e.ID()), overloads.AddList)
}

func checkCall(a *ast.AST, e ast.Expr, macro bool) (message, hint string) {
	args := e.AsCall().Args()
	switch {
	case isJoin(a, e) && !macro:
		return "lists cannot be joined", "ask about one list after the other"
	case slices.ContainsFunc(clockFunctions, func(f clockFunction) bool { return slices.Contains(a.GetOverloadIDs(e.ID()), f.zoned) }):
		zone, ok := literalText(args[len(args)-1])
		if _, known := conditionZone(zone); !ok || !known {
			return "this is no time zone", `write its IANA name in quotes, like "Europe/Berlin", or an offset, like "+02:00"`
		}
	}
	return "", ""
}

func literalText(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

// walk gives the first thing that judge finds in the expression, with its line and
// column.
func walk(a *ast.AST, judge func(ast.Expr) (message, hint string)) error {
	var bad error
	walkEach(a, func(e ast.Expr) {
		if bad != nil {
			return
		}
		if message, hint := judge(e); message != "" {
			at := a.SourceInfo().GetStartLocation(e.ID())
			bad = &expressionError{fmt.Sprintf("%d:%d: %s", at.Line(), at.Column()+1, message), hint}
		}
	})
	return bad
}

func walkEach(a *ast.AST, visit func(ast.Expr)) { walkExpr(a.Expr(), visit) }

func walkExpr(e ast.Expr, visit func(ast.Expr)) { ast.PreOrderVisit(e, ast.NewExprVisitor(visit)) }
