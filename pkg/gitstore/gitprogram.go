package gitstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/jitaccess/jit/internal/owned"
)

// gitRemote speaks to the remote by the git program, with all that the user has
// configured for it.
type gitRemote struct{ s *Store }

func (r *gitRemote) name() string { return string(Git) }

// options come before the subcommand. What they turn off could run commands,
// follow another store or change what is fetched.
var gitOptions = []string{
	"-c", "core.hooksPath=/dev/null",
	"-c", "protocol.allow=never",
	"-c", "protocol.file.allow=always", "-c", "protocol.ssh.allow=always",
	"-c", "protocol.http.allow=always", "-c", "protocol.https.allow=always",
	"-c", "http.followRedirects=false",
	// What hosts take that do not look at objects must not stop whoever fetches it:
	// nothing is checked out of a mirror, and jit reads objects by rules of its own.
	"-c", "fetch.fsckObjects=false",
	"-c", "transfer.bundleURI=false",
	"-c", "fetch.writeCommitGraph=false",
	"-c", "push.gpgSign=false",
	"-c", "push.recurseSubmodules=no",
	"-c", "gc.auto=0", "-c", "maintenance.auto=false",
	"-c", "core.bigFileThreshold=1m",
}

// run runs git in a repository and gives what it prints on standard output and
// on standard error. first is as in [Store.patience].
func (r *gitRemote) run(ctx context.Context, repository string, first bool, args ...string) (out, talk string, err error) {
	s := r.s
	wait := s.patience(ctx, first)
	defer wait.cancel()
	all := append([]string{"--git-dir=" + repository}, gitOptions...)
	cmd := s.command(wait, append(all, args...)...)
	cmd.Env = append(cmd.Env, s.url.gitLogin(s.o.Isolated)...)
	printed, told := &said{}, &ticker{heard: wait.heard, report: s.o.Progress}
	cmd.Stdout, cmd.Stderr = printed, told
	err = cmd.Run()
	if wait.Err() != nil {
		err = s.stopped(wait)
	}
	return printed.String(), told.String(), err
}

// fetchedRef takes what is fetched; the tip moves only when all is there.
const fetchedRef = "refs/jit/fetched"

// pushedRefs is the folder of the one local ref from which is pushed. git takes the
// name of a single ref for a beginning or an end of one (gitrevisions(7)): beside a
// tag named refs/heads/main it does not know which to move. A pattern means one place
// alone, so what is pushed is made a ref of its own.
const pushedRefs = "refs/jit/push/"

func (r *gitRemote) fetch(ctx context.Context, whole []Hash) (Hash, error) {
	s := r.s
	if len(whole) > 0 {
		head, err := r.fetchInto(ctx, s.mirror, false)
		if err != nil || head == "" {
			return "", err
		}
		return head, s.judged(ctx, s.complete(ctx, head, whole, shallowly))
	}
	// git leaves out what the refs of a repository lead to, and what stands in its
	// objects. So all is asked for from another one, that has none.
	in := s.newIncoming(nil)
	defer in.drop()
	objects, err := in.objects()
	if err == nil {
		err = s.makeScratch(filepath.Dir(objects))
	}
	if err != nil {
		return "", fmt.Errorf("the mirror: %w", err)
	}
	head, err := r.fetchInto(ctx, in.dir, true)
	if err != nil || head == "" {
		return "", err
	}
	return head, s.judged(ctx, in.take(ctx, head))
}

// makeScratch makes a folder a repository of the mirror's kind.
func (s *Store) makeScratch(dir string) error {
	config, err := owned.ReadFile(filepath.Join(s.mirror, "config"), maxSmall)
	if err != nil {
		return err
	}
	return makeBare(dir, string(config))
}

// brokenHere are words with which git says that a repository lacks something: what the
// remote has sent, or what it was told to leave out.
var brokenHere = []string{"did not send all necessary objects", "bad object", "missing blob", "missing tree", "missing commit", "is corrupt", "corrupt loose object", "failed to traverse parents", "does not point to a valid object"}

