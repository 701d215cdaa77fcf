package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/lipgloss/table"
	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/policy"
)

// The values of --output.
const (
	formatText = "text"
	formatJSON = "json"
)

// fieldsKey is the annotation under which a command keeps the names of the
// fields that it prints, for --json.
const fieldsKey = "jit.fields"

// outputFlags are the flags of every command that prints data.
type outputFlags struct {
	format, template string
	fields           []string
}

// add gives cmd the flags. fields are the JSON keys that it prints, in order.
func (o *outputFlags) add(cmd *cobra.Command, fields []string) {
	f := cmd.Flags()
	f.StringVarP(&o.format, "output", "o", formatText, "text or json")
	f.StringSliceVar(&o.fields, "json", nil, "print these `fields` as JSON; without a value, list them")
	f.StringVar(&o.template, "template", "", "print through a Go `template`; see: jit help formatting")
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[fieldsKey] = strings.Join(fields, ",")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{formatText, formatJSON}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("json", cobra.FixedCompletions(fields, cobra.ShellCompDirectiveNoFileComp))
}

// wantsData reports whether a program reads the output.
func (o outputFlags) wantsData() bool {
	return o.format == formatJSON || len(o.fields) > 0 || o.template != ""
}

// checkOutput judges the output flags of cmd, before it does anything.
func checkOutput(cmd *cobra.Command) error {
	known, ok := cmd.Annotations[fieldsKey]
	if !ok {
		return nil
	}
	if format := cmd.Flag("output").Value.String(); format != formatText && format != formatJSON {
		return usageErr("use: -o json", "%q is not an output: text or json", format)
	}
	fields, err := cmd.Flags().GetStringSlice("json")
	if err != nil {
		return err
	}
	names := strings.Split(known, ",")
	for _, f := range fields {
		if !slices.Contains(names, f) {
			hint := "fields are " + strings.Join(names, ", ")
			if near := policy.Nearest(f, names); len(near) > 0 {
				hint = "did you mean " + strings.Join(near, ", ") + "? List them with: " + cmd.CommandPath() + " --json"
			}
			return usageErr(hint, "%q is not a field of this command", f)
		}
	}
	text := cmd.Flag("template").Value.String()
	if text == "" {
		return nil
	}
	if len(fields) > 0 {
		return usageErr("keep one of them", "--json and --template do not go together")
	}
	if _, err := parseTemplate(text); err != nil {
		return usageErr("see: jit help formatting", "the template does not parse: %v", err)
	}
	return nil
}

func parseTemplate(text string) (*template.Template, error) {
	return template.New("output").Option("missingkey=error").Funcs(template.FuncMap{
		"json": func(v any) (string, error) {
			data, err := json.Marshal(v)
			return string(data), err
		},
		"join": func(sep string, list []any) string {
			var words []string
			for _, v := range list {
				words = append(words, fmt.Sprint(v))
			}
			return strings.Join(words, sep)
		},
	}).Parse(text)
}

// Print writes v, a struct, a pointer to one or a slice of structs with JSON tags, in
// the form that the flags ask for; text writes it for a person. Where what the command
// has signed waits on this machine, it says that.
func (a *App) Print(o outputFlags, v any, text func(w io.Writer) error) error {
	if k, ok := v.(keeper); ok {
		k.keep(a.kept != nil)
	}
	if !o.wantsData() {
		if a.kept != nil {
			return a.keptText(a.IO.Out, text)
		}
		return text(a.IO.Out)
	}
	var data bytes.Buffer
	enc := json.NewEncoder(&data)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	var plain any
	dec := json.NewDecoder(bytes.NewReader(data.Bytes()))
	dec.UseNumber()
	if o.template != "" || len(o.fields) > 0 {
		if err := dec.Decode(&plain); err != nil {
			return err
		}
	}
	if plain == nil && isList(data.Bytes()) {
		plain = []any{}
	}
	switch {
	case o.template != "":
		t, err := parseTemplate(o.template)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := t.Execute(&out, plain); err != nil {
			return usageErr("see: jit help formatting", "the template cannot be filled in: %v", err)
		}
		if out.Len() > 0 && out.Bytes()[out.Len()-1] != '\n' {
			out.WriteByte('\n')
		}
		_, err = rawWriter(a.IO.Out).Write(out.Bytes())
		return err
	case len(o.fields) > 0:
		data.Reset()
		if err := enc.Encode(pick(plain, o.fields)); err != nil {
			return err
		}
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, data.Bytes(), "", "  "); err != nil {
		return err
	}
	shown := indented.Bytes()
	if a.IO.OutTTY {
		shown = visibleBlanks(shown)
	}
	_, err := rawWriter(a.IO.Out).Write(shown)
	return err
}

