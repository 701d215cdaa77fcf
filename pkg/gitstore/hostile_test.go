package gitstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/testenv"
)

func TestSSHRefusals(t *testing.T) {
	path := bare(t)
	server := testenv.StartSSHD(t, testenv.SSHDOptions{})
	other := testenv.StartSSHD(t, testenv.SSHDOptions{})
	wrong := filepath.Join(t.TempDir(), "known_hosts")
	none := filepath.Join(t.TempDir(), "empty")
	for file, text := range map[string]string{
		wrong: fmt.Sprintf("[%s]:%d %s\n", server.Host, server.Port, other.HostKey), none: "",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, transport := range []Transport{Builtin, Git} {
		for name, c := range map[string]struct {
			ssh  SSHOptions
			kind error
		}{
			"another host key":   {SSHOptions{KnownHosts: []string{wrong}, IdentityFile: server.ClientKey}, ErrHostKey},
			"unknown host":       {SSHOptions{KnownHosts: []string{none}, IdentityFile: server.ClientKey}, ErrHostKey},
			"another user's key": {SSHOptions{KnownHosts: []string{server.KnownHosts}, IdentityFile: other.ClientKey}, ErrAuth},
		} {
			t.Run(string(transport)+"/"+name, func(t *testing.T) {
				t.Parallel()
				s := openStore(t, Options{URL: "ssh://" + server.User + "@" + server.Addr + path, Transport: transport, Isolated: true, SSH: c.ssh})
				if _, err := s.Fetch(testContext(t)); !errors.Is(err, c.kind) || !errors.Is(err, ErrUnreachable) {
					t.Fatalf("%v; want %v", err, c.kind)
				}
			})
		}
	}
}

// TestAnswerBeforeTheEnd: the server has answered and gone before this side comes
// to say that its request is complete, as happens on a busy machine.
func TestAnswerBeforeTheEnd(t *testing.T) {
	path := bare(t)
	_, root := initStore(t, Options{URL: path, Isolated: true})
	server := testenv.StartSSHD(t, testenv.SSHDOptions{})
	s := openStore(t, Options{URL: "ssh://" + server.User + "@" + server.Addr + path, Transport: Builtin, Isolated: true,
		SSH: SSHOptions{KnownHosts: []string{server.KnownHosts}, IdentityFile: server.ClientKey}})
	c, err := s.dialSSH(testContext(t), uploadPack)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if got, err := s.readRefs(c.advertised()); err != nil || got.head != root {
		t.Fatalf("%+v, %v", got, err)
	}
	answer, err := c.request(func(w io.Writer) error {
		if _, err := fmt.Fprintf(w, "0032want %s\n00000009done\n", root); err != nil {
			return err
		}
		return c.(*sshConversation).session.Wait()
	})
	if err != nil {
		t.Fatalf("the request: %v", err)
	}
	if got, err := io.ReadAll(answer); err != nil || !strings.HasPrefix(string(got), "0008NAK\nPACK") {
		t.Fatalf("the answer: %q, %v", got, err)
	}
}

// TestHostKeyOfTheKnownType: the server has keys of two types, and known_hosts
// holds the one (ed25519) that Go's ssh would not ask for first.
func TestHostKeyOfTheKnownType(t *testing.T) {
	path := bare(t)
	key := filepath.Join(t.TempDir(), "host_rsa")
	keygen := testenv.Need(t, "ssh-keygen", "openssh-client")
	if out, err := exec.Command(keygen, "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	server := testenv.StartSSHD(t, testenv.SSHDOptions{Config: []string{"HostKey " + key}})
	s := openStore(t, Options{URL: "ssh://" + server.User + "@" + server.Addr + path, Transport: Builtin, Isolated: true,
		SSH: SSHOptions{KnownHosts: []string{server.KnownHosts}, IdentityFile: server.ClientKey}})
	if tip, err := s.Fetch(testContext(t)); err != nil || !tip.Empty {
		t.Fatalf("%+v, %v", tip, err)
	}
}

func TestHTTPRefusals(t *testing.T) {
	path := bare(t)
	initStore(t, Options{URL: path, Isolated: true})
	reached := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	t.Cleanup(elsewhere.Close)
	secret := "s3cret"
	good := testenv.StartGitHTTP(t, filepath.Dir(path), testenv.GitHTTPOptions{User: "alice", Password: secret})
	for _, transport := range []Transport{Builtin, Git} {
		for name, c := range map[string]struct {
			answer http.HandlerFunc
			kind   error
		}{
			"redirect": {func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, elsewhere.URL+r.URL.String(), http.StatusFound)
			}, nil},
			"no git":      {func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "<html>hello") }, nil},
			"forbidden":   {func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) }, ErrAuth},
			"server down": {func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusBadGateway) }, ErrUnreachable},
			"garbage": {func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
				_, _ = io.WriteString(w, "001e# service=git-upload-pack\n0000zzzz not a list")
			}, nil},
			"stall": {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, ErrUnreachable},
		} {
			t.Run(string(transport)+"/"+name, func(t *testing.T) {
				server := httptest.NewServer(c.answer)
				defer server.Close()
				defer server.CloseClientConnections()
				url := strings.Replace(server.URL, "http://", "http://alice:"+secret+"@", 1) + "/store.git"
				s := openStore(t, Options{URL: url, Transport: transport, Isolated: true, Timeout: 2 * time.Second})
				tip, err := s.Fetch(testContext(t))
				if name == "no git" && transport == Git && err == nil && tip.Empty {
					return // git falls back to plain files, and finds no branch
				}
				if err == nil || c.kind != nil && !errors.Is(err, c.kind) || !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrBadRemote) {
					t.Errorf("%v; want %v", err, c.kind)
				}
				if strings.Contains(fmt.Sprint(err), secret) {
					t.Errorf("the password is in the error: %v", err)
				}
			})
		}
		s := openStore(t, Options{URL: strings.Replace(good, "http://", "http://alice:wrong@", 1) + "/store.git", Transport: transport, Isolated: true})
		if _, err := s.Fetch(testContext(t)); !errors.Is(err, ErrAuth) || strings.Contains(err.Error(), "wrong@") {
			t.Errorf("%s: wrong password: %v", transport, err)
		}
	}
	if reached {
		t.Error("a redirect to another host was followed")
	}
}

