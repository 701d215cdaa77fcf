package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// GPGOptions says which gpg to run and for whom.
type GPGOptions struct {
	// Program is the program to run; "gpg" on the PATH when empty.
	Program string
	// Home is gpg's home folder; gpg's own choice when empty.
	Home string
	// Fingerprint is that of the primary key.
	Fingerprint Fingerprint
	// Env is gpg's environment; this process's own when nil.
	Env []string
	// TTY is the terminal on which the agent may ask for the passphrase. When
	// empty, GPG_TTY of the environment stands.
	TTY string
	// Stderr receives what gpg says to people; nobody does when nil.
	Stderr io.Writer
}

// gpgSigner signs through gpg, its agent and whatever holds the secret for it.
type gpgSigner struct {
	o       GPGOptions
	cert    *Certificate
	signing Fingerprint
}

// maxGPGOutput bounds what is read from gpg.
const maxGPGOutput = 8 << 20

// gpgTalk is how long gpg may take where nobody is asked for a passphrase.
const gpgTalk = 30 * time.Second

// NewGPG gives a signer that signs through gpg with the secret key of
// opts.Fingerprint: the newest of its keys that may sign and whose secret gpg
// has. Errors are [SignError]s.
func NewGPG(opts GPGOptions) (Signer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), gpgTalk)
	defer cancel()
	if _, err := ParseFingerprint(string(opts.Fingerprint)); err != nil {
		return nil, err
	}
	keys, err := ListGPGSecretKeys(ctx, opts)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(keys, func(k GPGKey) bool { return k.Fingerprint == opts.Fingerprint })
	if i < 0 {
		return nil, &SignError{
			Problem: SignNoKey, Detail: fmt.Sprintf("gpg has no secret key %s", opts.Fingerprint),
			Hint: "gpg --list-secret-keys shows those it has",
		}
	}
	s := &gpgSigner{o: opts}
	if s.cert, err = exportGPG(ctx, opts); err != nil {
		return nil, err
	}
	usable := s.cert.SigningKeys(time.Now())
	for _, fpr := range keys[i].secrets {
		if slices.Contains(usable, fpr) {
			s.signing = fpr
		}
	}
	if s.signing == "" {
		err := s.cert.CanSign(time.Now())
		detail := fmt.Sprintf("the key %s is of no use", opts.Fingerprint)
		if err == nil {
			return nil, &SignError{Problem: SignNoKey, Detail: fmt.Sprintf("gpg has the secret part of no signing key of %s", opts.Fingerprint)}
		}
		return nil, &SignError{Problem: SignUnusable, Detail: detail, Err: err}
	}
	return s, nil
}

// exportGPG asks gpg for the certificate, without others' signatures.
func exportGPG(ctx context.Context, o GPGOptions) (*Certificate, error) {
	out, err := o.run(ctx, nil, "--batch", "--armor", "--no-comments", "--no-emit-version",
		"--export-options", "export-minimal", "--export", string(o.Fingerprint))
	if err != nil {
		return nil, err
	}
	c, err := ParseCertificate(out)
	if err != nil {
		return nil, &SignError{Problem: SignUnusable, Detail: fmt.Sprintf("gpg's certificate of %s is refused", o.Fingerprint), Err: err}
	}
	return c, nil
}

// Fingerprint implements [Signer].
func (s *gpgSigner) Fingerprint() Fingerprint { return s.cert.fpr }

// Certificate implements [Signer].
func (s *gpgSigner) Certificate(context.Context) (*Certificate, error) { return s.cert, nil }

// Sign implements [Signer]. It waits for the person whom the agent asks, until
// ctx ends.
func (s *gpgSigner) Sign(ctx context.Context, data []byte) ([]byte, error) {
	// Not --batch: that would keep the agent from asking on some versions.
	out, err := s.o.run(ctx, data, "--no-tty", "--yes", "--armor", "--no-comments", "--no-emit-version", "--no-sk-comments",
		"--digest-algo", "SHA512", "--no-auto-key-retrieve", "--local-user", string(s.signing)+"!", "--output", "-", "--detach-sign")
	if err != nil {
		return nil, err
	}
	sig, err := parseSignature(out)
	switch {
	case err != nil:
		return nil, &SignError{
			Problem: SignFailed, Detail: "gpg's signature is not in jit's form",
			Hint: "look for text-mode, comment or sig-expire settings in gpg.conf", Err: err,
		}
	case sig.issuer != s.signing:
		return nil, &SignError{Problem: SignFailed, Detail: fmt.Sprintf("gpg signed with key %s in place of %s", sig.issuer, s.signing)}
	}
	return out, nil
}

