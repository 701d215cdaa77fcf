package authorizedkeys

import (
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	"github.com/jitaccess/jit/pkg/target"
)

// Names of a role's parameters in the policy, and of the settings.
const (
	paramAccount = "account"
	paramOptions = "options"
	paramRoot    = "allow-root"

	settingFile = "file"
)

// Describe says what the driver does and takes.
func Describe() target.Description {
	return target.Description{
		Name:    "authorized-keys",
		Summary: "writes and removes lines of an OpenSSH authorized_keys file",
		Params: []target.Parameter{
			{Name: paramAccount, Required: true, Doc: "the Unix account that the person logs in to, such as deploy"},
			{Name: paramOptions, Doc: `options of the line, as sshd(8) writes them: restrict,pty,from="10.0.0.0/8"`},
			{Name: paramRoot, Doc: `"true": the account may be root`},
		},
		Settings: []target.Parameter{
			{Name: settingFile, Required: true, Doc: "the file that jit manages, an absolute path; %u in it stands for the account"},
		},
		Account:      "the person's SSH public keys, one a line, without options",
		Backstop:     "the line's expiry-time: sshd (9.1 or later) refuses new logins after the end by itself",
		EndsSessions: "the sessions that the key opened, where sshd has ExposeAuthInfo yes and jit may see the account's processes",
	}
}

// params are a role's parameters, judged.
type params struct {
	account, options string
	root             bool
}

// Validate judges a role's parameters, and the keys where they are not empty.
func Validate(given map[string]string, account string) error {
	if _, err := parseParams(given); err != nil {
		return err
	}
	if account == "" {
		return nil
	}
	_, err := parseKeys(account)
	return err
}

// Place is the file of a role's account, as [target.Kind] asks for it.
func Place(settings, params map[string]string) (place, account string) {
	account = params[paramAccount]
	return pathOf(settings[settingFile], account), account
}

// pathOf is the managed file of an account.
func pathOf(pattern, account string) string { return strings.ReplaceAll(pattern, "%u", account) }

// unixName is what useradd(8) makes by default. It keeps "..", "/" and a
// leading hyphen out of the file's path.
var unixName = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,30}[a-z0-9_$-]?$`)

func parseParams(given map[string]string) (params, error) {
	p := params{account: given[paramAccount], options: given[paramOptions]}
	err := target.CheckParams(Describe().Params, given)
	if err != nil {
		return p, err
	}
	if p.root, err = target.ParseFlag(given, paramRoot); err != nil {
		return p, err
	}
	if !unixName.MatchString(p.account) {
		return p, &target.ParamError{Param: paramAccount, Problem: fmt.Sprintf("%q is not the name of a Unix account", p.account)}
	}
	if p.account == "root" && !p.root {
		return p, &target.ParamError{Param: paramAccount, Problem: `"root" is protected`, Hint: fmt.Sprintf("where it is meant, add %s: \"true\"", paramRoot)}
	}
	if problem := checkOptions(p.options); problem != "" {
		return p, &target.ParamError{Param: paramOptions, Problem: problem, Hint: "sshd(8) lists them under AUTHORIZED_KEYS FILE FORMAT"}
	}
	return p, nil
}

// Options that sshd knows, in lower case, as it does not tell cases apart. Not
// among them: expiry-time, which is jit's to set, and cert-authority with
// principals, which would let other keys in.
var (
	plainOptions = []string{
		"agent-forwarding", "no-agent-forwarding", "no-port-forwarding", "no-pty", "no-touch-required", "no-user-rc",
		"no-x11-forwarding", "port-forwarding", "pty", "restrict", "user-rc", "verify-required", "x11-forwarding",
	}
	valueOptions = []string{"command", "environment", "from", "permitlisten", "permitopen", "tunnel"}
	manyOptions  = []string{"environment", "permitlisten", "permitopen"}
)

// checkOptions says why sshd would not read text as a list of options, or would
// read more than that; "" when it is good.
func checkOptions(text string) string {
	if text == "" {
		return ""
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) || len(text) > 4096 {
		return "hold a control character, are not UTF-8 or are longer than 4096 bytes"
	}
	seen := map[string]bool{}
	for rest := text; ; {
		end := strings.IndexAny(rest, `,="`+" ")
		if end < 0 {
			end = len(rest)
		}
		name := rest[:end]
		key := strings.ToLower(name)
		rest = rest[end:]
		switch {
		case key == "expiry-time":
			return "expiry-time is set by jit itself"
		case slices.Contains(plainOptions, key):
			if strings.HasPrefix(rest, "=") {
				return fmt.Sprintf("%q takes no value", name)
			}
		case slices.Contains(valueOptions, key):
			after, ok := strings.CutPrefix(rest, `="`)
			if !ok {
				return fmt.Sprintf(`%q wants a value in double quotes`, name)
			}
			n := quotedEnd(after)
			if n <= 0 {
				return fmt.Sprintf("the value of %q is empty or its quotes are not closed", name)
			}
			rest = after[n+1:]
		default:
			return fmt.Sprintf("%q is not an option that a role may set", name)
		}
		if seen[key] && !slices.Contains(manyOptions, key) {
			return fmt.Sprintf("%q stands there twice", name)
		}
		seen[key] = true
		if rest == "" {
			return ""
		}
		var ok bool
		if rest, ok = strings.CutPrefix(rest, ","); !ok {
			return fmt.Sprintf("after %q there is no comma", name)
		}
	}
}

// quotedEnd is where the closing quote stands, or -1. A backslash before a
// quote, and only there, takes its meaning away, as sshd reads it.
func quotedEnd(s string) int {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '"':
			i++
		case s[i] == '"':
			return i
		}
	}
	return -1
}

// maxKeys bounds the keys of one person on one target.
const maxKeys = 16

// minRSA is the least size of an RSA key in bits.
const minRSA = 2048

// parseKeys reads public keys, one a line, and gives each as "type base64".
func parseKeys(text string) ([]string, error) {
	refuse := func(format string, a ...any) error {
		return &target.ParamError{
			Param: target.ParamAccount, Problem: fmt.Sprintf(format, a...),
			Hint: "give SSH public keys, one a line, as they stand in a .pub file",
		}
	}
	var keys []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 2 || len(line) > 16384 {
			return nil, refuse("%.40q is not an SSH public key", line)
		}
		blob, err := base64.StdEncoding.Strict().DecodeString(fields[1])
		if err != nil {
			return nil, refuse("%.40q does not begin with the type and the base64 of an SSH public key", line)
		}
		key, err := ssh.ParsePublicKey(blob)
		if err != nil {
			return nil, refuse("%.40q: %v", line, err)
		}
		switch kind := key.Type(); {
		case kind != fields[0]:
			return nil, refuse("a key of type %q calls itself %q", kind, fields[0])
		case kind == ssh.KeyAlgoRSA:
			public := key.(ssh.CryptoPublicKey).CryptoPublicKey().(*rsa.PublicKey)
			if n := public.N.BitLen(); n < minRSA {
				return nil, refuse("an RSA key of %d bits is too weak: at least %d", n, minRSA)
			}
		case !slices.Contains(goodTypes, kind):
			return nil, refuse("a key of type %q is not taken", kind)
		}
		if canonical := fields[0] + " " + base64.StdEncoding.EncodeToString(key.Marshal()); !slices.Contains(keys, canonical) {
			keys = append(keys, canonical)
		}
	}
	if len(keys) == 0 || len(keys) > maxKeys {
		return nil, refuse("holds %d keys: give between 1 and %d", len(keys), maxKeys)
	}
	return keys, nil
}

var goodTypes = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256,
	ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
}
