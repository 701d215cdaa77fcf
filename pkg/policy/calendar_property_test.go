package policy

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/jitaccess/jit/internal/testenv"
)

// clockTable is what the clock of a zone shows, minute by minute: the slow way to
// know, and the sure one.
type clockTable struct {
	begin time.Time
	shown []time.Time // as if it were UTC, so that two can be compared
}

func newClockTable(zone *time.Location, begin time.Time, days int) *clockTable {
	c := &clockTable{begin: begin}
	for i := range days * dayMinutes {
		now := c.minute(i).In(zone)
		y, mo, d := now.Date()
		h, mi, _ := now.Clock()
		c.shown = append(c.shown, time.Date(y, mo, d, h, mi, 0, 0, time.UTC))
	}
	return c
}

func (c *clockTable) minute(i int) time.Time { return c.begin.Add(time.Duration(i) * time.Minute) }

// reaches gives the first minute in which the clock shows w or later.
func (c *clockTable) reaches(w time.Time) int {
	if i := slices.IndexFunc(c.shown, func(x time.Time) bool { return !x.Before(w) }); i >= 0 {
		return i
	}
	return len(c.shown)
}

// closes gives the minute in which a span ends that is over when the clock shows
// w, in the words of the comment on Calendar.
func (c *clockTable) closes(w time.Time, midnight bool) int {
	for i := len(c.shown) - 1; i >= 0; i-- {
		if midnight && c.shown[i].Before(w) {
			return i + 1
		}
		if !midnight && c.shown[i].Equal(w) {
			return i
		}
	}
	return c.reaches(w)
}

// inside tells of each minute whether it lies in s.
func (c *clockTable) inside(s Schedule) []bool {
	inside := make([]bool, len(c.shown))
	first := c.shown[0].Truncate(24*time.Hour).AddDate(0, 0, -2)
	for date := first; !date.After(c.shown[len(c.shown)-1]); date = date.AddDate(0, 0, 1) {
		if len(s.Days) > 0 && !slices.Contains(s.Days, [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}[date.Weekday()]) {
			continue
		}
		hours := s.Hours
		if len(hours) == 0 {
			hours = []string{"00:00-24:00"}
		}
		for _, text := range hours {
			at := func(hhmm string) time.Time {
				if hhmm == "24:00" {
					return date.AddDate(0, 0, 1)
				}
				clock, _ := time.Parse("15:04", hhmm)
				return date.Add(time.Duration(clock.Hour())*time.Hour + time.Duration(clock.Minute())*time.Minute)
			}
			opens, closes := at(text[:5]), at(text[6:])
			if !closes.After(opens) {
				closes = closes.AddDate(0, 0, 1)
			}
			until := c.closes(closes, text[6:] == "24:00" || text[6:] == "00:00")
			for i := c.reaches(opens); i < until; i++ {
				inside[i] = true
			}
		}
	}
	for i, x := range c.shown {
		date := x.Format(time.DateOnly)
		for _, f := range s.Freeze {
			if f.From <= date && date <= f.Until {
				inside[i] = false
			}
		}
	}
	return inside
}

// oddMoments are changes of the clock of many kinds, and some that are none.
var oddMoments = map[string][]string{
	"Europe/Berlin":        {"2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z", "2040-12-31T12:00:00Z"},
	"America/New_York":     {"2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z", "2040-12-31T12:00:00Z"},
	"Australia/Lord_Howe":  {"2026-04-04T15:00:00Z", "2026-10-03T15:30:00Z", "2040-12-31T12:00:00Z"},
	"Atlantic/Azores":      {"2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z"},
	"Africa/Cairo":         {"2026-04-23T22:00:00Z", "2026-10-29T21:00:00Z"},
	"Africa/Casablanca":    {"2026-02-15T02:00:00Z", "2026-03-22T02:00:00Z"},
	"America/Havana":       {"2026-03-08T05:00:00Z", "2026-11-01T05:00:00Z"},
	"America/Scoresbysund": {"2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z"},
	"Antarctica/Troll":     {"2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z"},
	"Asia/Beirut":          {"2026-03-28T22:00:00Z", "2026-10-24T21:00:00Z"},
	"Pacific/Apia":         {"2011-12-30T10:00:00Z"},
	"Pacific/Chatham":      {"2026-04-04T14:00:00Z", "2026-09-26T14:00:00Z"},
	"UTC":                  {"2026-03-29T01:00:00Z"},
}

