package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/request"
)

// lifeCommands make the commands about the life of a request, and those that
// run it.
var lifeCommands = []func(*App) *cobra.Command{
	newResourcesCmd, newRequestCmd, newExtendCmd, newCancelCmd,
	newInboxCmd, newApproveCmd, newDenyCmd, newWithdrawCmd, newRevokeCmd, newAckCmd, newCommentCmd, newDelegateCmd,
	newListCmd, newShowCmd, newLogCmd,
	newReconcileCmd, newDemoCmd,
}

// desk is where one person signs records: a copy of the store that is up to
// date as far as it can be, their key, and their name in the policy.
type desk struct {
	app    *App
	rep    *replica.Replica
	signer record.Signer
	me     string
}

// known is Synced, and refuses to answer from nothing: a machine that has never
// read the store, and cannot now, does not know that nothing waits.
func (a *App) known(ctx context.Context) (*replica.Replica, Settings, error) {
	rep, settings, err := a.Synced(ctx)
	if err == nil && rep.Ledger().Policy() == nil {
		return nil, settings, errors.Join(errNoPolicy(), rep.Close())
	}
	return rep, settings, err
}

// sitDown syncs, opens the signer, and checks that the key is this person's in
// the policy in force. The caller closes desk.rep.
func (a *App) sitDown(ctx context.Context) (*desk, error) {
	rep, settings, err := a.known(ctx)
	if err != nil {
		return nil, err
	}
	d, err := a.deskOn(ctx, rep, settings)
	if err != nil {
		return nil, errors.Join(err, rep.Close())
	}
	return d, nil
}

// deskOn is sitDown on a copy that is open and up to date already.
func (a *App) deskOn(ctx context.Context, rep *replica.Replica, settings Settings) (*desk, error) {
	signer, err := a.Signer(ctx)
	if err != nil {
		return nil, err
	}
	d := &desk{app: a, rep: rep, signer: signer, me: settings.Name}
	return d, d.checkKey()
}

// checkKey refuses a key that would be set aside by everyone who reads.
func (d *desk) checkKey() error {
	fpr := d.signer.Fingerprint()
	owner, known := d.policy().OwnerOf(fpr)
	switch {
	case !known:
		return failure(exitRefused, "key-not-in-policy", "run: jit enroll, and ask an admin to run: jit admit "+d.me,
			"key %s belongs to nobody in the policy", fpr)
	case owner != d.me:
		return failure(exitRefused, "other-key", "sign with your own key, or join as "+owner,
			"key %s is %s's in the policy, and you are %s here", fpr, owner, d.me)
	}
	return nil
}

// policy is the version in force.
func (d *desk) policy() *policy.Policy { return d.rep.Ledger().Policy() }

// head makes the head of a record of kind.
func (d *desk) head(kind record.Kind) (record.Head, error) {
	if err := d.locked(kind); err != nil {
		return record.Head{}, err
	}
	return d.rep.NewHead(kind, d.me, d.app.Now())
}

// next gives the place that a record signed now would have.
func (d *desk) next() (position, headAt int) {
	_, at := d.rep.Ledger().Head()
	return at + 1, at
}

// letter is a record on its way into the store.
type letter struct {
	head   record.Head
	record any
	// beside is the request, or the policy version, that it is about; empty for
	// those two themselves.
	beside   record.ID
	onPolicy bool
	// subject is the commit's first line, in plain words.
	subject string
}

// send signs and submits l. What cannot be pushed now waits in the spool, and
// is said.
func (d *desk) send(ctx context.Context, l letter) error {
	out, err := d.rep.Prepare(ctx, d.signer, l.record, l.head.Created.Time, l.beside, l.onPolicy)
	if err != nil {
		return err
	}
	trailers := [][2]string{{"Jit-Kind", string(l.head.Kind)}}
	switch {
	case l.beside != "":
		trailers = append(trailers, [2]string{"Jit-Request", string(l.beside)})
	case l.head.Kind == record.KindRequest || l.head.Kind == record.KindPolicy:
		trailers = append(trailers, [2]string{"Jit-Request", string(l.head.ID)})
	}
	res, err := d.rep.Submit(ctx, replica.Message{
		Subject: l.subject, Trailers: append(trailers, [2]string{"Jit-By", d.me}),
	}, out)
	if err != nil {
		return err
	}
	if res.Refused > 0 {
		if err := d.app.reportRefused(d.rep); err != nil {
			return err
		}
	}
	if res.Spooled {
		d.app.keep(keptHere{subject: l.subject, id: l.head.ID, kind: l.head.Kind, cause: res.Cause})
	}
	return nil
}

// entry gives one request as it stands now.
func (d *desk) entry(id record.ID) (ledger.Entry, error) {
	return d.rep.Ledger().Request(id, d.app.Now())
}

// requestOf finds the request that arg means, itself or by a record beside it.
func (a *App) requestOf(rep *replica.Replica, arg string) (record.ID, error) {
	ref, err := resolveID(rep.Ledger(), arg)
	if err != nil {
		return "", err
	}
	if ref.Kind == record.KindPolicy || ref.Request == "" {
		return "", usageErr("policy versions are approved with jit approve, and shown with jit show", "%q is a %s, not a request", arg, ref.Kind)
	}
	if _, err := rep.Ledger().Proposal(ref.Request, a.Now()); err == nil {
		return "", usageErr("policy versions are approved with jit approve, and shown with jit show", "%q is about a policy version, not a request", arg)
	}
	return ref.Request, nil
}

