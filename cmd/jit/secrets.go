package main

import (
	"fmt"
	"math"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// What is signed stays in the history for good, and everybody with a clone reads it.
// So text that looks like a secret is asked about before it is signed.

// secretForm is a kind of secret that can be told by its form.
type secretForm struct {
	// name says what it looks like; what was found is never said again.
	name string
	form *regexp.Regexp
}

// valueHead and valueRest are the characters of a value that is meant: not of a place
// holder (<password>, ***, ...), of another variable ($PW), or of a path.
const (
	valueHead = "[^\\s\"'=:,;./<>*…$-]"
	valueRest = "[^\\s\"',;<>*…]"
)

// secretForms are the forms that those who issue the secrets have published, or that
// scanners of the trade look for, with a length at which no plain word is meant.
var secretForms = []secretForm{
	{"a private key", regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY`)},
	{"a private key", regexp.MustCompile(`AGE-SECRET-KEY-1[0-9A-Z]{50,}`)},
	{"a private key", regexp.MustCompile(`PuTTY-User-Key-File-[23]:`)},
	{"an AWS access key", regexp.MustCompile(`\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b`)},
	{"a Google key", regexp.MustCompile(`\bAIza[0-9A-Za-z_-]{35}\b`)},
	{"a Google token", regexp.MustCompile(`\bya29\.[0-9A-Za-z_-]{20,}|\bGOCSPX-[0-9A-Za-z_-]{20,}`)},
	{"a GitHub token", regexp.MustCompile(`\b(?:gh[pousr]_[0-9A-Za-z]{36,}|github_pat_[0-9A-Za-z_]{22,})`)},
	{"a GitLab token", regexp.MustCompile(`\bgl(?:pat|dt|rt|cbt|ptt|ft|soat|imt|agent|oas|ffct)-[0-9A-Za-z_=.-]{20,}`)},
	{"a Slack token", regexp.MustCompile(`\bxox[abeoprs](?:\.xox[bp])?-[0-9A-Za-z-]{10,}|\bxapp-[0-9]-[0-9A-Za-z-]{10,}`)},
	{"a Slack web hook", regexp.MustCompile(`hooks\.slack\.com/(?:services|workflows)/[0-9A-Za-z/]{20,}`)},
	{"a Stripe key", regexp.MustCompile(`\b(?:sk|rk)_(?:live|test)_[0-9A-Za-z]{16,}|\bwhsec_[0-9A-Za-z+/=]{20,}`)},
	{"an npm token", regexp.MustCompile(`\bnpm_[0-9A-Za-z]{36}`)},
	{"a PyPI token", regexp.MustCompile(`\bpypi-[0-9A-Za-z_-]{40,}`)},
	{"a Vault token", regexp.MustCompile(`\bhv[sbr]\.[0-9A-Za-z_-]{20,}|\b[sb]\.[0-9A-Za-z]{24}\b`)},
	{"an Anthropic key", regexp.MustCompile(`\bsk-ant-[0-9A-Za-z_-]{20,}`)},
	{"an OpenAI key", regexp.MustCompile(`\bsk-(?:proj-|svcacct-|admin-)?[0-9A-Za-z_-]{32,}`)},
	{"an API token", regexp.MustCompile(`\b(?:dop_v1_[0-9a-f]{64}|SG\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}|hf_[0-9A-Za-z]{30,}|dckr_pat_[0-9A-Za-z_-]{20,}|shp(?:at|ca|pa|ss)_[0-9a-f]{32}|lin_api_[0-9A-Za-z]{30,}|PMAK-[0-9a-f-]{40,}|NRAK-[0-9A-Z]{27})`)},
	{"a signed token", regexp.MustCompile(`\beyJ[0-9A-Za-z_-]{8,}\.eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]*`)},
	{"a password", regexp.MustCompile(`(?i)\b(?:pass(?:word|wd|phrase)?|pwd|secret|api[_-]?key|access[_-]?key|secret[_-]?key|client[_-]?secret|auth[_-]?token|access[_-]?token|token|PGPASSWORD|MYSQL_PWD)["']?(?:=|:=|:[ \t]+["']|:)["']?[^\s"'=:,;./<>*…-][^\s"',;<>*…]{3,}`)},
	// Names of variables end in what they hold. In capitals they are a shell's; in small
	// letters, where "ask_password=true" is one too, the value is longer.
	{"a password", regexp.MustCompile(`\b[A-Z0-9_]+_?(?:SECRET|PASS(?:WORD|WD|PHRASE)?|PWD|TOKEN|CREDENTIALS?|(?:API|ACCESS|SECRET|PRIVATE|SIGNING|ENCRYPTION|AUTH|MASTER|DEPLOY)_?KEY)["']?[ \t]*(?:=|:=|:[ \t]+["'])["']?` + valueHead + valueRest + `{3,}`)},
	{"a password", regexp.MustCompile(`\b[A-Z0-9_]+(?:SECRET|PASS(?:WORD|WD|PHRASE)?|PWD|TOKEN|CREDENTIALS?|KEY)["']?(?:=|:=|:[ \t]*)["']?` + valueHead + valueRest + `+[0-9]` + valueRest + `+`)},
	{"a password", regexp.MustCompile(`\b[A-Za-z0-9-_]+[_-](?:secret|pass(?:word|wd|phrase)?|pwd|token|credentials?|(?:api|access|secret|private|signing|encryption|auth|master|deploy)[_-]?key)["']?(?:=|:=|:[ \t]+["'])["']?` + valueHead + valueRest + `{5,}`)},
	// What is given to programs by an option.
	{"a password", regexp.MustCompile(`\bcurl\b[^\n|;]*?[ \t](?:-[a-zA-Z]*[uU]|--(?:proxy-)?user)[ \t=]*["']?[^\s:"'<>*$]+:` + valueHead + valueRest + `{2,}`)},
	{"a password", regexp.MustCompile(`\b(?:mysql|mariadb)[a-z-]*[ \t](?:[^\n|;]*?[ \t])?-p["']?` + valueHead + valueRest + `{2,}`)},
	{"a password", regexp.MustCompile(`\bsshpass[ \t]+-p[ \t]*["']?` + valueHead + valueRest + `{2,}|\bredis-cli\b[^\n|;]*?[ \t]-a[ \t]+["']?` + valueHead + valueRest + `{2,}|\bldap[a-z]+\b[^\n|;]*?[ \t]-w[ \t]*["']?` + valueHead + valueRest + `{2,}`)},
	{"a password", regexp.MustCompile(`(?:^|\s)--?(?:pass(?:word|wd|phrase)?|pwd|secret|(?:[a-z]+-)?token|(?:api|access|secret)-key)[ \t]+["']?` + valueHead + valueRest + `*[0-9]` + valueRest + `+`)},
	{"an authorization header", regexp.MustCompile(`(?i)\bauthorization["']?[ \t]*[:=][ \t]*["']?(?:bearer|basic|token)[ \t]+[0-9A-Za-z._~+/=-]{6,}|\bbearer[ \t]+[0-9A-Za-z._~+/=-]*[0-9][0-9A-Za-z._~+/=-]{15,}`)},
	{"a password in an address", regexp.MustCompile(`\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]*:[^\s/@]+@`)},
}

// looksSecret says what a text looks as if it held, or "".
func looksSecret(text string) string {
	if known := knownSecret(text); known != "" {
		return known
	}
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return !isTokenRune(r) }) {
		if looksRandom(word) {
			return "a long random word"
		}
	}
	return ""
}