// drawSchedule draws one, of which the edges are often about the small hours, in
// which clocks are changed.
func drawSchedule(t *rapid.T, zone string, around time.Time) Schedule {
	s := Schedule{Zone: zone}
	if rapid.Bool().Draw(t, "some days") {
		s.Days = rapid.Permutation(weekDays).Draw(t, "days")[:rapid.IntRange(1, 6).Draw(t, "how many")]
	}
	minute := rapid.OneOf(rapid.IntRange(0, 287), rapid.IntRange(0, 48), rapid.IntRange(264, 287))
	for range rapid.IntRange(0, 4).Draw(t, "hours") {
		// In steps of five minutes; one that overlaps is not taken.
		from, until := minute.Draw(t, "from")*5, minute.Draw(t, "until")*5
		text := span{begin: from, end: until}.text()
		if until == 0 && rapid.Bool().Draw(t, "24:00") {
			text = text[:6] + "24:00"
		}
		with := s
		with.Hours = append(slices.Clone(s.Hours), text)
		if _, err := with.Calendar(); err == nil {
			s = with
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "freezes") {
		from := around.AddDate(0, 0, rapid.IntRange(-4, 4).Draw(t, "freeze"))
		until := from.AddDate(0, 0, rapid.IntRange(0, 2).Draw(t, "days of it"))
		s.Freeze = append(s.Freeze, Freeze{From: from.Format(time.DateOnly), Until: until.Format(time.DateOnly)})
	}
	return s
}

func (s span) text() string {
	clock := func(m int) string { return time.Time{}.Add(time.Duration(m) * time.Minute).Format("15:04") }
	return clock(s.begin) + "-" + clock(s.end)
}

// TestCalendarAgreesWithClock compares every answer about the minutes around
// changes of the clock with what a table of the clock says.
func TestCalendarAgreesWithClock(t *testing.T) {
	defer testenv.RapidChecks(100, 20)()
	const days, middle = 18, 9
	tables := map[string]*clockTable{}
	for zone, moments := range oddMoments {
		loc, ok := loadZone(zone)
		if !ok {
			t.Fatal(zone)
		}
		for _, moment := range moments {
			tables[zone+moment] = newClockTable(loc, at(t, moment).AddDate(0, 0, -middle), days)
		}
	}
	var zones []string
	for zone := range oddMoments {
		zones = append(zones, zone)
	}
	slices.Sort(zones)
	rapid.Check(t, func(rt *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(rt, "zone")
		moment := rapid.SampledFrom(oddMoments[zone]).Draw(rt, "moment")
		table := tables[zone+moment]
		s := drawSchedule(rt, zone, at(t, moment))
		c, err := s.Calendar()
		if err != nil {
			rt.Fatal(err)
		}
		inside := table.inside(s)
		// The table does not know the days before its first and after its last.
		const first, last = 4 * dayMinutes, (days - 3) * dayMinutes
		second := time.Duration(rapid.IntRange(0, 59).Draw(rt, "second")) * time.Second
		for i := first; i < last; i++ {
			if now := table.minute(i).Add(second); c.Contains(now) != inside[i] {
				rt.Fatalf("%+v: at %s, the clock shows %s, and inside is %t", s, now, table.shown[i].Format("Mon 15:04"), !inside[i])
			}
		}
		ask := rapid.SliceOfN(rapid.IntRange(first, last-1), 20, 20).Draw(rt, "ask")
		for i := first + 1; i < last; i++ {
			if inside[i] != inside[i-1] {
				ask = append(ask, i-1, i)
			}
		}
		for _, i := range ask {
			now := table.minute(i).Add(second)
			if other := slices.Index(inside[i:last], !inside[i]); other >= 0 {
				want := table.minute(i + other)
				got := c.Close(now)
				if !inside[i] {
					got, _ = c.Open(now)
				}
				if !got.Equal(want) {
					rt.Errorf("%+v: inside is %t at %s, until %s, want %s", s, inside[i], now, got, want)
				}
			}
			agrees(t, c, now)
		}
	})
}