// GPGKey is a secret key that gpg has.
type GPGKey struct {
	// Fingerprint is the primary key's.
	Fingerprint Fingerprint
	UserIDs     []string
	// Expires is the primary key's end; zero when it has none.
	Expires time.Time
	// CanSign says that gpg would sign with it now: it is neither expired nor
	// revoked, and the secret of a signing key is there.
	CanSign bool

	secrets []Fingerprint // keys that sign and whose secret is there, oldest first
}

// ListGPGSecretKeys gives the keys whose secret part gpg has, in gpg's order.
func ListGPGSecretKeys(ctx context.Context, opts GPGOptions) ([]GPGKey, error) {
	out, err := opts.run(ctx, nil, "--batch", "--with-colons", "--fixed-list-mode", "--list-secret-keys")
	if err != nil {
		return nil, err
	}
	return parseColons(string(out)), nil
}

// parseColons reads gpg's list for programs (doc/DETAILS of GnuPG, "Format of
// the colon listings").
func parseColons(out string) []GPGKey {
	var keys []GPGKey
	var signs, primary bool
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimRight(line, "\r\n"), ":")
		if len(f) < 15 && f[0] != "fpr" && f[0] != "uid" || len(f) < 10 {
			continue
		}
		switch f[0] {
		case "sec", "ssb":
			primary = f[0] == "sec"
			if primary {
				keys = append(keys, GPGKey{})
				if secs, err := strconv.ParseInt(f[6], 10, 64); err == nil && secs > 0 {
					keys[len(keys)-1].Expires = time.Unix(secs, 0).UTC()
				}
			}
			good := !strings.ContainsAny(f[1], "iderw") // invalid, disabled, expired, revoked
			signs = good && strings.Contains(f[11], "s") && f[14] != "#"
		case "fpr":
			if len(keys) == 0 {
				continue
			}
			k := &keys[len(keys)-1]
			fpr, err := ParseFingerprint(f[9])
			if err != nil {
				continue
			}
			if primary {
				k.Fingerprint, primary = fpr, false
			}
			if signs {
				k.secrets, k.CanSign, signs = append(k.secrets, fpr), true, false
			}
		case "uid":
			if len(keys) > 0 && !strings.ContainsAny(f[1], "r") {
				if id := unescapeColons(f[9]); CheckText(id) == nil {
					keys[len(keys)-1].UserIDs = append(keys[len(keys)-1].UserIDs, id)
				}
			}
		}
	}
	return keys
}

