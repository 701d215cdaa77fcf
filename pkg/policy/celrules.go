package policy

import (
	"fmt"
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
)

// What is refused here is refused so that checking an expression, and judging by
// it, takes little whoever wrote it, and gives the same on every machine. CEL by
// itself promises neither: the cost of a step does not grow with a value that
// holds another many times over, and maps are gone through in any order.

// maxLists is the most lists that an expression makes, those of macros among them.
// Each can make a type one level deeper, and the check writes such types out again
// and again: with three hundred it takes many seconds, before anything else could
// refuse them.
const maxLists = 40

// checkParsed judges an expression before its types are known: what could make
// the types themselves large.
func checkParsed(a *ast.AST) error {
	lists := 0
	return walk(a, func(e ast.Expr) (message, hint string) {
		switch e.Kind() {
		case ast.MapKind, ast.StructKind:
			return "maps and objects cannot be written in a condition", "compare with each value, joined by || or &&"
		case ast.ListKind:
			if lists++; lists > maxLists {
				return fmt.Sprintf("the expression makes more than %d lists", maxLists), "make it two conditions"
			}
		}
		return "", ""
	})
}

// checkTyped judges an expression whose types are known, and gives the sizes of the
// patterns in it. What a call is, its overload says: a name can be written in more
// than one way.
func checkTyped(a *ast.AST, work *patternWork) (map[string]int, error) {
	patterns := map[string]int{}
	joins := macroJoins(a)
	err := walk(a, func(e ast.Expr) (message, hint string) {
		t := a.GetType(e.ID())
		if t.Kind() == types.ListKind && t.Parameters()[0].Kind() == types.ListKind {
			return "a list of lists is not allowed", "ask about one list after the other"
		}
		if !slices.Contains(valueKinds, itemKind(t)) {
			return fmt.Sprintf("a value of type %s is of no use here", t), "ask has(x) for what may be absent"
		}
		switch e.Kind() {
		case ast.ComprehensionKind:
			over := e.AsComprehension().IterRange()
			if t := a.GetType(over.ID()); t.Kind() != types.ListKind {
				return fmt.Sprintf("only a list can be gone through, and this is %s", t), `ask for one key: "pii" in resource.labels`
			}
		case ast.CallKind:
			switch {
			case isJoin(a, e) && !joins[e.ID()]:
				return "lists cannot be joined", "ask about one list after the other"
			case is(a, e, overloads.Matches, overloads.MatchesString):
				return checkMatch(e, patterns, work)
			}
			return checkCall(a, e)
		}
		return "", ""
	})
	if work.taken > maxPatternWork {
		err = errPatternWork
	}
	return patterns, err
}

// valueKinds are the kinds of all values that there are. Nothing is null, and what
// is of no known type (dyn) would get around the rules for those that are.
var valueKinds = []types.Kind{
	types.BoolKind, types.IntKind, types.DoubleKind, types.StringKind, types.DurationKind, types.TimestampKind,
	types.StructKind, types.MapKind,
}

// itemKind gives the kind of a list's items, and of another type its own.
func itemKind(t *types.Type) types.Kind {
	if t.Kind() == types.ListKind {
		return t.Parameters()[0].Kind()
	}
	return t.Kind()
}

// macroJoins gives the joins of lists that a macro makes, item by item.
func macroJoins(a *ast.AST) map[int64]bool {
	joins := map[int64]bool{}
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
	return joins
}

// is reports whether e may call one of the overloads.
func is(a *ast.AST, e ast.Expr, ids ...string) bool {
	return e.Kind() == ast.CallKind && slices.ContainsFunc(a.GetOverloadIDs(e.ID()), func(id string) bool { return slices.Contains(ids, id) })
}

// isJoin reports whether e may join two lists.
func isJoin(a *ast.AST, e ast.Expr) bool {
	return is(a, e, overloads.AddList) && len(e.AsCall().Args()) == 2
}

// checkMatch judges a call of matches, by what comes last in either way to write it.
func checkMatch(e ast.Expr, patterns map[string]int, work *patternWork) (message, hint string) {
	args := e.AsCall().Args()
	pattern, ok := literalText(args[len(args)-1])
	if !ok {
		return "a pattern must be written out", `write it in quotes: request.ticket.matches("^OPS-[0-9]+$")`
	}
	size, err := work.take(pattern)
	if err != nil {
		return err.Error(), "RE2 syntax"
	}
	patterns[pattern] = size
	return "", ""
}

func checkCall(a *ast.AST, e ast.Expr) (message, hint string) {
	args := e.AsCall().Args()
	switch {
	case is(a, e, overloads.Equals, overloads.NotEquals, overloads.InList):
		for _, arg := range args {
			if k := itemKind(a.GetType(arg.ID())); k == types.StructKind || k == types.MapKind {
				return "objects and maps cannot be compared", `compare what they hold: open.exists(o, o.request == "ID")`
			}
		}
	case slices.ContainsFunc(clockFunctions, func(f clockFunction) bool { return is(a, e, f.zoned) }):
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
