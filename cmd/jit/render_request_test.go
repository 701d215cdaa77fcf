package main

import (
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/request"
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

// TestWhatIsExtendedEndsInParts: where the parts of a bundle end apart, each is named.
func TestWhatIsExtendedEndsInParts(t *testing.T) {
	t.Parallel()
	a := &App{Local: time.UTC}
	at := func(hour int) time.Time { return time.Date(2030, 1, 14, hour, 0, 0, 0, time.UTC) }
	part := func(resource string, hour int) request.BasePart {
		return request.BasePart{Grant: request.Grant{Resource: resource, Role: "login"}, Opens: at(1), Ends: at(hour)}
	}
	for _, c := range []struct {
		parts []request.BasePart
		want  string
	}{
		{[]request.BasePart{part("web", 5)}, ", which ends at 2030-01-14 05:00 UTC without this"},
		{[]request.BasePart{part("web", 5), part("app", 5)}, ", which ends at 2030-01-14 05:00 UTC without this"},
		{[]request.BasePart{part("web", 5), part("app", 8)},
			", of which without this web:login ends at 2030-01-14 05:00 UTC and app:login ends at 2030-01-14 08:00 UTC"},
	} {
		if got := a.endsWithout(&request.Base{Parts: c.parts}); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
