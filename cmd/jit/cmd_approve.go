package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

type approveOptions struct {
	app  *App
	ids  []string
	dur  string
	text string
	set  bool // -r was given
	yes  bool
	out  outputFlags
}

func newApproveCmd(app *App) *cobra.Command {
	o := &approveOptions{app: app}
	cmd := &cobra.Command{
		Use:   "approve ID...",
		Short: "Agree to requests and to policy versions",
		Long: `Agree to requests, and as an admin to policy versions. What will be signed is
shown in full first. An approval names the exact bytes that it agrees to, and
holds only for what they mean today: if the rule or the role changes before
access opens, it must be given again.` + pickHelp,
		Example: `  jit approve f9k2qa
  jit approve f9k2qa --for 30m -r "half an hour is enough"`,
		GroupID:           groupDecide,
		ValidArgsFunction: app.completeDecisions,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.ids, o.set = args, cmd.Flags().Changed("reason")
			return o.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&o.dur, "for", "", "agree to a shorter `time` than was asked for")
	cmd.Flags().StringVarP(&o.text, "reason", "r", "", `a comment for everyone to read; "-" reads standard input`)
	o.app.insistFlag(cmd)
	cmd.Flags().BoolVar(&o.yes, "yes", false, "sign without asking; takes whole ids only")
	o.out.add(cmd, requestFields)
	return cmd
}

