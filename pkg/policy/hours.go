package policy

import "time"

// maxSpans bounds the search for a time that lies in several calendars.
const maxSpans = 1000

// Within gives the first span at or after t that lies in all calendars; ok is false
// where there is none.
func Within(hours []*Calendar, t time.Time) (opens, closes time.Time, ok bool) {
	for range maxSpans {
		moved := false
		for _, h := range hours {
			next, ok := h.Open(t)
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
		closes = hours[0].Close(t)
		for _, h := range hours[1:] {
			if end := h.Close(t); end.Before(closes) {
				closes = end
			}
		}
		return t, closes, true
	}
	return t, t, false
}
