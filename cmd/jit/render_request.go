package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// stateText colours the word for a state; the word alone says it all.
func stateText(st *Style, s approve.State) string {
	switch s {
	case approve.Active:
		return st.Good(string(s))
	case approve.Pending, approve.Scheduled:
		return st.Warn(string(s))
	case approve.Denied, approve.Revoked:
		return st.Bad(string(s))
	}
	return st.Faint(string(s))
}

// standingLine says in one sentence where e stands.
func (a *App) standingLine(e ledger.Entry, now time.Time) string {
	by := func(word string) string {
		if e.EndedBy != nil && e.EndedBy.By != "" {
			word += " by " + e.EndedBy.By
		}
		switch at, ahead := endedAt(e); {
		case ahead && at.IsZero():
			word += ", dated ahead"
		case ahead:
			word += ", dated ahead to " + a.FormatTime(at)
		case !at.IsZero():
			word += " at " + a.FormatTime(at)
		}
		if e.EndedBy != nil && e.EndedBy.Reason != "" {
			word += ": " + lineOf(e.EndedBy.Reason)
		}
		return word
	}
	switch e.State {
	case approve.Pending:
		s := "waits for " + listText(waitsFor(e.Decision), "or")
		for _, n := range currentNeeds(needsOf(e.Decision)) {
			if later := a.laterText(n.next); later != "" && !strings.Contains(s, later) {
				s += "; " + later
			}
		}
		return s + "; lapses " + a.FormatTime(lapsesAt(e.Decision)) + ", " + formatLeft(lapsesAt(e.Decision), now) + " from now"
	case approve.Scheduled:
		return "approved; opens " + a.FormatTime(e.Opens) + ", " + formatLeft(e.Opens, now) + " from now"
	case approve.Active:
		until := "until " + a.FormatTime(e.Ends) + ", " + formatLeft(e.Ends, now) + " left"
		rest := ""
		if undecided(e.Decision) {
			rest = "; " + grantsText(pendingGrants(e)) + " waits for " + listText(waitsFor(e.Decision), "or") + " until " + a.FormatTime(lapsesAt(e.Decision))
		}
		if closed := unopened(e); len(closed) > 0 {
			return "approved " + until + closedText(e, closed) + rest
		}
		if rest != "" {
			return grantsText(openGrants(e)) + " open " + until + rest
		}
		return "open " + until
	case approve.Expired:
		return "was open until " + a.FormatTime(e.Ends)
	case approve.Lapsed:
		return "nobody decided by " + a.FormatTime(lapsesAt(e.Decision))
	}
	return by(string(e.State))
}

// endedAt gives when a request ended. What takes away counts at once, whatever time it
// claims: where that has not come yet, ahead is set and at is what is claimed, or zero
// where the record that did it does not tell. The time at which somebody looks is neither.
func endedAt(e ledger.Entry) (at time.Time, ahead bool) {
	by := e.EndedBy
	if by == nil {
		return e.Closed, false
	}
	claimed := time.Time{}
	if by.By != "" && by.Record != "" {
		claimed = by.Record.Time().UTC().Truncate(time.Second) // which is its created
	}
	if claimed.After(e.Closed) {
		return claimed, true
	}
	// What records claim are whole seconds.
	if claimed.IsZero() && e.Closed.Nanosecond() != 0 {
		return time.Time{}, true
	}
	return e.Closed, false
}

// closedText says of grants that are to be open why they are not.
func closedText(e ledger.Entry, closed []request.Grant) string {
	var never, again []request.Grant
	for _, g := range closed {
		if r := lastReceipt(e, g); r != nil && r.Outcome == receipt.Ended {
			again = append(again, g)
		} else {
			never = append(never, g)
		}
	}
	text := ""
	if len(never) > 0 {
		text = "; no reconciler has opened " + grantsText(never) + " yet"
	}
	if len(again) > 0 {
		text += "; " + grantsText(again) + " was opened, and is closed meanwhile"
	}
	return text
}

// lineOf keeps the first line of a text for places that have one.
func lineOf(s string) string {
	first, rest, more := strings.Cut(strings.TrimSpace(s), "\n")
	if more && strings.TrimSpace(rest) != "" {
		first += " …"
	}
	return clean(first)
}