// visibleBlanks writes JSON so that the runs of blanks in its texts show, and are no
// means of layout on a terminal, which breaks long lines. It is the same data.
func visibleBlanks(data []byte) []byte {
	var out bytes.Buffer
	inText, escaped := false, false
	for i, c := range data {
		if inText && c == ' ' && (data[i-1] == ' ' || data[i+1] == ' ') {
			out.WriteString(`\u0020`)
			continue
		}
		out.WriteByte(c)
		if c == '"' && !escaped {
			inText = !inText
		}
		escaped = inText && c == '\\' && !escaped
	}
	return out.Bytes()
}

func isList(data []byte) bool {
	s := strings.TrimSpace(string(data))
	return s == "null" || strings.HasPrefix(s, "[")
}

// pick gives only some fields of an object, or of each object in a list.
func pick(v any, fields []string) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = pick(v[i], fields)
		}
		return v
	case map[string]any:
		some := map[string]any{}
		for _, f := range fields {
			some[f] = v[f]
		}
		return some
	}
	return v
}

// Table writes rows under headers: aligned and within the width of the terminal,
// or, where w is not a terminal, with tabs between the cells and without
// headers.
func (a *App) Table(w io.Writer, headers []string, rows [][]string) {
	if !a.IO.OutTTY {
		for _, row := range rows {
			fmt.Fprintln(w, strings.Join(oneLine(row), "\t"))
		}
		return
	}
	if len(rows) == 0 {
		return
	}
	natural := 0
	for i := range headers {
		widest := lipgloss.Width(headers[i])
		for _, row := range rows {
			if i < len(row) {
				widest = max(widest, lipgloss.Width(row[i]))
			}
		}
		natural += widest + 2
	}
	head := a.IO.OutStyle().bold.PaddingRight(2)
	cell := a.IO.OutStyle().faint.Faint(false).PaddingRight(2)
	upper := make([]string, len(headers))
	for i, h := range headers {
		upper[i] = strings.ToUpper(h)
	}
	t := table.New().Headers(upper...).
		BorderTop(false).BorderBottom(false).BorderLeft(false).BorderRight(false).
		BorderColumn(false).BorderRow(false).BorderHeader(false).
		StyleFunc(func(row, _ int) lipgloss.Style {
			if row == table.HeaderRow {
				return head
			}
			return cell
		})
	for _, row := range rows {
		t.Row(oneLine(row)...)
	}
	if natural > a.IO.Width {
		t.Width(a.IO.Width)
	}
	for line := range strings.Lines(t.Render()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
}

// oneLine makes cells of texts: no line ends, no tabs.
func oneLine(row []string) []string {
	out := make([]string, len(row))
	for i, c := range row {
		out[i] = strings.Join(strings.FieldsFunc(c, func(r rune) bool { return r == '\n' || r == '\t' }), " ")
	}
	return out
}

// finished gives what was printed a last while to be taken, and gives the exit code of a
// command that has ended with code and err: its own, and where all was done but not all
// could be said, that of what went wrong unexpectedly.
func (a *App) finished(code int, err error) int {
	if a.IO.toErr == nil {
		return code
	}
	until := time.Now().Add(lastPatience)
	a.IO.toOut.settle(time.Until(until))
	a.IO.toErr.settle(time.Until(until))
	a.IO.renew()
	a.tellMissed(err, true)
	if code == exitDone && a.unwritten {
		return exitUnexpected
	}
	return code
}

// tellMissed says what could not be written, but for what is in err, which is told
// anyway.
func (a *App) tellMissed(err error, atEnd bool) {
	for _, s := range []struct {
		name string
		to   *outlet
	}{{"output", a.IO.toOut}, {"error", a.IO.toErr}} {
		if s.to == nil {
			continue
		}
		missed := s.to.missed(atEnd)
		a.unwritten = a.unwritten || missed != nil
		if missed != nil && !errors.Is(err, missed) {
			a.Warn("not all could be written to standard %s: %v", s.name, missed)
		}
	}
}

// Say writes a line of talk.
func (a *App) Say(format string, args ...any) {
	fmt.Fprintf(a.IO.Err, format+"\n", args...)
}

// Warn writes a line of talk that should be looked at.
func (a *App) Warn(format string, args ...any) {
	fmt.Fprintf(a.IO.Err, "%s %s\n", a.IO.ErrStyle().Warn("warning:"), clean(fmt.Sprintf(format, args...)))
}
