package policy

import (
	"strings"
	"testing"
	"time"
)

// opening is a span as it is written, and as the first moment inside and the
// first after it. With no hours, it is the whole day.
type opening struct {
	day, hours  string
	from, until string
}

// clockChanges are all changes of the clock in 2026 in three zones. The openings
// are the first after the day before the change.
var clockChanges = []struct {
	name, zone, when string
	openings         []opening
}{
	{"Berlin, 02:00 becomes 03:00", "Europe/Berlin", "2026-03-29T01:00:00Z", []opening{
		{"sun", "01:00-04:00", "2026-03-29T00:00:00Z", "2026-03-29T02:00:00Z"},
		{"sun", "02:30-04:00", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"},
		{"sun", "01:00-02:30", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"},
		{"sun", "01:00-02:00", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"},
		{"sun", "03:00-04:00", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"},
		{"sun", "02:00-03:00", "2026-04-05T00:00:00Z", "2026-04-05T01:00:00Z"}, // a week later
		{"sun", "02:10-02:50", "2026-04-05T00:10:00Z", "2026-04-05T00:50:00Z"},
		{"sun", "02:30-02:30", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
		{"sun", "", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		{"sat", "22:00-02:30", "2026-03-28T21:00:00Z", "2026-03-29T01:00:00Z"},
		{"sat", "22:00-06:00", "2026-03-28T21:00:00Z", "2026-03-29T04:00:00Z"},
	}},
	{"Berlin, 03:00 becomes 02:00", "Europe/Berlin", "2026-10-25T01:00:00Z", []opening{
		{"sun", "01:00-04:00", "2026-10-24T23:00:00Z", "2026-10-25T03:00:00Z"},
		{"sun", "02:30-04:00", "2026-10-25T00:30:00Z", "2026-10-25T03:00:00Z"},
		{"sun", "01:00-02:30", "2026-10-24T23:00:00Z", "2026-10-25T01:30:00Z"},
		{"sun", "02:10-02:50", "2026-10-25T00:10:00Z", "2026-10-25T01:50:00Z"},
		{"sun", "02:00-03:00", "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z"},
		{"sun", "01:00-02:00", "2026-10-24T23:00:00Z", "2026-10-25T01:00:00Z"},
		{"sun", "03:00-04:00", "2026-10-25T02:00:00Z", "2026-10-25T03:00:00Z"},
		{"sun", "02:30-02:30", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		{"sun", "", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		{"sat", "22:00-02:30", "2026-10-24T20:00:00Z", "2026-10-25T01:30:00Z"},
		{"sat", "22:00-06:00", "2026-10-24T20:00:00Z", "2026-10-25T05:00:00Z"},
	}},
	{"New York, 02:00 becomes 03:00", "America/New_York", "2026-03-08T07:00:00Z", []opening{
		{"sun", "01:00-04:00", "2026-03-08T06:00:00Z", "2026-03-08T08:00:00Z"},
		{"sun", "02:30-04:00", "2026-03-08T07:00:00Z", "2026-03-08T08:00:00Z"},
		{"sun", "01:00-02:30", "2026-03-08T06:00:00Z", "2026-03-08T07:00:00Z"},
		{"sun", "02:10-02:50", "2026-03-15T06:10:00Z", "2026-03-15T06:50:00Z"},
		{"sun", "", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"},
		{"sat", "22:00-06:00", "2026-03-08T03:00:00Z", "2026-03-08T10:00:00Z"},
	}},
	{"New York, 02:00 becomes 01:00", "America/New_York", "2026-11-01T06:00:00Z", []opening{
		{"sun", "00:30-03:00", "2026-11-01T04:30:00Z", "2026-11-01T08:00:00Z"},
		{"sun", "01:30-03:00", "2026-11-01T05:30:00Z", "2026-11-01T08:00:00Z"},
		{"sun", "00:30-01:30", "2026-11-01T04:30:00Z", "2026-11-01T06:30:00Z"},
		{"sun", "01:10-01:50", "2026-11-01T05:10:00Z", "2026-11-01T06:50:00Z"},
		{"sun", "00:00-01:00", "2026-11-01T04:00:00Z", "2026-11-01T06:00:00Z"},
		{"sun", "02:00-03:00", "2026-11-01T07:00:00Z", "2026-11-01T08:00:00Z"},
		{"sun", "", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},
		{"sat", "22:00-01:30", "2026-11-01T02:00:00Z", "2026-11-01T06:30:00Z"},
	}},
	{"Lord Howe, 02:00 becomes 01:30", "Australia/Lord_Howe", "2026-04-04T15:00:00Z", []opening{
		{"sun", "01:00-03:00", "2026-04-04T14:00:00Z", "2026-04-04T16:30:00Z"},
		{"sun", "01:45-03:00", "2026-04-04T14:45:00Z", "2026-04-04T16:30:00Z"},
		{"sun", "01:00-01:45", "2026-04-04T14:00:00Z", "2026-04-04T15:15:00Z"},
		{"sun", "01:40-01:50", "2026-04-04T14:40:00Z", "2026-04-04T15:20:00Z"},
		{"sun", "01:00-01:30", "2026-04-04T14:00:00Z", "2026-04-04T15:00:00Z"},
		{"sun", "02:00-03:00", "2026-04-04T15:30:00Z", "2026-04-04T16:30:00Z"},
		{"sun", "", "2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z"},
		{"sat", "22:00-01:45", "2026-04-04T11:00:00Z", "2026-04-04T15:15:00Z"},
	}},
	{"Lord Howe, 02:00 becomes 02:30", "Australia/Lord_Howe", "2026-10-03T15:30:00Z", []opening{
		{"sun", "01:00-03:00", "2026-10-03T14:30:00Z", "2026-10-03T16:00:00Z"},
		{"sun", "02:15-03:00", "2026-10-03T15:30:00Z", "2026-10-03T16:00:00Z"},
		{"sun", "01:00-02:15", "2026-10-03T14:30:00Z", "2026-10-03T15:30:00Z"},
		{"sun", "02:05-02:25", "2026-10-10T15:05:00Z", "2026-10-10T15:25:00Z"},
		{"sun", "02:30-03:00", "2026-10-03T15:30:00Z", "2026-10-03T16:00:00Z"},
		{"sun", "", "2026-10-03T13:30:00Z", "2026-10-04T13:00:00Z"},
		{"sat", "22:00-02:15", "2026-10-03T11:30:00Z", "2026-10-03T15:30:00Z"},
	}},
}

func (o opening) schedule(zone string) Schedule {
	s := Schedule{Zone: zone, Days: strings.Fields(o.day)}
	if o.hours != "" {
		s.Hours = strings.Fields(o.hours)
	}
	return s
}

// holds asks c about its first opening after a moment, to the second.
func (o opening) holds(t *testing.T, c *Calendar, after time.Time) {
	t.Helper()
	from, until := at(t, o.from), at(t, o.until)
	if got, ok := c.Open(after); !ok || !got.Equal(from) {
		t.Errorf("%s %s opens at %s, %t, want %s", o.day, o.hours, got.UTC(), ok, from)
	}
	inside := []time.Time{from, from.Add(time.Second), until.Add(-time.Second)}
	for minute := from; minute.Before(until); minute = minute.Add(time.Minute) {
		inside = append(inside, minute)
	}
	for _, now := range inside {
		if !c.Contains(now) {
			t.Errorf("%s %s does not hold at %s", o.day, o.hours, now)
		}
		if got := c.Close(now); !got.Equal(until) {
			t.Errorf("%s %s closes at %s, want %s", o.day, o.hours, got, until)
		}
	}
	for _, now := range []time.Time{from.Add(-time.Second), until, until.Add(time.Second)} {
		if c.Contains(now) {
			t.Errorf("%s %s holds at %s", o.day, o.hours, now)
		}
	}
}

func TestClockChanges(t *testing.T) {
	for _, change := range clockChanges {
		t.Run(change.name, func(t *testing.T) {
			for _, o := range change.openings {
				o.holds(t, calendar(t, o.schedule(change.zone)), at(t, change.when).Add(-24*time.Hour))
			}
		})
	}
}

// TestClockChangesAreAll finds the changes of 2026 by asking every minute.
func TestClockChangesAreAll(t *testing.T) {
	want := map[string][]string{}
	for _, c := range clockChanges {
		want[c.zone] = append(want[c.zone], c.when)
	}
	for zone, listed := range want {
		loc, ok := loadZone(zone)
		if !ok {
			t.Fatal(zone)
		}
		now := at(t, "2026-01-01T00:00:00Z")
		_, before := now.In(loc).Zone()
		var found []string
		for ; now.Year() == 2026; now = now.Add(time.Minute) {
			if _, offset := now.In(loc).Zone(); offset != before {
				found, before = append(found, now.Format(time.RFC3339)), offset
			}
		}
		if strings.Join(found, " ") != strings.Join(listed, " ") {
			t.Errorf("the clock of %s changes at %v, and %v are tested", zone, found, listed)
		}
	}
}

// TestOddClocks is for changes at midnight, over it, of a whole day, and for the
// last day of a leap year, of which the time package does not know the end where
// it goes by a zone's rule: in 2040, whatever zone data it has.
func TestOddClocks(t *testing.T) {
	for name, c := range map[string]struct {
		zone, after string
		opening
	}{
		"01:00 becomes 00:00: the day before":    {"Atlantic/Azores", "2026-10-23T00:00:00Z", opening{"sat", "", "2026-10-24T00:00:00Z", "2026-10-25T00:00:00Z"}},
		"01:00 becomes 00:00: an evening before": {"Atlantic/Azores", "2026-10-23T00:00:00Z", opening{"sat", "22:00-00:00", "2026-10-24T22:00:00Z", "2026-10-25T00:00:00Z"}},
		"01:00 becomes 00:00: a night":           {"Atlantic/Azores", "2026-10-23T00:00:00Z", opening{"sat", "22:00-00:30", "2026-10-24T22:00:00Z", "2026-10-25T01:30:00Z"}},
		"01:00 becomes 00:00: the day":           {"Atlantic/Azores", "2026-10-23T00:00:00Z", opening{"sun", "", "2026-10-25T00:00:00Z", "2026-10-26T01:00:00Z"}},
		"24:00 becomes 23:00: the day":           {"Africa/Cairo", "2026-10-28T00:00:00Z", opening{"thu", "", "2026-10-28T21:00:00Z", "2026-10-29T22:00:00Z"}},
		"24:00 becomes 23:00: its last hour":     {"Africa/Cairo", "2026-10-28T00:00:00Z", opening{"thu", "23:00-24:00", "2026-10-29T20:00:00Z", "2026-10-29T22:00:00Z"}},
		"24:00 becomes 23:00: the day after":     {"Africa/Cairo", "2026-10-28T00:00:00Z", opening{"fri", "", "2026-10-29T22:00:00Z", "2026-10-30T22:00:00Z"}},
		"00:00 becomes 01:00: the day":           {"Asia/Beirut", "2026-03-27T00:00:00Z", opening{"sun", "", "2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z"}},
		"00:00 becomes 01:00: the day before":    {"Asia/Beirut", "2026-03-27T00:00:00Z", opening{"sat", "", "2026-03-27T22:00:00Z", "2026-03-28T22:00:00Z"}},
		"00:01 becomes 23:01: the day before":    {"America/St_Johns", "2010-11-05T12:00:00Z", opening{"sat", "", "2010-11-06T02:30:00Z", "2010-11-07T03:30:00Z"}},
		"00:01 becomes 23:01: a day and a night": {"America/St_Johns", "2010-11-05T12:00:00Z", opening{"fri", "23:45-23:30", "2010-11-06T02:15:00Z", "2010-11-07T03:00:00Z"}},
		"a friday that is left out":              {"Pacific/Apia", "2011-12-29T00:00:00Z", opening{"fri", "", "2012-01-05T10:00:00Z", "2012-01-06T10:00:00Z"}},
		"the night into it":                      {"Pacific/Apia", "2011-12-29T12:00:00Z", opening{"thu", "22:00-06:00", "2011-12-30T08:00:00Z", "2011-12-30T10:00:00Z"}},
		"the last day of a leap year":            {"America/New_York", "2040-12-30T12:00:00Z", opening{"mon", "08:00-18:00", "2040-12-31T13:00:00Z", "2040-12-31T23:00:00Z"}},
		"the last night of a leap year":          {"Europe/Berlin", "2040-12-30T12:00:00Z", opening{"mon", "22:00-06:00", "2040-12-31T21:00:00Z", "2041-01-01T05:00:00Z"}},
		"before 1970":                            {"Europe/Berlin", "1969-12-30T12:00:00Z", opening{"wed", "08:00-18:00", "1969-12-31T07:00:00Z", "1969-12-31T17:00:00Z"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.holds(t, calendar(t, c.schedule(c.zone)), at(t, c.after))
		})
	}
}

// TestFirstAndLastMinute is about office hours, through a week of them.
func TestFirstAndLastMinute(t *testing.T) {
	c := calendar(t, Schedule{Zone: "Europe/Berlin", Days: []string{"mon", "tue", "wed", "thu", "fri"}, Hours: []string{"08:00-18:00"}})
	for moment, want := range map[string]bool{
		"2026-06-01T05:59:00Z": false, "2026-06-01T05:59:59Z": false, "2026-06-01T05:59:59.999999999Z": false,
		"2026-06-01T06:00:00Z": true, "2026-06-01T06:00:00.000000001Z": true, "2026-06-01T06:00:01Z": true, "2026-06-01T06:00:59Z": true,
		"2026-06-01T15:59:00Z": true, "2026-06-01T15:59:59Z": true, "2026-06-01T15:59:59.999999999Z": true,
		"2026-06-01T16:00:00Z": false, "2026-06-01T16:00:01Z": false,
		"2026-06-05T15:59:59Z": true, "2026-06-05T16:00:00Z": false, // friday
		"2026-06-06T10:00:00Z": false, "2026-06-07T10:00:00Z": false,
		"2026-06-08T05:59:59Z": false, "2026-06-08T06:00:00Z": true,
	} {
		now := at(t, moment)
		if c.Contains(now) != want {
			t.Errorf("%s: inside is %t", moment, !want)
		}
		agrees(t, c, now)
	}
	opening{"", "", "2026-06-08T06:00:00Z", "2026-06-08T16:00:00Z"}.holds(t, c, at(t, "2026-06-05T16:00:00Z"))
	// What lies inside opens when it is asked, to the nanosecond.
	now := at(t, "2026-06-01T06:00:00.5Z")
	if got, ok := c.Open(now); !ok || got != now {
		t.Error(got, ok)
	}
}

// TestFreeze removes whole local days, whichever day a span began on.
func TestFreeze(t *testing.T) {
	freeze := []Freeze{{"2026-10-24", "2026-10-25", "the clock changes"}, {"2026-10-25", "2026-10-26", "a release"}}
	c := calendar(t, Schedule{Zone: "Europe/Berlin", Freeze: freeze})
	from, until := at(t, "2026-10-23T22:00:00Z"), at(t, "2026-10-26T23:00:00Z")
	for moment, reason := range map[time.Time]string{
		from.Add(-time.Second):          "",
		from:                            "the clock changes",
		at(t, "2026-10-25T22:59:59Z"):   "the clock changes",
		at(t, "2026-10-25T23:00:00Z"):   "a release",
		until.Add(-time.Second):         "a release",
		until:                           "",
		at(t, "2027-10-25T12:00:00Z"):   "",
		time.Unix(-1<<36, 0):            "",
		from.Add(-300 * 24 * time.Hour): "",
		until.Add(300 * 24 * time.Hour): "",
		from.Add(-time.Nanosecond):      "",
		until.Add(-time.Nanosecond):     "a release",
		until.Add(500 * 24 * time.Hour): "",
		from.Add(-500 * 24 * time.Hour): "",
		from.Add(time.Nanosecond):       "the clock changes",
		until.Add(time.Second):          "",
		from.Add(time.Second):           "the clock changes",
		from.Add(-time.Minute):          "",
		until.Add(-time.Minute):         "a release",
	} {
		f, frozen := c.Frozen(moment)
		if f.Reason != reason || frozen != (reason != "") || c.Contains(moment) == frozen {
			t.Errorf("%s: frozen is %t, %q; inside is %t", moment.UTC(), frozen, f.Reason, c.Contains(moment))
		}
		agrees(t, c, moment)
	}
	if got := c.Close(from.Add(-time.Hour)); !got.Equal(from) {
		t.Errorf("open until %s, want the freeze at %s", got, from)
	}
	if got, ok := c.Open(from); !ok || !got.Equal(until) {
		t.Errorf("opens at %s, want when the freezes end at %s", got, until)
	}

	night := Schedule{Zone: "Europe/Berlin", Days: []string{"fri"}, Hours: []string{"22:00-06:00"}}
	for day, o := range map[string]opening{
		"2026-06-05": {from: "2026-06-05T22:00:00Z", until: "2026-06-06T04:00:00Z"}, // the friday: what is left is saturday's
		"2026-06-06": {from: "2026-06-05T20:00:00Z", until: "2026-06-05T22:00:00Z"}, // the saturday: it ends at midnight
	} {
		night.Freeze = []Freeze{{From: day, Until: day}}
		o.holds(t, calendar(t, night), at(t, "2026-06-05T00:00:00Z"))
	}

	// A day that there is not in a zone takes nothing away.
	c = calendar(t, Schedule{Zone: "Pacific/Apia", Freeze: []Freeze{{From: "2011-12-30", Until: "2011-12-30"}}})
	if now := at(t, "2011-12-30T10:00:00Z"); !c.Contains(now) || !c.Contains(now.Add(-time.Second)) {
		t.Error("a day that is left out is frozen")
	}
	if now := at(t, "2011-12-29T12:00:00Z"); !c.Close(now).Equal(now.Add(MaxLookAhead)) {
		t.Error("a day that is left out ends what is open")
	}
	// Where the clock goes back over midnight, the day ends with its last second.
	c = calendar(t, Schedule{Zone: "America/St_Johns", Freeze: []Freeze{{From: "2010-11-06", Until: "2010-11-06"}}})
	if got, ok := c.Open(at(t, "2010-11-06T02:30:00Z")); !ok || !got.Equal(at(t, "2010-11-07T03:30:00Z")) {
		t.Errorf("the frozen day ends at %s", got)
	}
}

// TestAdjoining takes spans that touch as one.
func TestAdjoining(t *testing.T) {
	for name, c := range map[string]struct {
		days, hours         string
		zone                string
		inside, from, until string
	}{
		"whole days":                           {"sat sun", "00:00-24:00", "Europe/Berlin", "2026-06-05T12:00:00Z", "2026-06-05T22:00:00Z", "2026-06-07T22:00:00Z"},
		"from the end of a week into the next": {"sun mon", "00:00-24:00", "Europe/Berlin", "2026-06-05T12:00:00Z", "2026-06-06T22:00:00Z", "2026-06-08T22:00:00Z"},
		"an evening and a morning":             {"", "18:00-24:00 00:00-06:00", "Europe/Berlin", "2026-06-05T12:00:00Z", "2026-06-05T16:00:00Z", "2026-06-06T04:00:00Z"},
		"a night and a morning":                {"mon", "06:00-12:00 22:00-06:00", "Europe/Berlin", "2026-06-05T12:00:00Z", "2026-06-08T04:00:00Z", "2026-06-08T10:00:00Z"},
		"an edge in the gap":                   {"sun", "01:00-02:30 02:30-05:00", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T00:00:00Z", "2026-03-29T03:00:00Z"},
		"a span in the gap":                    {"sun", "01:00-02:10 02:10-02:20 02:20-05:00", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T00:00:00Z", "2026-03-29T03:00:00Z"},
		"an edge that comes back":              {"sun", "01:00-02:30 02:30-05:00", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-24T23:00:00Z", "2026-10-25T04:00:00Z"},
		"a break that comes back":              {"sun", "01:00-02:10 02:20-05:00", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-24T23:00:00Z", "2026-10-25T04:00:00Z"},
		"a midnight that comes back":           {"sat sun", "00:00-24:00", "Atlantic/Azores", "2026-10-23T12:00:00Z", "2026-10-24T00:00:00Z", "2026-10-26T01:00:00Z"},
		"a day that is left out":               {"thu sat", "00:00-24:00", "Pacific/Apia", "2011-12-29T00:00:00Z", "2011-12-29T10:00:00Z", "2011-12-31T10:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			s := Schedule{Zone: c.zone, Days: strings.Fields(c.days), Hours: strings.Fields(c.hours)}
			opening{c.days, c.hours, c.from, c.until}.holds(t, calendar(t, s), at(t, c.inside))
		})
	}
}

// TestLookAhead ends every search after 400 days.
func TestLookAhead(t *testing.T) {
	now := at(t, "2026-01-01T00:00:00Z")
	until := func(last string, hours ...string) *Calendar {
		return calendar(t, Schedule{Zone: "UTC", Hours: hours, Freeze: []Freeze{{From: "2025-12-31", Until: last}}})
	}
	// 400 days later is 2027-02-05.
	if got, ok := until("2027-02-04").Open(now); !ok || !got.Equal(now.Add(MaxLookAhead)) {
		t.Errorf("opens at %s, %t", got, ok)
	}
	if got, ok := until("2027-02-04", "00:00-12:00").Open(now); !ok || !got.Equal(now.Add(MaxLookAhead)) {
		t.Errorf("opens at %s, %t", got, ok)
	}
	if got, ok := until("2027-02-04", "00:01-12:00").Open(now); ok {
		t.Errorf("opens at %s, a minute after the bound", got)
	}
	for _, last := range []string{"2027-02-05", "9999-12-31"} {
		if got, ok := until(last).Open(now); ok {
			t.Errorf("opens at %s, after the bound", got)
		}
	}
	for _, s := range []Schedule{{Zone: "Europe/Berlin"}, {Zone: "Europe/Berlin", Hours: []string{"18:30-06:00", "06:00-18:30"}}, {Zone: "UTC", Hours: []string{"00:00-00:00"}}} {
		now := now.Add(time.Nanosecond)
		if got := calendar(t, s).Close(now); !got.Equal(now.Add(MaxLookAhead)) {
			t.Errorf("%v closes at %s", s, got)
		}
	}
	if got := calendar(t, Schedule{Zone: "UTC", Hours: []string{"00:01-00:00"}}).Close(now.Add(time.Hour)); !got.Equal(now.Add(24 * time.Hour)) {
		t.Errorf("a break of a minute begins at %s", got)
	}
}