// maxBrief is the most characters of a text in a table on a terminal: the whole of it
// is shown by jit show.
const maxBrief = 120

// brief is lineOf for a cell of a table. In a pipe nothing is cut.
func (a *App) brief(s string) string {
	s = lineOf(s)
	if a.IO.OutTTY {
		s = shorten(strings.Join(strings.Fields(s), " "), maxBrief)
	}
	return s
}

// shorten cuts s to n characters for a column.
func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// fields writes lines of "name  value"; a value of many lines goes on below
// itself, so that no line of it can look like a field.
type fields struct {
	w  io.Writer
	st *Style
}

func (f fields) add(name, value string) {
	if value == "" {
		return
	}
	for i, line := range strings.Split(strings.TrimRight(cleanLines(value), "\n"), "\n") {
		label := name
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(f.w, "  %s  %s\n", f.st.Faint(fmt.Sprintf("%-9s", label)), line)
	}
}

// renderRequest tells the whole story of e.
func (a *App) renderRequest(w io.Writer, h policy.History, e ledger.Entry, now time.Time) error {
	r, st := e.Request.Record, a.styleOf(w)
	b := &strings.Builder{}
	verb := "asks for"
	switch {
	case r.Emergency:
		verb = st.Bad("EMERGENCY:") + " takes"
	case r.Extends != "":
		verb = "asks to extend"
	}
	fmt.Fprintf(b, "%s  %s  %s %s %s\n", st.Bold(r.ID.Short()), stateText(st, e.State), r.By, verb, st.Bold(grantsText(r.Grants)))
	f := fields{b, st}
	f.add("standing", a.standingLine(e, now))
	if r.Emergency {
		f.add("emergency", a.debtLine(e, now))
	}
	f.add("duration", durationLine(e))
	a.renderFamily(f, e)
	if r.Start != nil {
		f.add("start", a.FormatTime(r.Start.Time))
	}
	if !e.Opens.IsZero() {
		f.add("window", a.FormatTime(e.Opens)+" to "+a.FormatTime(e.Ends))
	}
	f.add("reason", r.Reason)
	f.add("ticket", r.Ticket)
	for _, name := range sortedKeys(r.Inputs) {
		f.add("input", name+": "+r.Inputs[name])
	}
	f.add("asked", a.FormatTime(r.Created.Time))
	a.renderGrants(b, st, e)
	a.renderApprovals(b, st, e)
	a.renderReceipts(b, st, e)
	if len(e.Comments) > 0 {
		fmt.Fprintf(b, "\n%s\n", st.Title("Comments"))
		for _, c := range e.Comments {
			f.add(c.Record.By, c.Record.Comment)
		}
	}
	if p := judging(h, e); p != nil && usable(e) {
		if lines := usageOf(p, openGrants(e)); len(lines) > 0 {
			fmt.Fprintf(b, "\n%s\n", st.Title("How to use it"))
			for _, line := range lines {
				f.add("", line)
			}
		}
	}
	if warnings := warningsOf(e); len(warnings) > 0 {
		fmt.Fprintln(b)
		for _, text := range warnings {
			fmt.Fprintf(b, "%s %s\n", st.Warn("warning:"), clean(text))
		}
	}
	fmt.Fprintln(b)
	f.add("id", string(r.ID))
	f.add("digest", string(e.Digest)+" (sha256 of request.yaml)")
	f.add("signed by", r.By+", key "+string(e.Request.Key))
	f.add("file", record.PathOf(r.Head, "", false))
	_, err := io.WriteString(w, b.String())
	return err
}

func indent(s, by string) string {
	return strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n"+by)
}

func durationLine(e ledger.Entry) string {
	asked := e.Request.Record.Duration
	if d := e.Decision.Duration; !d.IsZero() && d != asked {
		return d.String() + " (narrowed from " + asked.String() + ")"
	}
	return asked.String()
}

