package reconcile

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/target"
	"github.com/jitaccess/jit/pkg/target/builtin"
)

const placesPolicy = `admins: {people: [alice], threshold: 1}
people:
  alice: {keys: [8617331616637AC6166C68ED53B33873DE6DA7F8]}
resources:
  web1:
    driver: authorized-keys
    roles:
      shell: {parameters: {account: www-data}}
      files: {parameters: {account: www-data}}
  back1:
    driver: authorized-keys
    roles:
      back: {parameters: {account: backup}}
  both1:
    driver: authorized-keys
    roles:
      shell: {parameters: {account: www-data}}
      back: {parameters: {account: backup}}
rules:
  - {name: all, resources: ["*"], roles: ["*"], requesters: ["*"], maxDuration: 2h, approve: auto}
`

// TestSharing: one file is for one account.
func TestSharing(t *testing.T) {
	var body policy.Body
	if err := record.DecodeStrict([]byte(placesPolicy), &body); err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(policy.Document{Body: body}, record.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		files map[string]string
		bad   string
	}{
		"a file an account":                  {map[string]string{"both1": "/x/%u/keys"}, ""},
		"one file, one account":              {map[string]string{"web1": "/x/keys"}, ""},
		"one file, two accounts":             {map[string]string{"both1": "/x/keys"}, "both1"},
		"one file of two resources":          {map[string]string{"web1": "/x/keys", "back1": "/x/keys"}, "back1 web1"},
		"a file that another's pattern is":   {map[string]string{"web1": "/x/%u/keys", "back1": "/x/www-data/keys"}, "back1 web1"},
		"two files of two resources":         {map[string]string{"web1": "/x/keys", "back1": "/y/keys"}, ""},
		"one account's file of two patterns": {map[string]string{"web1": "/x/www-data/keys", "both1": "/x/%u/keys"}, ""},
		"no such resource":                   {map[string]string{"web9": "/x/keys"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			config := Config{Targets: map[string]TargetConfig{}}
			for resource, file := range c.files {
				config.Targets[resource] = TargetConfig{Settings: map[string]string{"file": file}}
			}
			got := Sharing(config, p, builtin.Drivers())
			for _, resource := range strings.Fields(c.bad) {
				if target.ReasonOf(got[resource]) != target.BadSetting {
					t.Errorf("%s: %v", resource, got[resource])
				}
			}
			if len(got) != len(strings.Fields(c.bad)) {
				t.Errorf("refused: %v, want %q", got, c.bad)
			}
		})
	}
	if got := Sharing(Config{}, nil, nil); len(got) > 0 {
		t.Errorf("without a policy: %v", got)
	}
}

// TestEndedTogether: two grants of one key that end in one run are not each other's
// access from before jit; a line of a grant that nobody knows is told of.
func TestEndedTogether(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Second)
	h := newHost(t, now)
	h.store.Granted("bob", time.Hour, "host:shell")
	h.store.Granted("bob", time.Hour, "host:shell")
	run := func() Result {
		t.Helper()
		res, err := Run(t.Context(), h.o)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	if res := run(); res.Opened != 2 {
		t.Fatalf("opened %d: %+v", res.Opened, res)
	}
	data, err := os.ReadFile(h.file)
	if err != nil {
		t.Fatal(err)
	}
	h.store.Set(h.store.Now().Add(time.Hour))
	res := run()
	if res.Ended != 2 {
		t.Fatalf("ended %d: %+v", res.Ended, res)
	}
	for _, c := range res.Changes {
		if c.Ending.Standing || len(c.Ending.Left) > 0 {
			t.Errorf("%s", c)
		}
	}
	if left, err := os.ReadFile(h.file); err != nil || strings.Contains(string(left), "ssh-ed25519") {
		t.Errorf("left: %s (%v)", left, err)
	}

	// The same key in a line of a grant that nobody knows.
	h.store.Granted("bob", time.Hour, "host:shell")
	if res := run(); res.Opened != 1 {
		t.Fatalf("opened %d: %+v", res.Opened, res)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	line = idInLine.ReplaceAllString(line, "01JD0000000000000000000000-0")
	line = expiryInLine.ReplaceAllString(line, `expiry-time="20990101000000Z"`)
	mine, err := os.ReadFile(h.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.file, append(mine, line+"\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	h.store.Set(h.store.Now().Add(time.Hour))
	res = run()
	if res.Ended != 1 || len(res.Changes) != 1 || res.Changes[0].Ending.Standing || !strings.Contains(strings.Join(res.Changes[0].Ending.Left, " "), "01JD0000000000000000000000-0") {
		t.Errorf("ended %d: %+v", res.Ended, res.Changes)
	}
}

var (
	idInLine     = regexp.MustCompile(`[0-9A-Z]{26}-[0-9]`)
	expiryInLine = regexp.MustCompile(`expiry-time="[^"]*"`)
)

// TestOneFileForTwoAccounts: nothing opens where the file would be good for both.
func TestOneFileForTwoAccounts(t *testing.T) {
	t.Parallel()
	h := newHost(t, time.Now().UTC().Truncate(time.Second), func(b *policy.Body) {
		b.Resources["host"].Roles["back"] = policy.Role{Parameters: map[string]string{"account": "nobody"}}
	})
	h.store.Granted("bob", time.Hour, "host:shell")
	// A dry run finds it as well.
	dry := h.o
	dry.DryRun = true
	res, err := Run(t.Context(), dry)
	if err != nil {
		t.Fatal(err)
	}
	if res.Opened != 0 || res.Failed != 1 || res.ExitCode() != 6 || res.Changes[0].Outcome != Failed || target.ReasonOf(res.Changes[0].Err) != target.BadSetting {
		t.Errorf("dry: opened %d, failed %d: %+v", res.Opened, res.Failed, res.Changes)
	}
	res, err = Run(t.Context(), h.o)
	if err != nil {
		t.Fatal(err)
	}
	if res.Opened != 0 || res.Failed != 1 || target.ReasonOf(res.Changes[0].Err) != target.BadSetting || !strings.Contains(res.Changes[0].Err.Error(), `"nobody"`) {
		t.Errorf("opened %d, failed %d: %+v", res.Opened, res.Failed, res.Changes)
	}
	if _, err := os.Stat(h.file); err == nil {
		t.Error("the file was written")
	}
}
