package policy

import (
	"fmt"
	"testing"
	"time"
)

func TestWithin(t *testing.T) {
	all := calendar(t, Schedule{Zone: "UTC"})
	frozen := func(from, until string) *Calendar {
		return calendar(t, Schedule{Zone: "UTC", Freeze: []Freeze{{From: from, Until: until}}})
	}
	morning, noon := calendar(t, Schedule{Zone: "UTC", Hours: []string{"08:00-12:00"}}), calendar(t, Schedule{Zone: "UTC", Hours: []string{"11:00-13:00"}})
	at := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		hours         []*Calendar
		opens, closes time.Time // zero: never
	}{
		"no calendar":                      {nil, time.Time{}, time.Time{}},
		"what two have in common":          {[]*Calendar{morning, noon, morning}, at.Add(2 * time.Hour), at.Add(3 * time.Hour)},
		"nothing in common":                {[]*Calendar{morning, calendar(t, Schedule{Zone: "UTC", Hours: []string{"12:00-18:00"}})}, time.Time{}, time.Time{}},
		"after a long freeze":              {[]*Calendar{all, frozen("2026-11-24", "2027-11-30")}, time.Date(2027, 12, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 12, 1, 0, 0, 0, 0, time.UTC).Add(MaxLookAhead)},
		"two freezes, one after the other": {[]*Calendar{frozen("2026-11-24", "2027-06-30"), frozen("2027-07-01", "2028-06-30")}, time.Time{}, time.Time{}},
		"one more than four hundred days":  {[]*Calendar{frozen("2026-11-24", "2028-01-10")}, time.Time{}, time.Time{}},
		"days that are frozen in one or other": {[]*Calendar{frozen("2026-11-24", "2026-11-24"), frozen("2026-11-25", "2026-11-25"), frozen("2026-11-26", "2026-11-26")},
			time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC).Add(MaxLookAhead)},
	} {
		t.Run(name, func(t *testing.T) {
			opens, closes, ok := Within(c.hours, at)
			if ok != !c.opens.IsZero() || ok && (!opens.Equal(c.opens) || !closes.Equal(c.closes)) {
				t.Errorf("from %s to %s, %t; want %s to %s", opens, closes, ok, c.opens, c.closes)
			}
		})
	}
}

// BenchmarkWithin is the worst that two schedules can do: they meet nowhere.
func BenchmarkWithin(b *testing.B) {
	var even, odd []string
	for m := 0; m+2 <= 24*60; m += 2 {
		clock := func(m int) string { return fmt.Sprintf("%02d:%02d", m/60%24, m%60) }
		even, odd = append(even, clock(m)+"-"+clock(m+1)), append(odd, clock(m+1)+"-"+clock(m+2))
	}
	hours := []*Calendar{calendar(b, Schedule{Zone: "Europe/Berlin", Hours: even}), calendar(b, Schedule{Zone: "Europe/Berlin", Hours: odd})}
	for b.Loop() {
		if _, _, ok := Within(hours, time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)); ok {
			b.Fatal("they meet")
		}
	}
}
