package storegen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// SpamOptions say what somebody who may push, and is nobody, leaves in a store.
type SpamOptions struct {
	// Files is how many junk files there are, Certificates how many valid
	// certificates of nobody, Commits in how many commits they come.
	Files, Certificates, Commits int
	// Seed chooses keys, ids and texts.
	Seed uint64
}

// junk is a sort of junk: the reason for which it is set aside, and how one is made.
type junk struct {
	reason string
	make   func(s *spammer, i int) error
}

// hugeEvery: one junk file in so many is huge, since that much has to be pushed.
const hugeEvery = 1000

// hugeBytes is above the largest file that is read.
const hugeBytes = 5 << 20

var sorts = []junk{
	{"foreign-file", func(s *spammer, i int) error {
		s.put("100644", fmt.Sprintf("junk/%02d/%06d.txt", i%50, i), fmt.Appendf(nil, "nothing %d\n", i))
		return nil
	}},
	{"sig-armor", func(s *spammer, i int) error { // garbage in the place of a request and its signature
		return s.pair(fmt.Appendf(nil, "{{{ - %d\x00", i), fmt.Appendf(nil, "no armour %d\n", i))
	}},
	{"sig-missing", func(s *spammer, i int) error { return s.pair(s.request(i), nil) }},
	{"sig-mismatch", func(s *spammer, i int) error { // signed, and changed by one byte
		data := s.request(i)
		sig, err := s.sign(s.robbed, data)
		return errors.Join(err, s.pair(append(data, '\n'), sig))
	}},
	{"bad mode", func(s *spammer, i int) error {
		s.put([]string{"120000", "100755"}[i%2], fmt.Sprintf("junk/odd/%06d", i), []byte("../../etc/passwd"))
		return nil
	}},
	{"bad path", func(s *spammer, i int) error {
		s.put("100644", fmt.Sprintf("junk/sp ace/%06d", i), []byte("x"))
		return nil
	}},
	{"not-in-policy", func(s *spammer, i int) error { // signed, by nobody
		data := s.request(i)
		sig, err := s.sign(s.nobody, data)
		return errors.Join(err, s.pair(data, sig))
	}},
	{"key-unknown", func(s *spammer, i int) error { // signed, by a key that is nowhere
		data := s.request(i)
		sig, err := s.sign(s.absent, data)
		return errors.Join(err, s.pair(data, sig))
	}},
	{"no-such-request", func(s *spammer, i int) error { return s.pair(nil, fmt.Appendf(nil, "alone %d\n", i)) }},
}

// SpamReasons gives the reasons for which the junk of Spam is set aside.
func SpamReasons() []string {
	reasons := []string{"too large"}
	for _, x := range sorts {
		reasons = append(reasons, x.reason)
	}
	return reasons
}

// spammer writes junk on top of a store.
type spammer struct {
	s                      *Store
	imp                    *fastImport
	dice                   *rand.Rand
	now                    time.Time
	files, made            int // made counts a record and its signature as one
	robbed, nobody, absent *signer
}

// Spam adds junk on top of a store, as its Head and Commits then say.
func (s *Store) Spam(ctx context.Context, o SpamOptions) error {
	w := &spammer{s: s, dice: rand.New(dice(o.Seed, "junk")), now: s.End}
	certs := make([]*record.Certificate, o.Certificates)
	var nobody *person
	err := inParallel(len(certs)+1, func(i int) error {
		p, err := newPerson(o.Seed, fmt.Sprintf("nobody%06d", i), false, s.o.Begin)
		switch {
		case err != nil:
			return err
		case i == 0:
			nobody = p
		case i == len(certs):
			w.absent, err = p.signer(w.now)
			return err
		}
		certs[i] = p.cert
		return nil
	})
	if err != nil {
		return err
	}
	if w.nobody, err = nobody.signer(w.now); err != nil {
		return err
	}
	if w.robbed, err = s.people[personName(0)].signer(w.now); err != nil {
		return err
	}
	if w.imp, err = resumeImport(ctx, s.Dir); err != nil {
		return err
	}
	err = w.write(ctx, o, certs)
	return errors.Join(err, w.imp.close())
}

