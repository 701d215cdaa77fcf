package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/trial"
)

// showProposal writes a proposed policy version for somebody who decides about
// it: what it changes, who has agreed, and who must.
func (a *App) showProposal(w io.Writer, rep *replica.Replica, p ledger.ProposalEntry) error {
	doc := p.Policy.Record
	st := a.IO.OutStyle()
	if w == a.IO.Err {
		st = a.IO.ErrStyle()
	}
	fmt.Fprintf(w, "%s %s  %s\n", st.Title("Policy version"), doc.ID, proposalStateText(st, p.State))
	fmt.Fprintf(w, "proposed  by %s at %s\n", doc.By, a.FormatTime(doc.Created.Time))
	fmt.Fprintf(w, "key       %s\n", p.Policy.Key)
	fmt.Fprintf(w, "digest    %s\n", p.Digest)
	if doc.Expires != nil && p.State == approve.Proposed {
		fmt.Fprintf(w, "lapses    %s\n", a.FormatTime(doc.Expires.Time))
	}
	renderAgreement(w, p)
	old := versionBefore(rep.Ledger().Policies(), doc)
	if old == nil {
		fmt.Fprintf(w, "\nThe store's first policy:\n")
		return a.showBody(w, &doc.Body)
	}
	before, err := record.Encode(old.Document().Body)
	if err != nil {
		return err
	}
	after, err := record.Encode(doc.Body)
	if err != nil {
		return err
	}
	if err := a.showEffects(w, st, rep, old, p); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nWhat it changes of version %s:\n", old.ID().Short())
	if !showDiff(w, st, string(before), string(after)) {
		fmt.Fprintln(w, "  nothing")
	}
	return nil
}

// showEffects writes what a proposed version changes in effect, where it is still
// to be decided, or did.
func (a *App) showEffects(w io.Writer, st *Style, rep *replica.Replica, old *policy.Policy, p ledger.ProposalEntry) error {
	next, err := policy.Compile(p.Policy.Record, p.Digest)
	if err != nil {
		return err
	}
	c := consequences{Effects: trial.Compare(old, next, a.Now())}
	if p.State == approve.Proposed && old == rep.Ledger().Policy() {
		if c.Endings, err = a.endings(rep, next); err != nil {
			return err
		}
	}
	fmt.Fprintf(w, "\n%s\n", st.Title("In effect:"))
	a.renderConsequences(w, st, c)
	return nil
}

func (a *App) showBody(w io.Writer, body *policy.Body) error {
	data, err := record.Encode(*body)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		fmt.Fprintf(w, "    %s", line)
	}
	return nil
}

// renderAgreement says who has agreed and who must, under the old policy and,
// where admins or threshold change, under the new one.
func renderAgreement(w io.Writer, p ledger.ProposalEntry) {
	side := func(name string, s approve.StageDecision) {
		have := "nobody yet"
		if len(s.Have) > 0 {
			have = strings.Join(s.Have, ", ")
		}
		fmt.Fprintf(w, "%-9s %d of %d: %s", name, min(len(s.Have), s.Count), s.Count, have)
		if s.Missing() > 0 && p.State == approve.Proposed {
			fmt.Fprintf(w, "; can agree: %s", strings.Join(s.Who, ", "))
		}
		fmt.Fprintln(w)
	}
	side("agreed", p.Old)
	if p.Changes {
		side("new admins", p.New)
	}
}

// versionBefore gives the version that doc replaces, or nil for the first.
func versionBefore(h policy.History, doc policy.Document) *policy.Policy {
	for _, v := range h {
		if v.Digest() == doc.Replaces {
			return v.Policy
		}
	}
	if doc.Replaces == "" {
		return nil
	}
	return h.Latest()
}

func proposalStateText(st *Style, s approve.ProposalState) string {
	switch s {
	case approve.Accepted:
		return st.Good("in force, or was")
	case approve.Proposed:
		return st.Warn("waits for admins")
	case approve.Superseded:
		return st.Faint("superseded: another version came into force; it must be proposed again")
	case approve.TooLate:
		return st.Faint("lapsed")
	}
	return string(s)
}