// wholeIDs holds --yes to whole ids: what nobody looks at must be exact.
func wholeIDs(yes bool, ids []string) error {
	if !yes {
		return nil
	}
	for _, id := range ids {
		if err := wholeID(id); err != nil {
			return err
		}
	}
	return nil
}

// askedFor names a request in the words of a commit message.
func askedFor(r request.Request) string {
	return r.By + "'s request for " + grantsText(r.Grants)
}

// inFull says all that is decided about e, for a question that must be understood
// without what stands above it on the screen. narrow is the time that is agreed to;
// zero where it is none of its own.
func (a *App) inFull(e ledger.Entry, narrow record.Duration) string {
	r := e.Request.Record
	asked, granted := r.Duration, r.Duration
	for _, d := range []record.Duration{e.Decision.Duration, narrow} {
		if !d.IsZero() && d.Duration < granted.Duration {
			granted = d
		}
	}
	what, how := "request for ", ", for "
	switch {
	case r.Emergency:
		what = "emergency, which takes "
	case r.Extends != "":
		what, how = "request to extend "+r.Extends.Short()+", ", ", by "
	}
	text := r.By + "'s " + what + grantsText(r.Grants) + how + granted.String()
	if granted != asked {
		text += " of the " + asked.String() + " asked for"
	}
	if from := e.Opens; from.After(a.Now()) {
		text += ", from " + a.FormatTime(from)
	} else if r.Start != nil {
		text += ", from " + a.FormatTime(r.Start.Time)
	} else if r.Created.After(a.Now()) { // nothing counts before its created
		text += ", from " + a.FormatTime(r.Created.Time)
	}
	return text
}

// showBytes writes a document so that it cannot be taken for anything around it.
func (a *App) showBytes(w io.Writer, title string, data []byte) {
	fmt.Fprintf(w, "\n%s\n", a.styleOf(w).Title(title))
	for line := range strings.Lines(string(data)) {
		fmt.Fprintf(w, frame+"%s", line)
	}
}

// styleOf gives the style of the stream that w is, or leads to.
func (a *App) styleOf(w io.Writer) *Style {
	if w == a.IO.Err {
		return a.IO.ErrStyle()
	}
	return a.IO.OutStyle()
}

// errNotSigned says that a person looked and said no.
func errNotSigned() error {
	return failure(exitInterrupted, "not-signed", "", "nothing was signed")
}

// confirmed shows what will be signed and asks, unless yes was said already.
func (d *desk) confirmed(yes bool, question string, v any) error {
	data, err := record.Encode(v)
	if err != nil {
		return err
	}
	d.app.showBytes(d.app.IO.Err, "You sign:", data)
	d.app.Say("  with key %s", d.signer.Fingerprint())
	if yes {
		return nil
	}
	ok, err := d.app.Confirm(question)
	if err == nil && !ok {
		err = errNotSigned()
	}
	return err
}

// freshFor is how old a record's head may be when it is signed: signatures must
// lie within a minute of it, and the person may still be asked for a passphrase.
const freshFor = 20 * time.Second

// refreshed brings the time of a head up to date after a person took theirs,
// and says so, for it is part of what is signed.
func (d *desk) refreshed(h *record.Head) {
	now := d.app.Now()
	if now.Sub(h.Created.Time) > freshFor {
		h.Created = record.At(now)
		// An id has the time of its record. Where none can be made, the old one is refused.
		if id, err := record.NewID(now, rand.Reader); err == nil {
			h.ID = id
		}
		d.app.Say("created is now %s", h.Created.Format(time.RFC3339))
	}
}

// paged writes text through the person's pager where they have one and the
// output is a terminal.
func (a *App) paged(ctx context.Context, write func(w io.Writer) error) error {
	pager := a.Env("JIT_PAGER")
	if pager == "" {
		pager = a.Env("PAGER")
	}
	if !a.IO.OutTTY || pager == "" || pager == "cat" {
		return write(a.IO.Out)
	}
	var text bytes.Buffer
	// A pager goes on at the first column too.
	if err := write(&screen{w: &text, columns: func() int { return a.IO.Width }}); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", pager)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &text, streamOf(a.IO.Out), streamOf(a.IO.Err)
	cmd.Env = os.Environ()
	if a.Env("LESS") == "" {
		cmd.Env = append(cmd.Env, "LESS=FRX") // short texts stay on the screen, colours show
	}
	if err := cmd.Run(); err != nil {
		if _, ran := errors.AsType[*exec.ExitError](err); !ran {
			return err
		}
	}
	return nil
}

// watchEvery is how often --watch looks again.
const watchEvery = 5 * time.Second

// watch runs show once, or again and again until the person ends it.
func (a *App) watch(ctx context.Context, again bool, show func(context.Context) error) error {
	for {
		if again && a.IO.OutTTY {
			fmt.Fprint(a.IO.Out, "\x1b[H\x1b[2J")
		}
		err := show(ctx)
		if err != nil || !again {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(watchEvery):
		}
	}
}
