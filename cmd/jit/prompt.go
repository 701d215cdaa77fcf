package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/term"
)

// maxTries is how often a question is asked again after an answer of no use.
const maxTries = 3

// noTerminal is the error for a question that nobody can answer.
func noTerminal(flag, question string) error {
	return failure(exitUsage, "no-terminal", "add: "+flag, "there is no terminal to ask: %s", strings.TrimSpace(question))
}

// asks reports whether what a command line lacks is asked for: somebody sees the
// question, and no program reads the output.
func (a *App) asks(out outputFlags) bool { return a.IO.CanAsk() && !out.wantsData() }

// missingErr names everything that the command line lacks, at once.
func missingErr(missing []string) error {
	verb := "are"
	if len(missing) == 1 {
		verb = "is"
	}
	return usageErr("add: "+strings.Join(missing, " "), "%s %s missing", listText(missing, "and"), verb)
}

// Confirm asks a question that yes or no answers; the empty answer means no.
// Without a terminal it is an error that names --yes.
func (a *App) Confirm(question string) (bool, error) {
	if !a.IO.CanAsk() {
		return false, noTerminal("--yes", question)
	}
	for range maxTries {
		fmt.Fprintf(a.IO.Err, "%s [y/N] ", question)
		line, err := a.answer()
		if err != nil {
			return false, err
		}
		switch strings.ToLower(line) {
		case "y", "yes":
			return true, nil
		case "", "n", "no":
			return false, nil
		}
		a.Say("Please answer y or n.")
	}
	return false, nil
}

// Ask asks for one line. flag names what would have answered, for the error
// where there is no terminal.
func (a *App) Ask(question, flag string) (string, error) {
	if !a.IO.CanAsk() {
		return "", noTerminal(flag, question)
	}
	fmt.Fprintf(a.IO.Err, "%s ", question)
	return a.answer()
}

// Choose shows a numbered list and gives the index of what was chosen.
func (a *App) Choose(question, flag string, options []string) (int, error) {
	if !a.IO.CanAsk() {
		return 0, noTerminal(flag, question)
	}
	for i, o := range options {
		a.Say("  %d  %s", i+1, o)
	}
	for range maxTries {
		line, err := a.Ask(fmt.Sprintf("%s [1-%d]", question, len(options)), flag)
		if err != nil {
			return 0, err
		}
		if n, err := strconv.Atoi(line); err == nil && n >= 1 && n <= len(options) {
			return n - 1, nil
		}
		a.Say("Please answer with a number from 1 to %d.", len(options))
	}
	return 0, usageErr("add: "+flag, "nothing was chosen")
}

// answer reads one line, trimmed. The end of input is no answer at all.
func (a *App) answer() (string, error) {
	line, err := a.IO.readLine()
	if err == nil {
		return strings.TrimSpace(line), nil
	}
	fmt.Fprintln(a.IO.Err) // what comes next does not stand behind the question
	if errors.Is(err, io.EOF) {
		return "", failure(exitUsage, "no-answer", "run it again, or give what it asks for as flags", "the input ended before an answer")
	}
	return "", stopped(err)
}

// stopped gives the error for a question at which the person ended the program,
// and any other unchanged.
func stopped(err error) error {
	if errors.Is(err, errStopped) {
		return failure(exitInterrupted, "interrupted", "", "%v", err)
	}
	return err
}

// askPassphrase reads a passphrase without showing it.
func (a *App) askPassphrase(question string) ([]byte, error) {
	in, ok := a.IO.In.(*os.File)
	if !ok || !a.IO.CanAsk() {
		return nil, failure(exitUsage, "no-terminal", "run it on a terminal, or use a key in gpg's agent", "there is no terminal to ask for the passphrase")
	}
	fmt.Fprintf(a.IO.Err, "%s ", question)
	fd := int(in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	pass, err := a.IO.orStopped(func() (string, error) {
		pass, err := term.ReadPassword(fd)
		return string(pass), err
	})
	fmt.Fprintln(a.IO.Err)
	if errors.Is(err, errStopped) {
		// The reading that was left waiting has turned the echo off.
		return nil, errors.Join(stopped(err), term.Restore(fd, before))
	}
	return []byte(pass), err
}
