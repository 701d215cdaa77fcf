package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
)

// newSSHKey makes the key with which alice would log in, as ssh-keygen does: the
// demo needs nothing but git and gpg. It gives the public part.
func newSSHKey(file string) (string, error) {
	public, secret, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	block, err := ssh.MarshalPrivateKey(secret, "alice")
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		return "", err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return "", err
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	return line, os.WriteFile(file+".pub", []byte(line+" alice\n"), 0o644)
}
