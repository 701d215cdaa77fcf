package gitstore

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
)

// scheme says how a remote is reached.
type scheme string

const (
	schemePath  scheme = "path"
	schemeSSH   scheme = "ssh"
	schemeHTTP  scheme = "http"
	schemeHTTPS scheme = "https"
)

// remoteURL is a remote's address, taken apart.
type remoteURL struct {
	scheme     scheme
	raw        string // as the git program takes it: a clean absolute path, or the URL as given; http(s) without user info
	user       string // ssh and http(s)
	password   string // http(s) only
	secret     bool   // http(s) only: a password is given, if only an empty one
	host, port string // ssh and http(s); port is "" where none is given
	path       string // absolute folder, or the path on the server
}

// parseURL takes a remote's address apart: a path, file://, ssh://, scp-like
// [user@]host:path, http:// or https://. All else is refused: git's ext:: and
// other helpers run commands, git:// has no integrity at all, and an address
// (or a host) that begins with '-' would be read as an option.
func parseURL(raw string) (remoteURL, error) {
	bad := func(why string) (remoteURL, error) {
		return remoteURL{}, fmt.Errorf("%w: %q: %s", ErrBadURL, redactAll(raw), why)
	}
	switch {
	case raw == "":
		return bad("it is empty")
	case strings.HasPrefix(raw, "-"):
		return bad("it begins with '-'")
	case strings.ContainsFunc(raw, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return bad("it holds a control character")
	}
	if i := strings.Index(raw, "://"); i >= 0 {
		return parseSchemeURL(raw, bad)
	}
	if i := strings.Index(raw, "::"); i >= 0 && !strings.ContainsAny(raw[:i], "/[") {
		return bad("remote helpers are not used")
	}
	// As git-fetch(1) has it: a colon before the first slash makes it scp-like.
	if colon := strings.IndexByte(raw, ':'); colon > 0 && !strings.Contains(raw[:colon], "/") && !filepath.IsAbs(raw) {
		u := remoteURL{scheme: schemeSSH, raw: raw, host: raw[:colon], path: raw[colon+1:]}
		if at := strings.LastIndexByte(u.host, '@'); at >= 0 {
			u.user, u.host = u.host[:at], u.host[at+1:]
		}
		if why := u.sshProblem(); why != "" {
			return bad(why)
		}
		return u, nil
	}
	return pathURL(raw, bad)
}

func parseSchemeURL(raw string, bad func(string) (remoteURL, error)) (remoteURL, error) {
	parsed, err := url.Parse(raw)
	if err != nil {
		return bad("it does not parse as a URL")
	}
	if parsed.RawQuery != "" || parsed.Fragment != "" {
		return bad("it has a query or a fragment")
	}
	u := remoteURL{raw: raw, host: parsed.Hostname(), port: parsed.Port(), path: parsed.Path}
	if parsed.User != nil {
		u.user = parsed.User.Username()
		u.password, u.secret = parsed.User.Password()
	}
	if u.port != "" {
		if n, err := strconv.Atoi(u.port); err != nil || n < 1 || n > 65535 {
			return bad("its port is no port")
		}
	}
	switch strings.ToLower(parsed.Scheme) {
	case "file":
		if u.host != "" && u.host != "localhost" {
			return bad("a file URL names no host")
		}
		return pathURL(u.path, bad)
	case "ssh", "git+ssh", "ssh+git":
		u.scheme = schemeSSH
		if u.password != "" {
			return bad("a password has no place in an ssh URL")
		}
		// ssh://host/~alice/x means alice's home there, as in git.
		if strings.HasPrefix(u.path, "/~") {
			u.path = u.path[1:]
		}
		if why := u.sshProblem(); why != "" {
			return bad(why)
		}
		return u, nil
	case "http", "https":
		u.scheme = scheme(strings.ToLower(parsed.Scheme))
		if u.host == "" {
			return bad("it names no host")
		}
		// git speaks with what gives it a password line by line.
		if strings.ContainsFunc(u.user+u.password, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			return bad("its user name or password holds a control character")
		}
		u.raw = Redact(raw)
		return u, nil
	}
	return bad("only a path, file, ssh, http and https are known")
}

func (u remoteURL) sshProblem() string {
	switch {
	case u.host == "" || u.path == "" || u.path == "/":
		return "it names no host or no path"
	case strings.HasPrefix(u.host, "-") || strings.HasPrefix(u.user, "-") || strings.HasPrefix(u.path, "-"):
		return "a part of it begins with '-'"
	case strings.ContainsAny(u.host, " '\"\\$`;&|<>()"):
		return "its host is no host name"
	}
	return ""
}

func pathURL(path string, bad func(string) (remoteURL, error)) (remoteURL, error) {
	abs, err := filepath.Abs(path)
	if err != nil || path == "" {
		return bad("it is no usable path")
	}
	return remoteURL{scheme: schemePath, raw: abs, path: abs}, nil
}

// gitLogin lets the git program log in with the user name and the password of an
// http(s) URL, by its environment: its arguments are there for every user of the
// machine to read, and raw, which is one, holds neither. Both go to this scheme, host
// and port only. alone says that nobody and nothing else may be asked for a password
// that the URL does not hold: to ask, git would put the user name, which may be a
// token, in an argument.
func (u remoteURL) gitLogin(alone bool) []string {
	if u.scheme != schemeHTTP && u.scheme != schemeHTTPS || u.user == "" && !u.secret {
		return nil
	}
	start := strings.Index(u.raw, "://") + len("://")
	authority, _, _ := strings.Cut(u.raw[start:], "/")
	at := "credential." + string(u.scheme) + "://" + authority
	settings := [][2]string{
		// What the user rewrites is a URL without user info, which this was not: the
		// longest match, itself, counts.
		{"url." + u.raw + ".insteadOf", u.raw},
		{"url." + u.raw + ".pushInsteadOf", u.raw},
	}
	var env []string
	if u.secret || alone {
		// The machine's own helpers are not asked, nor told what to keep.
		settings = append(settings, [2]string{at + ".helper", ""}, [2]string{at + ".helper", loginHelper})
		env = append(env, "JIT_GIT_USER="+u.user, "JIT_GIT_PASSWORD="+u.password)
	} else {
		settings = append(settings, [2]string{at + ".username", u.user})
	}
	if u.user == "" {
		// With a token alone git takes what a helper says for nothing, and sends nothing.
		token := base64.StdEncoding.EncodeToString([]byte(":" + u.password))
		settings = append(settings, [2]string{"http." + u.raw + ".extraHeader", "Authorization: Basic " + token})
	}
	env = append(env, fmt.Sprintf("GIT_CONFIG_COUNT=%d", len(settings)))
	for i, s := range settings {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, s[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, s[1]))
	}
	return env
}