func (o *approveOptions) run(ctx context.Context) (err error) {
	if len(o.ids) == 0 && (o.yes || !o.app.asks(o.out)) {
		missing := []string{"ID"}
		if !o.yes && !o.app.IO.CanAsk() {
			missing = append(missing, "--yes")
		}
		return missingErr(missing)
	}
	if err := wholeIDs(o.yes, o.ids); err != nil {
		return err
	}
	var narrow record.Duration
	if o.dur != "" {
		if narrow, err = parseFor(o.dur); err != nil {
			return err
		}
	}
	comment := ""
	if o.set {
		if comment, err = o.app.Text(o.text, true, "comment", ""); err != nil {
			return err
		}
	}
	d, err := o.app.sitDown(ctx)
	if err != nil {
		return err
	}
	defer closing(d.rep, &err)
	if len(o.ids) == 0 {
		id, err := d.pickDecision()
		if err != nil {
			return err
		}
		o.ids = []string{id}
	}
	// Everything is found before anything is signed.
	var refs []ledger.Ref
	for _, arg := range o.ids {
		ref, err := resolveID(d.rep.Ledger(), arg)
		if err != nil {
			return err
		}
		if ref.Request == "" {
			return usageErr("see: jit inbox", "%q is a %s: requests and policy versions are approved", arg, ref.Kind)
		}
		refs = append(refs, ref)
	}
	for _, ref := range refs {
		if _, notPolicy := d.rep.Ledger().Proposal(ref.Request, o.app.Now()); notPolicy == nil {
			err = o.policy(ctx, d, ref.Request, narrow, comment)
		} else {
			err = o.request(ctx, d, ref.Request, narrow, comment)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// request approves one request.
func (o *approveOptions) request(ctx context.Context, d *desk, id record.ID, narrow record.Duration, comment string) error {
	a := o.app
	e, err := d.entry(id)
	if err != nil {
		return err
	}
	h := d.rep.Ledger().Policies()
	already, err := d.mayApprove(e, narrow)
	if err != nil {
		return err
	}
	if already != "" {
		return a.printEntry(o.out, h, e, already)
	}
	head, err := d.head(record.KindApproval)
	if err != nil {
		return err
	}
	make := func() approve.Approval {
		return approve.Approval{Head: head, Request: id, RequestDigest: e.Digest, Duration: narrow, Comment: comment}
	}
	if err := o.show(d, e); err != nil {
		return err
	}
	acting := actsIn(d.rep.Ledger(), e, d.me, a.Now())
	if len(acting) > 0 {
		a.Say("You act for %s: it counts in that place", strings.Join(acting, " and "))
	}
	question := "Approve " + a.inFull(d.opening(e, narrow), narrow)
	if len(acting) > 0 {
		question += ", in the place of " + strings.Join(acting, " and ")
	}
	if err := d.confirmed(o.yes, question+"?", make()); err != nil {
		return err
	}
	d.refreshed(&head)
	subject := d.me + " approves " + askedFor(e.Request.Record) + inPlaceOf(acting)
	if !narrow.IsZero() {
		subject += ", for " + narrow.String()
	}
	if err := d.send(ctx, letter{head: head, record: make(), beside: id, subject: subject}); err != nil {
		return err
	}
	if e, err = d.entry(id); err != nil {
		return err
	}
	text := "approved " + e.Request.Record.ID.Short() + ": " + askedFor(e.Request.Record) + inPlaceOf(acting) + "\n" + a.standingLine(e, a.Now())
	return a.printEntry(o.out, h, e, text)
}

// show writes the whole request, and the bytes to which an approval agrees.
func (o *approveOptions) show(d *desk, e ledger.Entry) error {
	a := o.app
	if err := a.renderRequest(a.IO.Err, d.rep.Ledger().Policies(), e, a.Now()); err != nil {
		return err
	}
	data, _, err := d.rep.ReadRecord(e.Request.Record.ID, e.Digest)
	if err != nil {
		return err
	}
	a.showBytes(a.IO.Err, "You agree to (sha256 "+string(e.Digest)+"):", data)
	return nil
}

// mayApprove judges an approval that this person would sign now, or says why
// there is nothing left to do.
func (d *desk) mayApprove(e ledger.Entry, narrow record.Duration) (already string, err error) {
	r := e.Request.Record
	turn := slices.Contains(waitsFor(e.Decision), d.me)
	for _, s := range e.Decision.Approvals {
		if !turn && s.By == d.me && (s.Counted || s.Why == "" || s.Why == policy.CountedOnce) && !e.State.Settled() {
			return "you have approved " + r.ID.Short() + " already; it is " + string(e.State), nil
		}
	}
	if e.State.Settled() && r.By != d.me {
		code := policy.AfterEnd
		if e.State == approve.Lapsed {
			code = policy.Lapsed
		}
		return "", &policy.Refusal{Code: code, Message: over(e), Hint: r.By + " must ask for it again"}
	}
	trial := d.trialOf(e, narrow)
	if err := e.MayApprove(d.rep.Ledger().Policies(), trial, d.acts()); err != nil {
		return "", err
	}
	if !undecided(e.Decision) {
		return "request " + r.ID.Short() + " is " + string(e.State) + " already; nobody else's approval is needed", nil
	}
	return "", d.inTurn(e, trial)
}

// trialOf is the approval that this person would sign now.
func (d *desk) trialOf(e ledger.Entry, narrow record.Duration) approve.Placed[approve.Approval] {
	position, headAt := d.next()
	trial := approve.Placed[approve.Approval]{Position: position, HeadAt: headAt, Key: d.signer.Fingerprint()}
	trial.Record = approve.Approval{Request: e.Request.Record.ID, RequestDigest: e.Digest, Duration: narrow}
	trial.Record.By, trial.Record.Created = d.me, record.At(d.app.Now())
	return trial
}

// opening is e with the time from which it would be open if this person approved it now,
// where that would decide it: a request or an approval before it that is dated ahead, and
// the hours of a rule, put it off.
func (d *desk) opening(e ledger.Entry, narrow record.Duration) ledger.Entry {
	e.Opens = decidedWith(d.rep.Ledger(), e, d.trialOf(e, narrow), d.acts(), d.app.Now()).Opens
	return e
}

// inTurn refuses an approval that no stage would take as things stand: it would
// be signed for nothing. Where it would count, in whosever place, nothing is refused.
func (d *desk) inTurn(e ledger.Entry, trial approve.Placed[approve.Approval]) error {
	s := tried(d.rep.Ledger(), e, trial, d.acts(), d.app.Now())
	if s.Counted {
		return nil
	}
	short := e.Request.Record.ID.Short()
	for _, n := range currentNeeds(needsOf(e.Decision)) {
		if n.next != nil && slices.Contains(n.next.To, d.me) {
			return &policy.Refusal{Code: policy.EscalationNotDue, Rule: n.Rule,
				Message: fmt.Sprintf("it is not your turn: stage %d of rule %q escalates to you at %s, and waits for %s until then", n.Stage, n.Rule, d.app.clock(n.next.At), listText(n.Who, "or")),
				Hint:    "approve it after that, if nobody else has; see: jit show " + short}
		}
	}
	for _, n := range needsOf(e.Decision) {
		if !slices.Contains(n.Who, d.me) || n.current {
			continue
		}
		return &policy.Refusal{Code: policy.StageNotOpen, Rule: n.Rule,
			Message: fmt.Sprintf("it is not your turn: you are asked in stage %d of rule %q, and an earlier one waits for %s", n.Stage, n.Rule, listText(waitsFor(e.Decision), "or")),
			Hint:    "approve it after them; see: jit show " + short}
	}
	return notTaken(s, short)
}

// notTaken says why an approval would not count where it would stand; nil where it
// would.
func notTaken(s approve.Standing, short string) error {
	if s.Why == "" {
		return nil
	}
	refusal := &policy.Refusal{Code: s.Why, Message: "the approval would not count: " + string(s.Why), Hint: "see: jit show " + short}
	switch s.Why {
	case policy.EscalationNotDue:
		refusal.Message = "you are asked only when the stage has waited longer"
	case policy.StageExpired:
		refusal.Message = "the stage that waits can no longer be met"
	case policy.StageNotOpen:
		refusal.Message = "it is not your turn: the stage that waits is not yours"
	case policy.CountedOnce:
		refusal.Message = "you were counted in an earlier stage, and one person counts once"
	}
	return refusal
}

// policy approves one policy version.
func (o *approveOptions) policy(ctx context.Context, d *desk, id record.ID, narrow record.Duration, comment string) error {
	a := o.app
	p, err := d.rep.Ledger().Proposal(id, a.Now())
	if err != nil {
		return err
	}
	if already := proposalSettled(d, p); already != "" {
		return a.printProposal(o.out, p, already)
	}
	head, err := d.head(record.KindApproval)
	if err != nil {
		return err
	}
	position, headAt := d.next()
	approval := approve.Approval{Head: head, Request: id, RequestDigest: p.Digest, Duration: narrow, Comment: comment}
	trial := approve.Placed[approve.Approval]{Record: approval, Position: position, HeadAt: headAt, Key: d.signer.Fingerprint()}
	if err := p.MayApprovePolicy(d.policy(), trial); err != nil {
		return err
	}
	if err := a.showProposal(a.IO.Err, d.rep, p); err != nil {
		return err
	}
	if err := d.confirmed(o.yes, "Approve policy version "+id.Short()+", proposed by "+p.Policy.Record.By+"?", approval); err != nil {
		return err
	}
	d.refreshed(&approval.Head)
	err = d.send(ctx, letter{head: approval.Head, record: approval, beside: id, onPolicy: true, subject: d.me + " approves policy version " + id.Short()})
	if err != nil {
		return err
	}
	if p, err = d.rep.Ledger().Proposal(id, a.Now()); err != nil {
		return err
	}
	text := "approved policy version " + id.Short() + "; it is " + string(p.State)
	if p.State == approve.Proposed {
		text += ": " + strings.Join(proposalNeeds(p), "; ")
	}
	return a.printProposal(o.out, p, text)
}

// proposalSettled gives why this person's approval would change nothing.
func proposalSettled(d *desk, p ledger.ProposalEntry) string {
	short := p.Policy.Record.ID.Short()
	if p.State == approve.Accepted {
		return "policy version " + short + " is in force already"
	}
	if p.State != approve.Proposed {
		return ""
	}
	// What they agreed to before a lock, or with a key that was compromised, does not
	// count, and can be given again.
	switch {
	case !slices.Contains(p.Old.Have, d.me) && !slices.Contains(p.New.Have, d.me):
		return ""
	case p.Policy.Record.By == d.me:
		return "you proposed policy version " + short + ": that counts as your approval"
	}
	return "you have approved policy version " + short + " already"
}

// proposalNeeds says who must still agree.
func proposalNeeds(p ledger.ProposalEntry) []string {
	var needs []string
	if n := p.Old.Missing(); n > 0 {
		needs = append(needs, fmt.Sprintf("needs %d more of %s", n, listText(p.Old.Who, "and")))
	}
	if n := p.New.Missing(); p.Changes && n > 0 {
		needs = append(needs, fmt.Sprintf("needs %d more of the new admins, %s", n, listText(p.New.Who, "and")))
	}
	return needs
}
