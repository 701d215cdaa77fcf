package gitstore

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jitaccess/jit/internal/testenv"
)

// tracedGit gives a git program that writes down what is executed, by itself and by
// all that it starts, and what gives that.
func tracedGit(t *testing.T) (program string, executed func() string) {
	t.Helper()
	dir := t.TempDir()
	program = filepath.Join(dir, "git")
	script := fmt.Sprintf("#!/bin/sh\nexec %s -f -qq -s 65535 --seccomp-bpf -e trace=execve,execveat -e signal=none -o %s/trace.$$ %s \"$@\"\n",
		testenv.Need(t, "strace", "strace"), dir, testenv.Need(t, "git", "git"))
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return program, func() string {
		traces, err := filepath.Glob(filepath.Join(dir, "trace.*"))
		if err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		for _, path := range traces {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(data)
		}
		return all.String()
	}
}

// TestLoginIsInNoArgument: the user name and the password in a store's URL reach the
// server, and are in no argument of git or of what git starts, nor in the mirror.
func TestLoginIsInNoArgument(t *testing.T) {
	t.Parallel()
	const user, password = `Zaun'könig "77`, `Rot%s$HOME\n'"@:/?kehl=chen 88`
	// What strace, a URL, a quoted word, a config file or a header would have of each.
	coded := base64.StdEncoding.EncodeToString([]byte(":" + password))
	parts := regexp.MustCompile(`(?i)zaun|rot%|kehl|chen( |%20|\+)88|` + regexp.QuoteMeta(coded[:16]))
	dir := t.TempDir()
	config := filepath.Join(dir, "config")
	asked := filepath.Join(dir, "asked")
	for name, c := range map[string]struct {
		info     *url.Userinfo
		isolated bool
		asked    string // what the machine's own helper was asked or told
	}{
		"isolated":                {url.UserPassword(user, password), true, ""},
		"a person":                {url.UserPassword(user, password), false, ""},
		"a user name":             {url.User(user), false, "username=" + user + "\n"},
		"a user name, isolated":   {url.User(user), true, ""},
		"a token for a user name": {url.UserPassword(user, ""), false, ""},
		"a token, no user name":   {url.UserPassword("", password), false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := bare(t)
			wantName := c.info.Username()
			wantWord, _ := c.info.Password()
			if name == "a user name" {
				wantWord = "theirs"
			}
			at := testenv.StartGitHTTP(t, filepath.Dir(path), testenv.GitHTTPOptions{Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if name, word, ok := r.BasicAuth(); !ok || name != wantName || word != wantWord {
						w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
						http.Error(w, "who are you?", http.StatusUnauthorized)
						return
					}
					next.ServeHTTP(w, r)
				})
			}})
			address, err := url.Parse(at + "/" + filepath.Base(path))
			if err != nil {
				t.Fatal(err)
			}
			address.User = c.info
			// The user's own settings would have other credentials, keep these, and go
			// elsewhere for URLs without any.
			helper := "!f() { cat >>" + asked + "; test $1 = get && echo password=theirs; }; f"
			text := "[credential]\n\thelper = \"" + strings.ReplaceAll(helper, `"`, `\"`) + "\"\n[url \"http://127.0.0.1:9/\"]\n\tinsteadOf = http://127.0.0.1\n\tpushInsteadOf = " + at + "\n"
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_ = os.Remove(asked)
			program, executed := tracedGit(t)
			o := Options{URL: address.String(), Transport: Git, Isolated: c.isolated, Git: program,
				Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + config, "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=false",
					"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.extraHeader", "GIT_CONFIG_VALUE_0=X: y"}}
			s, _ := initStore(t, o)
			mustAppend(t, s, "a/b", "x")
			if got := mustFetch(t, openStore(t, o)); got != s.Tip() {
				t.Errorf("fetched %s, pushed %s", got, s.Tip())
			}
			if name != "a user name" {
				o.Transport = Builtin
				if got := mustFetch(t, openStore(t, o)); got != s.Tip() {
					t.Errorf("without git it fetched %s, pushed %s", got, s.Tip())
				}
			}
			// One that is turned away is told so, and nobody else is asked.
			o.Transport = Git
			if _, ok := c.info.Password(); ok {
				address.User = url.UserPassword(user[:4], password[:8])
				if c.info.Username() == "" {
					address.User = url.UserPassword("", password[:8])
				}
				o.URL = address.String()
				_, err := openStore(t, o).Fetch(testContext(t))
				if !errors.Is(err, ErrAuth) || parts.MatchString(err.Error()) {
					t.Errorf("with another password: %v", err)
				}
			}
			trace := executed()
			if strings.Count(trace, "remote-http") < 3 || !strings.Contains(trace, `"push"`) || !strings.Contains(trace, `"fetch"`) {
				t.Errorf("strace saw only:\n%s", trace)
			}
			for line := range strings.Lines(trace) {
				if parts.MatchString(line) {
					t.Errorf("in an argument: %s", line)
				}
			}
			got, err := os.ReadFile(asked)
			if c.asked == "" && err == nil || !strings.Contains(string(got), c.asked) {
				t.Errorf("the machine's helper was given %q; want %q", got, c.asked)
			}
			err = filepath.WalkDir(s.o.Dir, func(path string, d fs.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() {
					return err
				}
				data, err := os.ReadFile(path)
				if parts.Match(data) {
					t.Errorf("in the mirror's %s", path)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLoginIsForOneServer: git gives the password to the scheme, host and port of the
// URL that holds it only.
func TestLoginIsForOneServer(t *testing.T) {
	t.Parallel()
	for raw, c := range map[string]struct{ own, others []string }{
		"https://bob:hu%73h@git.example.org/x.git": {
			[]string{"https://git.example.org/x.git", "https://git.example.org/y", "https://git.example.org:443"},
			[]string{"http://git.example.org/x.git", "https://git.example.org:8443/x.git", "https://example.org/x.git", "https://a.git.example.org", "https://git.example.org.evil.org"}},
		"HTTP://bob:hush@[::1]:8080/x.git": {[]string{"http://[::1]:8080/x.git"}, []string{"http://[::1]/x.git", "http://[::2]:8080/x.git"}},
	} {
		u, err := parseURL(raw)
		if err != nil {
			t.Fatal(err)
		}
		ask := func(at string) string {
			cmd := exec.Command(testenv.Need(t, "git", "git"), "credential", "fill")
			cmd.Dir = t.TempDir()
			cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=false"}, u.gitLogin(false)...)
			cmd.Stdin = strings.NewReader("url=" + at + "\n\n")
			var out bytes.Buffer
			cmd.Stdout = &out
			_ = cmd.Run() // it fails where it has no password
			return out.String()
		}
		for _, at := range c.own {
			if got := ask(at); !strings.Contains(got, "username=bob\npassword=hush\n") {
				t.Errorf("%s: for %s git has %q", raw, at, got)
			}
		}
		for _, at := range c.others {
			if got := ask(at); strings.Contains(got, "hush") {
				t.Errorf("%s: %s is given the password", raw, at)
			}
		}
	}
}
