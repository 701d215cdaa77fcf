package gitstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
)

// remote is the other side of a store. Only its one branch is ever looked at.
type remote interface {
	name() string
	// fetch gives the branch's head, "" where the branch does not exist, after
	// the mirror holds all that it needs: else it is ErrIncomplete. Of the mirror only
	// the history of whole is relied upon; with none the remote is asked for
	// everything. It opens no object when the head is one of whole.
	fetch(ctx context.Context, whole []Hash) (Hash, error)
	// openPush begins a push.
	openPush(ctx context.Context) (pushSession, error)
}

// pushSession is one attempt to move the branch.
type pushSession interface {
	// tip is the head as the remote shows it now, or the newest known where
	// asking would cost as much as pushing.
	tip() Hash
	// send adds the objects and moves the branch from tip() to head, if it is
	// still there: else errRaced. errUnsure means that the answer was lost.
	send(ctx context.Context, head Hash, objects *newObjects) error
	close()
}

func (s *Store) newRemote() (remote, error) {
	r, err := s.chosenRemote()
	if err == nil && s.o.Isolated && s.url.scheme == schemePath {
		r = guardedRemote{r, s}
	}
	return r, err
}

func (s *Store) chosenRemote() (remote, error) {
	builtin := &builtinRemote{s: s}
	switch s.o.Transport {
	case Builtin:
		return builtin, nil
	case Git:
		if s.git == "" {
			return nil, fmt.Errorf("the transport is git, but %w", s.noGit())
		}
		return &gitRemote{s: s}, nil
	case Auto, "":
		if s.url.scheme == schemePath || s.o.Isolated || s.git == "" {
			return builtin, nil
		}
		return &gitRemote{s: s}, nil
	}
	return nil, fmt.Errorf("the transport %q is none of auto, builtin, git", s.o.Transport)
}

// Services of git's pack protocol.
const (
	uploadPack  = "git-upload-pack"
	receivePack = "git-receive-pack"
)

// conversation is one run of a service: it advertises its refs, takes one
// request and answers it.
type conversation interface {
	advertised() io.Reader
	request(body func(io.Writer) error) (io.Reader, error)
	// said is what the server has printed beside the protocol.
	said() string
	close()
}

const (
	// maxAdvertised bounds the list of refs, in bytes: sixteen million of them. Hosts
	// show every pull request, and whoever may push any branch makes it as long as
	// they like. It is read as it comes; the time that it may take is the other bound.
	maxAdvertised = 1 << 30
	// maxKept bounds what is held in memory of it.
	maxKept = 1 << 20
	// maxAcks bounds what a server says of the commits that are here before it begins the
	// pack, in bytes: go-git keeps all of it. An honest one answers each that it is told of,
	// a few hundred, once.
	maxAcks = 1 << 20
	// maxReport bounds what a server answers to a push, in bytes.
	maxReport = 16 << 20
)

// Bounds on one pack.
const (
	// maxPack is in bytes. The largest store that is measured, of 100,000 requests,
	// comes as half a gigabyte.
	maxPack = 2 << 30
	// maxObjects is six times what that store has: whoever indexes a pack keeps about a
	// hundred bytes of each object in memory.
	maxObjects = 1 << 24
)

// builtinRemote speaks the pack protocol (gitprotocol-pack(5), version 0) by
// itself. go-git's own clients are not used: they take no deadline while they
// connect, read what they are sent without a limit and take their settings
// from this process's environment.
type builtinRemote struct{ s *Store }

func (r *builtinRemote) name() string { return string(Builtin) }

func (r *builtinRemote) dial(ctx context.Context, service string) (conversation, error) {
	switch r.s.url.scheme {
	case schemePath:
		return r.s.dialPath(ctx, service)
	case schemeSSH:
		return r.s.dialSSH(ctx, service)
	default:
		return r.s.dialHTTP(ctx, service)
	}
}

