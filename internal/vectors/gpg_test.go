package vectors

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jitaccess/jit/internal/testenv"
)

// verdicts are the words of gpg's --status-fd (doc/DETAILS of GnuPG) that end the
// judgement of one signature, with what they are called here.
var verdicts = map[string]string{
	"GOODSIG": "good", "EXPSIG": "expired-signature", "EXPKEYSIG": "expired-key", "REVKEYSIG": "revoked-key", "BADSIG": "bad", "ERRSIG": "error",
}

// judge is a gpg that takes its certificates from files, with a home folder of its own.
type judge struct{ program, home string }

func newJudge(t testing.TB) *judge {
	return &judge{program: testenv.Need(t, "gpg", "gnupg"), home: testenv.GPGHome(t).Home}
}

func (j *judge) run(args ...string) (status string, err error) {
	var out bytes.Buffer
	cmd := exec.Command(j.program, append([]string{
		"--homedir", j.home, "--no-tty", "--batch", "--quiet", "--trust-model", "always", "--no-auto-check-trustdb", "--lock-never",
		"--no-auto-key-retrieve", "--faked-system-time", askTime.Format("20060102T150405") + "!", "--status-fd", "1",
	}, args...)...)
	cmd.Env, cmd.Stdout = append(os.Environ(), "LC_ALL=C"), &out
	err = cmd.Run()
	return out.String(), err
}

// keyring imports a certificate, as a person who checks a store by hand does, into a
// keyring file of its own. What gpg does not import leaves the file empty.
func (j *judge) keyring(t testing.TB, certificate []byte) string {
	t.Helper()
	dir := t.TempDir()
	file, ring := filepath.Join(dir, "cert.asc"), filepath.Join(dir, "ring.gpg")
	if err := os.WriteFile(file, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _ = j.run("--no-default-keyring", "--keyring", ring, "--import", file)
	return ring
}

// verify gives gpg's judgement of a detached signature: a word for each signature that
// it found, joined by +, or "nothing"; and whether a person would take it for good: it
// says so of all, and ends without an error.
func (j *judge) verify(t testing.TB, ring string, data, sig []byte) (says string, good bool) {
	t.Helper()
	dir := t.TempDir()
	record, signature := filepath.Join(dir, "r.yaml"), filepath.Join(dir, "r.yaml.asc")
	for name, content := range map[string][]byte{record: data, signature: sig} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	status, err := j.run("--no-default-keyring", "--keyring", ring, "--verify", signature, record)
	var words []string
	for line := range strings.Lines(status) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		word, ok := verdicts[f[1]]
		if !ok {
			continue
		}
		if f[1] == "ERRSIG" && len(f) > 7 && f[7] == "9" { // no public key
			word = "no-key"
		}
		words = append(words, word)
	}
	if len(words) == 0 {
		return "nothing", false
	}
	only := !slices.ContainsFunc(words, func(w string) bool { return w != "good" })
	if says = strings.Join(words, "+"); only && err != nil {
		says += ", and fails"
	}
	return says, only && err == nil
}
