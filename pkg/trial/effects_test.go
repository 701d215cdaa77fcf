package trial

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// changed compiles an example with one text in place of another.
func changed(t *testing.T, example, old, new string) *policy.Policy {
	t.Helper()
	text := readExample(t, example, "policy.yaml")
	if strings.Count(text, old) != 1 {
		t.Fatalf("%q stands %d times in the example", old, strings.Count(text, old))
	}
	p, err := compileText(strings.Replace(text, old, new, 1))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// told writes the effects in lines.
func told(e Effects) []string {
	var lines []string
	for kind, list := range map[string][]Change{"gains": e.Gains, "loses": e.Loses, "terms": e.Terms} {
		for _, x := range list {
			lines = append(lines, fmt.Sprintf("%s: %s: %s: %s → %s: %s", kind, x.Whom, x.What, x.Old, x.New, strings.Join(x.Differs, "; ")))
		}
	}
	for _, n := range slices.Concat(e.Meanings, e.Others) {
		lines = append(lines, n.About+": "+n.Text)
	}
	return lines
}

func TestEffects(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string
		want     []string // the beginning of a line each
	}{
		"a longer time": {"requesters: [\"*\"]\n    maxDuration: 1d", "requesters: [\"*\"]\n    maxDuration: 2d",
			[]string{"terms: everyone: metrics-db:readonly: automatic → automatic: longest: 1d → 2d", "rules: changed figures"}},
		"how far ahead": {"requesters: [\"*\"]\n    maxDuration: 1d", "requesters: [\"*\"]\n    maxDuration: 1d\n    maxAhead: 90d\n    pending: 2h",
			[]string{"terms: everyone: metrics-db:readonly: automatic → automatic: start ahead: 30d (the default) → 90d; waits: 1d (the default) → 2h", "rules: changed figures"}},
		"the defaults, in words": {"requesters: [\"*\"]\n    maxDuration: 1d", "requesters: [\"*\"]\n    maxDuration: 1d\n    maxAhead: 30d\n    pending: 24h",
			[]string{"rules: changed figures"}},
		"who may ask": {"roles: [deploy]\n    requesters: [team:engineering]", "roles: [deploy]\n    requesters: [team:support]",
			[]string{"gains: yuki: web:deploy: no rule → automatic: ", "loses: team:engineering: web:deploy: automatic → no rule: ", "rules: changed deploy"}},
		"who approves": {"{after: 1h, to: [team:founders]}", "{after: 1h, to: [mara]}",
			[]string{"terms: everyone: shop-db:readonly: 1 of team:engineering (after 1h also team:founders) → 1 of team:engineering (after 1h also mara): approval: ", "rules: changed look-at-orders"}},
		"what a role means": {"{grant: metrics_readonly}", "{grant: metrics_owner}",
			[]string{"metrics-db:readonly: grant: metrics_readonly → metrics_owner"}},
		"hours": {"hours: [\"08:00-19:00\"]", "hours: [\"08:00-20:00\"]",
			[]string{"terms: team:engineering: web:deploy: automatic → automatic: asked during: mon tue wed thu fri, 08:00-19:00, Europe/Berlin → mon tue wed thu fri, 08:00-20:00, Europe/Berlin", "rules: changed deploy"}},
		"admins": {"people: [ines, jonas, mara]\n  threshold: 2", "people: [ines, jonas, tom]\n  threshold: 1",
			[]string{"admins: added tom; removed mara", "admins: threshold: 2 → 1"}},
		"keys": {"keys: [\"0000000000000000000000000000000000000005\"]", "keys: [\"0000000000000000000000000000000000000006\"]",
			[]string{"yuki keys: added 0000000000000000000000000000000000000006; removed 0000000000000000000000000000000000000005"}},
		"a role goes": {"      deploy:\n        description: Log in as deploy, to put a new version there\n        parameters: {account: deploy}", "      root:\n        parameters: {account: root, allow-root: \"true\"}",
			[]string{"loses: team:engineering: web:deploy: automatic → no rule: ", "web:root: driver: none → authorized-keys", "web:root: account: none → root", "web:root: allow-root: none → true",
				"resource web roles: added root; removed deploy"}},
		"a denial": {"    approve: deny\n    message: orders are changed by engineering; write a ticket in SHOP", "    maxDuration: 1h\n    approve: auto",
			[]string{"gains: yuki: shop-db:readwrite: denied: orders are changed by engineering; write a ticket in SHOP → automatic: ", "rules: changed support-asks-engineering"}},
		"an emergency": {"      requesters: [team:engineering]\n      maxDuration: 30m", "      requesters: [tom]\n      maxDuration: 30m",
			[]string{"terms: ines, jonas: shop-db:readwrite: 1 of team:founders, or as an emergency 30m at once → 1 of team:founders: emergency: 30m at once, to be acknowledged within 1d by team:founders → none", "rules: changed change-orders"}},
		"comments": {"# When somebody is there to ask.", "# When somebody is there.", []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			old, err := compileText(readExample(t, "startup", "policy.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			lines := told(Compare(old, changed(t, "startup", c.old, c.new), t0))
			for _, want := range c.want {
				if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, want) }) {
					t.Errorf("%q is not said", want)
				}
			}
			if len(lines) != len(c.want) {
				t.Errorf("said are:\n%s", strings.Join(lines, "\n"))
			}
		})
	}
}

