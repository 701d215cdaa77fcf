package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newManCmd(*App) *cobra.Command {
	return &cobra.Command{
		Use:    "man FOLDER",
		Short:  "Write the manual pages into a folder",
		Hidden: true,
		Args:   exactly("FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			return writeMan(cmd.Root(), args[0])
		},
	}
}

// writeMan writes a page for cmd and for each command below it. The pages hold
// no date, so that the same version makes the same bytes.
func writeMan(cmd *cobra.Command, dir string) error {
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
	f, err := os.Create(filepath.Join(dir, name+".1"))
	if err != nil {
		return err
	}
	err = manPage(f, cmd, name)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() || c.IsAdditionalHelpTopicCommand() {
			if err := writeMan(c, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// manPage writes one page in the man macros; see man-pages(7) and man(7).
func manPage(w io.Writer, cmd *cobra.Command, name string) error {
	cmd.InitDefaultHelpFlag()
	m := &man{}
	m.line(".TH %s 1 \"\" \"jit %s\" \"jit\"", roff(strings.ToUpper(name)), roff(thisVersion().Version))
	m.line(".SH NAME")
	m.line("%s \\- %s", roff(name), roff(cmd.Short))
	if cmd.Runnable() || cmd.HasAvailableSubCommands() {
		m.line(".SH SYNOPSIS")
		m.line(".B %s", roff(cmd.UseLine()))
	}
	if cmd.Long != "" {
		m.line(".SH DESCRIPTION")
		m.verbatim(cmd.Long)
	}
	if cmd.Example != "" {
		m.line(".SH EXAMPLES")
		m.verbatim(cmd.Example)
	}
	m.flags("OPTIONS", cmd.NonInheritedFlags())
	m.flags("OPTIONS OF ALL COMMANDS", cmd.InheritedFlags())
	if cmd.HasAvailableSubCommands() {
		m.line(".SH COMMANDS")
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				m.line(".TP\n.BR %s\n%s", roff(name+"-"+c.Name())+" (1)", roff(c.Short))
			}
		}
	}
	m.line(".SH SEE ALSO")
	also := []string{".BR jit-exit-codes (1)", ".BR jit-environment (1)", ".BR jit-formatting (1)"}
	if cmd.HasParent() {
		also = append([]string{".BR " + roff(strings.ReplaceAll(cmd.Parent().CommandPath(), " ", "-")) + " (1)"}, also...)
	}
	m.line("%s", strings.Join(also, ",\n"))
	_, err := io.WriteString(w, m.String())
	return err
}

// man builds a page.
type man struct{ strings.Builder }

func (m *man) line(format string, args ...any) { fmt.Fprintf(m, format+"\n", args...) }

// verbatim writes text with its own lines.
func (m *man) verbatim(text string) {
	m.line(".nf")
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		m.line("%s", roff(strings.TrimSuffix(line, "\n")))
	}
	m.line(".fi")
}

func (m *man) flags(title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	m.line(".SH %s", title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if kind != "" {
			name += " " + kind
		}
		m.line(".TP\n.B %s\n%s", roff(name), roff(usage))
	})
}

// roff escapes text: a backslash, a hyphen that must stay one, and what would
// be a request at the beginning of a line.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...").Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