// TestTruncatedPack: the answer breaks off at every stage; nothing is taken.
func TestTruncatedPack(t *testing.T) {
	path := bare(t)
	_, root := initStore(t, Options{URL: path, Isolated: true})
	limit := 0
	url := testenv.StartGitHTTP(t, filepath.Dir(path), testenv.GitHTTPOptions{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost || limit < 0 {
				next.ServeHTTP(w, r)
				return
			}
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			body := rec.Body.Bytes()
			w.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
			_, _ = w.Write(body[:min(limit, len(body))])
		})
	}})
	s := openStore(t, Options{URL: url + "/store.git", Isolated: true})
	for limit = 0; limit < 300; limit += 23 {
		if _, err := s.Fetch(testContext(t)); !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrBadRemote) {
			t.Fatalf("after %d bytes: %v", limit, err)
		}
		if s.Tip() != "" || s.Has(root) {
			t.Fatalf("after %d bytes the tip is %q", limit, s.Tip())
		}
	}
	limit = -1
	if got := mustFetch(t, s); got != root {
		t.Fatalf("whole again: %s", got)
	}
}

// TestAcksWithoutEnd: a server that says for ever what it has too, and sends no pack, is told
// from one that does in bounded memory.
func TestAcksWithoutEnd(t *testing.T) {
	path := bare(t)
	_, root := initStore(t, Options{URL: path, Isolated: true})
	var calm atomic.Bool
	var said atomic.Int64
	url := testenv.StartGitHTTP(t, filepath.Dir(path), testenv.GitHTTPOptions{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost || calm.Load() {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			line := fmt.Sprintf("0038ACK %s common\n", root)
			for said.Load() < 64<<20 {
				if _, err := io.WriteString(w, line); err != nil {
					return
				}
				said.Add(int64(len(line)))
			}
		})
	}})
	s := openStore(t, Options{URL: url + "/store.git", Isolated: true})
	if _, err := s.Fetch(testContext(t)); !errors.Is(err, ErrBadRemote) || !strings.Contains(err.Error(), "begins no pack") {
		t.Errorf("%v", err)
	}
	if calm.Store(true); said.Load() >= 64<<20 {
		t.Error("all of it was read")
	}
	if got := mustFetch(t, s); got != root {
		t.Errorf("afterwards: %s", got)
	}
}

