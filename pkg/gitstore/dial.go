package gitstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// sshConversation is a service run by an SSH server.
type sshConversation struct {
	client  *ssh.Client
	session *ssh.Session
	in      io.WriteCloser
	out     io.Reader
	talk    said
	asked   bool
	release []func()
	once    sync.Once
}

// dialSSH logs in and starts a service. The whole conversation ends with ctx.
func (s *Store) dialSSH(ctx context.Context, service string) (conversation, error) {
	c := &sshConversation{}
	if err := c.dial(ctx, s, service); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *sshConversation) dial(ctx context.Context, s *Store, service string) error {
	config, addr, err := s.sshConfig(ctx, c)
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	c.release = append(c.release, func() { stop() }, func() { _ = conn.Close() })
	link, channels, requests, err := ssh.NewClientConn(conn, addr, config)
	if err != nil {
		switch {
		case knownhosts.IsHostKeyChanged(err), knownhosts.IsHostUnknown(err),
			strings.Contains(err.Error(), "no common algorithm for host key"):
			return &RemoteError{Op: "ssh", URL: s.url.identity(), Kind: []error{ErrUnreachable, ErrHostKey}, Err: err}
		case strings.Contains(err.Error(), "unable to authenticate"):
			return &RemoteError{Op: "ssh", URL: s.url.identity(), Kind: []error{ErrUnreachable, ErrAuth}, Err: err}
		}
		return err
	}
	c.client = ssh.NewClient(link, channels, requests)
	if c.session, err = c.client.NewSession(); err != nil {
		return err
	}
	c.session.Stderr = &c.talk
	if c.in, err = c.session.StdinPipe(); err != nil {
		return err
	}
	if c.out, err = c.session.StdoutPipe(); err != nil {
		return err
	}
	return c.session.Start(service + " " + shellQuote(s.url.path))
}

// sshConfig says how to log in and whose host keys to accept.
func (s *Store) sshConfig(ctx context.Context, c *sshConversation) (*ssh.ClientConfig, string, error) {
	name := s.url.user
	if name == "" {
		name = s.o.SSH.User
	}
	if name == "" {
		name = "git"
	}
	port := s.url.port
	if port == "" {
		port = "22"
	}
	addr := net.JoinHostPort(s.url.host, port)
	known, err := s.knownHosts()
	if err != nil {
		return nil, "", err
	}
	auth, err := s.sshAuth(ctx, c)
	if err != nil {
		return nil, "", err
	}
	return &ssh.ClientConfig{
		User:            name,
		Auth:            []ssh.AuthMethod{auth},
		HostKeyCallback: known.HostKeyCallback(),
		// Without this the server may offer a key of another type than the one
		// that known_hosts holds, and a right host would look like a wrong one.
		HostKeyAlgorithms: known.HostKeyAlgorithms(addr),
		Timeout:           s.o.Timeout,
	}, addr, nil
}

func (s *Store) knownHosts() (*knownhosts.HostKeyDB, error) {
	files := s.o.SSH.KnownHosts
	if len(files) == 0 {
		// The account's home, not $HOME, which is part of an environment that a
		// reconciler does not trust.
		if me, err := user.Current(); err == nil {
			files = append(files, filepath.Join(me.HomeDir, ".ssh", "known_hosts"))
		}
		files = append(files, "/etc/ssh/ssh_known_hosts")
	}
	var there []string
	for _, f := range files {
		if _, err := os.Stat(f); err == nil {
			there = append(there, f)
		} else if !errors.Is(err, os.ErrNotExist) || len(s.o.SSH.KnownHosts) > 0 {
			return nil, fmt.Errorf("known hosts: %w", err)
		}
	}
	if len(there) == 0 {
		return nil, &RemoteError{Op: "ssh", URL: s.url.identity(), Kind: []error{ErrUnreachable, ErrHostKey},
			Err: fmt.Errorf("there is no file of known hosts: %s", strings.Join(files, ", "))}
	}
	known, err := knownhosts.NewDB(there...)
	if err != nil {
		return nil, fmt.Errorf("known hosts: %w", err)
	}
	return known, nil
}

func (s *Store) sshAuth(ctx context.Context, c *sshConversation) (ssh.AuthMethod, error) {
	authError := func(err error) error {
		return &RemoteError{Op: "ssh", URL: s.url.identity(), Kind: []error{ErrUnreachable, ErrAuth}, Err: err}
	}
	if file := s.o.SSH.IdentityFile; file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, authError(fmt.Errorf("the ssh key: %w", err))
		}
		signer, err := ssh.ParsePrivateKey(data)
		if err != nil {
			return nil, authError(fmt.Errorf("the ssh key %q: %w", file, err))
		}
		return ssh.PublicKeys(signer), nil
	}
	socket := ""
	for _, kv := range s.environment() {
		if value, ok := strings.CutPrefix(kv, "SSH_AUTH_SOCK="); ok {
			socket = value
		}
	}
	if socket == "" {
		return nil, authError(errors.New("no key file is set and no ssh agent runs"))
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, authError(fmt.Errorf("the ssh agent: %w", err))
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	c.release = append(c.release, func() { stop() }, func() { _ = conn.Close() })
	return ssh.PublicKeysCallback(agent.NewClient(conn).Signers), nil
}

func (c *sshConversation) advertised() io.Reader { return c.out }

func (c *sshConversation) said() string { return c.talk.String() }

func (c *sshConversation) request(body func(io.Writer) error) (io.Reader, error) {
	c.asked = true
	if err := body(c.in); err != nil {
		return nil, err
	}
	// A fast server has answered in full and closed the channel before a slow side
	// comes to close its own end, which then gives EOF. The answer tells whether
	// all was well.
	if err := c.in.Close(); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return c.out, nil
}

func (c *sshConversation) close() {
	c.once.Do(func() {
		if c.in != nil && !c.asked {
			_, _ = io.WriteString(c.in, "0000")
			_ = c.in.Close()
		}
		if c.session != nil {
			_ = c.session.Close()
		}
		if c.client != nil {
			_ = c.client.Close()
		}
		for _, f := range c.release {
			f()
		}
	})
}