// fetchInto fetches the branch into a repository. first says that it begins with nothing.
func (r *gitRemote) fetchInto(ctx context.Context, repository string, first bool) (Hash, error) {
	s := r.s
	// Its progress shows that it is alive; only a long fetch has any.
	loud := "--quiet"
	if first {
		loud = "--progress"
	}
	fetchHead := filepath.Join(repository, "FETCH_HEAD")
	if err := os.Remove(fetchHead); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("the mirror: %w", err)
	}
	_, talk, err := r.run(ctx, repository, first, "fetch", loud, "--no-tags", "--write-fetch-head", "--no-auto-maintenance",
		"--no-recurse-submodules", "--no-show-forced-updates", "--refmap=", "--", s.url.raw, "+"+s.ref+":"+fetchedRef)
	if err != nil {
		if strings.Contains(talk, "couldn't find remote ref") {
			// So says git too of a web server that is no git server, for it then
			// tries to read the repository as plain files. A caller that has a
			// checkpoint knows better than to believe it.
			return "", nil
		}
		lower := strings.ToLower(talk)
		for _, w := range brokenHere {
			if strings.Contains(lower, w) {
				return "", s.fail(ctx, "fetch", err, talk, ErrBadRemote, ErrIncomplete)
			}
		}
		for _, w := range []string{"fsck error", "index-pack failed", "invalid index-pack", "protocol error", "expected ack/nak", "unable to update url base from redirection", "not valid: is this a git repository", "bad line length", "unexpected http status 3"} {
			if strings.Contains(lower, w) {
				return "", s.fail(ctx, "fetch", err, talk, ErrBadRemote)
			}
		}
		return "", s.fail(ctx, "fetch", err, talk)
	}
	text, err := owned.ReadFile(fetchHead, maxSmall)
	if err != nil {
		return "", fmt.Errorf("the mirror: %w", err)
	}
	if len(text) == 0 {
		// git calls it no failure that it takes nothing of a history that is shallow.
		return "", s.fail(ctx, "fetch", errors.New("git took nothing of it"), talk, ErrBadRemote)
	}
	if !s.fetchedBranch(string(text)) {
		return "", nil
	}
	return readRefIn(repository, fetchedRef)
}

// fetchedBranch reports whether the branch was fetched, by what git writes of it in
// FETCH_HEAD: where there is no such branch, it takes a tag that has its whole name.
func (s *Store) fetchedBranch(fetchHead string) bool {
	return strings.Contains(fetchHead, "\tbranch '"+s.o.Branch+"' of ")
}

func (r *gitRemote) openPush(context.Context) (pushSession, error) {
	return &gitPush{r: r, head: r.s.Tip()}, nil
}

// gitPush pushes with a lease on the known tip: asking for the head first would
// cost as much as the push itself.
type gitPush struct {
	r    *gitRemote
	head Hash
}

func (p *gitPush) tip() Hash { return p.head }

func (p *gitPush) close() {}

func (p *gitPush) send(ctx context.Context, head Hash, objects *newObjects) error {
	s := p.r.s
	// git reads them from the mirror. Those of a lost race stay there, a few
	// KiB that the next maintenance packs.
	if err := s.save(objects); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(s.mirror, filepath.FromSlash(pushedRefs))); err != nil {
		return fmt.Errorf("the mirror: %w", err)
	}
	if err := s.writeRef(pushedRefs+s.o.Branch, head); err != nil {
		return fmt.Errorf("the mirror: %w", err)
	}
	out, talk, err := p.r.run(ctx, s.mirror, false, "push", "--porcelain", "--no-verify", "--atomic", "--no-follow-tags",
		"--force-with-lease="+s.ref+":"+string(p.head), "--", s.url.raw, pushedRefs+"*:refs/heads/*")
	if err == nil {
		return nil
	}
	// git-push(1), --porcelain: "FLAG\tFROM:TO\tSUMMARY (REASON)".
	for line := range strings.Lines(out) {
		if fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); len(fields) == 3 && fields[0] == "!" {
			return s.refusal(fields[2], remoteWords(talk))
		}
	}
	if strings.Contains(talk, "remote unpack failed") || strings.Contains(talk, "unpack failed") {
		return &RefusedError{URL: s.url.identity(), Reason: "unpack failed", Said: plain(talk)}
	}
	failed := s.fail(ctx, "push", err, talk)
	if errors.Is(failed, ErrAuth) || errors.Is(failed, ErrHostKey) {
		return failed
	}
	return fmt.Errorf("%w: %w", errUnsure, failed)
}

// remoteWords keeps the lines that the server printed.
func remoteWords(talk string) string {
	var words []string
	for line := range strings.Lines(talk) {
		if text, ok := strings.CutPrefix(line, "remote:"); ok {
			words = append(words, strings.TrimSpace(text))
		}
	}
	return strings.Join(words, " ")
}