// fail makes a RemoteError, with the kind that the server's words suggest when
// none is given.
func (s *Store) fail(ctx context.Context, op string, err error, said string, kind ...error) error {
	var already *RemoteError
	if errors.As(err, &already) {
		return err
	}
	said = plain(said)
	if ctx.Err() != nil {
		err = s.stopped(ctx)
		kind = []error{ErrUnreachable}
	}
	if len(kind) == 0 {
		kind = []error{ErrUnreachable}
		if k := kindOfWords(said + " " + err.Error()); k != nil {
			kind = append(kind, k)
		}
	}
	if k := noRoom(said); k != nil {
		kind = append(kind, k)
	}
	if s.ofMirror(said) {
		kind = append(kind, ErrMirror)
	}
	return &RemoteError{Op: op, URL: s.url.identity(), Kind: kind, Err: err, Said: said}
}

// kindOfWords guesses why git or ssh failed from what they print; they have no
// exit codes for it.
func kindOfWords(said string) error {
	said = strings.ToLower(said)
	for _, w := range []string{"host key verification failed", "remote host identification has changed"} {
		if strings.Contains(said, w) {
			return ErrHostKey
		}
	}
	for _, w := range []string{"permission denied", "authentication failed", "could not read username", "could not read password", "terminal prompts disabled", "unable to authenticate", "returned error: 401", "returned error: 403"} {
		if strings.Contains(said, w) {
			return ErrAuth
		}
	}
	return nil
}

// noRoom tells by what git prints that it had no room for what it writes, and gives what the
// system said; nil where it had. A remote that only says so gains nothing but that it is
// taken for one whose answer could not be kept.
func noRoom(said string) error {
	for _, cause := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if strings.Contains(strings.ToLower(said), strings.ToLower(cause.Error())) {
			return cause
		}
	}
	return nil
}

// untouchable are words with which git says that it may not, or cannot, touch a file.
var untouchable = []string{"permission denied", "operation not permitted", "read-only file system", "input/output error", "not a directory", "is a directory"}

// ofMirror tells by what the git program prints that it could not use the mirror. As with
// noRoom, a remote that says so gains nothing.
func (s *Store) ofMirror(said string) bool {
	if strings.Contains(said, "insufficient permission for adding an object") {
		return true
	}
	return strings.Contains(said, s.o.Dir) && slices.ContainsFunc(untouchable, func(w string) bool { return strings.Contains(strings.ToLower(said), w) })
}

// refs is what a remote advertised.
type refs struct {
	head Hash // of the branch; "" where it does not exist
	caps *capability.List
}

// branchLines passes on what a server advertises without the lines of other refs
// than the branch, so that as many as there are take no memory. It reads no further
// than it is asked to: the same stream brings the answers.
type branchLines struct {
	r     io.Reader
	ref   string
	begun bool   // the line with the capabilities has passed
	line  []byte // with its length, as it came
	rest  []byte // of line: what is still to be passed on
}

// Read implements io.Reader.
func (b *branchLines) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		if err := b.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// next reads one pkt-line. What is none is passed on, for the decoder to say.
func (b *branchLines) next() error {
	const head = 4
	b.line = append(b.line[:0], "0000"...)
	if n, err := io.ReadFull(b.r, b.line); err != nil {
		b.rest = b.line[:n]
		if n > 0 {
			return nil
		}
		return err
	}
	size, err := strconv.ParseUint(string(b.line), 16, 16)
	if err == nil && size > head {
		b.line = slices.Grow(b.line, int(size)-head)[:size]
		n, err := io.ReadFull(b.r, b.line[head:])
		if err != nil {
			b.rest = b.line[:head+n]
			return nil //nolint:nilerr // the decoder says it, of what has come
		}
	}
	text := b.line[head:]
	if b.begun && len(text) > 40 && text[40] == ' ' && isHash(string(text[:40])) && string(bytes.TrimSuffix(text[41:], []byte("\n"))) != b.ref {
		return nil
	}
	b.begun = b.begun || len(text) > 0 && text[0] != '#'
	b.rest = b.line
	return nil
}