// knownSecret is looksSecret for texts in which random words are at home, such as
// public keys.
func knownSecret(text string) string {
	for _, f := range secretForms {
		if f.form.MatchString(text) {
			return f.name
		}
	}
	return ""
}

func isTokenRune(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("+=_", r)
}

const (
	// minRandom is the shortest word that is called random: 160 bits in base64 are 27
	// characters, 128 bits 22, and names of things are seldom as long.
	minRandom = 22
	// minEntropy is the least entropy, in bits a character by the word's own
	// frequencies, of one that is: random base64 of 22 characters has 4.1 and more in
	// all but one of a hundred cases, words that are written together less.
	minEntropy = 4.0
	// minTurns is the least share of neighbours in a random word that are of different
	// classes (capital, small letter, digit), but for a capital before a small letter,
	// with which every wordInCamelCase begins: it is 0.45 in base64, 0.2 in such names.
	minTurns = 0.25
)

// looksRandom tells what a machine has drawn from what stands for something that
// everybody may know: digests, fingerprints, ULIDs and UUIDs are of one case, so a
// word that counts as random has capitals, small letters and digits.
func looksRandom(word string) bool {
	if len(word) < minRandom {
		return false
	}
	var classes [4]int
	counts := map[byte]int{}
	turns, last := 0, -1
	for i := range len(word) {
		c := classOf(word[i])
		classes[c]++
		counts[word[i]]++
		if last >= 0 && c != last && !(last == 2 && c == 1) {
			turns++
		}
		last = c
	}
	if classes[0] == 0 || classes[1] == 0 || classes[2] == 0 || float64(turns) < minTurns*float64(len(word)-1) {
		return false
	}
	entropy := 0.0
	for _, n := range counts {
		p := float64(n) / float64(len(word))
		entropy -= p * math.Log2(p)
	}
	return entropy >= minEntropy
}

func classOf(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return 0
	case c >= 'a' && c <= 'z':
		return 1
	case c >= 'A' && c <= 'Z':
		return 2
	}
	return 3
}

// notSecretFlag is the flag by which a text is signed though it looks like a secret.
const notSecretFlag = "not-a-secret"

// insistFlag adds the flag to a command that signs a text.
func (a *App) insistFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.flags.notSecret, notSecretFlag, false, "sign it though it looks like a password, token or key")
}

// public asks a person whether a text may be signed that looks like a secret, and
// refuses it where nobody can be asked. what is "reason". Once is enough.
func (a *App) public(text, what string) error {
	if a.cleared[text] {
		return nil
	}
	err := a.publicIf(looksSecret(text), what)
	if err == nil {
		if a.cleared == nil {
			a.cleared = map[string]bool{}
		}
		a.cleared[text] = true
	}
	return err
}

// publicIf is public where it is known what the text looks like; "" is nothing. The
// text is not shown again: it may be a secret.
func (a *App) publicIf(looks, what string) error {
	if looks == "" || a.flags.notSecret {
		return nil
	}
	warning := fmt.Sprintf("the %s looks as if it held %s, and what is signed stays in the history for good", what, looks)
	if !a.IO.CanAsk() {
		return failure(exitUsage, "looks-like-secret", "leave it out; or, where it is none, add: --"+notSecretFlag, "%s", warning)
	}
	a.Warn("%s", warning)
	ok, err := a.Confirm("Is it no secret, and to be signed as it is?")
	if err == nil && !ok {
		err = failure(exitUsage, "looks-like-secret", "where it was typed on a command line, the shell's history may hold it too", "nothing was signed: %s", warning)
	}
	return err
}