func (w *spammer) write(ctx context.Context, o SpamOptions, certs []*record.Certificate) (err error) {
	for i := range o.Commits {
		if err := ctx.Err(); err != nil {
			return err
		}
		w.begin(i)
		part := func(all int) (from, to int) { return all * i / o.Commits, all * (i + 1) / o.Commits }
		before := w.files
		from, to := part(len(certs))
		for _, c := range certs[from:to] {
			w.put("100644", record.CertificatePath(c.Fingerprint(), c.Armor()), c.Armor())
		}
		w.files = before // certificates are counted apart
		for _, to := part(o.Files); w.files < to; {
			n := w.made
			if w.made++; n%hugeEvery == 1 {
				w.put("100644", fmt.Sprintf("junk/huge/%06d", n), bytes.Repeat([]byte("x"), hugeBytes))
			} else if err := sorts[n%len(sorts)].make(w, n); err != nil {
				return err
			}
		}
		w.s.Commits++
		if w.s.Head, err = w.imp.hash(); err != nil {
			return err
		}
	}
	return nil
}

// begin begins a commit, which claims to be anybody's.
func (w *spammer) begin(i int) {
	f := w.imp
	f.count++
	const message = "harmless\n"
	who := fmt.Sprintf("eve <eve@example.com> %d +0000", w.now.Unix())
	fmt.Fprintf(f.in, "commit %s\nmark :%d\nauthor %s\ncommitter %s\ndata %d\n%s", branch, f.count, who, who, len(message), message)
	if i == 0 {
		fmt.Fprintf(f.in, "from %s\n", w.s.Head)
	} else {
		fmt.Fprintf(f.in, "from :%d\n", f.count-1)
	}
}

func (w *spammer) put(mode, path string, data []byte) {
	if strings.Contains(path, " ") {
		path = `"` + path + `"`
	}
	w.imp.fileOf(mode, path, data)
	w.files++
}

// pair puts a record and its signature at the place of a new request; nil is left
// out.
func (w *spammer) pair(data, sig []byte) error {
	id, err := w.id()
	if err != nil {
		return err
	}
	path := record.PathOf(record.Head{Kind: record.KindRequest, ID: id}, "", false)
	if data != nil {
		w.put("100644", path, data)
	}
	if sig != nil {
		w.put("100644", record.SignaturePath(path), sig)
	}
	return nil
}

// id makes an ID of one of the days of the store.
func (w *spammer) id() (record.ID, error) {
	var random [16]byte
	for i := range random {
		random[i] = byte(w.dice.Uint32())
	}
	span := int64(w.s.End.Sub(w.s.o.Begin))
	return record.NewID(w.s.o.Begin.Add(time.Duration(w.dice.Int64N(span+1))), readerOf(random[:]))
}

// request makes the bytes of a request that is well formed.
func (w *spammer) request(i int) []byte {
	id, err := w.id()
	if err != nil {
		return nil
	}
	data, err := record.Encode(request.Request{
		Head:   record.Head{APIVersion: record.APIVersion, Kind: record.KindRequest, ID: id, Store: w.s.Identity, Head: w.s.Head, Created: record.At(w.now), By: personName(0)},
		Grants: []request.Grant{{Resource: resourceName(0), Role: "readwrite"}}, Duration: record.Duration{Duration: time.Hour},
		Reason: fmt.Sprintf("give me everything, %d", i), Expires: record.At(w.now.Add(time.Hour)),
	})
	if err != nil {
		return nil
	}
	return data
}

func (w *spammer) sign(by *signer, data []byte) ([]byte, error) {
	return by.Sign(context.Background(), data)
}