// TestEffectsOfWhatIsNew adds a person who is somebody else on a target, a role and a
// rule, and wants all that they mean to be said.
func TestEffectsOfWhatIsNew(t *testing.T) {
	next, err := compileText(strings.NewReplacer(
		"delegation:", "  log: {driver: postgres, roles: {x: {}}}\ndelegation:",
		"\nresources:", "\n  dan: {keys: [\"0000000000000000000000000000000000000004\"], accounts: {postgres: ann}}\nresources:",
		"{parameters: {grant: w}}", "{parameters: {grant: w}}, look: {parameters: {grant: pg_write_server_files}}",
	).Replace(smallPolicy) + "  - {name: look, resources: [db], roles: [look], requesters: [dan], maxDuration: 2h, approve: auto}\n")
	if err != nil {
		t.Fatal(err)
	}
	lines := told(Compare(small(t), next, t0))
	for _, want := range []string{
		"gains: dan: db:look: no rule → automatic: ", "db:look: driver: none → postgres", "db:look: grant: none → pg_write_server_files", "log:x: driver: none → postgres",
		"dan: account of postgres: none → ann", "ann, dan: have one account of postgres: ann",
		"people: added dan", "dan keys: added 0000000000000000000000000000000000000004", "rules: added look", "rule look: longest: 2h",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("%q is not said:\n%s", want, strings.Join(lines, "\n"))
		}
	}
	if e := Compare(next, next, t0); !e.Empty() {
		t.Errorf("what was so before is said: %v", told(e))
	}
}

func TestEffectsOfAMovedPerson(t *testing.T) {
	old, err := compileText(readExample(t, "on-call", "policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	lines := told(Compare(old, changed(t, "on-call", "ravi@service.example, teams: [sre]", "ravi@service.example, teams: [ops]"), t0))
	for _, want := range []string{"loses: ravi: prod-db:readonly: ", "loses: ravi: prod-host:operator: ", "ravi teams: added ops; removed sre"} {
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, want) }) {
			t.Errorf("%q is not said:\n%s", want, strings.Join(lines, "\n"))
		}
	}
}

// TestEnds takes away from what is open in every way that a policy can.
func TestEnds(t *testing.T) {
	old, err := compileText(readExample(t, "startup", "policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	h := policy.History{{Policy: old, Position: 1}}
	s := newScene(old)
	open := func(who, resource, role string, approvers ...string) approve.Case {
		r := request.Request{Grants: []request.Grant{{Resource: resource, Role: role}}, Duration: hours(1), Reason: "to look into it", Ticket: "SHOP-1"}
		if r.Head, err = s.head(record.KindRequest, who, t0); err != nil {
			t.Fatal(err)
		}
		r.Expires = r.Lapse(old)
		s.open(r, request.Before{Past: &policy.Past{}})
		for _, by := range approvers {
			if _, refusal, err := s.do(Deed{By: by}, t0.Add(time.Minute)); refusal != nil || err != nil {
				t.Fatal(refusal, err)
			}
		}
		return s.c
	}
	cases := []approve.Case{
		open("yuki", "metrics-db", "readonly"), open("tom", "shop-db", "readwrite", "mara"), open("tom", "shop-db", "readonly"), open("tom", "web", "deploy"),
	}
	for name, c := range map[string]struct{ old, new, ended, undecided string }{
		"another meaning":   {"{grant: metrics_readonly}", "{grant: metrics_owner}", "yuki metrics-db:readonly: the policy changed what metrics-db:readonly means", ""},
		"other terms":       {"requesters: [\"*\"]\n    maxDuration: 1d", "requesters: [\"*\"]\n    maxDuration: 2d", "", ""},
		"no rule any more":  {"roles: [readonly]\n    requesters: [\"*\"]\n    maxDuration: 4h", "roles: [readonly]\n    requesters: [yuki]\n    maxDuration: 4h", "", "tom shop-db:readonly: no rule lets tom ask for shop-db:readonly"},
		"a role is gone":    {"      deploy:\n        description: Log in as deploy, to put a new version there\n", "      run:\n", "tom web:deploy: the policy changed: resource \"web\" has no role \"deploy\"", ""},
		"nothing concerned": {"hours: [\"08:00-19:00\"]", "hours: [\"08:00-20:00\"]", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			next := changed(t, "startup", c.old, c.new)
			got := Ends(h, next, 10, cases, t0.Add(10*time.Minute))
			text := func(list []Ending) string {
				var all []string
				for _, e := range list {
					all = append(all, fmt.Sprintf("%s %s: %s", e.By, e.Grants[0], e.Reason))
				}
				return strings.Join(all, "; ")
			}
			if ended, undecided := text(got.Ended), text(got.Undecided); ended != c.ended || undecided != c.undecided {
				t.Errorf("ended: %q\nundecided: %q", ended, undecided)
			}
		})
	}
}
