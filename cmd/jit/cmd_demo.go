package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/record"
)

// demoWindow is how long the demo's access is open: long enough to be opened
// and looked at on a busy machine, short enough to watch it end.
const demoWindow = 8 * time.Second

type demoOptions struct {
	app      *App
	postgres bool
	keep     bool
}

func newDemoCmd(app *App) *cobra.Command {
	o := &demoOptions{app: app}
	cmd := &cobra.Command{
		Use: "demo", Short: "The whole story on this machine, in under half a minute",
		Long: `Play the whole story in a temporary folder: a store, three people with gpg keys,
a request, an approval, a reconciler that opens access in an authorized_keys
file and ends it, and the proof with nothing but git and gpg. Each step is shown
as the command that a person would type, and is that command, run by a shell.

Nothing outside of the folder is touched, and the folder is removed at the end.
It needs git and gpg. With --postgres it is a database on a throwaway server of
its own, for which PostgreSQL's programs must be installed.`,
		GroupID: groupAdmin, Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().BoolVar(&o.postgres, "postgres", false, "open access to a database instead of an account")
	cmd.Flags().BoolVar(&o.keep, "keep", false, "leave the folder, and say how to go on in it")
	return cmd
}

// scene is what differs between the demo's targets.
type scene interface {
	// prepare starts what is needed, and gives the policy's resource and the
	// reconciler's settings for it.
	prepare(ctx context.Context, s *stage) (sceneParts, error)
	// try uses the access as alice would; open says whether it must work.
	try(ctx context.Context, s *stage, open bool) error
	close(s *stage) error
}

// sceneParts are the places in the demo's files that a scene fills in.
type sceneParts struct {
	resource string // the resource's name
	role     string
	policy   string // the resource in the policy, from its own line
	accounts string // alice's accounts, or ""
	settings string // how the reconciler reaches it
	reason   string
}

func (o *demoOptions) run(ctx context.Context) (err error) {
	var sc scene = &accountScene{}
	if o.postgres {
		sc = &databaseScene{}
	}
	s, err := openStage(o.app, o.postgres)
	if err != nil {
		return err
	}
	defer func() {
		if e := s.close(sc, o.keep); err == nil {
			err = e
		}
	}()
	began := o.app.Now()
	if err := o.play(ctx, s, sc); err != nil {
		return err
	}
	s.say("That was all of it, in %s. Every command above is one that you can type.", o.app.Now().Sub(began).Round(time.Second))
	if o.keep {
		s.say("Go on in it as alice, bob, carol or web1 (the machine):")
		s.say("  cd %s; export JIT_HOME=$PWD/alice GNUPGHOME=$PWD/alice/gpg", s.dir)
		s.say("When you are done: for p in alice bob carol; do gpgconf --homedir %s/$p/gpg --kill all; done; rm -r %s", s.dir, s.dir)
	}
	return nil
}

// play is the story.
func (o *demoOptions) play(ctx context.Context, s *stage, sc scene) error {
	s.say("Everything is in %s. Each person has a JIT_HOME and a GNUPGHOME there.", s.dir)
	for _, step := range []func(context.Context, *stage, scene) error{
		makePeople, makeStore, joinStore, askAndApprove, openAndClose, prove,
	} {
		if err := step(ctx, s, sc); err != nil {
			return err
		}
	}
	return nil
}

// makePeople gives everybody a key: three people theirs in gpg, the machine one
// in a file.
func makePeople(ctx context.Context, s *stage, _ scene) error {
	s.chapter("Three people, each with a key in gpg, and a machine with a key in a file")
	for _, p := range []string{"alice", "bob", "carol"} {
		name := strings.ToUpper(p[:1]) + p[1:]
		if err := s.as(ctx, p, fmt.Sprintf("gpg --batch --quiet --passphrase '' --quick-generate-key '%s <%s@example.org>' ed25519 sign never", name, p)); err != nil {
			return err
		}
		list, err := s.quiet(ctx, p, "gpg --batch --with-colons --list-secret-keys")
		if err != nil {
			return err
		}
		for line := range strings.Lines(list) {
			if f := strings.Split(line, ":"); f[0] == "fpr" && s.keys[p] == "" {
				s.keys[p] = f[9]
			}
		}
	}
	out, err := s.captured(ctx, "web1", "jit key generate --full-name web1 --json fingerprint")
	if err != nil {
		return err
	}
	s.keys["web1"] = between(out, `"fingerprint": "`, `"`)
	for _, p := range demoNames {
		if _, err := record.ParseFingerprint(s.keys[p]); err != nil {
			return fmt.Errorf("the key of %s: %w", p, err)
		}
	}
	return nil
}

// makeStore writes the policy and makes the store with it.
func makeStore(ctx context.Context, s *stage, sc scene) error {
	var err error
	if s.parts, err = sc.prepare(ctx, s); err != nil {
		return err
	}
	s.chapter("The policy: who there is, what there is to ask for, and who must agree")
	if err := s.write("policy.yaml", s.policyText(), 0o644); err != nil {
		return err
	}
	if err := s.as(ctx, "carol", "cat policy.yaml"); err != nil {
		return err
	}
	s.chapter("Carol makes the store: a git repository, nothing else")
	out, err := s.captured(ctx, "carol", "jit init store.git --as carol --gpg "+s.keys["carol"]+" --policy policy.yaml")
	if err != nil {
		return err
	}
	s.join = between(out, "jit join ", "\n")
	s.store = between(out, "--store-id ", " ")
	if s.join == "" || s.store == "" {
		return fmt.Errorf("jit init did not say how to join")
	}
	return nil
}

// joinStore has everyone else join, with the line that carol hands to them.
func joinStore(ctx context.Context, s *stage, _ scene) error {
	s.chapter("The others join with the line that she hands to them")
	for _, p := range []string{"alice", "bob"} {
		if err := s.as(ctx, p, joinAs(s.join, p)+" --gpg "+s.keys[p]); err != nil {
			return err
		}
	}
	return s.as(ctx, "web1", joinAs(s.join, "web1")+" --key web1/keys/"+s.keys["web1"]+".asc")
}

// joinAs fills the name into the line that jit init printed.
func joinAs(line, name string) string {
	line = "jit join " + strings.TrimSpace(line)
	if before, _, ok := strings.Cut(line, " --as "); ok {
		rest := strings.SplitN(strings.TrimPrefix(line, before+" --as "), " ", 2)
		line = before
		if len(rest) > 1 {
			line += " " + rest[1]
		}
	}
	return line + " --as " + name
}

// askAndApprove has alice ask and bob agree.
func askAndApprove(ctx context.Context, s *stage, sc scene) error {
	s.chapter("Alice asks")
	if err := s.as(ctx, "alice", "jit resources"); err != nil {
		return err
	}
	if err := sc.try(ctx, s, false); err != nil {
		return err
	}
	grant := s.parts.resource + ":" + s.parts.role
	window := record.Duration{Duration: demoWindow}
	if err := s.as(ctx, "alice", fmt.Sprintf("jit request %s --for %s -r '%s'", grant, window, s.parts.reason)); err != nil {
		return err
	}
	s.chapter("Bob looks and agrees, with his own key")
	if err := s.as(ctx, "bob", "jit inbox"); err != nil {
		return err
	}
	id, err := s.quiet(ctx, "bob", `jit inbox --template '{{range .}}{{.id}}{{end}}'`)
	if err != nil {
		return err
	}
	if s.request, err = record.ParseID(strings.TrimSpace(id)); err != nil {
		return fmt.Errorf("bob's inbox: %w", err)
	}
	return s.as(ctx, "bob", "jit approve "+string(s.request)+" --yes")
}

// openAndClose has the reconciler open the access and, when its time is over,
// end it.
func openAndClose(ctx context.Context, s *stage, sc scene) error {
	s.chapter("The machine opens what was approved; cron would run this every minute")
	if err := s.write("web1/reconcile.yaml", s.reconcilerText(), 0o600); err != nil {
		return err
	}
	const reconcile = "jit reconcile --config web1/reconcile.yaml"
	if err := s.as(ctx, "web1", reconcile); err != nil {
		return err
	}
	if err := sc.try(ctx, s, true); err != nil {
		return err
	}
	if err := s.as(ctx, "alice", "jit show "+s.request.Short()); err != nil {
		return err
	}
	s.chapter("Its time ends, and the next run closes it")
	ends, err := s.quiet(ctx, "alice", "jit show "+s.request.Short()+" --template '{{.ends}}'")
	if err != nil {
		return err
	}
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(ends))
	if err != nil {
		return fmt.Errorf("the end of the access: %w", err)
	}
	if left := at.Sub(s.app.Now()); left > 0 {
		if err := s.as(ctx, "web1", fmt.Sprintf("sleep %d", int(left/time.Second)+1)); err != nil {
			return err
		}
	}
	if err := s.as(ctx, "web1", reconcile); err != nil {
		return err
	}
	if err := sc.try(ctx, s, false); err != nil {
		return err
	}
	return s.as(ctx, "alice", "jit list")
}

