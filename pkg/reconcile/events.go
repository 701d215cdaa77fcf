package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/target"
)

// eventKind is what a line of the journal tells. The names are in files, and
// never change.
type eventKind string

const (
	began    eventKind = "began"    // the journal was made
	intended eventKind = "intended" // access may be open from here on
	opened   eventKind = "opened"   // access is open; a receipt is owed
	ended    eventKind = "ended"    // access is gone; a receipt is owed
	failed   eventKind = "failed"   // opening or ending failed anew; a receipt is owed
	prepared eventKind = "prepared" // a receipt is signed
	sent     eventKind = "sent"     // receipts are with the store's copy, or are not wanted

	announced eventKind = "announced" // access is to open; a receipt is owed, which must come back first
	renewed   eventKind = "renewed"   // the leases, all of them

	identified eventKind = "identified" // what the names stand for at the target is known, or another
)

// event is one line of the journal.
type event struct {
	// N counts the events; a later event refers to an earlier one by it.
	N     int       `json:"n"`
	At    time.Time `json:"at"`
	Kind  eventKind `json:"kind"`
	Grant string    `json:"grant,omitempty"` // the grant's id

	// Wish is all that is needed to end the grant whatever becomes of the
	// policy (announced, intended, failed).
	Wish *wish `json:"wish,omitempty"`
	// Standing says that the access was there before (intended).
	Standing bool `json:"standing,omitempty"`
	// Identity is what the names stand for at the target (intended, opened, identified).
	Identity string `json:"identity,omitempty"`
	// Astray says that something is to be ended under other names first (identified).
	Astray bool `json:"astray,omitempty"`
	// Cause is why it ended (ended).
	Cause  string         `json:"cause,omitempty"`
	Ending *target.Ending `json:"ending,omitempty"`
	// Phase is what failed, Why tells one failure from another, Detail is for
	// people (failed).
	Phase  Action `json:"phase,omitempty"`
	Why    string `json:"why,omitempty"`
	Detail string `json:"detail,omitempty"`
	// For are the events whose receipt this is about (prepared, sent).
	For []int `json:"for,omitempty"`
	// Leases are by resource (renewed).
	Leases map[string]lease `json:"leases,omitempty"`
	// Receipt is the signed receipt (prepared).
	Receipt *outgoing `json:"receipt,omitempty"`
}

// outgoing is a signed record on its way to the store.
type outgoing struct {
	ID        record.ID `json:"id"`
	Path      string    `json:"path"`
	Data      []byte    `json:"data"`
	Signature []byte    `json:"signature"`
}

// wish is a grant with all that the reconciler must keep about it.
type wish struct {
	Grant   target.Grant  `json:"grant"`
	Request record.ID     `json:"request"`
	Digest  record.Digest `json:"digest"` // of the request's bytes
	Driver  string        `json:"driver"`
}

// same reports whether two wishes mean the same access.
func (w wish) same(o wish) bool {
	return w.Driver == o.Driver && w.Grant.Resource == o.Grant.Resource && w.Grant.Who() == o.Grant.Who() &&
		maps.Equal(w.Grant.Params, o.Grant.Params)
}

// stage is where a journalled grant stands.
type stage int

const (
	untouched stage = iota // nothing but failures before the target was touched
	maybeOpen              // intended: a crash or an error leaves it unknown
	open
	over
)

// kept is what the journal knows of one grant.
type kept struct {
	wish
	stage    stage
	standing bool
	identity string
	// astray: what it gave under other names is being ended.
	astray bool
	cause  string
	// trace is the signed intent to open it, where one was needed: the newest since
	// it last ended.
	trace record.ID
	// troubles are the failures that were told already, by what failed.
	troubles map[Action]string
	// owed are the receipts not yet handed over, by the event they are for.
	owed   map[int]*owed
	events []event
}

// owed is a receipt that is due.
type owed struct {
	outcome  receipt.Outcome
	event    event
	prepared *outgoing
}

