package main

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
)

type verifyOptions struct {
	app     *App
	out     outputFlags
	counted bool
}

// verifyView is what a verification came to.
type verifyView struct {
	Store    string               `json:"store"`
	Head     string               `json:"head"`
	Digest   string               `json:"digest"`
	Records  []verifiedRecordView `json:"records"`
	SetAside []setAsideView       `json:"setAside"`
}

type verifiedRecordView struct {
	ID      string  `json:"id"`
	Kind    string  `json:"kind"`
	By      string  `json:"by"`
	Created string  `json:"created"`
	Path    string  `json:"path"`
	Commit  string  `json:"commit"`
	Digest  string  `json:"digest"`
	Key     string  `json:"key"`
	Later   *string `json:"later"`
}

func newVerifyCmd(app *App) *cobra.Command {
	o := &verifyOptions{app: app}
	cmd := &cobra.Command{
		Use:   "verify [ID]",
		Short: "Check records again, from their exact bytes",
		Long: `Judges the whole history again from nothing and compares the result with what
was known; what does not count is listed with its reason. With ID, one request or
policy version with everything beside it, and the commands that check the same
with nothing but git and gpg. A lock, a delegation and what else belongs to no request
is looked at by itself.

The exit code is 4 where something that counted does not verify, or something is
set aside. What is set aside never counted, and stays in the history for good: once
it was looked into, --counted leaves it out of the exit code.`,
		GroupID:           groupLook,
		Args:              atMost(1),
		ValidArgsFunction: app.completeRequests(),
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	cmd.Flags().BoolVar(&o.counted, "counted", false, "exit with 0 when all that counts verifies, whatever is set aside")
	o.out.add(cmd, []string{"store", "head", "digest", "records", "setAside"})
	return shows(cmd)
}

func (o *verifyOptions) run(ctx context.Context, args []string) (err error) {
	a := o.app
	rep, s, err := a.Synced(ctx)
	if err != nil {
		return err
	}
	defer closing(rep, &err)
	if len(args) == 1 {
		return o.one(rep, s, args[0])
	}
	before := rep.Ledger().Digest()
	headBefore, _ := rep.Ledger().Head()
	if err := rep.Rebuild(ctx); err != nil {
		return err
	}
	l := rep.Ledger()
	head, position := l.Head()
	if head == headBefore && l.Digest() != before {
		return failure(exitUntrusted, "index-differs", "the index was made again from the store and is right now; find out who changed the file on this machine",
			"the local index said something else (%s) than the history (%s)", before, l.Digest())
	}
	refs, err := l.AllRecords()
	if err != nil {
		return err
	}
	aside, err := l.SetAside()
	if err != nil {
		return err
	}
	v := verifyView{Store: string(s.Store.Identity), Head: string(head), Digest: string(l.Digest()), Records: []verifiedRecordView{}, SetAside: viewSetAside(aside)}
	for _, ref := range refs {
		v.Records = append(v.Records, viewVerified(ref))
	}
	err = a.Print(o.out, v, func(w io.Writer) error {
		st := a.IO.OutStyle()
		fmt.Fprintf(w, "%s %s in %s, each verified from its bytes\n", st.Good("good:"), count(len(refs), "record"), count(position, "commit"))
		fmt.Fprintf(w, "digest %s at head %s\n", v.Digest, v.Head)
		writeAside(w, st, v.SetAside, len(v.SetAside))
		return nil
	})
	if err == nil && !o.counted && len(aside) > 0 {
		return failure(exitUntrusted, "set-aside", "ask who pushed them: git log -- PATH; to judge only what counts: jit verify --counted", "%s set aside", count(len(aside), "record")+" "+are(len(aside)))
	}
	return err
}

// maxAsideShown is how much that is set aside is told one by one. Whoever may push
// chooses how much there is; with -o json all of it is given.
const maxAsideShown = 100

// writeAside tells of what is set aside; of how many in all, where the list is not
// all of it.
func writeAside(w io.Writer, st *Style, list []setAsideView, of int) {
	shown := list[:min(len(list), maxAsideShown)]
	for _, s := range shown {
		fmt.Fprintf(w, "%s %s: %s: %s\n", st.Warn("set aside"), clean(s.Path), s.Reason, clean(s.Detail))
	}
	if more := of - len(shown); more > 0 {
		fmt.Fprintf(w, "%s %d more; all of them: jit verify -o json\n", st.Warn("set aside"), more)
	}
}

func viewVerified(ref ledger.Ref) verifiedRecordView {
	return verifiedRecordView{ID: string(ref.ID), Kind: string(ref.Kind), By: ref.By, Created: *timeOrNull(ref.Created),
		Path: ref.Path, Commit: string(ref.Commit), Digest: string(ref.Digest), Key: string(ref.Key)}
}

// one verifies the record that arg means, and all that stands beside it.
func (o *verifyOptions) one(rep *replica.Replica, s Settings, arg string) error {
	a, l := o.app, rep.Ledger()
	aside, err := asideOf(l, arg)
	if err != nil {
		return err
	}
	ref, err := resolveID(l, arg)
	if err != nil {
		if len(aside) > 0 {
			return failure(exitUntrusted, aside[0].Reason, "see all: jit verify", "record %s does not count: %s", clean(aside[0].Path), clean(aside[0].Detail))
		}
		return err
	}
	refs, err := recordsOf(l, ref)
	if err != nil {
		return err
	}
	if aside, err = asideOf(l, string(refs[0].ID)); err != nil {
		return err
	}
	head, _ := l.Head()
	v := verifyView{Store: string(s.Store.Identity), Head: string(head), Digest: string(l.Digest()), SetAside: viewSetAside(aside)}
	for _, r := range refs {
		view, err := o.check(rep, r)
		if err != nil {
			return err
		}
		v.Records = append(v.Records, view)
	}
	err = a.Print(o.out, v, func(w io.Writer) error {
		st := a.IO.OutStyle()
		for i, r := range v.Records {
			later := ""
			if r.Later != nil {
				later = ", " + st.Warn("its key was taken back later: "+*r.Later)
			}
			fmt.Fprintf(w, "%s %s by %s, %s, key %s%s\n", st.Good("good:"), r.Kind, r.By, a.FormatTime(refs[i].Created), r.Key, later)
		}
		writeAside(w, st, v.SetAside, len(v.SetAside))
		fmt.Fprintf(w, "\nThe same with git and gpg alone, in a clone of %s:\n", clean(shellWord(gitstore.Redact(s.Store.URL))))
		w = rawWriter(w) // whole lines, to be copied
		fmt.Fprintln(w, "  gpg --import keys/*/*.asc")
		for _, r := range v.Records {
			fmt.Fprintf(w, "  gpg --verify %s %s\n", record.SignaturePath(r.Path), r.Path)
		}
		fmt.Fprintf(w, "  git log -- %s\n", storyPath(refs))
		return nil
	})
	if err == nil && !o.counted && len(aside) > 0 {
		return failure(exitUntrusted, "set-aside", "ask who pushed them: git log -- PATH; to judge only what counts: jit verify --counted", "%s set aside", count(len(aside), "record")+" "+are(len(aside)))
	}
	return err
}

// recordsOf gives a record and all that stand beside the same request, or it alone where
// it belongs to none.
func recordsOf(l *ledger.Ledger, ref ledger.Ref) ([]ledger.Ref, error) {
	if ref.Request == "" {
		return []ledger.Ref{ref}, nil
	}
	return l.Records(ref.Request)
}

// storyPath is what git log is given to tell of them.
func storyPath(refs []ledger.Ref) string {
	if refs[0].Request == "" {
		return refs[0].Path + " " + record.SignaturePath(refs[0].Path)
	}
	return path.Dir(refs[0].Path) + "/"
}

// check verifies one record again from the bytes in the store. A key that was
// taken back since is no fault of the record: at its place it was good.
func (o *verifyOptions) check(rep *replica.Replica, r ledger.Ref) (verifiedRecordView, error) {
	view := viewVerified(r)
	data, sig, err := rep.ReadRecord(r.ID, r.Digest)
	if err != nil {
		return view, err
	}
	bad := func(err error) error {
		return failure(exitUntrusted, "verification-failed", "run: jit verify, to judge the whole history again", "%s does not verify: %v", r.Path, err)
	}
	if record.Sum(data) != r.Digest {
		return view, bad(fmt.Errorf("its digest is %s", record.Sum(data)))
	}
	ring, err := rep.Ledger().Keyring()
	if err != nil {
		return view, err
	}
	_, err = ring.Verify(data, sig)
	switch reason := record.ReasonOf(err); {
	case err == nil:
	case reason == record.ReasonKeyRevoked, reason == record.ReasonKeyCompromised:
		view.Later = orNull(string(reason))
	default:
		return view, bad(err)
	}
	return view, nil
}

// asideOf gives what is set aside whose path names the id.
func asideOf(l *ledger.Ledger, arg string) ([]ledger.SetAside, error) {
	if len(arg) < minID {
		return nil, nil
	}
	return l.AsideNaming(strings.ToUpper(arg))
}
