package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/jitaccess/jit/pkg/record"
)

// maxTyped is the most bytes read as a reason or comment; what may stand in a
// record is judged by the request package.
const maxTyped = 64 << 10

// Text gives a reason or comment. value and changed are those of -r: "-" reads
// standard input; left out on a terminal, the person's editor opens with the
// template below a blank line, or one line is asked for where there is none.
// Without a terminal it is an error that names the flag. what is "reason".
//
// What looks like a secret is asked about: see [App.public].
func (a *App) Text(value string, changed bool, what, template string) (string, error) {
	text, err := a.textOf(value, changed, what, template)
	if err != nil {
		return "", err
	}
	return text, a.public(text, what)
}

func (a *App) textOf(value string, changed bool, what, template string) (string, error) {
	switch {
	case changed && value == "-":
		data, err := a.IO.readAll(maxTyped)
		if err != nil {
			return "", fmt.Errorf("reading the %s from standard input: %w", what, err)
		}
		if len(data) > maxTyped {
			return "", usageErr("", "the %s is longer than %d bytes", what, maxTyped)
		}
		return tidyText(string(data), what)
	case changed:
		return tidyText(value, what)
	case !a.IO.CanAsk():
		return "", failure(exitUsage, what+"-missing", "add: -r "+strings.ToUpper(what), "a %s is needed", what)
	case a.editor() == "":
		line, err := a.Ask(strings.ToUpper(what[:1])+what[1:]+":", "-r "+strings.ToUpper(what))
		if err != nil {
			return "", err
		}
		return tidyText(line, what)
	}
	return a.written("", what, template)
}

// written opens the person's editor on a text, above a template of lines that
// are left out.
func (a *App) written(before, what, template string) (string, error) {
	text, err := a.edit(before+"\n"+comment(template), what+".txt")
	if err != nil {
		return "", err
	}
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			kept.WriteString(line)
		}
	}
	return tidyText(kept.String(), what)
}

// tidyText brings text into the form that records hold, or says where it holds
// what people could not see. A blank text stays blank: whether one is needed is
// not judged here.
func tidyText(s, what string) (string, error) {
	s = strings.TrimSpace(norm.NFC.String(strings.ReplaceAll(s, "\r\n", "\n")))
	if err := record.CheckText(s); err != nil {
		return "", &exitError{Exit: exitUsage, Code: string(record.ReasonOf(err)),
			Message: fmt.Sprintf("the %s cannot be used: %v", what, err), Hint: "write it in plain text", Err: err}
	}
	return s, nil
}

func comment(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimRight("# "+strings.TrimSuffix(line, "\n"), " ") + "\n")
	}
	return b.String()
}

// editor gives the person's editor, or "".
func (a *App) editor() string {
	for _, name := range []string{"VISUAL", "EDITOR"} {
		if e := a.Env(name); e != "" {
			return e
		}
	}
	return ""
}

// edit opens the editor on text, in a file of the given name, and gives what
// was left in it.
func (a *App) edit(text, name string) (string, error) {
	dir, err := os.MkdirTemp("", "jit-edit-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return "", err
	}
	if err := a.runEditor(file); err != nil {
		return "", err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	return string(withoutMark(data)), nil
}

// runEditor opens the person's editor on a file and waits until it is done. The
// setting is a shell command, as for git.
func (a *App) runEditor(file string) error {
	cmd := exec.Command("sh", "-c", a.editor()+` "$@"`, a.editor(), file)
	terminal := streamOf(a.IO.Err)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.IO.In, terminal, terminal
	if err := cmd.Run(); err != nil {
		return usageErr("set VISUAL or EDITOR to a program that waits until you are done", "the editor %q failed: %v", a.editor(), err)
	}
	return nil
}

// withoutMark cuts off the byte order mark that some editors write.
func withoutMark(data []byte) []byte { return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) }
