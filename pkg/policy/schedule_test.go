package policy

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/record"
)

// calendar compiles a schedule that is in order.
func calendar(t testing.TB, s Schedule) *Calendar {
	t.Helper()
	c, err := s.Calendar()
	if err != nil {
		t.Fatalf("%+v: %v", s, err)
	}
	return c
}

// at reads a moment: 2026-03-29T01:00:00Z.
func at(t testing.TB, text string) time.Time {
	t.Helper()
	m, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestScheduleProblems(t *testing.T) {
	for name, c := range map[string]struct {
		s                Schedule
		path, text, hint string
	}{
		"no zone":                  {Schedule{}, "zone", "names no time zone", "add zone: Europe/Berlin"},
		"a zone nobody knows":      {Schedule{Zone: "Europe/Berln"}, "zone", `there is no time zone "Europe/Berln"`, "IANA"},
		"the machine's zone":       {Schedule{Zone: "Local"}, "zone", `"Local" is not the time zone of a place`, "AREA/PLACE"},
		"an offset":                {Schedule{Zone: "+01:00"}, "zone", "not the time zone of a place", ""},
		"an offset by name":        {Schedule{Zone: "Etc/GMT+5"}, "zone", "not the time zone of a place", ""},
		"UTC by another name":      {Schedule{Zone: "Etc/UTC"}, "zone", "not the time zone of a place", "or UTC"},
		"an abbreviation":          {Schedule{Zone: "EST"}, "zone", "not the time zone of a place", ""},
		"a rule for a zone":        {Schedule{Zone: "EST5EDT"}, "zone", "not the time zone of a place", ""},
		"in lower case":            {Schedule{Zone: "europe/berlin"}, "zone", "not the time zone of a place", ""},
		"a file":                   {Schedule{Zone: "/etc/localtime"}, "zone", "not the time zone of a place", ""},
		"a way out":                {Schedule{Zone: "Europe/../Europe/Berlin"}, "zone", "not the time zone of a place", ""},
		"a copy with leap seconds": {Schedule{Zone: "right/Europe/Berlin"}, "zone", "not the time zone of a place", ""},
		"a folder of zones":        {Schedule{Zone: "America/Argentina"}, "zone", "there is no time zone", ""},
		"a day in full":            {Schedule{Zone: "UTC", Days: []string{"mon", "tuesday"}}, "days[1]", `"tuesday" is not a day`, "write mon"},
		"a day in capitals":        {Schedule{Zone: "UTC", Days: []string{"Mon"}}, "days[0]", `"Mon" is not a day`, ""},
		"a day twice":              {Schedule{Zone: "UTC", Days: []string{"mon", "tue", "mon"}}, "days[2]", `"mon" is named twice`, "once"},
		"hours without minutes":    {Schedule{Zone: "UTC", Hours: []string{"8-18"}}, "hours[0]", `"8-18" is no span`, "HH:MM-HH:MM"},
		"hours of one digit":       {Schedule{Zone: "UTC", Hours: []string{"8:00-18:00"}}, "hours[0]", "is no span", ""},
		"a beginning at 24:00":     {Schedule{Zone: "UTC", Hours: []string{"24:00-06:00"}}, "hours[0]", "is no span", ""},
		"an end at 24:01":          {Schedule{Zone: "UTC", Hours: []string{"08:00-24:01"}}, "hours[0]", "is no span", ""},
		"an end at 25:00":          {Schedule{Zone: "UTC", Hours: []string{"08:00-25:00"}}, "hours[0]", "is no span", ""},
		"minute 60":                {Schedule{Zone: "UTC", Hours: []string{"08:60-18:00"}}, "hours[0]", "is no span", ""},
		"hours with a space":       {Schedule{Zone: "UTC", Hours: []string{"08:00 - 18:00"}}, "hours[0]", "is no span", ""},
		"hours with a line":        {Schedule{Zone: "UTC", Hours: []string{"08:00-18:00\n"}}, "hours[0]", "is no span", ""},
		"hours that overlap":       {Schedule{Zone: "UTC", Hours: []string{"08:00-12:00", "13:00-17:00", "11:59-13:00"}}, "hours[2]", "11:59-13:00 overlaps 08:00-12:00", "one span"},
		"hours twice":              {Schedule{Zone: "UTC", Hours: []string{"08:00-12:00", "08:00-12:00"}}, "hours[1]", "overlaps", ""},
		"a night and its morning":  {Schedule{Zone: "UTC", Days: []string{"mon", "tue"}, Hours: []string{"22:00-06:00", "05:00-07:00"}}, "hours[1]", "05:00-07:00 overlaps 22:00-06:00", ""},
		"sunday's night":           {Schedule{Zone: "UTC", Days: []string{"sun", "mon"}, Hours: []string{"05:00-07:00", "22:00-06:00"}}, "hours[1]", "overlaps", ""},
		"a freeze of no date":      {Schedule{Zone: "UTC", Freeze: []Freeze{{From: "2026-02-29", Until: "2026-03-01"}}}, "freeze[0].from", `"2026-02-29" is no date`, "YYYY-MM-DD"},
		"a freeze without an end":  {Schedule{Zone: "UTC", Freeze: []Freeze{{From: "2026-02-28"}}}, "freeze[0].until", `"" is no date`, ""},
		"a freeze with a time":     {Schedule{Zone: "UTC", Freeze: []Freeze{{From: "2026-02-28", Until: "2026-03-01T10:00:00Z"}}}, "freeze[0].until", "is no date", ""},
		"a short date":             {Schedule{Zone: "UTC", Freeze: []Freeze{{From: "2026-2-8", Until: "2026-03-01"}}}, "freeze[0].from", "is no date", ""},
		"a freeze that is turned":  {Schedule{Zone: "UTC", Freeze: []Freeze{{From: "2026-01-01", Until: "2026-01-01"}, {From: "2026-03-02", Until: "2026-03-01"}}}, "freeze[1].until", "ends on 2026-03-01, before it begins", "first date"},
		"freezes for ever":         {Schedule{Zone: "UTC", Freeze: make([]Freeze, MaxFreezes+1)}, "freeze", "1001 freezes", "at most 1000"},
	} {
		t.Run(name, func(t *testing.T) {
			check := newChecker(&Body{Schedules: map[string]Schedule{"office": c.s}})
			check.schedules()
			if len(check.problems) != 1 {
				t.Fatalf("%d problems: %v", len(check.problems), check.problems)
			}
			p := check.problems[0]
			if p.Path != "schedules.office."+c.path || !strings.Contains(p.Message, c.text) || !strings.Contains(p.Hint, c.hint) || p.Hint == "" {
				t.Errorf("%+v", p)
			}
			got, err := c.s.Calendar()
			var refused *Refusal
			if got != nil || !errors.As(err, &refused) || refused.Code != BadPolicy || !strings.Contains(refused.Message, c.path+": ") {
				t.Errorf("compiled to %v, %v", got, err)
			}
		})
	}
}

// TestScheduleProblemsAreAllNamed finds each problem, schedule by schedule.
func TestScheduleProblemsAreAllNamed(t *testing.T) {
	check := newChecker(&Body{Schedules: map[string]Schedule{
		"a":    {Days: []string{"x"}, Hours: []string{"y"}, Freeze: []Freeze{{From: "z", Until: "z"}}},
		"good": {Zone: "UTC", Hours: []string{"18:00-06:00", "06:00-18:00"}, Freeze: []Freeze{{From: "2026-01-01", Until: "2026-01-01"}}},
	}})
	check.schedules()
	var paths []string
	for _, p := range check.problems {
		paths = append(paths, p.Path)
	}
	want := []string{"schedules.a.zone", "schedules.a.days[0]", "schedules.a.hours[0]", "schedules.a.freeze[0].from", "schedules.a.freeze[0].until"}
	if !slices.Equal(paths, want) {
		t.Errorf("problems at %q, want %q", paths, want)
	}
}

// TestScheduleIsRead reads one as people write it, dates without quotes too.
func TestScheduleIsRead(t *testing.T) {
	var s Schedule
	err := record.DecodeStrict([]byte(`zone: Europe/Berlin
days: [mon, tue, wed, thu, fri]
hours: [08:00-18:00]
freeze:
  - {from: 2026-12-24, until: 2027-01-01, reason: year's end}
`), &s)
	if err != nil {
		t.Fatal(err)
	}
	c := calendar(t, s)
	if got := c.Describe(); got != "mon to fri 08:00 to 18:00, Europe/Berlin" {
		t.Error(got)
	}
	if f, ok := c.Frozen(at(t, "2026-12-31T12:00:00Z")); !ok || f.Reason != "year's end" {
		t.Error(f, ok)
	}
}

func TestDescribe(t *testing.T) {
	for want, s := range map[string]Schedule{
		"at any time, UTC":                                {Zone: "UTC"},
		"at any time, Asia/Tokyo":                         {Zone: "Asia/Tokyo", Hours: []string{"12:00-24:00", "00:00-12:00"}},
		"mon to fri 08:00 to 18:00, Europe/Berlin":        {Zone: "Europe/Berlin", Days: []string{"fri", "thu", "wed", "tue", "mon"}, Hours: []string{"08:00-18:00"}},
		"every day 00:00 to 23:59, UTC":                   {Zone: "UTC", Hours: []string{"00:00-23:59"}},
		"mon, tue and fri to sun all day, UTC":            {Zone: "UTC", Days: []string{"mon", "tue", "fri", "sat", "sun"}},
		"sat and sun 22:00 to 06:00 on the next day, UTC": {Zone: "UTC", Days: []string{"sat", "sun"}, Hours: []string{"22:00-06:00"}},
		"wed 08:00 to 12:00, 13:00 to 17:00 and 18:00 to 24:00, America/New_York": {
			Zone: "America/New_York", Days: []string{"wed"}, Hours: []string{"13:00-17:00", "08:00-12:00", "18:00-24:00"}},
	} {
		if got := calendar(t, s).Describe(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// FuzzSchedule compiles what may be written. What compiles answers each question
// in keeping with the others, and what does not has a problem with a hint.
func FuzzSchedule(f *testing.F) {
	for _, s := range [][5]string{
		{"Europe/Berlin", "mon tue wed thu fri", "08:00-18:00", "2026-12-24", "2027-01-01"},
		{"America/New_York", "", "22:00-06:00 06:00-07:30", "", ""},
		{"Australia/Lord_Howe", "sun", "00:00-24:00", "2026-04-05", "2026-04-05"},
		{"UTC", "", "", "0000-01-01", "9999-12-31"},
		{"Local", "mon mon", "24:00-00:00", "2026-02-30", "2026-02-28"},
		{"Etc/GMT+5", "monday", "8-18", "", "x"},
		{"", "", "08:00-12:00 11:00-13:00", "2026-01-02", "2026-01-01"},
		{"Atlantic/Azores", "sat sun", "00:00-00:00", "", ""},
	} {
		f.Add(s[0], s[1], s[2], s[3], s[4], int64(1774746000))
	}
	f.Add("Pacific/Apia", "fri", "09:00-09:00", "", "", int64(1325239200))
	f.Fuzz(func(t *testing.T, zone, days, hours, from, until string, sec int64) {
		s := Schedule{Zone: zone, Days: strings.Fields(days), Hours: strings.Fields(hours)}
		if from != "" || until != "" {
			s.Freeze = []Freeze{{From: from, Until: until}}
		}
		check := newChecker(&Body{Schedules: map[string]Schedule{"s": s}})
		check.schedules()
		for _, p := range check.problems {
			if p.Hint == "" || p.Message == "" || !strings.HasPrefix(p.Path, "schedules.s.") {
				t.Errorf("%+v", p)
			}
		}
		c, err := s.Calendar()
		if (err == nil) != (len(check.problems) == 0) {
			t.Fatalf("%v, and the problems are %v", err, check.problems)
		}
		if err != nil {
			return
		}
		if c.Describe() == "" {
			t.Error("nothing is said of when it is")
		}
		agrees(t, c, time.Unix(sec%(1<<33), 0))
	})
}

// agrees holds the answers about one moment against each other.
func agrees(t testing.TB, c *Calendar, now time.Time) {
	t.Helper()
	_, frozen := c.Frozen(now)
	inside := c.Contains(now)
	from, ok := c.Open(now)
	until := c.Close(now)
	limit := now.Add(MaxLookAhead)
	switch {
	case inside && frozen:
		t.Errorf("%s lies inside and is frozen", now)
	case inside && (!ok || !from.Equal(now)):
		t.Errorf("%s lies inside, and the next opening is %s, %t", now, from, ok)
	case inside && (!until.After(now) || until.After(limit) || !until.Equal(limit) && c.Contains(until)):
		t.Errorf("%s lies inside, until %s", now, until)
	case inside && !c.Contains(until.Add(-time.Second)):
		t.Errorf("from %s until %s, and not the second before that", now, until)
	case !inside && !until.Equal(now):
		t.Errorf("%s lies outside, and closes at %s", now, until)
	case !inside && ok && (!from.After(now) || from.After(limit) || !c.Contains(from) || c.Contains(from.Add(-time.Second))):
		t.Errorf("%s lies outside, and the next opening is %s", now, from)
	}
}

// TestScheduleIsPartOfTheRule: who agreed to access in some hours has not agreed to
// others.
func TestScheduleIsPartOfTheRule(t *testing.T) {
	basis := func(used, other string) Basis {
		m, err := compile(t, func(b *Body) {
			b.Schedules = map[string]Schedule{"s": {Zone: "UTC", Hours: []string{used}}, "other": {Zone: "UTC", Hours: []string{other}}}
			for i := range b.Rules {
				b.Rules[i].UseDuring = "s"
			}
		}).Match("alice", "orders-db", "read", day)
		if err != nil {
			t.Fatal(err)
		}
		return m.Basis
	}
	was := basis("08:00-18:00", "08:00-18:00")
	if now := basis("08:00-19:00", "08:00-18:00"); now.Rule == was.Rule || now.Meaning != was.Meaning {
		t.Errorf("other hours: %+v, was %+v", now, was)
	}
	if now := basis("08:00-18:00", "08:00-19:00"); now != was {
		t.Errorf("the hours of another schedule: %+v, was %+v", now, was)
	}
}