// mayBeOpen reports whether there is something to end.
func (k *kept) mayBeOpen() bool { return k.stage == maybeOpen || k.stage == open }

// suspended reports whether it ended only for want of evidence, and may come back.
func (k *kept) suspended() bool { return k.stage == over && k.cause == causeLease }

// announcing reports whether the intent to open it is still to be handed over.
func (k *kept) announcing() bool {
	for _, o := range k.owed {
		if o.outcome == receipt.Intended {
			return true
		}
	}
	return false
}

// grant is the grant as drivers are told of it.
func (k *kept) grant() target.Grant {
	g := k.wish.Grant
	g.Standing, g.Identity = k.standing, k.identity
	return g
}

// journalState is what the events come to.
type journalState struct {
	begin []event
	// renewal is the newest event of its kind; leases is what it says.
	renewal *event
	leases  map[string]lease
	grants  map[string]*kept
	last    int
	newest  time.Time
}

// sorted gives all grants in the order in which they came up.
func (s *journalState) sorted() []*kept {
	return slices.SortedFunc(maps.Values(s.grants), func(a, b *kept) int {
		return cmp.Compare(a.events[0].N, b.events[0].N)
	})
}

// find gives what is known of a grant, or nil.
func (s *journalState) find(id string) *kept { return s.grants[id] }

// apply takes the next event. An error means that the event makes no sense here
// and has changed nothing.
func (s *journalState) apply(e event) error {
	var k *kept
	switch e.Kind {
	case began, renewed:
	case announced, intended, failed:
		if err := target.CheckID(e.Grant); err != nil {
			return err
		}
		k = s.grants[e.Grant]
		if k == nil {
			if e.Wish == nil || e.Wish.Grant.ID != e.Grant {
				return fmt.Errorf("grant %q is not described", e.Grant)
			}
			k = &kept{wish: *e.Wish, troubles: map[Action]string{}, owed: map[int]*owed{}}
			s.grants[e.Grant] = k
		}
	case opened, ended, prepared, sent, identified:
		if k = s.grants[e.Grant]; k == nil {
			return fmt.Errorf("grant %q did not come up before", e.Grant)
		}
	default:
		return fmt.Errorf("event %q is not known", e.Kind)
	}
	s.last = max(s.last, e.N)
	if e.At.After(s.newest) {
		s.newest = e.At
	}
	switch {
	case e.Kind == renewed:
		s.renewal, s.leases = &e, e.Leases
		return nil
	case k == nil:
		s.begin = append(s.begin, e)
		return nil
	}
	k.apply(e)
	return nil
}

func (k *kept) apply(e event) {
	k.events = append(k.events, e)
	if e.Identity != "" {
		k.identity = e.Identity
	}
	switch e.Kind {
	case announced:
		if e.Wish != nil && k.stage == untouched {
			k.wish = *e.Wish
		}
		k.trace = ""
		k.owed[e.N] = &owed{outcome: receipt.Intended, event: e}
	case intended:
		if e.Wish != nil {
			k.wish = *e.Wish
		}
		k.stage, k.standing = maybeOpen, e.Standing
	case opened:
		k.stage = open
		delete(k.troubles, Open)
		k.owed[e.N] = &owed{outcome: receipt.Applied, event: e}
	case ended:
		k.stage, k.cause, k.trace = over, e.Cause, ""
		clear(k.troubles)
		k.owed[e.N] = &owed{outcome: receipt.Ended, event: e}
	case failed:
		k.troubles[e.Phase] = e.Why
		k.owed[e.N] = &owed{outcome: receipt.Failed, event: e}
	case prepared:
		for _, n := range e.For {
			if o := k.owed[n]; o != nil {
				o.prepared = e.Receipt
				if o.outcome == receipt.Intended && e.Receipt != nil {
					k.trace = e.Receipt.ID
				}
			}
		}
	case identified:
		k.astray = e.Astray
	case sent:
		for _, n := range e.For {
			delete(k.owed, n)
		}
	}
}
