package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/jitaccess/jit/internal/testenv"
)

// TestMain makes the real main a command of the scripts, with a clock that the
// command "clock" sets forward. What is shipped has none that can be set.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"jit": func() {
		a := newApp()
		if ahead, err := time.ParseDuration(os.Getenv(scriptAhead)); err == nil {
			a.Now = func() time.Time { return time.Now().Add(ahead) }
		}
		os.Exit(mainCode(a))
	}, "attack-tool": attackTool})
}

// scriptAhead is the variable that says by how much the clock of the scripts is
// ahead of the machine's.
const scriptAhead = "SCRIPT_CLOCK_AHEAD"

// scriptClock sets the clock of the commands that follow: to a time at which a day
// of the scripts begins, or forward. clock 2026-11-24T08:00:00Z; clock +2h
func scriptClock(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: clock TIME or clock +DURATION")
	}
	var ahead time.Duration
	if text := ts.Getenv(scriptAhead); text != "" {
		var err error
		ahead, err = time.ParseDuration(text)
		ts.Check(err)
	}
	if by, forward := strings.CutPrefix(args[0], "+"); forward {
		more, err := time.ParseDuration(by)
		ts.Check(err)
		ahead += more
	} else {
		at, err := time.Parse(time.RFC3339, args[0])
		ts.Check(err)
		ahead = time.Until(at)
	}
	ts.Setenv(scriptAhead, ahead.String())
}

// TestScript runs testdata/script/*.txtar. Each person there is a JIT_HOME,
// which the command "as" chooses.
func TestScript(t *testing.T) {
	testenv.Need(t, "git", "git")
	dir := filepath.Join("..", "..", "testdata", "script")
	if found, err := filepath.Glob(filepath.Join(dir, "*.txtar")); err != nil || len(found) == 0 {
		t.Fatalf("there are no scripts in %s: %v", dir, err)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Setup: func(e *testscript.Env) error {
			e.Setenv("SCRIPTS", abs) // for what several scripts share
			return setupScript(e)
		},
		RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"as": scriptAs, "code": scriptCode, "capture": scriptCapture, "snapshot": scriptSnapshot, "clock": scriptClock, "unchanged": scriptUnchanged,
		},
	})
}

// gorace keeps a jit that was built with the race detector from waiting a second
// before each exit, which is what the detector does where nothing is set.
const gorace = "atexit_sleep_ms=0"

func setupScript(e *testscript.Env) error {
	home := filepath.Join(e.WorkDir, "home")
	if err := os.MkdirAll(filepath.Join(home, "gnupg"), 0o700); err != nil {
		return err
	}
	e.Setenv("HOME", home)
	e.Setenv("GNUPGHOME", filepath.Join(home, "gnupg")) // empty: nobody's own keys
	e.Setenv("GIT_CONFIG_GLOBAL", "/dev/null")
	e.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	e.Setenv("TZ", "UTC")
	e.Setenv("ACCOUNT", demoAccount) // no test logs in to it, so no session of others is in the way
	e.Setenv("GORACE", gorace)
	return nil
}

// scriptAs makes the rest of the script be one person: as NAME.
func scriptAs(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: as NAME")
	}
	ts.Setenv("JIT_HOME", ts.MkAbs(args[0]))
}

// scriptCode runs jit and wants an exit code: code 3 request db:admin …
func scriptCode(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 1 {
		ts.Fatalf("usage: code N ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec("jit", args[1:]...); err != nil {
		got = -1
		if _, text, ok := strings.Cut(err.Error(), "exit status "); ok {
			got, err = strconv.Atoi(strings.TrimSpace(text))
			ts.Check(err)
		}
	}
	if got != want {
		ts.Fatalf("jit %s: exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// scriptCapture keeps the standard output of the command before in a variable:
// capture NAME
func scriptCapture(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: capture NAME")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// scriptSnapshot remembers where a store's branch stands, and unchanged wants
// it to stand there still: snapshot STORE
func scriptSnapshot(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv("SNAPSHOT", branchOf(ts, args))
}

func scriptUnchanged(ts *testscript.TestScript, _ bool, args []string) {
	if now := branchOf(ts, args); now != ts.Getenv("SNAPSHOT") {
		ts.Fatalf("something was written: the branch stands at %s, and stood at %s", now, ts.Getenv("SNAPSHOT"))
	}
}

func branchOf(ts *testscript.TestScript, args []string) string {
	if len(args) != 1 {
		ts.Fatalf("name the store")
	}
	return strings.TrimSpace(ts.ReadFile(filepath.Join(args[0], "refs", "heads", "main")))
}
