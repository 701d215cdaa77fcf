package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The groups of the help, in its order.
const (
	groupAsk    = "ask"
	groupDecide = "decide"
	groupLook   = "look"
	groupRun    = "run"
	groupAdmin  = "administer"
)

// adminCommands make the commands of setting up and administering;
// lifeCommands, beside them, those of a request's life.
var adminCommands = []func(*App) *cobra.Command{
	newVerifyCmd,
	newSyncCmd, newDoctorCmd, newRepairCmd, newHookCmd,
	newInitCmd, newJoinCmd, newEnrollCmd, newAdmitCmd, newWhoamiCmd, newStatusCmd, newLockCmd, newUnlockCmd,
	newPolicyCmd, newKeyCmd, newCompletionCmd, newVersionCmd, newManCmd,
}

// root makes the whole command line. It opens and reads nothing: help must cost
// nothing.
func (a *App) root() *cobra.Command {
	cobra.EnableCommandSorting = false // the order of registration says what belongs together
	root := &cobra.Command{
		Use:   "jit",
		Short: "Temporary access, asked for, approved by signature, closed by itself",
		Long: `jit gives people temporary access to restricted resources: asked for, approved
under written policy, open for a window, closed by itself. A shared git
repository holds every request and approval as a signed record.

Without a command it shows your grants, what you asked for and what waits for
you.`,
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              noSuchCommand,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkGiven(cmd); err != nil {
				return err
			}
			if err := checkOutput(cmd); err != nil {
				return err
			}
			a.started = true
			a.IO.unhinder(!onlyShows(cmd))
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return runHome(cmd.Context(), a) },
	}
	for _, g := range []cobra.Group{
		{ID: groupAsk, Title: "Ask:"}, {ID: groupDecide, Title: "Decide:"}, {ID: groupLook, Title: "Look:"},
		{ID: groupRun, Title: "Run:"}, {ID: groupAdmin, Title: "Administer:"},
	} {
		root.AddGroup(&g)
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.flags.store, "store", "", "the store's `URL` (JIT_STORE)")
	flags.StringVar(&a.flags.key, "key", "", "sign with this key `FILE` or fingerprint (JIT_KEY)")
	flags.BoolVar(&a.flags.offline, "offline", false, "show what is known here, without the network")
	root.SetFlagErrorFunc(a.flagError)
	for _, list := range [][]func(*App) *cobra.Command{lifeCommands, adminCommands} {
		for _, command := range list {
			root.AddCommand(command(a))
		}
	}
	root.SetHelpCommand(shows(newHelpCmd()))
	root.AddCommand(helpTopics()...)
	root.SetUsageTemplate(usageTemplate)
	return shows(root)
}

// showsKey is the annotation of the commands that end with what they show: nothing is
// left to do when it is written.
const showsKey = "jit.shows"

// shows marks a command, so that it does not go on where nobody reads what it shows, and
// waits for who reads slowly.
func shows(cmd *cobra.Command) *cobra.Command {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[showsKey] = "yes"
	return cmd
}

func onlyShows(cmd *cobra.Command) bool { return cmd.Annotations[showsKey] != "" }

// noSuchCommand refuses what is neither a command nor a flag, and names what
// comes nearest.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see: " + cmd.CommandPath() + " --help"
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean: " + cmd.CommandPath() + " " + strings.Join(near, ", ") + "?"
	}
	return usageErr(hint, "there is no command %q", strings.TrimPrefix(cmd.CommandPath()+" "+args[0], "jit "))
}

// parentOf makes a command that only holds others.
func parentOf(cmd *cobra.Command, children ...*cobra.Command) *cobra.Command {
	cmd.Args = noSuchCommand
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var names []string
		for _, c := range children {
			names = append(names, c.Name())
		}
		return usageErr("one of: "+strings.Join(names, ", ")+"; see: "+cmd.CommandPath()+" --help", "%q needs a command", cmd.CommandPath())
	}
	cmd.AddCommand(children...)
	return cmd
}

// exactly refuses another number of arguments than the named ones.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usageErr("usage: "+cmd.UseLine(), "%s is missing", strings.Join(names[len(args):], " and "))
		case len(args) > len(names):
			return usageErr("usage: "+cmd.UseLine(), "%q is one argument too many", args[len(names)])
		}
		return nil
	}
}

// atLeast refuses fewer arguments than n; name is that of the first.
func atLeast(n int, name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return usageErr("usage: "+cmd.UseLine(), "%s is missing", name)
		}
		return nil
	}
}

// atMost refuses more arguments than n.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return usageErr("usage: "+cmd.UseLine(), "%q is one argument too many", args[n])
		}
		return nil
	}
}

// mayBeEmpty are the flags whose empty value says what leaving them out says, and
// takes nothing away by it: words for people.
var mayBeEmpty = []string{"reason", "ticket"}

// checkGiven refuses a flag with an empty value, as a script gives it whose variable
// is not set. Taken for a flag left out, it would drop a pin, a limit or a choice that
// somebody meant to make, without a word.
func checkGiven(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		empty := f.Value.Type() == "string" && f.Value.String() == "" && !slices.Contains(mayBeEmpty, f.Name)
		if list, ok := f.Value.(pflag.SliceValue); ok {
			given := list.GetSlice()
			empty = len(given) == 0 || slices.Contains(given, "")
		}
		if empty && err == nil {
			err = usageErr("give it a value, or leave it out; in a script: is the variable set?", "--%s is given without a value", f.Name)
		}
	})
	return err
}

// flagError says what is wrong with a flag, or lists the fields where --json
// was given no value.
func (a *App) flagError(cmd *cobra.Command, err error) error {
	if fields, ok := cmd.Annotations[fieldsKey]; ok && err.Error() == "flag needs an argument: --json" {
		for _, f := range strings.Split(fields, ",") {
			fmt.Fprintln(a.IO.Out, f)
		}
		return errListed
	}
	hint := "see: " + cmd.CommandPath() + " --help"
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var near []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if name := unknown.GetSpecifiedName(); len(name) > 1 && (strings.HasPrefix(f.Name, name) || strings.HasPrefix(name, f.Name)) {
				near = append(near, "--"+f.Name)
			}
		})
		if len(near) > 0 {
			hint = "did you mean " + strings.Join(near, ", ") + "?"
		}
	}
	return usageErr(hint, "%v", err)
}
