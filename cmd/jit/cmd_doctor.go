package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/reconcile"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
)

type doctorOptions struct {
	app    *App
	out    outputFlags
	config string
	checks []checkView
}

// checkView is one thing that was looked at. State is good, warning or bad;
// Next is what to do about it.
type checkView struct {
	Check  string  `json:"check"`
	State  string  `json:"state"`
	Detail string  `json:"detail"`
	Next   *string `json:"next"`
}

const (
	checkGood    = "good"
	checkWarning = "warning"
	checkBad     = "bad"
)

func newDoctorCmd(app *App) *cobra.Command {
	o := &doctorOptions{app: app}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what would stop you, and say what to do about it",
		Long: `Looks at the configuration, the programs, the store, the clock, your key and your
place in the policy. It signs a throwaway text, so that a sleeping agent shows.
With --config FILE it looks at a reconciler instead: its configuration, key,
store, place in the policy and targets.

The exit code is 2 where something is bad.`,
		GroupID: groupRun,
		Args:    exactly(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&o.config, "config", "", "look at the reconciler with this configuration `FILE` (JIT_CONFIG)")
	o.out.add(cmd, []string{"check", "state", "detail", "next"})
	return shows(cmd)
}

func (o *doctorOptions) run(ctx context.Context) error {
	a := o.app
	if o.config == "" {
		o.config = a.Env("JIT_CONFIG")
	}
	o.programs()
	if o.config != "" {
		o.reconciler(ctx)
	} else {
		o.person(ctx)
	}
	err := a.Print(o.out, o.checks, func(w io.Writer) error {
		st := a.IO.OutStyle()
		for _, c := range o.checks {
			word := map[string]string{checkGood: st.Good("good   "), checkWarning: st.Warn("warning"), checkBad: st.Bad("bad    ")}[c.State]
			fmt.Fprintf(w, "%s  %-9s %s\n", word, c.Check, clean(c.Detail))
			if c.Next != nil {
				fmt.Fprintf(w, "         %-9s → %s\n", "", clean(*c.Next))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	bad := 0
	for _, c := range o.checks {
		if c.State == checkBad {
			bad++
		}
	}
	if bad > 0 {
		return failure(exitUsage, "not-well", "follow the arrows above", "%s bad", count(bad, "check")+" "+isAre(bad))
	}
	return nil
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func (o *doctorOptions) good(check, format string, args ...any) {
	o.checks = append(o.checks, checkView{check, checkGood, fmt.Sprintf(format, args...), nil})
}

func (o *doctorOptions) warn(check, next, format string, args ...any) {
	o.checks = append(o.checks, checkView{check, checkWarning, fmt.Sprintf(format, args...), orNull(next)})
}

func (o *doctorOptions) bad(check, next, format string, args ...any) {
	o.checks = append(o.checks, checkView{check, checkBad, fmt.Sprintf(format, args...), orNull(next)})
}

// failed notes an error with the next step that it carries.
func (o *doctorOptions) failed(check string, err error) {
	e := o.app.asExit(context.Background(), err)
	o.bad(check, e.Hint, "%s", e.Error())
}

func (o *doctorOptions) programs() {
	if path, err := exec.LookPath("git"); errors.Is(err, exec.ErrDot) {
		o.warn("git", hintRelativePath, "%v", gitstore.ErrRelativePath)
	} else if err != nil {
		o.warn("git", "install git", "the program git is not there: only remotes that jit reaches by itself work")
	} else {
		o.good("git", "%s", path)
	}
}

func (o *doctorOptions) person(ctx context.Context) {
	a := o.app
	s, err := a.Settings()
	if err != nil {
		o.failed("settings", err)
		return
	}
	o.private()
	o.key(ctx, s)
	rep, _, err := a.Open(ctx)
	if err != nil {
		o.failed("store", err)
		return
	}
	defer rep.Close()
	o.store(ctx, rep, s.Store.URL)
	o.mirror(ctx, rep)
	o.clock(rep, s.Name)
	o.standing(rep, s)
}

// private checks that nobody else reads the configuration.
func (o *doctorOptions) private() {
	f, err := o.app.folders()
	if err != nil {
		o.failed("settings", err)
		return
	}
	for path, mode := range map[string]string{f.settingsFile(): "600", f.config: "700"} {
		info, err := os.Stat(path)
		if err != nil {
			o.failed("settings", err)
			return
		}
		if info.Mode().Perm()&0o022 != 0 {
			o.bad("settings", "chmod "+mode+" "+shellWord(path), "others can change %s", path)
			return
		}
	}
	o.good("settings", "%s", f.settingsFile())
}

// soon is how long before its end a key is warned about.
const soon = 30 * 24 * time.Hour

// key opens the key and signs a throwaway text with it.
func (o *doctorOptions) key(ctx context.Context, s Settings) {
	a := o.app
	if s.Signing.KeyFile != "" && !a.IO.CanAsk() {
		// A passphrase cannot be asked for; the file itself can be looked at.
		if _, err := readPublicPart(s.Signing.KeyFile); err == nil {
			if _, err := record.OpenKeyFile(s.Signing.KeyFile, nil, a.Now); needsPassphrase(err) {
				o.good("key", "%s, with a passphrase; it was not tried, for there is no terminal", s.Signing.KeyFile)
				return
			}
		}
	}
	signer, err := a.Signer(ctx)
	if err != nil {
		o.failed("key", err)
		return
	}
	o.signs(ctx, signer)
}

func needsPassphrase(err error) bool {
	var sign *record.SignError
	return errors.As(err, &sign) && sign.Problem == record.SignPassphrase
}

func (o *doctorOptions) signs(ctx context.Context, signer record.Signer) {
	cert, err := signer.Certificate(ctx)
	if err != nil {
		o.failed("key", err)
		return
	}
	sig, err := signer.Sign(ctx, []byte("jit doctor: a throwaway text\n"))
	if err == nil {
		_, _, err = record.InspectSignature(sig)
	}
	if err != nil {
		o.failed("key", err)
		return
	}
	o.good("key", "%s (%s) signs", cert.Fingerprint(), cert.Algorithm())
	if end, ok := cert.Expires(); ok && end.Sub(o.app.Now()) < soon {
		o.warn("key", "extend it, and publish that: jit enroll", "it expires at %s", o.app.FormatTime(end))
	}
}

// store reaches the remote and judges what is new.
func (o *doctorOptions) store(ctx context.Context, rep *replica.Replica, url string) {
	var stuck []replica.Stuck
	if o.app.flags.offline {
		o.warn("store", "run it without --offline", "it was not asked")
	} else if report, err := rep.Sync(ctx); err != nil {
		o.failed("store", err)
		if errors.Is(err, gitstore.ErrNotOurs) {
			return // git would read what others have written there
		}
	} else {
		stuck = report.Stuck
		head, position := rep.Ledger().Head()
		o.good("store", "reached by %s; %s, head %s", rep.TransportInUse(), count(position, "commit"), head)
	}
	_, aside, err := rep.Ledger().Counts()
	if err != nil {
		o.failed("history", err)
	} else if aside > 0 {
		o.warn("history", "see: jit verify", "%s set aside; they have no effect", count(aside, "record")+" "+are(aside))
	}
	waiting, err := rep.Spooled()
	if err != nil {
		o.failed("waiting", err)
	} else if len(stuck) > 0 {
		for _, s := range stuck[:min(len(stuck), maxShown)] {
			o.failed("waiting", fmt.Errorf("%s: %w", s.Subject, s.Cause))
		}
	} else if len(waiting) > 0 {
		o.warn("waiting", "run: jit sync", "%s here to be sent", count(len(waiting), "submission")+" "+waits(len(waiting)))
	}
	o.protection(ctx, url)
}

// mirror looks whether this machine's copy of the history is whole, and fetches it again
// where it is not. Nothing else reads all of it: a hole may lie there for long.
func (o *doctorOptions) mirror(ctx context.Context, rep *replica.Replica) {
	mended, err := rep.Mend(ctx, o.app.flags.offline)
	switch {
	case mended && err == nil:
		o.warn("mirror", "look at the disk, if that happens again", "it lacked a part of the history; the store was fetched again, and it is whole")
	case o.app.flags.offline && errors.Is(err, gitstore.ErrIncomplete):
		o.bad("mirror", "run it without --offline: it fetches the store again", "%v", err)
	case mended:
		o.bad("mirror", "ask somebody whose copy is whole to run: jit repair", "what the store shows was fetched again, and this machine has verified more: %v", err)
	case err != nil:
		o.failed("mirror", err)
	default:
		o.good("mirror", "all of the history is there")
	}
}

// protection says whether the remote refuses forced pushes, where that can be
// seen. A rewrite would be noticed anyway, but it would stop everybody.
func (o *doctorOptions) protection(ctx context.Context, url string) {
	const how = "on the git host, protect the branch against forced pushes and deletion"
	path := strings.TrimPrefix(url, "file://")
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		o.warn("host", how, "whether the host refuses forced pushes cannot be seen from here")
		return
	}
	for _, key := range []string{"receive.denyNonFastForwards", "receive.denyDeletes"} {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		out, _ := exec.CommandContext(ctx, "git", "-C", path, "config", "--bool", "--get", key).Output() // unset is an error too
		cancel()
		if strings.TrimSpace(string(out)) != "true" {
			o.warn("host", "git -C "+shellWord(path)+" config "+key+" true", "the store's repository does not set %s", key)
			return
		}
	}
	o.good("host", "it refuses forced pushes and deletions")
}

// clock compares this machine's clock with the newest records of others, as a run of a
// reconciler does. One of them alone shows nothing: it may be theirs that is wrong.
func (o *doctorOptions) clock(rep *replica.Replica, name string) {
	words, err := rep.Ledger().Words(name)
	if err != nil {
		o.failed("clock", err)
		return
	}
	if err := reconcile.CheckClock(words, o.app.Now()); err != nil {
		o.bad("clock", "set the clock: timedatectl set-ntp true", "%v", err)
		return
	}
	for _, w := range words {
		if ahead := w.Created.Sub(o.app.Now()); ahead > record.MaxSkew {
			o.warn("clock", "compare both clocks with a third; where theirs was wrong: docs/reconcile.md, The clock ran ahead",
				"the newest record of %s lies %s ahead of this machine's clock", w.By, ahead.Truncate(time.Second))
			return
		}
	}
	o.good("clock", "not behind the newest records")
}

// standing checks the person's place in the policy.
func (o *doctorOptions) standing(rep *replica.Replica, s Settings) {
	p := rep.Ledger().Policies().Latest()
	if p == nil {
		o.failed("policy", errNoPolicy())
		return
	}
	person, ok := p.Person(s.Name)
	if !ok {
		o.bad("policy", "run: jit enroll, and ask an admin to run: jit admit "+s.Name, "%+q is not one of the people", s.Name)
		return
	}
	var v whoamiView
	v.fromSettings(s.Signing, rep.Ledger())
	if v.Key == nil {
		return // said above
	}
	fpr := record.Fingerprint(*v.Key)
	switch cert, err := rep.Ledger().Certificate(fpr); {
	case err != nil:
		o.failed("policy", err)
	case !slices.Contains(person.Keys, fpr):
		o.bad("policy", "run: jit enroll, and ask an admin to run: jit admit "+s.Name, "the key %s is not %s's in the policy", fpr, s.Name)
	case cert == nil:
		o.bad("policy", "run: jit enroll", "your certificate is not in the store")
	case cert.CanSign(o.app.Now()) != nil:
		o.bad("policy", "make a new one: jit key generate; then: jit key add FILE", "your key as the store knows it: %v", cert.CanSign(o.app.Now()))
	default:
		o.good("policy", "you are %s, and your key counts", s.Name)
	}
}
