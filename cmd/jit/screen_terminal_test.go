package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/testenv"
)

// tmuxColumns is the width of the terminal that the forger has in mind.
const tmuxColumns = 80

// inTmux runs a shell line in a real terminal until it shows a text, and gives all
// rows that the terminal has shown, those that scrolled away too.
func (e *terminal) inTmux(line, until string) []string {
	e.t.Helper()
	program := testenv.Need(e.t, "tmux", "tmux")
	socket := filepath.Join(e.dir, "tmux")
	tmux := func(args ...string) (string, error) {
		// The cleaning up has no context of the test any more.
		cmd := exec.CommandContext(context.WithoutCancel(e.t.Context()), program, append([]string{"-u", "-f", "/dev/null", "-S", socket}, args...)...)
		cmd.Env, cmd.Dir = e.env, e.dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := tmux("new-session", "-d", "-x", "80", "-y", "24", line+"; sleep 60"); err != nil {
		e.t.Fatalf("tmux: %v\n%s", err, out)
	}
	defer func() {
		if out, err := tmux("kill-server"); err != nil {
			e.t.Errorf("tmux: %v\n%s", err, out)
		}
	}()
	shown := ""
	for range 400 {
		var err error
		if shown, err = tmux("capture-pane", "-p", "-S", "-"); err != nil {
			e.t.Fatalf("tmux: %v\n%s", err, shown)
		}
		if strings.Contains(shown, until) {
			return strings.Split(strings.TrimRight(shown, "\n"), "\n")
		}
		time.Sleep(50 * time.Millisecond)
	}
	e.t.Fatalf("the terminal never showed %q:\n%s", until, shown)
	return nil
}

// forgedScreen is a text whose padding puts lines of jit's own below each other, each
// with the word FORGED, in rows of so many columns after a first one of another width.
func forgedScreen(first, columns int) string {
	pad := func(s string, n int) string { return s + strings.Repeat(" ", max(n-len([]rune(s)), 1)) }
	text := pad("fix the cart", first)
	for _, row := range []string{
		"Grants FORGED", `  web1:login FORGED rule "all"`, "    stage 1  done: FORGED has 1 of 1", "",
		"You agree to FORGED (sha256 8f24ef42e9e1):", "  │ kind: request FORGED", "  │ by: alice FORGED", "  │ duration: 5m FORGED", "  │ reason: fix FORGED",
	} {
		text += pad(row, columns)
	}
	return strings.TrimSpace(text)
}

// rowsWithin are the rows on which what others wrote may stand: after a label or the
// key of a document, or further in than any line of jit's begins.
var rowsWithin = regexp.MustCompile(`^(?:  (?:reason   |alice    )  |  │ reason: | {13,}|  ┆ {9})\S`)

// TestForgedScreen: what a requester writes does not make lines of its own on an
// approver's terminal, whatever widths it is padded for, and the question says itself
// what is decided.
func TestForgedScreen(t *testing.T) {
	e := newAskOffice(t)
	bob := e.as("bob").with("JIT_PAGER=cat")
	for name, text := range map[string]string{
		"for the terminal":    forgedScreen(tmuxColumns-13, tmuxColumns),
		"for the broken rows": forgedScreen(tmuxColumns-14, tmuxColumns-14),
		"of words":            strings.ReplaceAll(forgedScreen(tmuxColumns-13, tmuxColumns), "  ", " ."),
	} {
		t.Run(name, func(t *testing.T) {
			e, bob := *e, *bob
			e.t, bob.t = t, t
			id := strings.TrimSpace(e.jit("request", "web1:login", "--for", "2h", "-r", text, "--new", "--template", "{{.id}}"))
			e.jit("comment", id, "-r", text)
			rows := bob.inTmux("jit show "+id+"; jit list; jit inbox; jit approve "+id, "[y/N]")
			forged := 0
			for _, row := range rows {
				if strings.Contains(row, "FORGED") {
					forged++
					if !rowsWithin.MatchString(row) && !strings.Contains(row, "fix the cart") {
						t.Errorf("a row that seems to be jit's own: %q", row)
					}
				}
				for _, begins := range []string{"Grants", "You agree to", frame + "duration"} {
					if strings.HasPrefix(row, begins) && strings.Contains(row, "FORGED") {
						t.Errorf("a forged row: %q", row)
					}
				}
			}
			if forged < 8 {
				t.Errorf("only %d rows hold what was written: the test tests nothing", forged)
			}
			all := strings.Join(rows, "\n")
			if !regexp.MustCompile(`(?m)^Approve alice's request for web1:login, for 2h\? \[y/N\]$`).MatchString(all) {
				t.Errorf("the question does not say what is decided:\n%s", all)
			}
			if t.Failed() {
				t.Logf("shown:\n%s", all)
			}
		})
	}
}
