package main

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
)

// logView is one record of a story.
type logView struct {
	ID        *string `json:"id"`
	Kind      *string `json:"kind"`
	By        *string `json:"by"`
	Created   *string `json:"created"`
	Commit    string  `json:"commit"`
	Position  int     `json:"position"`
	Key       *string `json:"key"`
	Signature string  `json:"signature"`
	Path      string  `json:"path"`
	Digest    *string `json:"digest"`
	SetAside  *string `json:"setAside"`
}

var logFields = []string{"id", "kind", "by", "created", "commit", "position", "key", "signature", "path", "digest", "setAside"}

type logOptions struct {
	app *App
	id  string
	out outputFlags
}

func newLogCmd(app *App) *cobra.Command {
	o := &logOptions{app: app}
	cmd := &cobra.Command{
		Use: "log ID", Short: "The records of a request in order: who, when, key, signature, file",
		Long: `List the records of a request or policy version in the order of the history,
each with its signer, its key, what its signature is worth today, its commit and
its file. What was set aside is listed with its reason. The same story can be
read with nothing but git and gpg:

  git log -- requests/2026/11/23/ID/
  gpg --verify FILE.asc FILE`,
		GroupID: groupLook, Args: exactly("ID"), ValidArgsFunction: app.completeRequests(),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.id = args[0]
			return o.run(cmd.Context())
		},
	}
	o.out.add(cmd, logFields)
	return shows(cmd)
}

func (o *logOptions) run(ctx context.Context) (err error) {
	a := o.app
	rep, _, err := a.known(ctx)
	if err != nil {
		return err
	}
	defer closing(rep, &err)
	ref, err := resolveID(rep.Ledger(), o.id)
	if err != nil {
		return err
	}
	views, err := story(rep, ref)
	if err != nil {
		return err
	}
	return a.Print(o.out, views, func(io.Writer) error {
		return a.paged(ctx, func(w io.Writer) error { return a.writeLog(w, views) })
	})
}

// story gives all records of a request or policy version, and what was laid
// beside them without effect.
func story(rep *replica.Replica, ref ledger.Ref) ([]logView, error) {
	refs, err := recordsOf(rep.Ledger(), ref)
	if err != nil {
		return nil, err
	}
	ring, err := rep.Ledger().Keyring()
	if err != nil {
		return nil, err
	}
	views := []logView{}
	folder := ""
	for _, r := range refs {
		if ref.Request != "" { // else it is everybody's of that day
			folder = path.Dir(r.Path)
		}
		data, sig, err := rep.ReadRecord(r.ID, r.Digest)
		if err != nil {
			return nil, err
		}
		state := "good"
		if _, err := ring.Verify(data, sig); err != nil {
			// It counted at its place; its key may have been revoked since.
			state = string(record.ReasonOf(err))
		}
		views = append(views, logView{
			ID: orNull(string(r.ID)), Kind: orNull(string(r.Kind)), By: orNull(r.By), Created: timeOrNull(r.Created), Commit: string(r.Commit),
			Position: r.Position, Key: orNull(string(r.Key)), Signature: state, Path: r.Path, Digest: orNull(string(r.Digest)),
		})
	}
	if folder == "" {
		return views, nil
	}
	aside, err := rep.Ledger().AsideNaming(folder + "/")
	if err != nil {
		return nil, err
	}
	for _, s := range aside {
		if path.Dir(s.Path) == folder {
			views = append(views, logView{Commit: string(s.Commit), Position: s.Position, Path: s.Path, Signature: s.Reason, SetAside: orNull(s.Detail)})
		}
	}
	return views, nil
}

// writeLog writes the story for a person; in a pipe, a line a record.
func (a *App) writeLog(w io.Writer, views []logView) error {
	if !a.IO.OutTTY {
		var rows [][]string
		for _, v := range views {
			rows = append(rows, []string{text(v.Created), text(v.By), text(v.Kind), v.Commit, text(v.Key), v.Signature, v.Path})
		}
		a.Table(w, nil, rows)
		return nil
	}
	st := a.IO.OutStyle()
	b := &strings.Builder{}
	for i, v := range views {
		if i > 0 {
			fmt.Fprintln(b)
		}
		if v.SetAside != nil {
			fmt.Fprintf(b, "%s  %s\n  %s\n  %s  %s\n", st.Bad("set aside"), v.Signature, clean(*v.SetAside), st.Faint("file     "), clean(v.Path))
			continue
		}
		fmt.Fprintf(b, "%s by %s\n", st.Bold(text(v.Kind)), text(v.By))
		f := fields{b, st}
		word := v.Signature
		if word != "good" {
			word += " today; it counted at its place in the history"
		}
		f.add("created", text(v.Created))
		f.add("signature", word)
		f.add("key", text(v.Key))
		f.add("commit", fmt.Sprintf("%s (number %d)", v.Commit, v.Position))
		f.add("file", v.Path)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
