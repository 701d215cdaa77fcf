package ledger_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// What a ledger and the reference say, in the same words, a line each.

func renderPolicies(h policy.History, position int) (lines []string) {
	for _, v := range h {
		lines = append(lines, fmt.Sprintf("from %d policy %s, since %s", v.Position, v.ID().Short(), v.Since.UTC().Format(time.RFC3339)))
	}
	for i := 1; i <= position; i++ {
		lines = append(lines, fmt.Sprintf("at %d policy %s", i, h.At(i).ID().Short()))
	}
	return lines
}

// renderAside sorts what was set aside by position and path: the order within a
// commit has no meaning, and is compared between ledgers.
func renderAside(all []ledger.SetAside) (lines []string) {
	for _, s := range all {
		lines = append(lines, fmt.Sprintf("aside at %2d %.8s %s: %s", s.Position, s.Commit, s.Path, s.Reason))
	}
	slices.Sort(lines)
	return lines
}

// ringOf gives all certificates of the store, those of strangers too.
func ringOf(l *ledger.Ledger) (*record.Keyring, error) {
	text, err := l.Export()
	if err != nil {
		return nil, err
	}
	var all struct{ Certificates []string }
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	var certs []*record.Certificate
	for _, armor := range all.Certificates {
		c, err := record.ParseCertificate([]byte(armor))
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	return record.NewKeyring(certs...)
}

func renderRing(ring *record.Keyring) (lines []string) {
	for _, c := range ring.All() {
		lines = append(lines, fmt.Sprintf("certificate %s, %s", c.Fingerprint(), record.Sum(c.Armor())))
	}
	return lines
}

func renderSight(s ledger.Sight) string {
	return fmt.Sprintf("key %s had seen %d, and signs at %d, as of %s", s.Key, s.Head, s.Position, s.Created.Format(time.RFC3339))
}

func renderEvidence(seen int, e ledger.Evidence) string {
	return fmt.Sprintf("others had seen %d; answered %s, last %s", seen, e.Answered.Format(time.RFC3339), e.Last.Format(time.RFC3339))
}

func renderVersion(id record.ID, now time.Time, state approve.ProposalState, d approve.ProposalDecision) string {
	return fmt.Sprintf("at %s version %s: %s %s", now.Format(time.RFC3339), id.Short(), state, asJSON(d))
}

func renderRequest(id record.ID, now time.Time, d approve.Decision) string {
	return fmt.Sprintf("at %s request %s: %s", now.Format(time.RFC3339), id.Short(), asJSON(d))
}

func renderOpen(ids []record.ID, now time.Time) string {
	return fmt.Sprintf("at %s open: %s", now.Format(time.RFC3339), ids)
}

// render writes down all that the reference says, at some times.
func (r *reference) render(times []time.Time) (lines []string) {
	var digest record.Digest
	for _, c := range r.counted {
		h := c.Head()
		digest = record.Sum([]byte(string(digest) + string(c.Digest())))
		lines = append(lines, fmt.Sprintf("counted at %d.%d %.8s %s, %s by %s with %s at %s", c.position, c.order, r.commits[c.position-1], c.path,
			c.Request.Short(), h.By, c.Primary(), h.Created.Format(time.RFC3339)))
	}
	lines = append(lines, renderAside(r.aside)...)
	lines = append(lines, renderRing(r.ring)...)
	for _, s := range r.sights() {
		lines = append(lines, renderSight(s), renderEvidence(r.evidence(s)))
	}
	h := r.succession()
	lines = append(lines, renderPolicies(h, r.position)...)
	lines = append(lines, r.renderStanding(times)...)
	lines = append(lines, fmt.Sprintf("head %s at %d, digest %s", r.commits[r.position-1], r.position, digest))
	for _, now := range times {
		open := []record.ID{}
		for _, id := range r.ids(record.KindRequest) {
			c, _ := r.request(id)
			d := r.decide(c, now)
			lines = append(lines, renderRequest(id, now, d))
			if !d.State.Settled() {
				open = append(open, id)
			}
		}
		lines = append(lines, renderOpen(open, now))
		for _, id := range r.ids(record.KindPolicy) {
			state, old := r.versionState(id, now)
			lines = append(lines, renderVersion(id, now, state, r.decidePolicy(old, id)))
		}
	}
	return lines
}

// ids gives the ids of the counted requests or policy versions, newest first.
func (r *reference) ids(kind record.Kind) (ids []record.ID) {
	for _, c := range r.counted {
		if c.Kind == kind {
			ids = append(ids, c.ID)
		}
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	return ids
}

// versionState says where a policy version stands, and which one it replaces.
func (r *reference) versionState(id record.ID, now time.Time) (approve.ProposalState, *policy.Policy) {
	h := r.succession()
	for i, v := range h {
		if v.ID() == id {
			return approve.Accepted, h[max(0, i-1)].Policy
		}
	}
	doc := r.version(id).policy.Document()
	switch {
	case doc.Replaces != h.Latest().Digest():
		return approve.Superseded, h.Latest()
	case !now.Before(doc.Expires.Time):
		return approve.TooLate, h.Latest()
	}
	return approve.Proposed, h.Latest()
}

// render writes down all that a ledger says, at some times.
func render(l *ledger.Ledger, times []time.Time) (lines []string, err error) {
	records, err := l.AllRecords()
	if err != nil {
		return nil, err
	}
	order, last := 0, 0
	for _, c := range records {
		if order++; c.Position != last {
			order, last = 0, c.Position
		}
		lines = append(lines, fmt.Sprintf("counted at %d.%d %.8s %s, %s by %s with %s at %s", c.Position, order, c.Commit, c.Path,
			c.Request.Short(), c.By, c.Key, c.Created.Format(time.RFC3339)))
	}
	aside, err := l.SetAside()
	if err != nil {
		return nil, err
	}
	lines = append(lines, renderAside(aside)...)
	ring, err := ringOf(l)
	if err != nil {
		return nil, err
	}
	lines = append(lines, renderRing(ring)...)
	sights, err := l.Sights()
	if err != nil {
		return nil, err
	}
	for _, s := range sights {
		lines = append(lines, renderSight(s))
		seen, err := l.Seen(s.Key)
		if err != nil {
			return nil, err
		}
		e, err := l.Evidence(s.Key, noon.AddDate(-1, 0, 0), s.Created)
		if err != nil {
			return nil, err
		}
		lines = append(lines, renderEvidence(seen, e))
	}
	head, position := l.Head()
	lines = append(lines, renderPolicies(l.Policies(), position)...)
	people, err := renderLedgerStanding(l, times)
	if err != nil {
		return nil, err
	}
	lines = append(lines, people...)
	lines = append(lines, fmt.Sprintf("head %s at %d, digest %s", head, position, l.Digest()))
	for _, now := range times {
		requests, err := l.Requests(ledger.Filter{}, now)
		if err != nil {
			return nil, err
		}
		for _, e := range requests {
			lines = append(lines, renderRequest(e.Request.Record.ID, now, e.Decision))
		}
		requests, err = l.Requests(ledger.Filter{Open: true}, now)
		if err != nil {
			return nil, err
		}
		open := []record.ID{}
		for _, e := range requests {
			open = append(open, e.Request.Record.ID)
		}
		lines = append(lines, renderOpen(open, now))
		versions, err := l.Proposals(now)
		if err != nil {
			return nil, err
		}
		for _, e := range versions {
			lines = append(lines, renderVersion(e.Policy.Record.ID, now, e.State, e.ProposalDecision))
		}
	}
	return lines, nil
}

// difference gives the first lines in which two renderings differ.
func difference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		g, w := "(nothing)", "(nothing)"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			return fmt.Sprintf("the ledger says\n\t%s\nand the reference\n\t%s", g, w)
		}
	}
	return ""
}