// readRefs reads the advertised refs and picks the branch.
func (s *Store) readRefs(from io.Reader) (refs, error) {
	limited := &io.LimitedReader{R: from, N: maxAdvertised}
	adv := packp.NewAdvRefs()
	kept := &io.LimitedReader{R: &branchLines{r: limited, ref: s.ref}, N: maxKept}
	err := adv.Decode(kept)
	switch {
	case errors.Is(err, packp.ErrEmptyAdvRefs):
		return refs{caps: adv.Capabilities}, nil
	case err != nil && limited.N <= 0:
		return refs{}, fmt.Errorf("%w: its list of refs is longer than %d bytes", ErrBadRemote, maxAdvertised)
	case err != nil && kept.N <= 0:
		return refs{}, fmt.Errorf("%w: its list of refs repeats itself", ErrBadRemote)
	case errors.Is(err, packp.ErrEmptyInput), errors.Is(err, io.ErrUnexpectedEOF):
		return refs{}, err
	case err != nil:
		return refs{}, fmt.Errorf("%w: its list of refs: %s", ErrBadRemote, plain(err.Error()))
	case len(adv.Shallows) > 0:
		return refs{}, fmt.Errorf("%w: its history is shallow", ErrBadRemote)
	}
	if f := adv.Capabilities.Get(capability.Capability("object-format")); len(f) > 0 && f[0] != "sha1" {
		return refs{}, fmt.Errorf("%w: its objects are named by %s, not sha1", ErrBadRemote, plain(f[0]))
	}
	return refs{head: fromGit(adv.References[s.ref]), caps: adv.Capabilities}, nil
}

func (r *builtinRemote) open(ctx *patience, op, service string) (conversation, refs, error) {
	s := r.s
	c, err := r.dial(ctx, service)
	if err != nil {
		return nil, refs{}, s.fail(ctx, op, err, "")
	}
	got, err := s.readRefs(ctx.listen(c.advertised()))
	if err != nil {
		c.close()
		if errors.Is(err, ErrBadRemote) {
			return nil, refs{}, s.fail(ctx, op, err, c.said(), ErrBadRemote)
		}
		return nil, refs{}, s.fail(ctx, op, err, c.said())
	}
	return c, got, nil
}

func (r *builtinRemote) fetch(ctx context.Context, whole []Hash) (Hash, error) {
	s := r.s
	if head, ok := s.peekPath(); ok && slices.Contains(whole, head) {
		return head, nil
	}
	looking := ctx // looking through what has come is no waiting for the remote
	wait := s.patience(ctx, len(whole) == 0)
	defer wait.cancel()
	ctx = wait
	c, got, err := r.open(wait, "fetch", uploadPack)
	if err != nil {
		return "", err
	}
	defer c.close()
	if got.head == "" || slices.Contains(whole, got.head) {
		return got.head, nil
	}
	if s.Has(got.head) {
		// It may be here without all that it needs: objects get lost.
		if err := s.complete(looking, got.head, whole, len(whole) == 0); err == nil || !errors.Is(err, ErrIncomplete) {
			return got.head, s.judged(looking, err)
		}
	}
	req := packp.NewUploadPackRequestFromCapabilities(got.caps)
	for _, unused := range []capability.Capability{capability.MultiACK, capability.MultiACKDetailed, capability.ThinPack} {
		req.Capabilities.Delete(unused)
	}
	req.Wants = []plumbing.Hash{got.head.git()}
	for _, h := range s.haves(whole) {
		req.Haves = append(req.Haves, h.git())
	}
	answer, err := c.request(func(w io.Writer) error {
		if err := req.UploadRequest.Encode(w); err != nil {
			return err
		}
		// No flush before "done": over http it would end the request.
		if err := req.UploadHaves.Encode(w, false); err != nil {
			return err
		}
		_, err := io.WriteString(w, "0009done\n")
		return err
	})
	if err != nil {
		return "", s.fail(ctx, "fetch", err, c.said())
	}
	resp := packp.NewUploadPackResponse(req)
	wait.heard()
	acks := &io.LimitedReader{R: wait.listen(answer), N: maxAcks}
	if err := resp.Decode(io.NopCloser(acks)); err != nil {
		if acks.N <= 0 {
			err = fmt.Errorf("%w: it says more than %d bytes of what is here, and begins no pack", ErrBadRemote, maxAcks)
		}
		return "", s.fail(ctx, "fetch", err, c.said(), ErrBadRemote)
	}
	acks.N = math.MaxInt64
	talk := &ticker{heard: wait.heard, report: s.o.Progress}
	in := s.newIncoming(whole)
	defer in.drop()
	if err := in.receive(wait, demux(req.Capabilities, resp, talk)); err != nil {
		if onDisk(err) {
			return "", fmt.Errorf("%w: %w", ErrMirror, err)
		}
		kind := ErrBadRemote
		if errors.Is(err, errStream) {
			kind = ErrUnreachable
		}
		return "", s.fail(ctx, "fetch", err, c.said()+" "+talk.String(), kind)
	}
	return got.head, s.judged(looking, in.take(looking, got.head))
}

