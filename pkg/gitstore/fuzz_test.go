package gitstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

// tape is a conversation of which the other side was written before.
type tape struct{ data []byte }

func (c tape) advertised() io.Reader                            { return bytes.NewReader(c.data) }
func (c tape) request(func(io.Writer) error) (io.Reader, error) { return nil, io.EOF }
func (c tape) said() string                                     { return "" }
func (c tape) close()                                           {}

func pktLine(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }

// FuzzAdvertised reads a list of refs from any host: what it gives is a commit's name
// or nothing, in words that cannot move a person's screen.
func FuzzAdvertised(f *testing.F) {
	const h = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
	for _, s := range []string{
		pktLine(h+" HEAD\x00multi_ack ofs-delta\n") + pktLine(h+" refs/heads/main\n") + "0000",
		pktLine("# service=git-upload-pack\n") + "0000" + pktLine(h+" refs/heads/main\x00object-format=sha256\n") + "0000",
		pktLine(strings.Repeat("0", 40)+" capabilities^{}\x00x\n") + "0000",
		pktLine(h+" refs/heads/main\x00\n") + pktLine("shallow "+h+"\n") + "0000",
		pktLine(h+" refs/heads/a\x00ofs-delta\n") + pktLine(h+" refs/heads/b\n") + pktLine(h+" refs/heads/main\n") + pktLine(h+" refs/heads/main^{}\n") + pktLine(h+" refs/tags/x") + "0000",
		pktLine("ERR \x1b[2J gone\n"), "0000", "fffe", "0004", "00zz", pktLine(h + " refs/heads/main^{}\x00\n"), "",
	} {
		f.Add([]byte(s))
	}
	s := &Store{ref: "refs/heads/main"}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := s.readRefs(tape{data}.advertised())
		if err != nil {
			var failed *RemoteError
			raw := func(r rune) bool { return r < 0x20 && r != '\n' || r == 0x7f }
			if !errors.As(s.fail(t.Context(), "fetch", err, string(data)), &failed) || strings.ContainsFunc(failed.Said, raw) {
				t.Errorf("a control character is kept of %q", data)
			}
			return
		}
		if got.head != "" && !isHash(string(got.head)) || got.caps == nil {
			t.Errorf("%+v", got)
		}
		// Passing over the other refs changes nothing of what is read.
		all := packp.NewAdvRefs()
		if err := all.Decode(bytes.NewReader(data)); err == nil && fromGit(all.References[s.ref]) != got.head {
			t.Errorf("the branch is at %q, read among all refs at %q", got.head, fromGit(all.References[s.ref]))
		}
	})
}

// FuzzPackStream receives a pack from any host. What it leaves behind is whole: an
// object that can be found can be read, and nothing lies about that has no name.
func FuzzPackStream(f *testing.F) {
	path := bare(f)
	s, root := initStore(f, Options{URL: path, Isolated: true})
	head := mustAppend(f, s, "policy/P/a.yaml", strings.Repeat("one line\n", 40)).Commit
	git(f, path, "repack", "-q", "-a", "-d")
	packs, err := filepath.Glob(filepath.Join(path, "objects/pack/*.pack"))
	if err != nil || len(packs) != 1 {
		f.Fatal(packs, err)
	}
	good, err := os.ReadFile(packs[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), 1<<31))
	f.Add([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, total, largest, err := surveyPack(bytes.NewReader(data)); err == nil && (total < 0 || largest < 0 || total > unpackBytes) {
			return // a large one is kept as it is, in a file
		}
		into := openStore(t, Options{URL: path, Isolated: true})
		into.git = "" // in this process alone
		in := into.newIncoming(nil)
		err := in.receive(into.patience(t.Context(), true), bytes.NewReader(data))
		if err == nil {
			err = in.take(t.Context(), head)
		}
		in.drop()
		if (err == nil) != into.Has(head) && err == nil {
			t.Error("no error, and no commit")
		}
		if c, err := into.commit(head); into.Has(head) && (err != nil || len(c.parents) != 1 || c.parents[0] != root) {
			t.Errorf("%+v %v", c, err)
		}
		for _, pattern := range incomingDirs {
			if left, _ := filepath.Glob(filepath.Join(into.o.Dir, pattern)); len(left) > 0 {
				t.Errorf("%v is left", left)
			}
		}
	})
}

