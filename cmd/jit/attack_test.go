package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/record"
)

// attackTool makes what the attacks need and stock tools do not have: times by the
// clock of the script, and ids; and it bounds the memory of a program.
//
//	attack-tool now [+1h]   attack-tool id [+1h]   attack-tool day ID
//	attack-tool bounded CODE PROGRAM ARGS...
func attackTool() {
	die := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "attack-tool:", err)
			os.Exit(1)
		}
	}
	args := append(os.Args[1:], "", "")
	if args[0] == "bounded" {
		die(attackBounded(args[1], os.Args[3:]))
		return
	}
	ahead, _ := time.ParseDuration(os.Getenv(scriptAhead)) // not set: 0
	now := time.Now().Add(ahead)
	if by := args[1]; args[0] != "day" && by != "" {
		sign, by := time.Duration(1), strings.TrimPrefix(by, "+")
		if back, ok := strings.CutPrefix(by, "-"); ok {
			sign, by = -1, back
		}
		d, err := record.ParseDuration(by)
		die(err)
		now = now.Add(sign * d.Duration)
	}
	switch args[0] {
	case "now":
		fmt.Println(now.UTC().Format(time.RFC3339))
	case "id":
		id, err := record.NewID(now, rand.Reader)
		die(err)
		fmt.Println(id)
	case "day":
		id, err := record.ParseID(args[1])
		die(err)
		fmt.Println(id.Day())
	default:
		die(fmt.Errorf("no such thing: %q", args[0]))
	}
}

// attempt is what one attack came to, for the table.
type attempt struct {
	number, title string
	// before is what there was before it: see attackWatch.
	before  string
	effect  string
	reasons []string
	honest  bool
	ended   bool
}

// attempts are those of a run, by the script's name. Each script changes its own.
type attempts map[string]*attempt

// attackTitle is the first line of an attack: "# 07 What is tried".
var attackTitle = regexp.MustCompile(`^# ([0-9]{2,3}[a-z]?) (.+)\n`)

// TestAttack runs testdata/attacks/*.txtar: each tries, with stock tools, one thing
// that must not work, on a store of its own with real targets. Each must show that
// nothing came of it (watch, effect), say which reasons were given for that (reason,
// refused, answer), and that others' access opens where it can, and ends in time (opens,
// ends). With -v it prints what came of each.
func TestAttack(t *testing.T) {
	testenv.Need(t, "git", "git")
	testenv.Need(t, "gpg", "gnupg")
	testenv.Need(t, "perl", "perl")
	dir, err := filepath.Abs(filepath.Join("..", "..", "testdata", "attacks"))
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(scripts) == 0 {
		t.Fatalf("there are no attacks in %s: %v", dir, err)
	}
	all := attempts{}
	for _, file := range scripts {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m := attackTitle.FindStringSubmatch(string(data))
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		if m == nil || !strings.HasPrefix(name, m[1]+"_") {
			t.Fatalf("%s does not begin with its number and what is tried: # 07 Something", file)
		}
		all[name] = &attempt{number: m[1], title: m[2]}
	}
	office := attackOffice(t, dir)
	t.Cleanup(func() { all.print(t) }) // when the scripts, which run side by side, are done
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Setup: func(e *testscript.Env) error {
			if err := setupScript(e); err != nil {
				return err
			}
			e.Setenv("ATTACKS", dir)
			a := all[strings.TrimPrefix(filepath.Base(e.WorkDir), "script-")]
			e.Values[attemptKey{}] = a
			e.Defer(func() { a.ended = true })
			return moveOffice(office, e.WorkDir)
		},
		RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"as": scriptAs, "code": scriptCode, "capture": scriptCapture, "clock": scriptClock,
			"watch": attackWatch, "effect": attackEffect, "reason": attackReason, "refused": attackRefused, "answer": attackAnswer,
			"opens": attackOpens, "ends": attackEnds,
		},
	})
}

type attemptKey struct{}

// attackOffice makes the store that all attacks begin with, and gives its folder.
func attackOffice(t *testing.T, attacks string) string {
	t.Helper()
	work := t.TempDir()
	e := &testscript.Env{WorkDir: work}
	cmd := exec.Command("sh", filepath.Join(attacks, "office.sh"))
	e.Vars = append(os.Environ(), "WORK="+work)
	if err := setupScript(e); err != nil {
		t.Fatal(err)
	}
	cmd.Dir, cmd.Env = work, e.Vars
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the office: %v\n%s", err, out)
	}
	return work
}

// moveOffice copies the office to another folder, whose name takes the place of the
// old one in all that is configuration.
func moveOffice(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil || rel == "home" {
			return errOr(err, fs.SkipDir)
		}
		target := filepath.Join(to, rel)
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(target, info.Mode().Perm())
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if ext := filepath.Ext(path); ext == ".yaml" || filepath.Base(path) == "config" {
			data = []byte(strings.ReplaceAll(string(data), from, to))
		}
		return os.WriteFile(target, data, info.Mode().Perm())
	})
}

func errOr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// attemptOf gives the attempt of a running script.
func attemptOf(ts *testscript.TestScript) *attempt { return ts.Value(attemptKey{}).(*attempt) }

// attackSeen is all on which an attack could have an effect: the policy in force as a
// witness knows it, and what the targets let in once both reconcilers have run.
func attackSeen(ts *testscript.TestScript) string {
	home := ts.Getenv("JIT_HOME")
	defer ts.Setenv("JIT_HOME", home)
	scriptAs(ts, false, []string{"dave"})
	_ = ts.Exec("jit", "sync") // where the history is refused, what is known holds
	ts.Check(ts.Exec("jit", "policy", "show", "--offline", "--template", "{{.id}}"))
	seen := "policy " + ts.ReadFile("stdout")
	for _, machine := range []string{"web1", "web2"} {
		_ = ts.Exec("jit", "reconcile", "--config", machine+".yaml") // it says what it refuses, and does the rest
	}
	ts.Check(filepath.WalkDir(ts.MkAbs("accounts"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			seen += path + "\n" + ts.ReadFile(path)
		}
		return err
	}))
	return seen
}

