package policy

import (
	"cmp"
	"iter"
	"slices"
	"sort"
	"time"
)

// MaxLookAhead is how far ahead a calendar is searched.
const MaxLookAhead = 400 * 24 * time.Hour

// Calendar is a schedule that can be asked. It never changes.
//
// Hours are what the clock on the wall shows in the schedule's zone, and become
// moments when they are asked for. Where the clock is changed, a span is still
// one interval of time, and never a negative one:
//
//   - An edge that the clock leaps over lies at the moment of the leap. A span
//     of which both edges are leapt over is empty on that day.
//   - A span whose beginning the clock shows twice begins the first time, and
//     one whose end the clock shows twice ends the second time. So 01:00 to
//     02:00, where 02:00 to 03:00 comes back, lasts two hours.
//   - An end at midnight, 24:00 or 00:00, is the end of the day: the moment from
//     which the date is a later one. This matters only where the clock is put
//     back to midnight or over it.
//
// A freeze removes whole days, each from its beginning at 00:00 until the next
// date begins, whichever day a span began on.
type Calendar struct {
	zone    *time.Location
	days    [7]bool // from mon
	spans   []span  // by their beginning; no two overlap
	always  bool    // the spans fill the week
	freezes []freeze
	frozen  []interval // all freezes, in order, joined where they touch
}

// interval is from its beginning until before its end, in seconds since 1970.
type interval struct {
	begin, end int64
}

func (i interval) contains(sec int64) bool { return i.begin <= sec && sec < i.end }

// freeze is a Freeze with its moments.
type freeze struct {
	Freeze
	interval
}

// Contains reports whether t lies in the schedule.
func (c *Calendar) Contains(t time.Time) bool {
	sec := t.Unix()
	if c.thaw(sec) != sec {
		return false
	}
	next, ok := c.next(sec, sec)
	return ok && next == sec
}

// Open gives the first moment at or after t that lies in the schedule; ok is
// false where none does within [MaxLookAhead].
func (c *Calendar) Open(t time.Time) (from time.Time, ok bool) {
	return c.OpenBy(t, t.Add(MaxLookAhead))
}

// OpenBy is Open for what opens by a time that is none later than [MaxLookAhead].
func (c *Calendar) OpenBy(t, latest time.Time) (from time.Time, ok bool) {
	sec, limit := t.Unix(), latest.Unix()
	for at := sec; at <= limit; {
		if later := c.thaw(at); later != at {
			at = later
			continue
		}
		next, found := c.next(at, limit)
		switch {
		case !found:
			return time.Time{}, false
		case next == sec:
			return t, true
		case next == at:
			return time.Unix(at, 0).UTC(), true
		}
		at = next
	}
	return time.Time{}, false
}

// Close gives the end of the time around t that lies in the schedule without a
// break: spans that adjoin are one. It is at most [MaxLookAhead] after t. For a t
// outside, it is t.
func (c *Calendar) Close(t time.Time) time.Time {
	if !c.Contains(t) {
		return t
	}
	sec := t.Unix()
	limit := sec + int64(MaxLookAhead/time.Second)
	stop := limit + 1
	if i := c.frozenAfter(sec); i < len(c.frozen) {
		stop = min(stop, c.frozen[i].begin)
	}
	end := sec
	if c.always {
		end = stop
	} else {
		for in := range c.from(sec) {
			if in.begin > end || end >= stop {
				break
			}
			end = max(end, in.end)
		}
	}
	if end = min(end, stop); end > limit {
		return t.Add(MaxLookAhead)
	}
	return time.Unix(end, 0).UTC()
}

// Frozen gives the freeze that holds at t, for a message to name its reason;
// where several do, the first as they are written.
func (c *Calendar) Frozen(t time.Time) (Freeze, bool) {
	for _, f := range c.freezes {
		if f.contains(t.Unix()) {
			return f.Freeze, true
		}
	}
	return Freeze{}, false
}

// next gives the first moment from sec until limit that lies in a span, whatever
// is frozen.
func (c *Calendar) next(sec, limit int64) (int64, bool) {
	if c.always {
		return sec, true
	}
	for in := range c.from(sec) {
		if in.begin > limit {
			break
		}
		if in.end > sec {
			return max(in.begin, sec), true
		}
	}
	return 0, false
}

