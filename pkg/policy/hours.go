package policy

import (
	"slices"
	"time"
)

// maxTurns bounds the search for a time that lies in several calendars: how often
// all of them are asked anew. Hours of the week that have anything in common have it
// within seven days; each further turn is a day that is frozen in one of them.
const maxTurns = 100

// Within gives the first span that lies in all calendars and opens at t or later, by
// [MaxLookAhead] at most, however often the search moves on; ok is false where there
// is none.
func Within(hours []*Calendar, t time.Time) (opens, closes time.Time, ok bool) {
	if len(hours) == 0 {
		return t, t, false
	}
	var each []*Calendar
	for _, h := range hours {
		if !slices.Contains(each, h) {
			each = append(each, h)
		}
	}
	latest := t.Add(MaxLookAhead)
	for range maxTurns {
		moved := false
		for _, h := range each {
			next, ok := h.OpenBy(t, latest)
			if !ok {
				return t, t, false
			}
			if next.After(t) {
				t, moved = next, true
			}
		}
		if moved {
			continue
		}
		closes = each[0].Close(t)
		for _, h := range each[1:] {
			if end := h.Close(t); end.Before(closes) {
				closes = end
			}
		}
		return t, closes, true
	}
	return t, t, false
}
