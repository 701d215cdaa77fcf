package gitstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// httpConversation is a service behind git's smart HTTP (gitprotocol-http(5)):
// one request for the refs, one for the rest.
type httpConversation struct {
	s       *Store
	ctx     context.Context
	base    string
	service string
	client  *http.Client
	refs    io.ReadCloser
	answer  io.ReadCloser
}

// connectTimeout bounds the parts of a request that come before its answer.
const connectTimeout = 20 * time.Second

func (s *Store) dialHTTP(ctx context.Context, service string) (conversation, error) {
	u, err := url.Parse(s.url.raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrBadURL, s.url.identity())
	}
	transport := &http.Transport{
		TLSHandshakeTimeout: connectTimeout,
		DisableKeepAlives:   false,
		IdleConnTimeout:     connectTimeout,
	}
	if !s.o.Isolated {
		transport.Proxy = http.ProxyFromEnvironment
	}
	c := &httpConversation{
		s: s, ctx: ctx, service: service, base: strings.TrimSuffix(u.String(), "/"),
		client: &http.Client{
			Transport: transport,
			// Whoever can redirect could show another store, and would be sent
			// the credentials.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	c.refs, err = c.do(http.MethodGet, c.base+"/info/refs?service="+service, nil, "application/x-"+service+"-advertisement")
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// do sends a request and checks that a git server answers.
func (c *httpConversation) do(method, address string, body []byte, wantType string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(c.ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "git/2 (jit)")
	if body != nil {
		req.Header.Set("Content-Type", "application/x-"+c.service+"-request")
		req.Header.Set("Accept", wantType)
	}
	if c.s.url.user != "" || c.s.url.secret {
		req.SetBasicAuth(c.s.url.user, c.s.url.password)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL, which is named already
		}
		return nil, err
	}
	kinds := []error{ErrUnreachable}
	switch {
	case resp.StatusCode == http.StatusOK && resp.Header.Get("Content-Type") == wantType:
		return resp.Body, nil
	case resp.StatusCode == http.StatusOK:
		kinds, err = []error{ErrBadRemote}, fmt.Errorf("it answers with %q, as no git server does", plain(resp.Header.Get("Content-Type")))
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		kinds, err = []error{ErrBadRemote}, fmt.Errorf("it redirects to %q, which is not followed: use that address if it is right", plain(Redact(resp.Header.Get("Location"))))
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		kinds, err = append(kinds, ErrAuth), errors.New(resp.Status)
	default:
		err = errors.New(resp.Status)
	}
	words, _ := io.ReadAll(io.LimitReader(resp.Body, maxSaid))
	_ = resp.Body.Close()
	return nil, &RemoteError{Op: strings.TrimPrefix(c.service, "git-"), URL: c.s.url.identity(), Kind: kinds, Err: err, Said: plain(string(words))}
}

func (c *httpConversation) advertised() io.Reader { return c.refs }

func (c *httpConversation) said() string { return "" }

func (c *httpConversation) request(body func(io.Writer) error) (io.Reader, error) {
	var buf bytes.Buffer
	if err := body(&buf); err != nil {
		return nil, err
	}
	var err error
	c.answer, err = c.do(http.MethodPost, c.base+"/"+c.service, buf.Bytes(), "application/x-"+c.service+"-result")
	return c.answer, err
}

func (c *httpConversation) close() {
	for _, body := range []io.ReadCloser{c.refs, c.answer} {
		if body != nil {
			_ = body.Close()
		}
	}
	c.client.CloseIdleConnections()
}
