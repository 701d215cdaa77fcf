package main

import (
	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

func newCommentCmd(app *App) *cobra.Command {
	return newVerbCmd(app, verb{
		use: "comment ID", group: groupDecide, kind: record.KindComment, what: "comment", wanted: true,
		short: "Say something about a request",
		long: `Say something about a request: a question to the person who asks, or what was
found out. A comment is signed like everything else and decides nothing.`,
		judge: func(*desk, ledger.Entry) (string, error) { return "", nil },
		record: func(h record.Head, e ledger.Entry, text string) any {
			return request.Comment{Head: h, Request: e.Request.Record.ID, RequestDigest: e.Digest, Comment: text}
		},
		deed: "comments on",
		done: func(_ *ledger.Ledger, e ledger.Entry) string { return "commented on " + e.Request.Record.ID.Short() },
	})
}