// attackWatch remembers what there is before an attack.
func attackWatch(ts *testscript.TestScript, _ bool, _ []string) {
	attemptOf(ts).before = attackSeen(ts)
}

// attackEffect wants that nothing has changed since watch: effect none
func attackEffect(ts *testscript.TestScript, _ bool, args []string) {
	a := attemptOf(ts)
	if len(args) != 1 || args[0] != "none" || a.before == "" {
		ts.Fatalf("usage: watch, and later: effect none")
	}
	if now := attackSeen(ts); now != a.before {
		ts.Fatalf("the attack had an effect. Before:\n%s\nNow:\n%s", a.before, now)
	}
	a.effect = "none"
}

// note adds reasons to the table.
func (a *attempt) note(reasons ...string) {
	for _, r := range reasons {
		if !slices.Contains(a.reasons, r) {
			a.reasons = append(a.reasons, r)
		}
	}
}

// attackReason wants that a witness who verifies the whole history finds things set
// aside for these reasons, and for no others: reason CODE...
func attackReason(ts *testscript.TestScript, _ bool, args []string) {
	home := ts.Getenv("JIT_HOME")
	defer ts.Setenv("JIT_HOME", home)
	scriptAs(ts, false, []string{"dave"})
	scriptCode(ts, false, []string{"4", "verify", "-o", "json"})
	var seen struct {
		SetAside []struct{ Reason string }
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &seen))
	var found []string
	for _, s := range seen.SetAside {
		found = append(found, s.Reason)
	}
	slices.Sort(found)
	want := slices.Sorted(slices.Values(args))
	if found = slices.Compact(found); !slices.Equal(found, want) {
		ts.Fatalf("set aside for %v, want %v", found, want)
	}
	attemptOf(ts).note(args...)
}

// attackRefused wants that a command is refused for a reason: refused CODE ARGS...
func attackRefused(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: refused CODE ARGS...")
	}
	if err := ts.Exec("jit", append(slices.Clone(args[1:]), "-o", "json")...); err == nil {
		ts.Fatalf("jit %s was not refused", strings.Join(args[1:], " "))
	}
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stderr")), "\n")
	var e errorJSON
	ts.Check(json.Unmarshal([]byte(lines[len(lines)-1]), &e))
	if e.Error != args[0] {
		ts.Fatalf("refused for %s, want %s", e.Error, args[0])
	}
	attemptOf(ts).note(args[0])
}

// attackAnswer says in words what the answer is, where it is no refusal: answer WORDS...
func attackAnswer(ts *testscript.TestScript, _ bool, args []string) {
	attemptOf(ts).note(strings.Join(args, " "))
}

// attackOpens wants that others can ask, approve and get in: alice on web1.
func attackOpens(ts *testscript.TestScript, _ bool, _ []string) {
	home := ts.Getenv("JIT_HOME")
	defer ts.Setenv("JIT_HOME", home)
	scriptAs(ts, false, []string{"alice"})
	ts.Check(ts.Exec("jit", "request", "web1:login", "--for", "20m", "-r", "look at the logs", "--template", "{{.id}}", "--new"))
	id := strings.TrimSpace(ts.ReadFile("stdout"))
	scriptAs(ts, false, []string{"bob"})
	ts.Check(ts.Exec("jit", "approve", id, "--yes"))
	_ = ts.Exec("jit", "reconcile", "--config", "web1.yaml") // what was set aside may show in its exit code
	if !strings.Contains(attackKeys(ts), id) {
		ts.Fatalf("what alice asked for and bob approved did not open: %s", id)
	}
	ts.Setenv("OPENED", id)
}

// attackEnds wants that what attackOpens has opened ends in time.
func attackEnds(ts *testscript.TestScript, _ bool, _ []string) {
	id := ts.Getenv("OPENED")
	if id == "" || !strings.Contains(attackKeys(ts), id) {
		ts.Fatalf("nothing is open that could end")
	}
	scriptClock(ts, false, []string{"+30m"})
	_ = ts.Exec("jit", "reconcile", "--config", "web1.yaml")
	if strings.Contains(attackKeys(ts), id) {
		ts.Fatalf("what was approved for twenty minutes is open after thirty: %s", id)
	}
	attemptOf(ts).honest = true
}

// attackKeys gives what web1 lets in.
func attackKeys(ts *testscript.TestScript) string {
	data, err := os.ReadFile(ts.MkAbs(filepath.Join("accounts", "web1", ts.Getenv("ACCOUNT"))))
	if err != nil && !os.IsNotExist(err) {
		ts.Fatalf("%v", err)
	}
	return string(data)
}

// print shows the table, and fails where an attack shows less than it must.
func (all attempts) print(t *testing.T) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "number\tattack\teffect\treason\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		a := all[name]
		if !a.ended {
			continue // it was not asked for
		}
		if !t.Failed() && (a.effect == "" || len(a.reasons) == 0 || !a.honest) {
			t.Errorf("attack %s shows too little: effect %q, reasons %q, others' access ended: %v", name, a.effect, a.reasons, a.honest)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", a.number, a.title, a.effect, strings.Join(a.reasons, ", "))
	}
	w.Flush()
	t.Logf("what was tried, and what came of it:\n%s", b.String())
}