// unescapeColons undoes the \xNN with which gpg writes a colon or a control
// character.
func unescapeColons(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if i+3 < len(s) && s[i] == '\\' && s[i+1] == 'x' {
			if c, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// RevokeGPG lets gpg make a revocation of the key opts.Fingerprint and gives
// its certificate with the revocation merged in, armoured as
// [Certificate.Armor] gives it. gpg's own keyring stays as it is. text says
// why, for people, on one line.
func RevokeGPG(ctx context.Context, opts GPGOptions, reason RevocationKind, text string) ([]byte, error) {
	code := map[RevocationKind]string{RevokedHard: "1", RevokedSoft: "3"}[reason] // the places in gpg's menu
	if code == "" {
		return nil, refuse(ReasonBadValue, "a revocation is %s or %s", RevokedSoft, RevokedHard)
	}
	if text != "" {
		if err := checkLine("reason of the revocation", text, 512); err != nil {
			return nil, err
		}
		text += "\n"
	}
	cert, err := exportGPG(ctx, opts)
	if err != nil {
		return nil, err
	}
	// Answers to: create one? which reason? describe it, until an empty line;
	// is this right?
	out, err := opts.run(ctx, []byte("y\n"+code+"\n"+text+"\ny\n"), "--no-tty", "--command-fd", "0", "--armor", "--no-comments",
		"--no-emit-version", "--output", "-", "--generate-revocation", string(opts.Fingerprint))
	if err != nil {
		return nil, err
	}
	// gpg puts a comment into the armour whatever it is told.
	raw, err := dearmor(withoutComments(out), armorPublicKey)
	if err != nil {
		return nil, &SignError{Problem: SignFailed, Detail: "gpg's revocation does not parse", Err: err}
	}
	p, rest, err := nextPacket(raw)
	if err != nil || len(rest) > 0 {
		return nil, &SignError{Problem: SignFailed, Detail: "gpg's revocation does not parse", Err: err}
	}
	revoked, err := cert.withRevocation(p)
	if err != nil {
		return nil, &SignError{Problem: SignFailed, Detail: "gpg's revocation is refused", Err: err}
	}
	return revoked.Armor(), nil
}

func withoutComments(armoured []byte) []byte {
	var kept [][]byte
	for line := range bytes.SplitSeq(armoured, []byte("\n")) {
		if !bytes.HasPrefix(line, []byte("Comment: ")) {
			kept = append(kept, line)
		}
	}
	return bytes.Join(kept, []byte("\n"))
}

// run runs gpg with args, data on its standard input, and gives its output.
func (o GPGOptions) run(ctx context.Context, data []byte, args ...string) ([]byte, error) {
	program := o.Program
	if program == "" {
		program = "gpg"
	}
	all := []string{"--status-fd", "2", "--no-greeting", "--display-charset", "utf-8"}
	if o.Home != "" {
		all = append(all, "--homedir", o.Home)
	}
	cmd := exec.CommandContext(ctx, program, append(all, args...)...)
	cmd.WaitDelay = 5 * time.Second // an agent that gpg started may hold the pipes
	cmd.Env = slices.Clone(o.Env)
	if o.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C", "LANGUAGE=C")
	if o.TTY != "" {
		cmd.Env = append(cmd.Env, "GPG_TTY="+o.TTY)
	}
	var out, messages limited
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(data), &out, &messages
	err := cmd.Run()
	if o.Stderr != nil {
		for line := range strings.Lines(messages.String()) {
			if !strings.HasPrefix(line, "[GNUPG:]") {
				_, _ = io.WriteString(o.Stderr, line)
			}
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, exec.ErrDot):
		return nil, &SignError{Problem: SignNoProgram, Detail: fmt.Sprintf("PATH names a relative folder, and the program %q that is found there is never run", program),
			Hint: "name every folder in PATH from the root: no \".\", and no empty part", Err: err}
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return nil, &SignError{Problem: SignNoProgram, Detail: fmt.Sprintf("the program %q is not there", program), Hint: "install gnupg", Err: err}
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return nil, gpgProblem(messages.String(), err)
	case out.over:
		return nil, &SignError{Problem: SignFailed, Detail: "gpg wrote too much"}
	}
	return out.Bytes(), nil
}

// limited keeps the first bytes of what is written to it.
type limited struct {
	bytes.Buffer
	over bool
}

// Write implements [io.Writer].
func (l *limited) Write(p []byte) (int, error) {
	room := maxGPGOutput - l.Len()
	if len(p) > room {
		l.over = true
		l.Buffer.Write(p[:max(room, 0)])
		return len(p), nil
	}
	return l.Buffer.Write(p)
}

// gpgCodes are the error codes of libgpg-error that have a remedy.
var gpgCodes = map[int]SignProblem{
	9: SignNoKey, 17: SignNoKey, // no public key, no secret key
	11: SignPassphrase, 31: SignPassphrase, 177: SignPassphrase, // bad, bad PIN, none
	99: SignCancelled, 198: SignCancelled, 62: SignCancelled, // cancelled, fully cancelled, timed out
	77: SignNoAgent, 78: SignNoAgent, // no agent, its protocol broken
	85: SignNoTerminal, 86: SignNoTerminal, // no pinentry
	53: SignUnusable, 54: SignUnusable, 153: SignUnusable, 94: SignUnusable, // unusable public, secret key; expired; revoked
}

var gpgHints = map[SignProblem]string{
	SignNoKey:      "gpg --list-secret-keys shows the keys that gpg has",
	SignNoAgent:    "gpgconf --kill gpg-agent, and try again",
	SignNoTerminal: "run: export GPG_TTY=$(tty), and install a pinentry program (pinentry-curses)",
	SignCancelled:  "run the command again and give the passphrase",
	SignPassphrase: "run the command again with the right passphrase",
	SignUnusable:   "gpg --list-secret-keys shows whether the key expired or was revoked",
}

// gpgProblem reads from gpg's status lines and messages what went wrong.
func gpgProblem(messages string, err error) *SignError {
	e := &SignError{Problem: SignFailed, Err: err}
	last := ""
	for line := range strings.Lines(messages) {
		line = strings.TrimSpace(line)
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if f[0] != "[GNUPG:]" {
			last = strings.TrimPrefix(line, "gpg: ")
			if strings.Contains(line, "Inappropriate ioctl") || strings.Contains(line, "No pinentry") {
				e.Problem = SignNoTerminal
			}
			continue
		}
		if len(f) >= 4 && (f[1] == "FAILURE" || f[1] == "ERROR") {
			if code, err := strconv.ParseUint(f[3], 10, 32); err == nil {
				if p := gpgCodes[int(code&0xffff)]; p != "" && e.Problem == SignFailed {
					e.Problem = p
				}
			}
		}
		if len(f) >= 3 && f[1] == "INV_SGNR" && e.Problem == SignFailed {
			e.Problem = map[string]SignProblem{"9": SignNoKey, "1": SignNoKey, "4": SignUnusable, "5": SignUnusable, "13": SignUnusable}[f[2]]
			if e.Problem == "" {
				e.Problem = SignUnusable
			}
		}
	}
	if CheckText(last) == nil {
		e.Detail = "gpg: " + last
	} else {
		e.Detail = "gpg failed"
	}
	e.Hint = gpgHints[e.Problem]
	return e
}
