package main

import (
	"strings"
	"testing"

	"github.com/jitaccess/jit/pkg/policy"
)

// TestAccountsAreShownInFull: whoever decides sees everybody whom an account lets in.
func TestAccountsAreShownInFull(t *testing.T) {
	t.Parallel()
	first, second := "ssh-ed25519 "+strings.Repeat("A", 68)+" alice", "ssh-rsa "+strings.Repeat("B", 700)+" mallory"
	got := meaningText(policy.Meaning{Driver: "authorized-keys", Account: "  " + first + "\n\n" + second + "\n"})
	if want := "authorized-keys as " + first + " and as " + second; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
