package policy

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// maxCost bounds the work of judging one condition, and of all conditions of a rule
// but for the last one judged, in CEL's unit: one step, or ten bytes of a text. To go
// once through [MaxRecent] entitlements costs 2,000 to 5,000, and to compare twenty
// open ones with each of them about 32,000. It is a part of what a policy means:
// another limit could decide another way about old requests. At the limit one takes
// some 50 ms at worst, and a request is judged by at most twenty rules.
const maxCost = 50_000

// operatorNames and functions are what an expression may use of CEL's standard
// library, beside clockFunctions. Left out is what hides a type from the check (dyn,
// type), and what no variable needs (bytes, uint).
var (
	operatorNames = []string{
		operators.Conditional, operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.NotStrictlyFalse,
		operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals,
		operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo, operators.Negate,
		operators.Index, operators.In,
	}
	functions = []string{
		"bool", "contains", "double", "duration", "endsWith", "int", "matches", "size", "startsWith", "string", "timestamp",
	}
)

// baseEnvironment is all that expressions of every rule have in common. It is made
// when a policy first has a condition: it takes a millisecond, which no other
// command should wait for.
var baseEnvironment = sync.OnceValues(func() (*cel.Env, error) {
	subset := &env.LibrarySubset{}
	for _, name := range slices.Concat(operatorNames, functions) {
		subset.IncludeFunctions = append(subset.IncludeFunctions, &env.Function{Name: name})
	}
	for _, f := range clockFunctions {
		subset.IncludeFunctions = append(subset.IncludeFunctions, f.subset())
	}
	options := []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(subset)),
		cel.CustomTypeProvider(schema{}),
		cel.CustomTypeAdapter(types.DefaultTypeAdapter),
		cel.Macros(bracketMacro),
		cel.ParserExpressionSizeLimit(MaxExpression),
		cel.ParserRecursionLimit(50),
		cel.ASTValidators(
			cel.ValidateDurationLiterals(),
			cel.ValidateTimestampLiterals(),
			cel.ValidateHomogeneousAggregateLiterals(),
		),
	}
	for _, f := range clockFunctions {
		options = append(options, f.option())
	}
	for _, v := range variables {
		options = append(options, cel.Variable(v.name, v.kind))
	}
	return cel.NewCustomEnv(options...)
})

// readTexts are the overloads that read texts as far as the shortest of them goes.
// CEL would count the characters of all, which takes longer than what they are
// counted for, and would charge nothing for a conversion.
var readTexts = []string{
	overloads.Equals, overloads.NotEquals, overloads.SizeString, overloads.SizeStringInst,
	overloads.LessString, overloads.LessEqualsString, overloads.GreaterString, overloads.GreaterEqualsString,
	overloads.StartsWithString, overloads.EndsWithString, overloads.InMap,
	overloads.StringToBool, overloads.StringToDouble, overloads.StringToDuration, overloads.StringToInt, overloads.StringToTimestamp,
}

// programOptions bound the work of an expression that runs. Patterns are the sizes
// of those in it.
func programOptions(patterns map[string]int) []cel.ProgramOption {
	// Where the standard costs make light of something: joined texts are longer
	// texts, whose bytes are read one by one, lists have items, the steps of a
	// pattern grow with it, and a zone is read from an archive.
	costs := []interpreter.CostTrackerOption{
		interpreter.OverloadCostTracker(overloads.AddString, func(_ []ref.Val, result ref.Val) *uint64 {
			return units(textLength(result))
		}),
		interpreter.OverloadCostTracker(overloads.ContainsString, func(args []ref.Val, _ ref.Val) *uint64 {
			return units((1 + textLength(args[0])/10) * (1 + textLength(args[1])/10))
		}),
	}
	matchers := []*interpreter.RegexOptimization{matcher(overloads.Matches, patterns), matcher(overloads.MatchesString, patterns)}
	for _, m := range matchers {
		costs = append(costs, interpreter.OverloadCostTracker(m.OverloadID, func(args []ref.Val, result ref.Val) *uint64 {
			pattern, _ := args[1].(types.String)
			size, ok := patterns[string(pattern)]
			switch {
			case !ok:
				return units(maxCost)
			case types.IsError(result):
				return units(0) // nothing was matched
			}
			return units(matchCost(textLength(args[0]), size))
		}))
	}
	for _, id := range readTexts {
		costs = append(costs, interpreter.OverloadCostTracker(id, readCost))
	}
	for _, f := range clockFunctions {
		costs = append(costs, interpreter.OverloadCostTracker(f.zoned, func([]ref.Val, ref.Val) *uint64 { return units(100) }))
	}
	return []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize), cel.OptimizeRegex(matchers...), cel.CostLimit(maxCost), cel.CostTrackerOptions(costs...)}
}