// FuzzPath: a path that a store may hold means the same to every file system, and to
// this package when it is taken apart and joined.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"a/b", "../a", "a//b", ".git/x", "a/GIT~1", "-a", "a.", "a\\b", "ä", strings.Repeat("a/", 20), strings.Repeat("a", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if err := CheckPath(path); err != nil {
			if !errors.Is(err, ErrBadPath) {
				t.Error(err)
			}
			return
		}
		joined := ""
		for part := range strings.SplitSeq(path, "/") {
			joined = join(joined, part)
		}
		if joined != path || filepath.Clean(path) != path || !filepath.IsLocal(path) {
			t.Errorf("%q was taken", path)
		}
	})
}

// FuzzURL: what is taken as an address runs no helper, is no option of a program, and
// does not show its password.
func FuzzURL(f *testing.F) {
	for _, s := range []string{
		"/srv/a.git", "ssh://git@h:22/x", "git@h:x", "ext::sh -c x", "-oProxyCommand=x:y", "ssh://-x/y", "https://u:secret@h/x", "file://h/x", "file:///x",
		"ssh://h/~alice/x", "h:-x", "git://h/x", "a b:c", "http://[::1]:80/x", "ssh://h:99999/x", "x\x1by",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := parseURL(raw)
		if err != nil {
			if !errors.Is(err, ErrBadURL) {
				t.Error(err)
			}
			return
		}
		for _, part := range []string{u.raw, u.host, u.user} {
			if u.scheme != schemeHTTP && u.scheme != schemeHTTPS && strings.HasPrefix(part, "-") {
				t.Errorf("%q gives %q", raw, part)
			}
		}
		if strings.ContainsFunc(u.raw, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			t.Errorf("%q holds a control character", u.raw)
		}
		if u.scheme == schemePath && !filepath.IsAbs(u.raw) {
			t.Errorf("%q is the folder %q", raw, u.raw)
		}
		if len(u.password) > 8 && strings.Count(raw, u.password) == 1 && strings.Contains(u.identity(), u.password) {
			t.Errorf("%q is shown as %q", raw, u.identity())
		}
		if (u.scheme == schemeHTTP || u.scheme == schemeHTTPS) && u.raw != u.identity() {
			t.Errorf("%q is given to git as %q", raw, u.raw)
		}
	})
}

// FuzzRefFiles reads the files that hold one commit: the checkpoint, the mirror's refs
// and, where the store is a folder, its own. An unreadable one never passes for none.
func FuzzRefFiles(f *testing.F) {
	const h = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
	for _, s := range []string{h + "\n", h, "", "ref: refs/heads/x\n", strings.ToUpper(h) + "\n", h + "\n" + h + "\n", h + " refs/heads/main\n"} {
		f.Add([]byte(s))
	}
	dir := f.TempDir()
	for _, d := range []string{"mirror/refs/jit", "far/objects", "far/refs/heads"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			f.Fatal(err)
		}
	}
	s := &Store{o: Options{Dir: dir}, mirror: filepath.Join(dir, "mirror"), ref: "refs/heads/main", url: remoteURL{scheme: schemePath, path: filepath.Join(dir, "far")}}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, name := range []string{"checkpoint", "mirror/" + trackedRef, "far/packed-refs"} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if at, err := s.Checkpoint(); err == nil && string(at)+"\n" != string(data) {
			t.Errorf("%q is the checkpoint %q", data, at)
		} else if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Error(err)
		}
		if at, err := s.readRef(trackedRef); err == nil && string(at) != strings.TrimSuffix(string(data), "\n") {
			t.Errorf("%q is the ref %q", data, at)
		}
		if at, ok := s.peekPath(); ok && !isHash(string(at)) {
			t.Errorf("%q is the head %q", data, at)
		}
	})
}

// FuzzKnownHosts reads a file of host keys. A file that cannot be read lets no host in.
func FuzzKnownHosts(f *testing.F) {
	for _, s := range []string{
		"h ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIaW7rw6ZLbPHFmEGyQxHcJGzBxxGSxVYQ4uDnPqXQ8d\n", "@revoked * ssh-rsa x\n", "|1|a|b ssh-ed25519 x\n", "@cert-authority *.x ssh-ed25519 A\n", "#\n\n", "[h]:22\n", "\x00", "! ssh-ed25519 A",
	} {
		f.Add([]byte(s))
	}
	file := filepath.Join(f.TempDir(), "known_hosts")
	s := &Store{o: Options{SSH: SSHOptions{KnownHosts: []string{file}}, Timeout: time.Second}}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := s.knownHosts()
		if (db == nil) != (err != nil) {
			t.Fatalf("%v %v", db, err)
		}
		if err == nil {
			_ = db.HostKeyAlgorithms("h:22")
		}
	})
}
