package authorizedkeys_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/jitaccess/jit/pkg/target"
	"github.com/jitaccess/jit/pkg/target/authorizedkeys"
)

func public(t *testing.T, key any) string {
	t.Helper()
	p, err := ssh.NewPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(p))
}

func ed(t *testing.T) string {
	t.Helper()
	key, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return public(t, key)
}

func self(t *testing.T) map[string]string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"account": u.Username, "allow-root": "true"}
}

func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestUnsafePlaces(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, prepare := range map[string]func(dir, file string){
		"folder others can write": func(dir, _ string) { must(os.Chmod(dir, 0o777)) },
		"sticky folder":           func(dir, _ string) { must(os.Chmod(dir, 0o777|os.ModeSticky)) },
		"file others can write":   func(_, file string) { write(t, file, ""); must(os.Chmod(file, 0o666)) },
		"symbolic link":           func(dir, file string) { write(t, dir+"/x", "secret"); must(os.Symlink(dir+"/x", file)) },
		"hard link":               func(dir, file string) { write(t, dir+"/x", "secret"); must(os.Link(dir+"/x", file)) },
		"folder in its place":     func(_, file string) { must(os.Mkdir(file, 0o755)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t)
			file := filepath.Join(dir, "keys")
			prepare(dir, file)
			err := open(t, file).Grant(t.Context(), grantOf(ed(t), self(t)))
			if target.ReasonOf(err) != target.Unsafe {
				t.Errorf("%v, want it refused as unsafe", err)
			}
			if data, err := os.ReadFile(filepath.Join(dir, "x")); err == nil && string(data) != "secret" {
				t.Errorf("the other file was changed: %q", data)
			}
		})
	}
}

func TestSomebodyElsesFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can give a file away; as others jit cannot write it")
		return
	}
	dir := folder(t)
	file := filepath.Join(dir, "keys")
	write(t, file, "")
	if err := os.Chown(file, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if err := open(t, file).Grant(t.Context(), grantOf(ed(t), self(t))); target.ReasonOf(err) != target.Unsafe {
		t.Errorf("a file of another's: %v", err)
	}
}

func TestKeepsModeAndLeavesNothing(t *testing.T) {
	dir := folder(t)
	file := filepath.Join(dir, "keys")
	write(t, file, others)
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	// What a killed run left.
	write(t, filepath.Join(dir, ".keys.jit-new-1"), "half")
	d, g := open(t, file), grantOf(ed(t), self(t))
	g.Person = "Ålice \n:x"
	if err := d.Grant(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if got := read(t, file); !strings.HasSuffix(got, others) || !strings.HasSuffix(strings.SplitAfter(got, "\n")[0], " jit:"+g.ID+":_lice___x\n") {
		t.Errorf("the file is %q", got)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 { // the file and the lock
		t.Errorf("in the folder: %v, %v", entries, err)
	}
}

// Two reconcilers at once lose no line.
func TestTogether(t *testing.T) {
	file := filepath.Join(folder(t), "keys-%u")
	params := self(t)
	var wg sync.WaitGroup
	for range 8 {
		key, d := ed(t), open(t, file)
		wg.Go(func() {
			for range 3 {
				if err := d.Grant(t.Context(), grantOf(key, params)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	listed, err := open(t, file).List(t.Context())
	if err != nil || len(listed) != 24 {
		t.Errorf("%d lines of 24, %v", len(listed), err)
	}
}

func TestValidate(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ account, options, keys, param string }{
		"good":              {"deploy", `restrict,pty,from="10.0.0.0/8,!10.1.2.3",command="echo \"a, b\""`, ed(t), ""},
		"params only":       {"deploy", "", "", ""},
		"two keys":          {"deploy", "", ed(t) + "\n" + public(t, &curve.PublicKey), ""},
		"rsa":               {"deploy", "", public(t, &strong.PublicKey), ""},
		"weak rsa":          {"deploy", "", public(t, &weak.PublicKey), target.ParamAccount},
		"no key":            {"deploy", "", "\n", target.ParamAccount},
		"other type":        {"deploy", "", strings.Replace(ed(t), "ssh-ed25519", "ssh-rsa", 1), target.ParamAccount},
		"options in key":    {"deploy", "", "no-pty " + ed(t), target.ParamAccount},
		"root":              {"root", "", "", "account"},
		"account":           {"De ploy", "", "", "account"},
		"unknown option":    {"deploy", "restrict,nonsense", "", "options"},
		"own expiry":        {"deploy", `EXPIRY-TIME="20990101"`, "", "options"},
		"authority":         {"deploy", "cert-authority", "", "options"},
		"open quote":        {"deploy", `command="x`, "", "options"},
		"escaped end":       {"deploy", `command="x\"`, "", "options"},
		"no quote":          {"deploy", `command=x`, "", "options"},
		"key smuggled":      {"deploy", `pty ssh-ed25519 AAAA`, "", "options"},
		"after the quote":   {"deploy", `command="x" ssh-ed25519`, "", "options"},
		"newline":           {"deploy", "pty\nssh-ed25519", "", "options"},
		"value for a plain": {"deploy", `pty="x"`, "", "options"},
		"twice":             {"deploy", `command="a",command="b"`, "", "options"},
		"comma at the end":  {"deploy", "pty,", "", "options"},
	} {
		params := map[string]string{"account": c.account}
		if c.options != "" {
			params["options"] = c.options
		}
		err := authorizedkeys.Validate(params, c.keys)
		if c.param == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var p *target.ParamError
		if errors.As(err, &p); c.param != "" && (p == nil || p.Param != c.param) {
			t.Errorf("%s: %v, want %s refused", name, err, c.param)
		}
	}
}

func TestSettingsAndPing(t *testing.T) {
	for _, file := range []string{"", "keys", "/a/../b", "/etc/%h/keys"} {
		_, err := authorizedkeys.New(t.Context(), target.Config{Settings: map[string]string{"file": file}})
		if target.ReasonOf(err) != target.BadSetting {
			t.Errorf("%q: %v", file, err)
		}
	}
	if _, err := authorizedkeys.New(t.Context(), target.Config{Settings: map[string]string{"file": "/a", "fiel": "/b"}}); err == nil || !strings.Contains(err.Error(), `"fiel"`) {
		t.Errorf("an unknown setting: %v", err)
	}
	dir := folder(t)
	if err := open(t, dir+"/%u").Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if err := open(t, dir+"/missing/%u").Ping(t.Context()); target.ReasonOf(err) != target.NotFound {
		t.Errorf("no folder: %v", err)
	}
}
