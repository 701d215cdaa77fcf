package request

import (
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// compileBody is compile with a change to the whole policy.
func compileBody(t testing.TB, change func(*policy.Body)) *policy.Policy {
	t.Helper()
	b := compile(t, []policy.Stage{stage(1, "bob")}).Document().Body
	change(&b)
	p, err := policy.Compile(policy.Document{Body: b}, record.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func held(id record.ID, role, state string, from, until time.Duration) policy.Held {
	h := policy.Held{Request: id, Resource: "db", Role: role, State: state}
	if until > from {
		h.Since, h.Until = t0.Add(from), t0.Add(until)
	}
	return h
}

// TestTerms: what a rule may refuse besides how long, and why.
func TestTerms(t *testing.T) {
	const h = time.Hour
	open := held("one", "read", "active", -h, h)
	waits := held("two", "read", "pending", 0, 0)
	emergency := func(r *policy.Rule) {
		r.Emergency = &policy.Emergency{Requesters: []string{"alice"}, MaxDuration: hours(2), Acknowledge: hours(24)}
	}
	start := func(d time.Duration) func(*Request) {
		return func(r *Request) { s := record.At(t0.Add(d)); r.Start = &s }
	}
	between := func(items ...string) func(*policy.Body) {
		return func(b *policy.Body) { b.Conflicts = []policy.Conflict{{Name: "four-eyes", Between: items}} }
	}
	office := func(span string) func(*policy.Body) {
		return func(b *policy.Body) {
			b.Schedules = map[string]policy.Schedule{"office": {Zone: "Europe/Berlin", Hours: []string{span},
				Freeze: []policy.Freeze{{From: "2026-12-20", Until: "2027-01-06", Reason: "holidays"}}}}
			b.Rules[0].AskDuring = "office"
		}
	}
	both := func(r *Request) { r.Grants, r.Duration = append(r.Grants, Grant{"db", "write"}), hours(1) }
	for name, c := range map[string]struct {
		rule func(*policy.Rule)
		body func(*policy.Body)
		ask  func(*Request)
		past *policy.Past // nil: not asked for
		want policy.Code
		text string
		hint string
	}{
		"a rule that denies": {rule: func(r *policy.Rule) {
			*r = policy.Rule{Name: "r", Resources: r.Resources, Roles: r.Roles, Requesters: r.Requesters, Approve: policy.ApproveDeny, Message: "use the replica"}
		},
			want: policy.RuleDenies, text: "use the replica"},

		"a start as far ahead as allowed": {rule: func(r *policy.Rule) { r.MaxAhead = hours(48) }, ask: start(48 * h)},
		"a start too far ahead":           {rule: func(r *policy.Rule) { r.MaxAhead = hours(48) }, ask: start(48*h + time.Second), want: policy.TooFarAhead, text: "2d"},
		"a start too far ahead for all":   {ask: start(31 * 24 * h), want: policy.TooFarAhead, text: "30d"},

		"within the hours":         {body: office("08:00-18:00")},
		"outside the hours":        {body: office("12:00-18:00"), want: policy.OutsideHours, text: "keeps hours", hint: "2026-11-24T11:00:00Z"},
		"outside, in an emergency": {body: func(b *policy.Body) { office("12:00-18:00")(b); emergency(&b.Rules[0]) }, ask: asEmergency, past: &policy.Past{}},
		"hours that never meet": {body: func(b *policy.Body) {
			office("12:00-18:00")(b)
			b.Rules[0].AskDuring = ""
			use(b, "08:00-09:00", "10:00-11:00")
		}, ask: both, want: policy.NeverOpen, text: "never come"},
		"hours of their own, apart": {body: func(b *policy.Body) { use(b, "08:00-09:00", "10:00-11:00"); b.Rules[0].Partial = true }, ask: both},

		"one is open, and one allowed":        {rule: func(r *policy.Rule) { r.MaxOpen = 1 }, past: &policy.Past{Open: []policy.Held{open}}, want: policy.TooManyOpen, text: "has 1 requests open"},
		"one is open, and two allowed":        {rule: func(r *policy.Rule) { r.MaxOpen = 2 }, past: &policy.Past{Open: []policy.Held{open}}},
		"what waits counts":                   {rule: func(r *policy.Rule) { r.MaxOpen = 2 }, past: &policy.Past{Open: []policy.Held{open, waits}}, want: policy.TooManyOpen},
		"a bundle counts once":                {rule: func(r *policy.Rule) { r.MaxOpen, r.Roles = 2, []string{"read", "drop"} }, past: &policy.Past{Open: []policy.Held{open, held("one", "drop", "active", -h, h)}}},
		"another rule's does not count":       {rule: func(r *policy.Rule) { r.MaxOpen = 1 }, past: &policy.Past{Open: []policy.Held{held("one", "write", "active", -h, h)}}},
		"nobody asked what is open":           {rule: func(r *policy.Rule) { r.MaxOpen = 1 }, want: policy.PastUnknown},
		"as many as allowed in the role":      {rule: func(r *policy.Rule) { r.MaxOpenPerRole = 3 }, past: &policy.Past{InRole: map[string]int{"db:read": 3}}, want: policy.TooManyInRole, text: "3 requests for db:read"},
		"fewer than allowed in the role":      {rule: func(r *policy.Rule) { r.MaxOpenPerRole = 3 }, past: &policy.Past{InRole: map[string]int{"db:read": 2, "db:write": 9}}},
		"an extension is none more":           {rule: func(r *policy.Rule) { r.MaxOpen, r.MaxOpenPerRole, r.CoolingOff, r.MaxTotal = 1, 1, hours(1), hours(8) }, ask: extend(0, h), past: &policy.Past{Open: []policy.Held{open}, InRole: map[string]int{"db:read": 1}}},
		"cooling off":                         {rule: func(r *policy.Rule) { r.CoolingOff = hours(2) }, past: &policy.Past{Recent: []policy.Held{held("one", "read", "expired", -3*h, -h)}}, want: policy.CoolingOff, hint: "2026-11-24T10:00:00Z"},
		"cooled off":                          {rule: func(r *policy.Rule) { r.CoolingOff = hours(2) }, past: &policy.Past{Recent: []policy.Held{held("one", "read", "expired", -3*h, -2*h)}}},
		"cooling off from something else":     {rule: func(r *policy.Rule) { r.CoolingOff = hours(2) }, past: &policy.Past{Recent: []policy.Held{held("one", "drop", "expired", -3*h, -h)}}},
		"cooling off from what never opened":  {rule: func(r *policy.Rule) { r.CoolingOff = hours(2) }, past: &policy.Past{Recent: []policy.Held{held("one", "read", "denied", 0, 0)}}},
		"nobody asked what was open":          {rule: func(r *policy.Rule) { r.CoolingOff = hours(2) }, want: policy.PastUnknown},
		"two that conflict in a bundle":       {body: between("db:read", "db:write"), ask: both, past: &policy.Past{}, want: policy.ConflictingRoles, text: `db:write cannot be held at once (conflict "four-eyes")`},
		"two of one side of a conflict":       {body: between("db:*", "app:*"), ask: both, past: &policy.Past{}},
		"what conflicts is open":              {body: between("db:read", "db:drop"), past: &policy.Past{Open: []policy.Held{held("01JGXDFAM0NRWGJ9NMJN8N29X9", "drop", "active", -h, h)}}, want: policy.ConflictingRoles, hint: "jit cancel 8n29x9"},
		"what conflicts waits":                {body: between("db:read", "db:drop"), past: &policy.Past{Open: []policy.Held{held("one", "drop", "pending", 0, 0)}}, want: policy.ConflictingRoles},
		"the same is open":                    {body: between("db:read", "db:drop"), past: &policy.Past{Open: []policy.Held{open}}},
		"what conflicts is over":              {body: between("db:read", "db:drop"), past: &policy.Past{Recent: []policy.Held{held("one", "drop", "expired", -3*h, -h)}}},
		"nobody asked what is open, conflict": {body: between("db:read", "db:drop"), want: policy.PastUnknown},

		"an emergency":                         {rule: emergency, ask: asEmergency, past: &policy.Past{}},
		"an emergency under another rule":      {ask: asEmergency, want: policy.NoEmergency, text: `rule "r" gives alice no emergency access`, hint: "without --emergency"},
		"an emergency for somebody else":       {rule: emergency, ask: func(r *Request) { asEmergency(r); r.By = "dave" }, past: &policy.Past{}, want: policy.NoEmergency},
		"an emergency for too long":            {rule: emergency, ask: func(r *Request) { asEmergency(r); r.Duration = hours(3) }, past: &policy.Past{}, want: policy.TooLong, text: "at most 2h"},
		"the last one is not acknowledged":     {rule: emergency, ask: asEmergency, past: &policy.Past{Debts: []record.ID{"01JGXDFAM0NRWGJ9NMJN8N29X9"}}, want: policy.EmergencyUnpaid, text: "8n29x9", hint: "jit ack 8n29x9"},
		"which bars no request":                {rule: emergency, past: &policy.Past{Debts: []record.ID{"one"}}},
		"nor another where the rule says so":   {rule: func(r *policy.Rule) { emergency(r); r.Emergency.Repeat = true }, ask: asEmergency, past: &policy.Past{Debts: []record.ID{"one"}}},
		"nobody asked for the debts":           {rule: emergency, ask: asEmergency, want: policy.PastUnknown},
		"nobody could acknowledge it":          {rule: func(r *policy.Rule) { emergency(r); r.Emergency.Acknowledgers = []string{"alice"} }, ask: asEmergency, past: &policy.Past{}, want: policy.NobodyCanApprove, text: "nobody could acknowledge"},
		"a reason is wanted in an emergency":   {rule: emergency, ask: func(r *Request) { asEmergency(r); r.Reason = "" }, past: &policy.Past{}, want: policy.ReasonMissing},
		"an extension":                         {rule: maxTotal(8), ask: extend(-h, h)},
		"of what is not open":                  {rule: maxTotal(8), ask: func(r *Request) { r.Extends = "one" }, want: policy.NotExtendable, text: "is not open"},
		"of what the rule does not extend":     {ask: extend(-h, h), want: policy.NotExtendable, text: "allows no extension", hint: "when it has ended"},
		"of something else":                    {rule: maxTotal(8), ask: func(r *Request) { extend(-h, h)(r); both(r) }, want: policy.NotExtendable, text: "just what is open"},
		"to the last minute that is allowed":   {rule: maxTotal(4), ask: extend(-h, h)},
		"beyond the last minute":               {rule: maxTotal(4), ask: extend(-h-time.Minute, h), want: policy.ExtendsTooLong, text: "2h1m of it are taken", hint: "--for 1h59m"},
		"with nothing left":                    {rule: maxTotal(4), ask: extend(-3*h, h), want: policy.ExtendsTooLong, hint: "when it has ended"},
		"by more than one window":              {rule: maxTotal(24), ask: func(r *Request) { extend(-h, h)(r); r.Duration = hours(5) }, want: policy.TooLong},
		"that would outlive what it extends":   {rule: maxTotal(8), ask: func(r *Request) { extend(-h, h)(r); r.Expires = record.At(t0.Add(h + time.Second)) }, want: policy.PendingTooLong, text: "must lapse when access ends"},
		"of access that ends with its hours":   {body: func(b *policy.Body) { use(b, "08:00-10:00", ""); maxTotal(8)(&b.Rules[0]) }, ask: extend(-h, h), want: policy.ExtendsTooLong, text: "ends with them"},
		"of access that ends within its hours": {body: func(b *policy.Body) { use(b, "08:00-10:01", ""); maxTotal(8)(&b.Rules[0]) }, ask: extend(-h, h)},
	} {
		t.Run(name, func(t *testing.T) {
			p := compileBody(t, func(b *policy.Body) {
				if c.rule != nil {
					c.rule(&b.Rules[0])
				}
				if c.body != nil {
					c.body(b)
				}
			})
			r := good()
			if c.ask != nil {
				c.ask(&r)
			}
			before := Before{Past: c.past, Base: bases[r.Reason]}
			err := r.Allowed(p, before)
			if policy.CodeOf(err) != c.want || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.text) {
				t.Fatalf("got %v, want %q with %q", err, c.want, c.text)
			}
			if refusal, ok := err.(*policy.Refusal); ok && !strings.Contains(refusal.Hint, c.hint) { //nolint:errorlint // Allowed gives nothing else
				t.Errorf("hint %q, want %q", refusal.Hint, c.hint)
			}
			// The history is asked for exactly where a rule looks at it.
			if needed, _ := r.NeedsPast(p); c.want == policy.PastUnknown && !needed {
				t.Error("the past is wanted, and not asked for")
			}
		})
	}
}

func asEmergency(r *Request) { r.Emergency = true }

func maxTotal(n int) func(*policy.Rule) { return func(r *policy.Rule) { r.MaxTotal = hours(n) } }

// use lets the two rules be used during some hours, in UTC.
func use(b *policy.Body, first, second string) {
	if b.Schedules == nil {
		b.Schedules = map[string]policy.Schedule{}
	}
	for i, span := range []string{first, second} {
		if span != "" {
			name := []string{"first", "second"}[i]
			b.Schedules[name] = policy.Schedule{Zone: "UTC", Hours: []string{span}}
			b.Rules[i].UseDuring = name
		}
	}
}

// bases are what the extensions of the tests prolong, by the reason that they give.
var bases = map[string]*Base{}

// extend makes a request an extension of db:read, open from one time to another,
// which lapses with it.
func extend(opens, ends time.Duration) func(*Request) {
	return func(r *Request) {
		r.Extends, r.Expires, r.Reason = "01JGXDFAM0NRWGJ9NMJN8N29X9", record.At(t0.Add(ends)), "to look on after "+opens.String()
		bases[r.Reason] = &Base{Parts: []BasePart{{Grant: Grant{"db", "read"}, Opens: t0.Add(opens), Ends: t0.Add(ends)}}}
	}
}

func TestBaseOfABundle(t *testing.T) {
	var none *Base
	if none.Of([]Grant{{"db", "read"}}) != nil {
		t.Error("nothing has parts")
	}
	b := &Base{Parts: []BasePart{{Grant{"db", "read"}, t0, t0.Add(2 * time.Hour), ""}, {Grant{"db", "write"}, t0.Add(time.Hour), t0.Add(3 * time.Hour), ""}}}
	if opens, ends := b.Window(); !opens.Equal(t0.Add(time.Hour)) || !ends.Equal(t0.Add(2*time.Hour)) {
		t.Errorf("from %s to %s", opens, ends)
	}
	if opens, ends := b.Of([]Grant{{"db", "write"}, {"db", "drop"}}).Window(); !opens.Equal(t0.Add(time.Hour)) || !ends.Equal(t0.Add(3*time.Hour)) {
		t.Errorf("from %s to %s", opens, ends)
	}
}