func (a *App) renderGrants(b *strings.Builder, st *Style, e ledger.Entry) {
	fmt.Fprintf(b, "\n%s\n", st.Title("Grants"))
	for _, g := range e.Grants {
		switch {
		case g.Refusal != nil:
			fmt.Fprintf(b, "  %s  %s: %s\n", st.Bold(g.Grant.String()), st.Bad("refused"), clean(g.Refusal.Error()))
			continue
		case g.Rule == "":
			fmt.Fprintf(b, "  %s  %s\n", st.Bold(g.Grant.String()), st.Bad("no rule"))
			continue
		case g.Auto:
			fmt.Fprintf(b, "  %s  rule %q approves by itself\n", st.Bold(g.Grant.String()), g.Rule)
		default:
			fmt.Fprintf(b, "  %s  rule %q\n", st.Bold(g.Grant.String()), g.Rule)
		}
		for i, s := range g.Stages {
			word := st.Good("done")
			rest := ""
			if s.Missing() > 0 && g.State == approve.Pending {
				word = st.Warn("waits")
				rest = "; can approve: " + listText(s.Who, "or")
				if later := a.laterText(s.Next); later != "" {
					rest += ", " + later
				}
				if !s.Expires.IsZero() {
					rest += "; expires at " + a.clock(s.Expires)
				}
			} else if s.Missing() > 0 {
				word = st.Faint("not reached")
			}
			have := ""
			if len(s.Have) > 0 {
				have = " (" + strings.Join(s.Have, ", ") + ")"
			}
			fmt.Fprintf(b, "    stage %d  %s: has %d of %d%s%s\n", i+1, word, len(s.Have), s.Count, have, rest)
			if strings.Count(s.Wants, " of ") > 1 {
				fmt.Fprintf(b, "             wants %s\n", clean(s.Wants))
			}
		}
		if apart(e.Decision, g) {
			fmt.Fprintf(b, "    by itself %s%s\n", stateText(st, g.State), a.windowText(g))
		}
		if g.Granted || g.State == approve.Pending {
			fmt.Fprintf(b, "    opens    %s\n", meaningText(g.Meaning))
		}
	}
}

// meaningText says what is opened on the target, on one line, and for whom in full: each
// line of an account may let somebody in.
func meaningText(m policy.Meaning) string {
	if m.Driver == "" {
		return ""
	}
	var account []string
	for line := range strings.Lines(m.Account) {
		if line = strings.TrimSpace(line); line != "" {
			account = append(account, clean(line))
		}
	}
	return m.Driver + " as " + strings.Join(account, " and as ") + parametersText(m.Parameters)
}

func (a *App) renderApprovals(b *strings.Builder, st *Style, e ledger.Entry) {
	if len(e.Decision.Approvals) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", st.Title("Approvals"))
	for _, ok := range e.Decision.Approvals {
		word := st.Good("counts")
		switch {
		case ok.Why != "":
			word = st.Bad("does not count: " + string(ok.Why))
		case !ok.Counted:
			word = st.Faint("not needed so far")
		}
		narrowed := ""
		if !ok.Duration.IsZero() {
			narrowed = ", for " + ok.Duration.String()
		}
		fmt.Fprintf(b, "  %s  %s%s  %s\n", approvedBy(ok), a.FormatTime(ok.At), narrowed, word)
		if ok.Comment != "" {
			fields{b, st}.add("  comment", ok.Comment)
		}
	}
}

func (a *App) renderReceipts(b *strings.Builder, st *Style, e ledger.Entry) {
	if len(e.Receipts) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", st.Title("What reconcile did"))
	for _, p := range e.Receipts {
		r := p.Record
		word := string(r.Outcome)
		switch r.Outcome {
		case receipt.Intended:
			word = "is to open"
		case receipt.Applied:
			word = st.Good("opened")
		case receipt.Ended:
			word = "ended"
			if r.Cause != "" {
				word += " (" + r.Cause + ")"
			}
		case receipt.Failed:
			word = st.Bad("failed")
		}
		line := fmt.Sprintf("  %s:%s  %s  by %s at %s", r.Resource, r.Role, word, r.By, a.FormatTime(r.Created.Time))
		if r.SessionsEnded > 0 {
			line += fmt.Sprintf(", %d live sessions cut", r.SessionsEnded)
		}
		fmt.Fprintln(b, clean(line))
		if r.Detail != "" {
			fields{b, st}.add("  detail", r.Detail)
		}
		for _, left := range r.Left {
			fields{b, st}.add("  left", left)
		}
	}
}

// parametersText writes a role's parameters in a fixed order.
func parametersText(parameters map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		fmt.Fprintf(&b, ", %s=%s", name, lineOf(parameters[name]))
	}
	return b.String()
}