// units gives a cost, and one for the step itself.
func units(n int) *uint64 {
	cost := 1 + uint64(n)
	return &cost
}

// textLength is how many bytes a text has. A failed step has no text.
func textLength(v ref.Val) int {
	s, _ := v.(types.String)
	return len(s)
}

// readCost gives the cost of what goes through its arguments side by side. Lists of
// different lengths are told apart at once.
func readCost(args []ref.Val, _ ref.Val) *uint64 {
	if a, ok := args[0].(traits.Lister); ok {
		if b, ok := args[1].(traits.Lister); ok && a.Size() == b.Size() {
			return units(listCost(a))
		}
		return units(0)
	}
	least := -1
	for _, arg := range args {
		if s, ok := arg.(types.String); ok && (least < 0 || len(s) < least) {
			least = len(s)
		}
	}
	return units(max(least, 0) / 10)
}

// listCost counts the items of a list, and what is to be read of each.
func listCost(list traits.Lister) int {
	cost := 0
	for it := list.Iterator(); it.HasNext() == types.True; {
		cost += 1 + textLength(it.Next())/10
	}
	return cost
}

// matchCost is what matching takes, which in the worst case looks at all of a pattern
// for each byte of the text.
func matchCost(text, size int) int { return text * size / 16 }

// matcher gives the way in which one of the overloads of matches runs. It is the
// library's own, but that the work is known before it is done: one long text takes
// more than all that a condition may. A pattern that was not judged is not matched.
func matcher(overload string, patterns map[string]int) *interpreter.RegexOptimization {
	return &interpreter.RegexOptimization{
		OverloadID: overload,
		RegexIndex: 1,
		Factory: func(call interpreter.InterpretableCall, pattern string) (interpreter.InterpretableCall, error) {
			size, ok := patterns[pattern]
			if !ok {
				return nil, errors.New("a pattern must be written out")
			}
			expr, err := regexp.Compile(pattern)
			if err != nil {
				return nil, err
			}
			return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), func(args ...ref.Val) ref.Val {
				text, ok := args[0].(types.String)
				if !ok || matchCost(len(text), size) > maxCost {
					return types.NewErr("the text is too long for the pattern")
				}
				return types.Bool(expr.MatchString(string(text)))
			}), nil
		},
	}
}

// bracketMacro reads inputs["change-id"] as inputs.change-id, which cannot be
// written: so the type of each input is known to the check, whatever its name.
var bracketMacro = cel.GlobalMacro(operators.Index, 2, func(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	of, name := args[0], args[1]
	if of.Kind() != ast.IdentKind || of.AsIdent() != "inputs" || name.Kind() != ast.LiteralKind {
		return nil, nil
	}
	s, ok := name.AsLiteral().(types.String)
	if !ok {
		return nil, nil
	}
	return f.NewSelect(of, string(s)), nil
})

// maxConditionWork bounds the conditions of a policy together: their characters, and
// more for each call and each set of inputs. Those that are written alike, over the
// same inputs, count once. At the limit they take about a second to compile; a thousand
// rules with a condition of 70 characters each take half of it.
const (
	maxConditionWork = 200_000
	callWork         = 20
	environmentWork  = 100
)

// errConditionWork is that of the first condition for which nothing is left.
var errConditionWork = errors.New("the conditions of the policy are too much together")

// expressionError is why an expression cannot be used.
type expressionError struct{ message, hint string }

func (e *expressionError) Error() string { return e.message }

