package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/policy"
)

type policyLintOptions struct {
	app    *App
	out    outputFlags
	strict bool
}

func newPolicyLintCmd(app *App) *cobra.Command {
	o := &policyLintOptions{app: app}
	cmd := &cobra.Command{
		Use:   "lint FILE",
		Short: "Check a policy, and say in which line what is wrong",
		Long: `Checks the policy in FILE, the part that people write, without a store or a
network. Each finding is one line, FILE:LINE:COLUMN: SEVERITY: MESSAGE [CODE], with
what to do on the next.

Errors make a policy unusable; then the exit code is 2. Warnings are what is most
likely not meant, infos what is good to know; they are looked for once there are no
errors, and leave the exit code 0. With --strict the exit code is 2 for warnings
too.

For editors: jit policy lint - -o json reads the policy from standard input; and
jit policy schema prints a JSON Schema to complete from.`,
		Args: exactly("FILE"),
		RunE: func(_ *cobra.Command, args []string) error { return o.run(args[0]) },
	}
	cmd.Flags().BoolVar(&o.strict, "strict", false, "fail for warnings too")
	o.out.add(cmd, []string{"file", "line", "column", "endLine", "endColumn", "severity", "code", "path", "message", "hint"})
	return shows(cmd)
}

func (o *policyLintOptions) run(file string) error {
	a := o.app
	data, body, err := readBody(a, file)
	problems := []lintProblem{}
	switch p, ok := unreadable(file, data, err); {
	case ok:
		problems = append(problems, p)
	case err != nil:
		return err
	default:
		problems = append(problems, a.lintBody(file, data, body)...)
	}
	errs, warnings := len(having(problems, policy.SeverityError)), len(having(problems, policy.SeverityWarning))
	err = a.Print(o.out, problems, func(w io.Writer) error {
		for _, p := range problems {
			fmt.Fprintln(w, p.text(a.IO.OutStyle()))
		}
		if errs == 0 {
			fmt.Fprintf(w, "%s: good: %s, %s, %s%s\n", clean(file), peopleCount(len(body.People)), count(len(body.Resources), "resource"),
				count(len(body.Rules), "rule"), andAlso(warnings, len(problems)-warnings))
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case errs > 0:
		return failure(exitUsage, string(policy.BadPolicy), "correct it and run it again", "the policy cannot be used: %s", count(errs, "problem"))
	case o.strict && warnings > 0:
		return failure(exitUsage, "policy-warnings", "correct it, or leave out --strict", "the policy can be used, but has %s", count(warnings, "warning"))
	}
	return nil
}

// andAlso counts what was found in a good policy.
func andAlso(warnings, infos int) string {
	var found []string
	if warnings > 0 {
		found = append(found, count(warnings, "warning"))
	}
	if infos > 0 {
		found = append(found, count(infos, "info"))
	}
	if len(found) == 0 {
		return ""
	}
	return "; " + strings.Join(found, ", ")
}

func peopleCount(n int) string {
	if n == 1 {
		return "1 person"
	}
	return fmt.Sprintf("%d people", n)
}
