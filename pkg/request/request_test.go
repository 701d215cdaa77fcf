package request

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

var t0 = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

func hours(n int) record.Duration { return record.Duration{Duration: time.Duration(n) * time.Hour} }

func good() Request {
	return Request{
		Head:   record.Head{APIVersion: record.APIVersion, Kind: record.KindRequest, By: "alice", Created: record.At(t0)},
		Grants: []Grant{{"db", "read"}}, Duration: hours(2), Reason: "to look", Expires: record.At(t0.Add(24 * time.Hour)),
	}
}

func TestCheck(t *testing.T) {
	start := func(d time.Duration) *record.Timestamp { s := record.At(t0.Add(d)); return &s }
	for name, c := range map[string]struct {
		change func(*Request)
		want   string
	}{
		"good":                 {change: func(*Request) {}},
		"starts at once":       {change: func(r *Request) { r.Start = start(0) }},
		"nothing asked":        {func(r *Request) { r.Grants = nil }, "grants names nothing"},
		"twice":                {func(r *Request) { r.Grants = append(r.Grants, r.Grants[0]) }, "names db:read twice"},
		"no role":              {func(r *Request) { r.Grants[0].Role = "" }, "leaves out"},
		"a long name":          {func(r *Request) { r.Grants[0].Resource = strings.Repeat("x", 129) }, "more than 128 bytes"},
		"too many":             {func(r *Request) { r.Grants = many(MaxGrants + 1) }, "more than 20"},
		"the most":             {change: func(r *Request) { r.Grants = many(MaxGrants) }},
		"for how long":         {func(r *Request) { r.Duration = record.Duration{} }, "duration is missing"},
		"a long reason":        {func(r *Request) { r.Reason = strings.Repeat("ä", MaxText+1) }, "reason is longer"},
		"the longest reason":   {change: func(r *Request) { r.Reason = strings.Repeat("ä", MaxText) }},
		"a long ticket":        {func(r *Request) { r.Ticket = strings.Repeat("x", MaxText+1) }, "ticket is longer"},
		"lapses as it is made": {func(r *Request) { r.Expires = r.Created }, "expires does not lie after"},
		"started before":       {func(r *Request) { r.Start = start(-time.Second) }, "start lies before"},
	} {
		t.Run(name, func(t *testing.T) {
			r := good()
			c.change(&r)
			err := r.Check()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && record.ReasonOf(err) != record.ReasonBadValue {
				t.Errorf("reason %q", record.ReasonOf(err))
			}
		})
	}
}

func many(n int) []Grant {
	var all []Grant
	for i := range n {
		all = append(all, Grant{"db", fmt.Sprintf("r%d", i)})
	}
	return all
}

func TestParseGrant(t *testing.T) {
	if g, err := ParseGrant("db:read"); err != nil || g != (Grant{"db", "read"}) || g.String() != "db:read" {
		t.Errorf("%v, %v", g, err)
	}
	for _, s := range []string{"", "db", ":read", "db:", "a:b:c", ":"} {
		if g, err := ParseGrant(s); err == nil {
			t.Errorf("%q gives %v", s, g)
		}
	}
}