// compiler compiles the expressions of one policy. Rules that ask for inputs of the
// same names and types share an environment, and equal expressions in it a program.
type compiler struct {
	environments map[string]*cel.Env
	programs     map[[2]string]cel.Program
	// taken is of maxConditionWork.
	taken    int
	patterns *patternWork
}

func newCompiler(patterns *patternWork) *compiler {
	return &compiler{environments: map[string]*cel.Env{}, programs: map[[2]string]cel.Program{}, patterns: patterns}
}

// compile checks an expression: its syntax, its types, that it gives true or
// false, and that running it stays in bounds. The error is an expressionError, with
// the line and column in the expression.
func (c *compiler) compile(expr string, inputs map[string]Input) (_ cel.Program, err error) {
	// Whoever may propose a policy chooses what is compiled, on every machine. A
	// fault of the library must cost them their proposal, and nobody else a run.
	defer func() {
		if r := recover(); r != nil {
			err = &expressionError{message: fmt.Sprintf("the expression could not be checked: %v", r)}
		}
	}()
	kind := inputsKind(inputs)
	key := [2]string{kind.signature(), expr}
	if p, ok := c.programs[key]; ok {
		return p, nil
	}
	if c.taken += utf8.RuneCountInString(expr) + callWork*strings.Count(expr, "("); c.environments[key[0]] == nil {
		c.taken += environmentWork
	}
	if c.taken > maxConditionWork {
		return nil, errConditionWork
	}
	e, err := c.environment(key[0], kind)
	if err != nil {
		return nil, fmt.Errorf("conditions cannot be compiled: %w", err)
	}
	parsed, issues := e.Parse(expr)
	if issues.Err() != nil {
		return nil, issueError(issues)
	}
	if err := checkParsed(parsed.NativeRep()); err != nil {
		return nil, err
	}
	checked, issues := e.Check(parsed)
	if issues.Err() != nil {
		return nil, issueError(issues)
	}
	patterns, err := checkTyped(checked.NativeRep(), c.patterns)
	if err != nil {
		return nil, err
	}
	if out := checked.OutputType(); !out.IsExactType(types.BoolType) {
		return nil, &expressionError{typeNames.Replace(fmt.Sprintf("1:1: it gives %s, not true or false", out)), "compare it with something"}
	}
	p, err := e.Program(checked, programOptions(patterns)...)
	if err != nil {
		return nil, &expressionError{message: err.Error()}
	}
	c.programs[key] = p
	return p, nil
}

// environment gives the environment of rules whose inputs are of a kind.
func (c *compiler) environment(signature string, inputs fields) (*cel.Env, error) {
	if e, ok := c.environments[signature]; ok {
		return e, nil
	}
	e, err := baseEnvironment()
	if err != nil {
		return nil, err
	}
	if len(inputs) > 0 {
		if e, err = e.Extend(cel.CustomTypeProvider(schema{inputs: inputs})); err != nil {
			return nil, err
		}
	}
	c.environments[signature] = e
	return e, nil
}

// typeNames are those that the documentation uses.
var typeNames = strings.NewReplacer("google.protobuf.Duration", "duration", "google.protobuf.Timestamp", "timestamp")

// issueError joins what CEL found, at most three of it.
func issueError(issues *cel.Issues) error {
	var found []string
	for _, e := range issues.Errors() {
		found = append(found, fmt.Sprintf("%d:%d: %s", e.Location.Line(), e.Location.Column()+1, typeNames.Replace(e.Message)))
	}
	if len(found) > 3 {
		found = append(found[:3], fmt.Sprintf("and %d more", len(found)-3))
	}
	return &expressionError{message: strings.Join(found, "; ")}
}

// fields are those of an object, with their types.
type fields map[string]*types.Type

// signature tells one set of fields from another. No name holds a colon.
func (f fields) signature() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(f)) {
		fmt.Fprintf(&b, "%s:%s ", name, f[name])
	}
	return b.String()
}

// inputsKind gives the fields of the variable inputs under a rule.
func inputsKind(m map[string]Input) fields {
	f := fields{}
	for name, i := range m {
		switch i.Type {
		case InputNumber:
			f[name] = types.IntType
		case InputBoolean:
			f[name] = types.BoolType
		default:
			f[name] = types.StringType
		}
	}
	return f
}