// onDisk reports whether what a remote has sent could not be kept for a fault of a file
// of this machine.
func onDisk(err error) bool {
	if errors.Is(err, errStream) {
		return false // of a pipe
	}
	_, path := errors.AsType[*fs.PathError](err)
	_, link := errors.AsType[*os.LinkError](err)
	return path || link
}

// judged makes a refusal of the remote of what was found in what it has sent, but for what
// a file here is at fault for.
func (s *Store) judged(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if onDisk(err) {
		return fmt.Errorf("%w: %w", ErrMirror, err)
	}
	for _, of := range []error{ErrIncomplete, ErrTooLarge, ErrCorrupt, ErrBadRemote} {
		if errors.Is(err, of) {
			return s.fail(ctx, "fetch", err, "", ErrBadRemote)
		}
	}
	return err
}

// haves lists commits whose history the mirror holds, so that the remote sends only
// what is new: those of whole, and some before the first at growing distances, for a
// remote that went back.
func (s *Store) haves(whole []Hash) []Hash {
	list := slices.Clone(whole)
	if len(whole) == 0 {
		return list
	}
	at := whole[0]
	for step, next := 0, 1; step < 16; step++ {
		c, err := s.commit(at)
		if err != nil || len(c.parents) == 0 {
			break
		}
		if step >= next {
			list = append(list, at)
			next = step*2 + 1
		}
		at = c.parents[0]
	}
	return list
}

// demux gives the data band of an answer; what the server prints goes to talk.
func demux(caps *capability.List, r io.Reader, talk io.Writer) io.Reader {
	typ := sideband.Sideband64k
	switch {
	case caps.Supports(capability.Sideband64k):
	case caps.Supports(capability.Sideband):
		typ = sideband.Sideband
	default:
		return r
	}
	d := sideband.NewDemuxer(typ, r)
	d.Progress = talk
	return d
}