// compile makes a policy with rule "r" for db:read, and "w" for db:write.
func compile(t testing.TB, stages []policy.Stage, change ...func(*policy.Rule)) *policy.Policy {
	t.Helper()
	b := policy.Body{
		Admins: policy.Admins{People: []string{"erin"}, Threshold: 1},
		People: map[string]policy.Person{},
		Groups: map[string][]string{"dba": {"bob", "carol"}},
		Resources: map[string]policy.Resource{
			"db": {Driver: "postgres", Roles: map[string]policy.Role{"read": {}, "write": {}, "drop": {}}},
		},
		Rules: []policy.Rule{
			{Name: "r", Resources: []string{"db"}, Roles: []string{"read"}, Requesters: []string{"*"}, MaxDuration: hours(4), Stages: stages},
			{Name: "w", Resources: []string{"db"}, Roles: []string{"write"}, Requesters: []string{"*"}, MaxDuration: hours(1), Approve: policy.ApproveAuto},
		},
	}
	for i, name := range []string{"alice", "bob", "carol", "dave", "erin"} {
		b.People[name] = policy.Person{Keys: []record.Fingerprint{record.Fingerprint(fmt.Sprintf("%040X", i+1))}}
	}
	for _, f := range change {
		f(&b.Rules[0])
	}
	p, err := policy.Compile(policy.Document{Body: b}, record.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func stage(count int, approvers ...string) policy.Stage {
	return policy.Stage{Approvers: approvers, Count: count}
}

func TestAllowed(t *testing.T) {
	byBob := []policy.Stage{stage(1, "bob")}
	for name, c := range map[string]struct {
		stages []policy.Stage
		rule   func(*policy.Rule)
		ask    func(*Request)
		want   policy.Code
		text   string
	}{
		"good":                         {},
		"as long as allowed":           {ask: func(r *Request) { r.Duration = hours(4) }},
		"too long":                     {ask: func(r *Request) { r.Duration = hours(5) }, want: policy.TooLong, text: "at most 4h"},
		"too long for one of a bundle": {ask: func(r *Request) { r.Grants = append(r.Grants, Grant{"db", "write"}) }, want: policy.TooLong, text: `rule "w"`},
		"no rule for one of a bundle":  {ask: func(r *Request) { r.Grants = append(r.Grants, Grant{"db", "drop"}) }, want: policy.NoRule},
		"somebody unknown":             {ask: func(r *Request) { r.By = "mallory" }, want: policy.UnknownPerson},
		"an unknown resource":          {ask: func(r *Request) { r.Grants[0].Resource = "dc" }, want: policy.UnknownResource},
		"an unknown role":              {ask: func(r *Request) { r.Grants[0].Role = "reed" }, want: policy.UnknownRole},
		"a blank reason":               {ask: func(r *Request) { r.Reason = " \n " }, want: policy.ReasonMissing},
		"a reason that does not match": {rule: func(r *policy.Rule) { r.Requires.Reason = "INC-.*" }, want: policy.ReasonPattern},
		"no ticket":                    {rule: func(r *policy.Rule) { r.Requires.Ticket = "[A-Z]+-[0-9]+" }, want: policy.TicketPattern},
		"a ticket":                     {rule: func(r *policy.Rule) { r.Requires.Ticket = "[A-Z]+-[0-9]+" }, ask: func(r *Request) { r.Ticket = "OPS-1" }},
		"waits too long":               {ask: func(r *Request) { r.Expires = record.At(t0.Add(24*time.Hour + time.Second)) }, want: policy.PendingTooLong, text: "1d"},
		"waits too long for the rule":  {rule: func(r *policy.Rule) { r.Pending = hours(1) }, want: policy.PendingTooLong, text: "1h"},
		"nobody but oneself":           {stages: []policy.Stage{stage(1, "alice")}, want: policy.NobodyCanApprove, text: "stage 1"},
		"one of two is oneself":        {stages: []policy.Stage{stage(2, "alice", "bob")}, want: policy.NobodyCanApprove, text: "lacks 1"},
		"one person for two stages":    {stages: []policy.Stage{stage(1, "bob"), stage(1, "bob")}, want: policy.NobodyCanApprove, text: "stage 2"},
		"three places, two people":     {stages: []policy.Stage{stage(1, "group:dba"), stage(2, "group:dba")}, want: policy.NobodyCanApprove, text: "stage 2"},
		// Whoever comes first to mind for stage 1 is the only one for stage 2.
		"the other way round": {stages: []policy.Stage{stage(1, "bob", "carol"), stage(1, "bob")}},
		"by a chain of three": {stages: []policy.Stage{stage(1, "bob", "carol"), stage(1, "bob", "dave"), stage(1, "bob")}},
		"a chain that breaks": {stages: []policy.Stage{stage(1, "bob", "carol"), stage(1, "carol", "bob"), stage(1, "bob")}, want: policy.NobodyCanApprove, text: "stage 3"},
		"all four":            {stages: []policy.Stage{stage(4, "*")}},
		"five of four":        {stages: []policy.Stage{stage(5, "*")}, want: policy.NobodyCanApprove, text: "lacks 1"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.stages == nil {
				c.stages = byBob
			}
			var changes []func(*policy.Rule)
			if c.rule != nil {
				changes = append(changes, c.rule)
			}
			r := good()
			if c.ask != nil {
				c.ask(&r)
			}
			p := compile(t, c.stages, changes...)
			err := r.Allowed(p, Before{})
			if policy.CodeOf(err) != c.want || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %q with %q", err, c.want, c.text)
			}
			// Whether enough people are there is no question of the rules' terms.
			if fits := r.Fits(p, Before{}); (fits == nil) != (c.want == "" || c.want == policy.NobodyCanApprove) {
				t.Errorf("fits: %v", fits)
			}
		})
	}
}

func TestCheckText(t *testing.T) {
	for _, c := range []struct {
		text   string
		wanted bool
		ok     bool
	}{
		{"", false, true}, {"", true, false}, {" \n", true, false}, {"x", true, true},
		{strings.Repeat("ü", MaxText), true, true}, {strings.Repeat("x", MaxText+1), false, false},
	} {
		if err := CheckText("comment", c.text, c.wanted); (err == nil) != c.ok {
			t.Errorf("%.10q, wanted %t: %v", c.text, c.wanted, err)
		}
	}
}

func TestDecodersRefuseWhatIsNotVerified(t *testing.T) {
	if _, err := Decode(record.Verified{}); record.ReasonOf(err) != record.ReasonNotVerified {
		t.Errorf("request: %v", err)
	}
	if _, err := DecodeComment(record.Verified{}); record.ReasonOf(err) != record.ReasonNotVerified {
		t.Errorf("comment: %v", err)
	}
}

func BenchmarkAllowed(b *testing.B) {
	p, r := compile(b, []policy.Stage{stage(1, "bob", "carol"), stage(1, "bob", "dave"), stage(1, "bob")}), good()
	for b.Loop() {
		if err := r.Allowed(p, Before{}); err != nil {
			b.Fatal(err)
		}
	}
}