// prove checks it all with git and gpg alone, in a fresh clone and with an
// empty keyring.
func prove(ctx context.Context, s *stage, _ scene) error {
	s.chapter("The proof, without jit: a clone, an empty keyring, git and gpg")
	if err := os.MkdirAll(s.path("auditor/gpg"), 0o700); err != nil {
		return err
	}
	for _, line := range []string{
		"git clone --quiet store.git auditor/store",
		"git -C auditor/store log --reverse --format='%h %s'",
		"gpg --batch --quiet --import auditor/store/keys/*/*.asc",
		"for f in $(find auditor/store -name '*.yaml' | sort); do echo \"$f\"; gpg --batch --quiet --trust-model always --verify \"$f.asc\" \"$f\" || exit 1; done",
	} {
		if err := s.as(ctx, "auditor", line); err != nil {
			return err
		}
	}
	s.say("The store's identity is the sha256 of its first policy; whoever has it can trust no other store:")
	sum := "sha256sum"
	if _, err := exec.LookPath(sum); err != nil {
		sum = "shasum -a 256" // macOS
	}
	return s.as(ctx, "auditor", sum+" auditor/store/policy/*/policy.yaml; echo "+s.store)
}

// between gives what stands between two texts in s, or "".
func between(s, before, after string) string {
	_, rest, ok := strings.Cut(s, before)
	if !ok {
		return ""
	}
	value, _, _ := strings.Cut(rest, after)
	return strings.TrimSpace(value)
}
