package main

import (
	"github.com/spf13/cobra"
)

// usageTemplate is cobra's, with the topics named as such.
const usageTemplate = `Usage:{{if .Runnable}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} COMMAND{{end}}{{if gt (len .Aliases) 0}}

Aliases:
  {{.NameAndAliases}}{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}{{$cmds := .Commands}}{{if eq (len .Groups) 0}}

Commands:{{range $cmds}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{else}}{{range $group := .Groups}}

{{.Title}}{{range $cmds}}{{if (and (eq .GroupID $group.ID) .IsAvailableCommand)}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Flags of all commands:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasHelpSubCommands}}

Topics:{{range .Commands}}{{if .IsAdditionalHelpTopicCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableSubCommands}}

"jit help COMMAND" or "jit help TOPIC" says more.{{end}}
`

// newHelpCmd makes the command that cobra would make, with an error for what is
// no command.
func newHelpCmd() *cobra.Command {
	return &cobra.Command{
		Use:    "help [COMMAND or TOPIC]",
		Short:  "Say more about a command or a topic",
		Hidden: true,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			at, _, err := cmd.Root().Find(args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []cobra.Completion
			for _, c := range at.Commands() {
				if c.IsAvailableCommand() || c.IsAdditionalHelpTopicCommand() {
					names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || about == nil || len(rest) > 0 {
				return noSuchCommand(cmd.Root(), args)
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// helpTopics are pages that are no commands.
func helpTopics() []*cobra.Command {
	topic := func(name, short, long string) *cobra.Command {
		c := &cobra.Command{Use: name, Short: short, Long: long}
		c.SetHelpFunc(func(c *cobra.Command, _ []string) { c.Print(c.Long) })
		return c
	}
	return []*cobra.Command{
		topic("exit-codes", "What the exit codes mean", topicExitCodes),
		topic("environment", "Variables that jit reads, and where its files are", topicEnvironment),
		topic("formatting", "Output for programs: JSON, fields, templates", topicFormatting),
	}
}

const topicExitCodes = `The exit codes of jit. They are never renumbered; more may be added.

    0  done, or already done before
    1  unexpected: a fault of the machine or of jit; or all was done, and not all
       could be written of what was to be said
    2  usage: a mistake on the command line, in a file, or in the set-up
    3  refused by the policy, or by where a request stands
    4  verification failed: tampering, a rewritten history, a bad signature
    5  the store could not be reached
    6  reconcile: some change failed, or some access was not opened, and the
       rest of the run was done
    7  the request was still pending when the wait ended
    8  the request was denied, cancelled or lapsed while waiting
    9  jit status: an emergency is not acknowledged
  130  interrupted

With -o json an error is an object on the error stream:

  {"error":"too-long","exit":3,"message":"…","hint":"…","rule":"…"}

"error" is a stable name that a program may compare; hint and rule may be null.
`

const topicEnvironment = `Variables:

  JIT_HOME         one folder for configuration, keys and state, so that several
                   people can be tried on one machine
  JIT_STORE        stands in for --store
  JIT_KEY          stands in for --key: a key file, or the fingerprint of a key
                   that gpg has
  JIT_CONFIG       stands in for --config of reconcile and doctor: the
                   configuration of a reconciler
  JIT_PAGER        the pager for log and show; else PAGER; "cat" or empty: none
  VISUAL, EDITOR   the editor for reasons, comments and the policy
  NO_COLOR         not empty: no colour
  COLUMNS          the width of tables and lines, where it is less than the
                   terminal's
  TZ               the time zone in which times are shown and read
  GNUPGHOME        gpg's home folder
  XDG_CONFIG_HOME, XDG_DATA_HOME, XDG_STATE_HOME
                   the base folders without JIT_HOME

No variable sets the clock.

Files, without JIT_HOME:

  ~/.config/jit/config.yaml      name, store and key
  ~/.local/share/jit/keys/       secret keys made by: jit key generate
  ~/.local/state/jit/stores/     a copy of each store, which can be made again,
                                 and the last head that was verified
  ~/.local/state/jit/drafts/     policies that were edited and not yet proposed
`

const topicFormatting = `Commands that print data do so on standard output, and talk on standard error.
On a terminal lists are tables, and long lines go on further in; in a pipe the
cells of lists are separated by tabs, without headers, and nothing is broken.
JSON and what a template makes are never broken; where JSON goes to a terminal,
runs of blanks in its texts are written \u0020, which is the same data.

  -o json              all fields, as JSON
  --json id,state      some fields; without a value it lists their names
  --template TEMPLATE  a Go template (https://pkg.go.dev/text/template) over the
                       same fields; functions: json, join

  jit list --json id,state,ends
  jit list --template '{{range .}}{{.shortId}} {{.state}}{{"\n"}}{{end}}'
  jit show ID --template '{{join ", " .warnings}}'

Fields are never renamed. Times are RFC 3339 in UTC, durations are seconds with
their text beside them, and what does not apply is null.
`