// loginHelper is a credential helper (gitcredentials(7)) for git's shell. printf is
// the shell's own: it starts no program that would show its arguments.
const loginHelper = `!f() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$JIT_GIT_USER" "$JIT_GIT_PASSWORD"; }; f`

// identity is what a mirror is tied to: the address without credentials.
func (u remoteURL) identity() string { return Redact(u.raw) }

// redactAll is Redact for what may be no URL: a password in which a '/', '?' or '#'
// stands as it is ends before the '@' that was meant.
func redactAll(raw string) string {
	i, at := strings.Index(raw, "://"), strings.LastIndexByte(raw, '@')
	if i < 0 || at < i {
		return raw
	}
	return raw[:i+3] + raw[at+1:]
}

// Redact gives a remote's address without the password, token or other user
// information that a URL may carry. It is what may be shown and logged.
func Redact(raw string) string {
	i := strings.Index(raw, "://")
	if i < 0 {
		return raw
	}
	rest := raw[i+3:]
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndexByte(rest[:end], '@')
	if at < 0 {
		return raw
	}
	if strings.HasPrefix(strings.ToLower(raw), "http") {
		// Hosts take a token as the user's name too.
		return raw[:i+3] + rest[at+1:]
	}
	user, _, _ := strings.Cut(rest[:at], ":")
	return raw[:i+3] + user + "@" + rest[at+1:]
}
