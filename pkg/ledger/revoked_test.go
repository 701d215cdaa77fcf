package ledger_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// looks commits files, folds them, and gives how often the records of a key were looked
// through for it.
func (w *world) looks(files ...file) int {
	w.Helper()
	w.commit(files...)
	return w.looksAt(w)
}

func (w *world) looksAt(src ledger.Source) int {
	w.Helper()
	n, err := w.l.FoldCounting(context.Background(), src, w.tip())
	w.must(err)
	return n
}

// mergeOf makes a merge that brings files from a fork, and does not fold it.
func (w *world) mergeOf(fork gitstore.Hash, files ...file) *merges {
	w.Helper()
	side := hashOf(fmt.Sprint("a side from ", len(w.commits)))
	m := &merges{history: w.history, fork: fork, second: side, aside: []gitstore.Hash{side}, unsigned: gitstore.ErrUnsigned,
		adds: map[gitstore.Hash][]gitstore.File{side: w.adding(files)[otherTip]}}
	m.merge = w.commit()
	return m
}

// lost gives how many losses are kept of a request.
func (w *world) lost(id record.ID) int {
	w.Helper()
	e, err := w.l.Request(id, w.now)
	w.must(err)
	return len(e.Lost)
}

// retired gives certificates of somebody, each with a retirement at another time.
func (w *world) retired(name string, n int, at func(i int) time.Time) (files []file) {
	w.Helper()
	for i := range n {
		armor, err := record.RevokeKey(w.signers[name], record.RevokedSoft, "over", at(i))
		w.must(err)
		files = append(files, certFile(armor))
	}
	return files
}

// noisy gives copies of a certificate, each with another user ID that nobody has signed.
func (w *world) noisy(name string, of file, n int) (files []file) {
	w.Helper()
	block, err := armor.Decode(bytes.NewReader([]byte(of.data)))
	w.must(err)
	raw, err := io.ReadAll(block.Body)
	w.must(err)
	for i := range n {
		uid := fmt.Sprintf("noise %d", i)
		data := armoured(openpgp.PublicKeyType, slices.Concat(raw, []byte{0xCD, byte(len(uid))}, []byte(uid)))
		files = append(files, file{record.CertificatePath(w.key(name), data), string(data)})
	}
	return files
}

// TestRetiredOften: retirements of one key with as many times as its owner likes cost one
// look at what it has signed in a commit, and an approval is lost once.
func TestRetiredOften(t *testing.T) {
	const approvals, files = 4, 20
	for name, at := range map[string]func(i int) time.Time{
		"the earliest first": func(i int) time.Time { return noon.Add(time.Duration(i-2*files) * time.Second) },
		"the latest first":   func(i int) time.Time { return noon.Add(-time.Duration(i) * time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r, d := w.asked()
			w.later(time.Minute)
			for range approvals {
				w.counted(w.push(w.approval(r, d, "carol")...), 1)
			}
			if n := w.looks(w.retired("carol", files, at)...); n != 1 {
				t.Errorf("%d looks at what the key has signed", n)
			}
			if n := w.lost(r.ID); n != approvals {
				t.Errorf("%d approvals are lost %d times", approvals, n)
			}
			for _, f := range w.retired("carol", files, func(i int) time.Time { return at(i).Add(-time.Hour) }) {
				w.push(f)
			}
			if n := w.lost(r.ID); n != approvals {
				t.Errorf("%d approvals are lost %d times, when more was dated back", approvals, n)
			}
			w.same(2, len(w.commits)-3)
		})
	}
}

// TestRetiredEarlier: a retirement that claims an earlier time than the one that is known
// takes what that one left, and a later one costs no look.
func TestRetiredEarlier(t *testing.T) {
	w := newWorld(t)
	r, d := w.asked()
	w.later(10 * time.Minute)
	w.counted(w.push(w.approval(r, d, "carol")...), 1)
	late := func(minutes int) []file {
		return w.retired("carol", 1, func(int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) })
	}
	for _, c := range []struct{ minute, looks, lost int }{{20, 1, 0}, {15, 1, 0}, {16, 0, 0}, {5, 1, 1}, {7, 0, 1}, {3, 1, 1}} {
		if n := w.looks(late(c.minute)...); n != c.looks || w.lost(r.ID) != c.lost {
			t.Errorf("retired at minute %d: %d looks, lost %d times, want %d and %d", c.minute, n, w.lost(r.ID), c.looks, c.lost)
		}
	}
}

// TestCopiesOfTheRetired: copies of a certificate whose retirement is known, which whoever
// may push can make, cost no look at what the key has signed, but where a merge brings one
// beside more of the history than was known.
func TestCopiesOfTheRetired(t *testing.T) {
	w := newWorld(t)
	r, d := w.asked()
	fork := w.tip()
	w.counted(w.push(w.approval(r, d, "carol")...), 1)
	w.state(r.ID, approve.Active)
	w.later(time.Minute)
	real := w.revoked("carol", record.RevokedSoft)
	if n := w.looks(real); n != 1 {
		t.Errorf("%d looks for the retirement", n)
	}
	copies := w.noisy("carol", real, 6)
	if n := w.looks(copies[:2]...); n != 0 {
		t.Errorf("%d looks for copies", n)
	}
	w.state(r.ID, approve.Active)
	late := w.tip()
	for _, c := range []struct {
		fork  gitstore.Hash
		looks int
		want  approve.State
	}{{late, 0, approve.Active}, {fork, 1, approve.Pending}, {fork, 0, approve.Pending}, {late, 0, approve.Pending}} {
		m := w.mergeOf(c.fork, copies[2])
		copies = copies[1:]
		if n := w.looksAt(m); n != c.looks {
			t.Errorf("%d looks for a copy that a merge brings, want %d", n, c.looks)
		}
		w.state(r.ID, c.want)
	}
	if n := w.lost(r.ID); n != 1 {
		t.Errorf("one approval is lost %d times", n)
	}
}

// TestSubkeysLookedThroughOnce: for all subkeys that a certificate revokes, what it has
// signed is looked through once for those that are retired, and once for those that are
// compromised; what each has signed is taken.
func TestSubkeysLookedThroughOnce(t *testing.T) {
	for reason, want := range map[packet.ReasonForRevocation]approve.State{packet.KeyRetired: approve.Pending, packet.KeyCompromised: approve.Revoked} {
		s := newSubkeys(t)
		var all []request.Request
		for i := range 3 {
			r, d := s.asked()
			s.later(time.Hour)
			s.with("carol", i, func() { s.counted(s.push(s.approval(r, d, "carol")...), 1) })
			s.later(-time.Hour)
			all = append(all, r)
		}
		s.later(time.Minute)
		e := s.sets["carol"].entity()
		for i := range e.Subkeys {
			s.must(e.Subkeys[i].Revoke(reason, "over", pgpConfig(s.now)))
		}
		var b bytes.Buffer
		s.must(e.Serialize(&b))
		c, err := record.ParseCertificate(armoured(openpgp.PublicKeyType, b.Bytes()))
		s.must(err)
		if n := s.looks(certFile(c.Armor())); n != 1 {
			t.Errorf("%v: %d looks", reason, n)
		}
		s.later(time.Hour)
		s.state(all[0].ID, approve.Active)
		for _, r := range all[1:] {
			s.state(r.ID, want)
		}
		s.same(2, 5)
	}
}
