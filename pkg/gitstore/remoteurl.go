package gitstore

import (
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
	raw        string // as the git program takes it: a clean absolute path, or the URL as given
	user       string // ssh and http(s)
	password   string // http(s) only
	host, port string // ssh and http(s); port is "" where none is given
	path       string // absolute folder, or the path on the server
}

// parseURL takes a remote's address apart: a path, file://, ssh://, scp-like
// [user@]host:path, http:// or https://. All else is refused: git's ext:: and
// other helpers run commands, git:// has no integrity at all, and an address
// (or a host) that begins with '-' would be read as an option.
func parseURL(raw string) (remoteURL, error) {
	bad := func(why string) (remoteURL, error) {
		return remoteURL{}, fmt.Errorf("%w: %q: %s", ErrBadURL, Redact(raw), why)
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
		u.password, _ = parsed.User.Password()
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

// identity is what a mirror is tied to: the address without credentials.
func (u remoteURL) identity() string { return Redact(u.raw) }

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