// TestHugeBlob: 100 MiB that compress to nothing, and an honest record after it.
func TestHugeBlob(t *testing.T) {
	path := permissive(t)
	s, root := initStore(t, Options{URL: path, Isolated: true})
	a := newAttacker(t, path)
	file, err := os.Create(filepath.Join(a.dir, "huge"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Truncate(100<<20), file.Close()); err != nil {
		t.Fatal(err)
	}
	a.git("add", "huge")
	a.push()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	tip := mustFetch(t, s)
	r := mustAppend(t, s, "honest", "x")
	if got := events(t, s, root, r.Commit); got != "! huge: too large\n+ honest" {
		t.Fatalf("got %s", got)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
		t.Errorf("%d MiB were allocated for a blob that nobody reads", used>>20)
	}
	blob := Hash(a.git("rev-parse", "HEAD:huge"))
	if _, err := s.ReadBlob(blob, 4<<20); !errors.Is(err, ErrTooLarge) {
		t.Errorf("reading it: %v", err)
	}
	if tip == root {
		t.Error("the attack did not arrive")
	}
}

func TestManyChangesAreBounded(t *testing.T) {
	path := bare(t)
	s, root := initStore(t, Options{URL: path, Isolated: true})
	a := add("x", "x")
	for i := range 300 {
		a.Files = append(a.Files, NewFile{Path: fmt.Sprintf("many/%03d", i), Data: []byte("y")})
	}
	r, err := s.Append(testContext(t), a, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := walk(t, s, root, r.Commit, WalkOptions{Limits: Limits{Changes: 100}})
	if len(got) != 101 || !strings.HasSuffix(got[100], "! : too many") {
		t.Fatalf("%d events, the last %q", len(got), got[len(got)-1])
	}
	other := openStore(t, Options{URL: path, Isolated: true})
	if mustFetch(t, other); len(walk(t, other, root, r.Commit, WalkOptions{})) != 301 {
		t.Fatal("a pack of many objects was not read whole")
	}
}

// TestForeignEnvironment: nothing in a reconciler's environment changes which
// repository is used or what runs.
func TestForeignEnvironment(t *testing.T) {
	trap := filepath.Join(t.TempDir(), "sprung")
	script := filepath.Join(t.TempDir(), "trap")
	if err := os.WriteFile(script, []byte("#!/bin/sh\ntouch "+trap+"\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(config, []byte("[core]\n\thooksPath = "+filepath.Dir(script)+"\n\tsshCommand = "+script+"\n[uploadpack]\n\tpackObjectsHook = "+script+"\n[url \"/nowhere/\"]\n\tinsteadOf = /\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"GIT_DIR": t.TempDir(), "GIT_OBJECT_DIRECTORY": t.TempDir(), "GIT_CONFIG_GLOBAL": config, "GIT_CONFIG_SYSTEM": config,
		"GIT_EXEC_PATH": filepath.Dir(script), "GIT_SSH_COMMAND": script, "HOME": filepath.Dir(config), "GIT_NAMESPACE": "evil", "GIT_EXTERNAL_DIFF": script,
	} {
		t.Setenv(name, value)
	}
	path := bare(t)
	initStore(t, Options{URL: path, Isolated: true})
	for name, env := range map[string][]string{"none": nil, "all of it": os.Environ()} {
		for _, transport := range []Transport{Builtin, Git} {
			s := openStore(t, Options{URL: path, Transport: transport, Isolated: true, Env: env})
			mustFetch(t, s)
			mustAppend(t, s, "by/"+string(transport)+"/"+name[:3], "x")
		}
	}
	if _, err := os.Stat(trap); err == nil {
		t.Error("a program from the environment ran")
	}
}

func TestURLs(t *testing.T) {
	for raw, want := range map[string]scheme{
		"/srv/store.git": schemePath, "file:///srv/store.git": schemePath, "ssh://git@host/x.git": schemeSSH, "git@host:x.git": schemeSSH,
		"host:x.git": schemeSSH, "https://host/x.git": schemeHTTPS, "http://host:80/x": schemeHTTP, "./a:b": schemePath,
	} {
		if u, err := parseURL(raw); err != nil || u.scheme != want {
			t.Errorf("%q: %+v, %v", raw, u, err)
		}
	}
	for _, raw := range []string{
		"", "-x", "--upload-pack=touch x", "ext::sh -c x", "fd::7", "git://host/x", "ftp://host/x", "ssh://-oProxyCommand=x/y", "ssh://a@-x/y",
		"-oProxyCommand=x:y", "git@-x:y", "git@host:-x", "ssh://host/", "http:///x", "https://host/x?y", "ssh://u:p@host/x", "file://host/x", "http://h:0/x", "a\nb",
		"http://a:b%0ac@host/x", "http://a%00b@host/x", "http://a:b%0Dc@host/x",
	} {
		if u, err := parseURL(raw); !errors.Is(err, ErrBadURL) {
			t.Errorf("%q was taken: %+v, %v", raw, u, err)
		}
	}
	for _, raw := range []string{"https://u:hu/sh@host/x", "https://u:?hush@host/x", "https://u:hush#1@host/x", "https://u:h%ush@host/x", "https://hush@host:0/x", "ssh://u:hush@host/x"} {
		if _, err := parseURL(raw); !errors.Is(err, ErrBadURL) || strings.Contains(err.Error(), "sh@") || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v", raw, err)
		}
	}
	for raw, want := range map[string]string{
		"https://user:token@host/x": "https://host/x", "https://token@host/x": "https://host/x", "ssh://git:pw@host/x": "ssh://git@host/x", "/a@b": "/a@b",
	} {
		if got := Redact(raw); got != want {
			t.Errorf("Redact(%q) = %q, want %q", raw, got, want)
		}
	}
}

func TestMaintainKeepsEverything(t *testing.T) {
	path := bare(t)
	s, _ := initStore(t, Options{URL: path, Isolated: true})
	tip := mustAppend(t, s, "a/b/c", "x").Commit
	reader := openStore(t, Options{URL: path, Isolated: true, Dir: s.o.Dir})
	before := walk(t, reader, "", tip, WalkOptions{})
	for i := range 60 {
		if err := os.WriteFile(filepath.Join(s.mirror, "objects/17", fmt.Sprintf("x%d", i)), nil, 0o600); err != nil && i == 0 {
			if err := os.MkdirAll(filepath.Join(s.mirror, "objects/17"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Maintain(context.Background()); err != nil {
		t.Fatal(err)
	}
	if packs, _ := filepath.Glob(filepath.Join(s.mirror, "objects/pack/*.pack")); len(packs) != 1 {
		t.Fatalf("%d packs", len(packs))
	}
	for _, store := range []*Store{s, reader} {
		if got := walk(t, store, "", tip, WalkOptions{}); strings.Join(got, "\n") != strings.Join(before, "\n") {
			t.Errorf("after packing: %v", got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor a <b> 1 +0000\ncommitter a <b> 1 +0000\n\nhello\n"))
	f.Add([]byte("100644 a\x00aaaaaaaaaaaaaaaaaaaa40000 b\x00bbbbbbbbbbbbbbbbbbbb"))
	f.Add([]byte{0x80, 0x01, 0xff, 0x7f})
	f.Add([]byte("tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nparent 4b825dc642cb6eb9a060e54bf8d69288fbee490\nauthor"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := parseCommit(data); err == nil {
			for _, h := range append(c.parents, c.tree) {
				if !isHash(string(h)) {
					t.Errorf("a commit with the link %q", h)
				}
			}
		}
		if entries, err := parseTree(data); err == nil && string(encodeTree(entries)) != string(data) {
			t.Error("a tree does not come back as it was")
		}
		if n, err := deltaTarget(data); err == nil && n < 0 {
			t.Errorf("a delta of %d bytes", n)
		}
		if u, err := parseURL(string(data)); err == nil && (strings.HasPrefix(u.host, "-") || strings.HasPrefix(u.raw, "-")) {
			t.Errorf("%q was taken", data)
		}
	})
}

// TestNumbersAreNoRefusal: what looks like a status of http may be a port, a
// folder, a size.
func TestNumbersAreNoRefusal(t *testing.T) {
	for text, want := range map[string]error{
		"kex_exchange_identification: read: Connection reset by peer banner exchange: Connection to 127.0.0.1 port 34013: invalid format": nil,
		"fatal: unable to access 'http://127.0.0.1:40317/x.git/': The requested URL returned error: 403":                                  ErrAuth,
		"fatal: unable to access 'http://127.0.0.1:8080/403.git/': Empty reply from server":                                               nil,
		"git@host: Permission denied (publickey).":                                                                                        ErrAuth,
		"Host key verification failed.": ErrHostKey,
	} {
		if got := kindOfWords(text); !errors.Is(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