// said keeps the beginning of what a server prints.
type said struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if room := 4*maxSaid - s.buf.Len(); room > 0 {
		s.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// builtinPush is a receive-pack session, opened when it is needed: for a folder
// the head is read from its file.
type builtinPush struct {
	r      *builtinRemote
	cancel context.CancelFunc
	c      conversation
	refs   refs
}

func (r *builtinRemote) openPush(ctx context.Context) (pushSession, error) {
	if head, ok := r.s.peekPath(); ok && head != "" {
		return &builtinPush{r: r, cancel: func() {}, refs: refs{head: head}}, nil
	}
	p := &builtinPush{r: r}
	return p, p.open(ctx)
}

func (p *builtinPush) open(ctx context.Context) error {
	wait := p.r.s.patience(ctx, false)
	p.cancel = wait.cancel
	c, got, err := p.r.open(wait, "push", receivePack)
	if err != nil {
		p.cancel()
		return err
	}
	p.c, p.refs = c, got
	return nil
}

func (p *builtinPush) tip() Hash { return p.refs.head }

func (p *builtinPush) close() {
	if p.c != nil {
		p.c.close()
	}
	p.cancel()
}

func (p *builtinPush) send(ctx context.Context, head Hash, objects *newObjects) error {
	s := p.r.s
	if p.c == nil {
		expected := p.refs.head
		// Reading a file again is much cheaper than a server that says the same.
		if now, ok := s.peekPath(); ok && now != expected {
			return errRaced
		}
		if err := p.open(ctx); err != nil {
			return err
		}
		if p.refs.head != expected {
			return errRaced
		}
	}
	req := packp.NewReferenceUpdateRequestFromCapabilities(p.refs.caps)
	if !p.refs.caps.Supports(capability.ReportStatus) {
		return s.fail(ctx, "push", fmt.Errorf("%w: it does not report whether a push succeeded", ErrBadRemote), "", ErrBadRemote)
	}
	for _, wanted := range []capability.Capability{capability.Sideband64k, capability.Atomic} {
		if p.refs.caps.Supports(wanted) {
			if err := req.Capabilities.Set(wanted); err != nil {
				return err
			}
		}
	}
	req.Commands = []*packp.Command{{Name: plumbing.ReferenceName(s.ref), Old: p.refs.head.git(), New: head.git()}}
	objects, err := s.withHeld(objects)
	if err != nil {
		return fmt.Errorf("the pack: %w", err)
	}
	var pack bytes.Buffer
	if err := objects.encode(&pack); err != nil {
		return fmt.Errorf("the pack: %w", err)
	}
	req.Packfile = io.NopCloser(&pack)
	answer, err := p.c.request(func(w io.Writer) error { return req.Encode(w) })
	if err != nil {
		// The server may have taken all and gone away while this side wrote.
		return fmt.Errorf("%w: %w", errUnsure, s.fail(ctx, "push", err, p.c.said()))
	}
	talk := &said{}
	report := packp.NewReportStatus()
	if err := report.Decode(io.LimitReader(demux(req.Capabilities, answer, talk), maxReport)); err != nil {
		return fmt.Errorf("%w: %w", errUnsure, s.fail(ctx, "push", fmt.Errorf("its report: %s", plain(err.Error())), talk.String()+" "+p.c.said()))
	}
	if report.UnpackStatus != "ok" {
		return &RefusedError{URL: s.url.identity(), Reason: "unpack: " + plain(report.UnpackStatus), Said: plain(talk.String() + " " + p.c.said())}
	}
	for _, status := range report.CommandStatuses {
		if status.ReferenceName.String() != s.ref {
			continue
		}
		if status.Status == "ok" {
			return nil
		}
		return s.refusal(status.Status, talk.String()+" "+p.c.said())
	}
	// The same push would be answered alike. If it was taken all the same, the next fetch
	// shows it.
	return s.fail(ctx, "push", errors.New("its report does not say what became of the branch"), talk.String(), ErrBadRemote)
}

// lostRace are the words with which servers say that the branch moved, or that
// another push holds its lock. All else is a refusal of its own.
var lostRace = []string{
	"failed to update ref", "cannot lock ref", "failed to lock", "unable to lock", "fetch first", "non-fast-forward",
	"stale info", "incorrect old value", "reference already exists", "remote ref updated since checkout",
	"atomic transaction failed", "failed to write", "is at ", "lock file",
}

// refusal tells a lost race from a refusal by the status that the server gives.
// A lost race holds the refusal too, for who finds that nobody has won it.
func (s *Store) refusal(status, talk string) error {
	refused := &RefusedError{URL: s.url.identity(), Reason: plain(status), Said: plain(talk)}
	lower := strings.ToLower(status)
	for _, w := range lostRace {
		if strings.Contains(lower, w) {
			return fmt.Errorf("%w: %w", errRaced, refused)
		}
	}
	return refused
}