// from gives the spans as intervals, in the order of their beginnings, without an
// end; those that end by sec may be among the first.
func (c *Calendar) from(sec int64) iter.Seq[interval] {
	return func(yield func(interval) bool) {
		t := time.Unix(sec, 0).In(c.zone)
		_, offset := t.Zone()
		// Where no clock is changed around sec, a span's end is where it seems to be,
		// and the many that are over need no closer look.
		begin, end := t.ZoneBounds()
		steady := (begin.IsZero() || begin.Unix() < sec-4*daySeconds) && (end.IsZero() || end.Unix() > sec+4*daySeconds)
		// The span of a day can end on the next, and a clock that is put back
		// over midnight makes that the day after.
		for day := floorDiv(sec+int64(offset), daySeconds) - 2; ; day++ {
			if !c.days[(day%7+7+3)%7] { // 1970-01-01 was a thursday
				continue
			}
			for _, s := range c.spans {
				if steady && day*daySeconds+int64(s.end)*60-int64(offset) <= sec {
					continue
				}
				end := c.edge(day, s.end)
				in := interval{c.edge(day, s.begin).first, end.last}
				if s.end == dayMinutes {
					in.end = end.turn
				}
				if in.begin < in.end && !yield(in) {
					return
				}
			}
		}
	}
}

// thaw gives the end of the freeze that holds at sec, or sec where none does.
func (c *Calendar) thaw(sec int64) int64 {
	if i := c.frozenAfter(sec) - 1; i >= 0 && c.frozen[i].contains(sec) {
		return c.frozen[i].end
	}
	return sec
}

// frozenAfter gives the place of the first freeze that begins after sec.
func (c *Calendar) frozenAfter(sec int64) int {
	return sort.Search(len(c.frozen), func(i int) bool { return c.frozen[i].begin > sec })
}

// freeze adds f, whose dates are days since 1970-01-01.
func (c *Calendar) freeze(f Freeze, from, until int64) {
	c.freezes = append(c.freezes, freeze{f, interval{c.edge(from, 0).first, c.edge(until, dayMinutes).turn}})
}

// mergeFrozen makes frozen of the freezes.
func (c *Calendar) mergeFrozen() {
	for _, f := range c.freezes {
		if f.begin < f.end { // not of dates that a zone has left out
			c.frozen = append(c.frozen, f.interval)
		}
	}
	slices.SortFunc(c.frozen, func(a, b interval) int { return cmp.Compare(a.begin, b.begin) })
	joined := c.frozen[:0]
	for _, in := range c.frozen {
		if last := len(joined) - 1; last >= 0 && in.begin <= joined[last].end {
			joined[last].end = max(joined[last].end, in.end)
		} else {
			joined = append(joined, in)
		}
	}
	c.frozen = joined
}

const daySeconds = 24 * 60 * 60

// maxOffset is more than any zone is from UTC.
const maxOffset = 26 * 60 * 60

// edge is where a time of the clock lies: when the clock first shows it or a
// later one; when it last shows it, or first where it never does; and from when
// on it shows nothing earlier.
type edge struct {
	first, last, turn int64
}

// edge finds a minute of a day, counted since 1970-01-01; a minute beyond the day
// is of the next.
//
// It goes through the periods of one offset around that time. In each, the clock
// runs evenly, so that three comparisons tell what the period adds.
func (c *Calendar) edge(day int64, minute int) edge {
	wall := day*daySeconds + int64(minute)*60 // as if the zone were UTC
	var e edge
	first, last := false, false
	for from := wall - maxOffset; from < wall+maxOffset; {
		offset, until := c.period(from)
		at := wall - offset
		if !first && at < until {
			e.first, first = max(from, at), true
		}
		if from <= at && at < until {
			e.last, last = at, true
		}
		if from < at {
			e.turn = min(at, until)
		}
		from = until
	}
	if !last {
		e.last = e.first
	}
	return e
}

// period gives the offset from UTC at sec, and until when it certainly holds.
func (c *Calendar) period(sec int64) (offset, until int64) {
	t := time.Unix(sec, 0).In(c.zone)
	_, seconds := t.Zone()
	_, end := t.ZoneBounds()
	switch {
	case end.IsZero():
		until = sec + 2*maxOffset
	case end.Unix() <= sec:
		// The time package gives a year 365 days here, so that on the last day of
		// a leap year the end is past. The offset holds for the rest of that day.
		until = (floorDiv(sec, daySeconds) + 1) * daySeconds
	default:
		until = end.Unix()
	}
	return int64(seconds), until
}

// floorDiv divides, and rounds down below zero too.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
